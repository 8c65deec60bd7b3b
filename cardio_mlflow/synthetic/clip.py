"""One synthetic clip from the seed: everything that its file holds, and the truth about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.parameters import view as find_view
from cardio_mlflow.synthetic.acquisition import Acquisition, draw_acquisition
from cardio_mlflow.synthetic.anatomy import draw_anatomy
from cardio_mlflow.synthetic.cine import render_cine
from cardio_mlflow.synthetic.dicom_file import Header, write_dicom
from cardio_mlflow.synthetic.heart import view_scene
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics
from cardio_mlflow.synthetic.layouts import LAYOUTS, Encoding, Layout
from cardio_mlflow.synthetic.scene import Array
from cardio_mlflow.synthetic.screen import Screen, Words
from cardio_mlflow.synthetic.sector import Mask
from cardio_mlflow.synthetic.seeding import Stream, generator

WITHOUT_REGIONS = 0.15
"""Share of clips whose file lost its ultrasound regions on the way, beside the scanner that writes none."""
HOSPITALS = ("NORTHFIELD HOSPITAL", "ST EXAMPLE CLINIC", "UNIVERSITY OF NOWHERE", "HARBOUR HEART CENTRE")


@dataclass(frozen=True)
class ClipTruth:
    """What is known about a synthetic clip.

    Attributes:
        sector_mask: (rows, columns) pixels of the fan.
        overlay_mask: (T, rows, columns) pixels drawn on, inside the fan too where they reach into it.
        r_wave_times: (R,) seconds from the first frame.
        frame_times: (T,) seconds from the first frame.
        layout: name of the screen layout.
        mm_per_pixel: of the screen, downward.
    """

    sector_mask: Mask
    overlay_mask: Mask
    r_wave_times: Array
    frame_times: Array
    layout: str
    mm_per_pixel: float


@dataclass(frozen=True)
class Clip:
    """A clip before rendering: acquisition, screen and header."""

    acquisition: Acquisition
    layout: Layout
    screen: Screen
    encoding: Encoding
    header: Header


def plan_clip(seed: int, patient: int, view: str, row: pd.Series) -> Clip:
    """Draw everything about a clip but its pixels.

    Args:
        seed: the cohort's.
        patient: number from 0.
        view: a view's code.
        row: the patient's row of `draw_hemodynamics`.
    """
    number = VIEW_CODES.index(view)
    scanner = generator(seed, Stream.SCANNER, patient)
    layout = LAYOUTS[int(scanner.integers(len(LAYOUTS)))]
    hospital = HOSPITALS[int(scanner.integers(len(HOSPITALS)))]
    date = f"2023{scanner.integers(1, 13):02d}{scanner.integers(1, 29):02d}"
    rng = generator(seed, Stream.ACQUISITION, patient, number)
    acquisition = draw_acquisition(view, float(row["HR"]), rng)
    if rng.uniform() < WITHOUT_REGIONS:
        layout = replace(layout, regions="absent")
    names, weights = zip(*layout.encodings, strict=True)
    encoding = names[int(rng.choice(len(names), p=weights))]
    header = _header(str(row.name), row, seed, view, (hospital, date), rng, layout)
    words = _words(header, acquisition, rng)
    return Clip(
        acquisition, layout, Screen(layout, acquisition, words, float(rng.uniform())), encoding, header
    )


def write_clip(path: Path, seed: int, patient: int, view: str, row: pd.Series, anatomy: pd.Series) -> None:
    """Render one clip and write its DICOM file.

    Arguments as `plan_clip`, and the patient's row of `draw_anatomy`.
    """
    clip = plan_clip(seed, patient, view, row)
    scene = view_scene(anatomy, view, clip.acquisition.phases)
    polar = render_cine(
        scene, clip.acquisition, generator(seed, Stream.SPECKLE, patient, VIEW_CODES.index(view))
    )
    frames = list(clip.screen.frames(polar))
    write_dicom(path, frames, clip.encoding, clip.header, clip.acquisition, clip.layout)


def clip_truth(seed: int, patient: int | str, view: str) -> ClipTruth:
    """Recompute what is known about the clip that `make_cohort` writes with this seed.

    Args:
        seed: the cohort's.
        patient: number from 0, or the id, such as P0001.
        view: a view's code or another name of it.

    Raises:
        KeyError: no such view.
    """
    number = int(patient.removeprefix("P")) - 1 if isinstance(patient, str) else patient
    row = draw_hemodynamics(number + 1, seed).iloc[number]
    clip = plan_clip(seed, number, find_view(view).code, row)
    return ClipTruth(
        clip.screen.sector.mask(), clip.screen.overlay_mask(), clip.acquisition.r_waves,
        clip.acquisition.frame_times, clip.layout.name, 10 * clip.acquisition.depth / clip.layout.radius,
    )  # fmt: skip


def patient_rows(seed: int, patients: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """References and anatomy of a cohort."""
    hemodynamics = draw_hemodynamics(patients, seed)
    return hemodynamics, draw_anatomy(hemodynamics, seed)


def has_view(seed: int, patient: int, view: str) -> bool:
    """Tell whether a patient has a view: about three patients in a hundred lack one."""
    rng = generator(seed, Stream.MISSING_VIEW, patient)
    return not (rng.uniform() < 0.03 and VIEW_CODES[int(rng.integers(len(VIEW_CODES)))] == view)


def _header(
    patient_id: str, row: pd.Series, seed: int, view: str, place: tuple[str, str], rng: np.random.Generator,
    layout: Layout,
) -> Header:  # fmt: skip
    tag, vector, rate, annotated = rng.uniform(size=4)
    return Header(
        patient_id, f"SYNTHETIC^{patient_id}", f"{2023 - int(row['age'])}0101", str(row["sex"]), place[1],
        place[0], (str(seed), patient_id, view), bool(tag < 0.5 or (layout.trace == "none" and tag < 0.75)),
        bool(vector < 0.35), 0 if rate < 0.12 and layout.trace != "none" else int(row["HR"]),
        "NO" if annotated < 0.2 else "YES" if annotated < 0.7 else None,
    )  # fmt: skip


def _words(header: Header, acquisition: Acquisition, rng: np.random.Generator) -> Words:
    day = f"{header.date[6:]}/{header.date[4:6]}/{header.date[:4]}"
    gain, mechanical = rng.integers(45, 70), rng.uniform(0.8, 1.5)
    rate = round(1 / float(acquisition.frame_times[1]))
    return Words(
        (header.name, f"ID {header.patient_id}-{header.birth}", day, header.hospital[:16]),
        (
            f"{rate} Hz",
            f"{acquisition.depth:.1f} cm",
            f"G {gain}%",
            f"MI {mechanical:.1f}",
            f"HR {acquisition.rate}",
        ),
    )
