from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, VIEW_CODES
from cardio_mlflow.synthetic.clip import LAYOUTS, clip_truth, has_view, patient_rows, plan_clip, write_clip
from cardio_mlflow.synthetic.cohort import make_cohort

SEED = 7
PLANNED = 60


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((folder / "dicom").iterdir())}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    return make_cohort(tmp_path_factory.mktemp("cohort"), 2, 1, SEED, jobs=1)


def test_labels(cohort: Path) -> None:
    table = pd.read_csv(cohort / "labels.csv")
    assert list(table.columns[:2]) == ["patient_id", "cohort"]
    assert set(KEYS) <= set(table.columns)
    assert list(table["cohort"]) == ["I", "II"]
    assert json.loads((cohort / "synthetic.json").read_text())["seed"] == SEED
    assert not list(cohort.rglob("*part*"))


def test_same_bytes_with_two_workers_and_as_part_of_more_patients(cohort: Path, tmp_path: Path) -> None:
    other = digests(make_cohort(tmp_path, 3, 2, SEED, jobs=2))
    mine = digests(cohort)
    assert {name: other[name] for name in mine} == mine


def test_a_stopped_run_resumes_with_the_same_files(cohort: Path, tmp_path: Path) -> None:
    make_cohort(tmp_path, 1, 1, SEED, jobs=1)
    (tmp_path / "dicom" / "P0001_SA.dcm").unlink()
    (tmp_path / "synthetic.json").rename(tmp_path / "synthetic.part.json")
    again = digests(make_cohort(tmp_path, 1, 1, SEED, jobs=1))
    assert again == {k: v for k, v in digests(cohort).items() if k in again}


def test_another_seed_or_another_owner_is_refused(cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another seed"):
        make_cohort(cohort, 3, 2, SEED + 1, jobs=1)
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "mine.dcm").write_bytes(b"")
    with pytest.raises(InputError, match="not a synthetic"):
        make_cohort(tmp_path, 3, 2, SEED, jobs=1)
    with pytest.raises(InputError, match="Cohort I"):
        make_cohort(tmp_path / "new", 3, 4, SEED, jobs=1)


def first_clips(wanted: str) -> list[tuple[int, str]]:
    """The first clip of each kind (encoding or layout name) among many planned ones."""
    rows = patient_rows(SEED, PLANNED)[0]
    found: dict[str, tuple[int, str]] = {}
    for i in range(PLANNED):
        for view in VIEW_CODES:
            clip = plan_clip(SEED, i, view, rows.iloc[i])
            found.setdefault(clip.encoding if wanted == "encoding" else clip.layout.name, (i, view))
    return list(found.values())


@pytest.fixture(scope="module")
def kinds(tmp_path_factory) -> dict[tuple[int, str], pydicom.Dataset]:
    """One file of each encoding and each layout, read with warnings as errors."""
    folder = tmp_path_factory.mktemp("kinds")
    hemodynamics, anatomy = patient_rows(SEED, PLANNED)
    read = {}
    for i, view in {*first_clips("encoding"), *first_clips("layout")}:
        path = folder / f"{i}_{view}.dcm"
        write_clip(path, SEED, i, view, hemodynamics.iloc[i], anatomy.iloc[i])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read[i, view] = pydicom.dcmread(path)
            assert read[i, view].pixel_array.dtype == np.uint8
    return read


def test_encodings_and_layouts_all_occur(kinds) -> None:
    syntaxes = {d.file_meta.TransferSyntaxUID.keyword for d in kinds.values()}
    assert syntaxes == {"ExplicitVRLittleEndian", "RLELossless", "JPEGBaseline8Bit"}
    interpretations = {d.PhotometricInterpretation for d in kinds.values()}
    assert {"RGB", "MONOCHROME2", "YBR_FULL_422"} <= interpretations
    assert len({d.Manufacturer for d in kinds.values()}) == len(LAYOUTS) >= 4


def test_pictures_are_black_outside_fan_and_overlay(kinds) -> None:
    for (i, view), data in kinds.items():
        truth, pixels = clip_truth(SEED, i, view), data.pixel_array
        gray = pixels.max(axis=-1) if pixels.ndim == 4 else pixels
        assert truth.overlay_mask.shape == gray.shape
        outside = ~(truth.sector_mask | truth.overlay_mask)
        lossless = data.LossyImageCompression == "00"
        assert gray[outside].max() <= (0 if lossless else 90)
        assert gray[outside].mean() < 1
        assert 0.15 < truth.sector_mask.mean() < 0.6
        assert (truth.overlay_mask & truth.sector_mask).sum() < 0.02 * truth.sector_mask.sum() * len(gray)
        drawn = truth.overlay_mask & ~truth.sector_mask
        assert (gray[drawn] > 8).mean() > 0.85
        inside = np.broadcast_to(truth.sector_mask, gray.shape) & ~truth.overlay_mask
        assert gray[inside].mean() > 25


def test_times_and_beats(kinds) -> None:
    rows = patient_rows(SEED, PLANNED)[0]
    for (i, view), data in kinds.items():
        truth = clip_truth(SEED, i, view)
        interval = 60 / rows["HR"].iloc[i]
        assert len(truth.r_wave_times) >= 2
        assert np.diff(truth.r_wave_times) == pytest.approx(interval, rel=0.06)
        assert 1.2 < truth.frame_times[-1] / interval < 2.1
        assert int(data.NumberOfFrames) == len(truth.frame_times)
        if "FrameTime" in data:
            assert float(data.FrameTime) == pytest.approx(1000 * truth.frame_times[1], abs=1e-3)
        else:
            assert np.cumsum(data.FrameTimeVector) == pytest.approx(1000 * truth.frame_times, abs=1e-3)
        if "RWaveTimeVector" in data:
            assert data.RWaveTimeVector == pytest.approx(1000 * truth.r_wave_times, abs=1e-3)


def test_files_carry_names_to_be_removed_and_unique_identifiers(cohort: Path) -> None:
    files = [pydicom.dcmread(p, stop_before_pixels=True) for p in (cohort / "dicom").iterdir()]
    assert all(str(d.PatientName).startswith("SYNTHETIC^") for d in files)
    assert len({d.SOPInstanceUID for d in files}) == len(files)
    assert len({d.StudyInstanceUID for d in files}) == 2


def test_few_patients_lack_a_view() -> None:
    lacking = [sum(not has_view(SEED, i, v) for v in VIEW_CODES) for i in range(1000)]
    assert max(lacking) == 1
    assert 0.015 < np.mean(lacking) < 0.05
