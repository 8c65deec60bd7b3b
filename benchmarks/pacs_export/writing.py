"""One file of a made-up PACS export: its pictures, and a header that names the person as a real one does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from benchmarks.challenges.file import write_challenge_file
from benchmarks.challenges.kinds import plan_challenge
from benchmarks.challenges.pictures import make_pictures
from benchmarks.challenges.screen import ChallengeScreen
from benchmarks.pacs_export.other_views import other_scene
from benchmarks.pacs_export.persons import Person
from benchmarks.pacs_export.plan import Kind, PlannedFile
from benchmarks.pacs_export.view_words import OTHER_VIEWS, write_view
from cardio_mlflow.synthetic.acquisition import USUAL_DEPTH, Acquisition, draw_acquisition
from cardio_mlflow.synthetic.cine import render_cine
from cardio_mlflow.synthetic.dicom_file import Header, save_dataset, write_dicom
from cardio_mlflow.synthetic.heart import view_scene
from cardio_mlflow.synthetic.layouts import LAYOUTS, Encoding, Layout
from cardio_mlflow.synthetic.screen import Screen, Words

FRAME_RATE = 24.0
"""About what clips are thinned to, frames a second; what is drawn is 25 to 50."""
ZOOM = 0.75
"""Depth of a zoomed clip, as a share of what shows the whole heart."""
ODD_FRAMES = 8
HOSPITAL = "QUARRYSIDE GENERAL"
_STILL = "1.2.840.10008.5.1.4.1.1.6.1"
_OF_FRAMES = ("NumberOfFrames", "FrameTime", "FrameTimeVector", "FrameIncrementPointer", "RWaveTimeVector")
_OBJECTS: dict[Kind, tuple[str, str]] = {
    "report": ("1.2.840.10008.5.1.4.1.1.88.33", "SR"), "key object": ("1.2.840.10008.5.1.4.1.1.88.59", "KO"),
}  # fmt: skip
"""SOP class and modality of what has no pixels."""
_CHALLENGES: dict[Kind, tuple[str, ...]] = {
    "colour": ("color_doppler",), "m-mode": ("m_mode", "m_mode_with_2d"), "spectral": ("spectral_with_2d",),
    "two panels": ("biplane", "frozen_beside_live"),
}  # fmt: skip


def write_file(
    path: Path,
    planned: PlannedFile,
    person: Person,
    row: pd.Series,
    anatomy: pd.Series,
    seed: int,
    view_tags: bool,
) -> None:
    """Write one file; `row` and `anatomy` are the patient's of `patient_rows`."""
    rng = np.random.default_rng([seed, 74, person.number, planned.stream])
    if planned.kind in _OBJECTS:
        data = _object(planned.kind, person)
    else:
        if planned.kind in _CHALLENGES:
            _write_odd(path, planned, rng)
        else:
            _write_tissue(path, planned, person, (row, anatomy), seed, rng)
        data = dcmread(path)
    if planned.kind == "still" or (planned.kind == "spectral" and rng.uniform() < 0.5):
        _make_still(data)
    _identify(data, person, planned, seed)
    vendor = int(np.random.default_rng([seed, 75, person.number]).integers(7))
    write_view(data, planned.view if view_tags else "", vendor)
    save_dataset(path, data)


def _write_tissue(
    path: Path, planned: PlannedFile, person: Person, patient: tuple[pd.Series, pd.Series], seed: int,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    row, anatomy = patient
    layout = LAYOUTS[int(np.random.default_rng([seed, 76, person.number]).integers(len(LAYOUTS)))]
    if planned.flaw == "no ECG":
        layout = replace(layout, trace="none")
    acquisition = draw_settings(planned, float(row["HR"]), rng)
    polar, acquisition = render_planned(planned, anatomy, acquisition, rng)
    study = person.studies[planned.study]
    tagged = planned.flaw != "no ECG"
    header = Header(
        person.patient_id, person.name, f"{person.birth:%Y%m%d}", person.sex, f"{study.date:%Y%m%d}",
        HOSPITAL, _identity(person, planned, seed), tagged, bool(rng.uniform() < 0.3),
        int(row["HR"]) if tagged else 0, None,
    )  # fmt: skip
    screen = Screen(layout, acquisition, _words(header, acquisition), float(rng.uniform()))
    frames = list(screen.frames(polar))
    write_dicom(
        path,
        frames[:1] if planned.kind == "still" else frames,
        _encoding(layout),
        header,
        acquisition,
        layout,
    )


def _encoding(layout: Layout) -> Encoding:
    return layout.encodings[0][0]


def render_planned(
    planned: PlannedFile, anatomy: pd.Series, acquisition: Acquisition, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Acquisition]:
    """Render the heart of a planned clip: (T, depths, beams), and how it was taken in the end."""
    scene = None
    if planned.view in OTHER_VIEWS:
        scene, acquisition = other_scene(planned.view, anatomy, acquisition)
    scene = scene or view_scene(anatomy, planned.view, acquisition.phases)
    return render_cine(scene, acquisition, rng), acquisition


def draw_settings(planned: PlannedFile, heart_rate: float, rng: np.random.Generator) -> Acquisition:
    """Draw how a clip is taken, thinned to FRAME_RATE, with the flaw that is asked for, or none."""
    code = planned.view if planned.view not in OTHER_VIEWS else "FC"
    drawn = draw_acquisition(code, heart_rate, rng)
    usual = USUAL_DEPTH["apical" if code in ("FC", "TC") else "parasternal"]
    depth = (
        ZOOM * usual if planned.flaw == "zoomed" else float(np.clip(drawn.depth, 0.85 * usual, 1.25 * usual))
    )
    step = max(1, round(1 / FRAME_RATE / float(drawn.frame_times[1])))
    last = len(drawn.frame_times)
    if planned.kind == "still":
        last = step + 1
    if planned.flaw == "short":
        last = int(np.searchsorted(drawn.frame_times, 0.7 * 60 / heart_rate))
    times = drawn.frame_times[:last:step]
    inside = drawn.r_waves[drawn.r_waves <= times[-1]]
    phases = drawn.phases[:last:step]
    return replace(drawn, depth=round(2 * depth) / 2, frame_times=times, phases=phases, r_waves=inside)


def _words(header: Header, acquisition: Acquisition) -> Words:
    day = f"{header.date[6:]}/{header.date[4:6]}/{header.date[:4]}"
    settings = (f"{acquisition.depth:.1f} cm", "G 55%", "MI 1.1", f"HR {acquisition.rate}")
    return Words((header.name, f"ID {header.patient_id}", day, header.hospital[:16]), settings)


def _write_odd(path: Path, planned: PlannedFile, rng: np.random.Generator) -> None:
    """Write a clip of something else than moving tissue: a hard clip's picture, of fewer frames."""
    kinds = _CHALLENGES[planned.kind]
    plan = plan_challenge(kinds[int(rng.integers(len(kinds)))], int(rng.integers(10_000)))
    step = max(1, len(plan.frame_times) // ODD_FRAMES)
    encoding = "jpeg_444" if plan.encoding == "rle_rgb" else plan.encoding
    plan = replace(
        plan, view=planned.view or plan.view, frame_times=plan.frame_times[::step], encoding=encoding
    )
    frames: Sequence[NDArray[np.uint8]] = [
        frame for frame, _ in ChallengeScreen(plan, make_pictures(plan, rng), rng, True).frames()
    ]
    write_challenge_file(path, plan, frames, ("pacs", planned.kind))


def _object(kind: Kind, person: Person) -> Dataset:
    """A structured report or a key object: words about the person, and no pixels."""
    sop_class, modality = _OBJECTS[kind]
    data, item = Dataset(), Dataset()
    data.SOPClassUID, data.Modality, data.ContentDate = (
        sop_class,
        modality,
        f"{person.studies[0].date:%Y%m%d}",
    )
    data.ContentTime, data.SeriesNumber, data.InstanceNumber = "101500", 90, 1
    data.SpecificCharacterSet, data.Manufacturer, data.ValueType = "ISO_IR 192", "Aurora Medical", "CONTAINER"
    data.CompletionFlag, data.VerificationFlag, data.ContinuityOfContent = (
        "COMPLETE",
        "UNVERIFIED",
        "SEPARATE",
    )
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", f"{person.name}: report"
    title = Dataset()
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = "125200", "DCM", "Adult Echo Report"
    data.ContentSequence, data.ConceptNameCodeSequence = DicomSequence([item]), DicomSequence([title])
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data


def _make_still(data: Dataset) -> None:
    """Turn a clip of one frame, or the first of several frames, into a still."""
    if "NumberOfFrames" in data and int(data.NumberOfFrames) > 1:
        pixels = data.pixel_array[0]
        data.set_pixel_data(pixels, "RGB" if pixels.ndim == 3 else "MONOCHROME2", 8)
    for keyword in _OF_FRAMES:
        if keyword in data:
            delattr(data, keyword)
    data.SOPClassUID = _STILL


def _identity(person: Person, planned: PlannedFile, seed: int) -> tuple[str, ...]:
    return str(seed), str(person.number), str(planned.study), str(planned.stream)


def _identify(data: Dataset, person: Person, planned: PlannedFile, seed: int) -> None:
    study, identity = person.studies[planned.study], _identity(person, planned, seed)
    data.PatientID, data.PatientName, data.PatientSex = person.patient_id, person.name, person.sex
    data.PatientBirthDate = f"{person.birth:%Y%m%d}"
    data.StudyDate, data.StudyTime = f"{study.date:%Y%m%d}", f"{9 + planned.study:02d}3000"
    data.ContentDate, data.AccessionNumber, data.StudyID = data.StudyDate, study.accession, "1"
    data.InstitutionName, data.ReferringPhysicianName = HOSPITAL, "EXAMPLE^REFERRER"
    data.SOPInstanceUID = generate_uid(entropy_srcs=[*identity, "instance"])
    data.SeriesInstanceUID = generate_uid(entropy_srcs=[*identity, "series"])
    data.StudyInstanceUID = generate_uid(entropy_srcs=[*identity[:3], "study"])
    data.SyntheticData = "YES"
    data.SeriesNumber = data.InstanceNumber = planned.stream + 1
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
