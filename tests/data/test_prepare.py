"""The batch: files, resuming, parallel runs, refusals, privacy."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from cardio_mlflow.data.cohort import Clip
from cardio_mlflow.data.patient_files import patient_files
from cardio_mlflow.data.prepare import cohort_key, prepare_cohort
from cardio_mlflow.data.quality import QUALITY_COLUMNS
from cardio_mlflow.errors import InputError


@pytest.fixture
def clips(tmp_path, fan, write_dicom):
    """Three patients: two good views; one good, one bad; only bad ones."""
    good = write_dicom(tmp_path / "good.dcm", fan(words="NOBODY"))
    other = write_dicom(tmp_path / "other.dcm", fan(frames=30), jpeg=True, HeartRate="75")
    bad = tmp_path / "bad.dcm"
    bad.write_text("no clip")
    return [
        Clip("P1", "SA", good), Clip("P1", "FC", other), Clip("../x", "FC", other), Clip("../x", "TC", bad),
        Clip("P3", "LA", bad),
    ]  # fmt: skip


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_cohort_is_prepared(tmp_path, clips):
    prepared = prepare_cohort(clips, tmp_path / "cache", jobs=1)
    assert (prepared.patients, prepared.missing) == (("P1", "../x"), ("P3",))
    assert tuple(prepared.quality.columns) == QUALITY_COLUMNS
    outcomes = prepared.quality.set_index(["patient_id", "view"])["outcome"].to_dict()
    assert outcomes[("P1", "SA")] == outcomes[("../x", "FC")] == "OK"
    assert outcomes[("../x", "TC")] == outcomes[("P3", "LA")] == "NOT_DICOM"
    with safe_open(prepared.path("P1"), "numpy") as file:
        views, mask = file.get_tensor("views"), file.get_tensor("view_mask")
        assert set(file.metadata()) == {"format"}
    assert views.shape == (4, 32, 224, 224)
    assert (views.dtype, mask.tolist()) == (np.uint8, [1, 0, 1, 0])
    assert not views[1].any()
    with pytest.raises(KeyError):
        prepared.path("P3")
    sheet = cv2.imread(str(prepared.folder / "contact_sheet.png"), cv2.IMREAD_GRAYSCALE)
    assert sheet is not None
    assert sheet.std() > 5


def test_everything_stays_in_the_folder(tmp_path, clips):
    prepared = prepare_cohort(clips, tmp_path / "deep" / "cache", jobs=1)
    written = {p.parent for p in (tmp_path / "deep").rglob("*") if p.is_file()}
    assert written == {prepared.folder, prepared.folder.parent}  # the second holds the lock


def test_any_number_of_jobs_gives_the_same_bytes(tmp_path, clips):
    one = prepare_cohort(clips, tmp_path / "one", jobs=1)
    two = prepare_cohort(clips, tmp_path / "two", jobs=2)
    assert _contents(one.folder) == _contents(two.folder)


def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, clips):
    prepared = prepare_cohort(clips, tmp_path / "cache", jobs=1)
    whole = _contents(prepared.folder)
    kept = prepared.path("P1")
    before = kept.stat().st_mtime_ns
    for name in (
        "prepared.json",
        "quality.csv",
        "contact_sheet.png",
        patient_files(prepared.folder, "../x").rows.name,
    ):
        (prepared.folder / name).unlink()
    prepared.path("../x").write_bytes(b"half")
    assert _contents(prepare_cohort(clips, tmp_path / "cache", jobs=1).folder) == whole
    assert kept.stat().st_mtime_ns == before


def test_what_is_prepared_is_not_prepared_again(tmp_path, clips, monkeypatch):
    first = prepare_cohort(clips, tmp_path / "cache", jobs=1)
    monkeypatch.setattr("cardio_mlflow.data.prepare.prepare_patient", None)
    again = prepare_cohort(clips, tmp_path / "cache", jobs=1)
    assert (again.folder, again.patients, again.missing) == (first.folder, first.patients, first.missing)
    pd.testing.assert_frame_equal(again.quality, first.quality)


def test_the_key_follows_content_and_not_place(tmp_path, clips):
    moved = tmp_path / "moved.dcm"
    moved.write_bytes(clips[0].path.read_bytes())
    assert cohort_key([Clip("P1", "SA", moved), *clips[1:]]) == cohort_key(clips)
    moved.write_bytes(moved.read_bytes() + b"\0")
    assert cohort_key([Clip("P1", "SA", moved), *clips[1:]]) != cohort_key(clips)
    assert cohort_key([Clip("P9", "SA", clips[0].path), *clips[1:]]) != cohort_key(clips)


def test_nothing_prepared_is_an_error_with_a_table(tmp_path, clips):
    with pytest.raises(InputError, match=r"NOT_DICOM +2[\s\S]*quality\.csv"):
        prepare_cohort([clips[3], clips[4]], tmp_path / "cache", jobs=1)
    with pytest.raises(InputError, match="no clips"):
        prepare_cohort([], tmp_path / "cache", jobs=1)


def test_two_clips_of_a_view_and_a_lost_file_are_errors(tmp_path, clips):
    with pytest.raises(InputError, match="two clips"):
        prepare_cohort([clips[0], clips[0]], tmp_path / "cache", jobs=1)
    with pytest.raises(InputError, match="P1, view TC"):
        prepare_cohort([Clip("P1", "TC", tmp_path / "gone.dcm")], tmp_path / "cache", jobs=1)


def test_no_name_comes_out(tmp_path, fan, write_dicom, caplog):
    name = "ZACHARIAS"
    tags = {"PatientName": f"{name}^A", "PatientID": name, "InstitutionName": name, "Manufacturer": name,
            "StudyDescription": name, "PatientBirthDate": "19010203"}  # fmt: skip
    folder = tmp_path / name
    folder.mkdir()
    words = write_dicom(folder / f"{name}.dcm", fan(words=name), **tags)
    plain = write_dicom(tmp_path / "plain.dcm", fan(), **tags)
    broken = write_dicom(folder / "broken.dcm", fan(), PhotometricInterpretation=name, **tags)
    clips = [Clip("P1", "FC", words), Clip("P1", "TC", plain), Clip("P1", "SA", broken)]
    prepared = prepare_cohort(clips, tmp_path / "cache", jobs=1)
    for path in prepared.folder.iterdir():
        content = path.read_bytes()
        for secret in (name.encode(), b"19010203"):
            assert secret not in content
            assert secret.decode() not in path.name
    assert name not in caplog.text
    with safe_open(prepared.path("P1"), "numpy") as file:  # the words have left no trace in the pixels
        views = file.get_tensor("views")
    np.testing.assert_array_equal(views[0], views[1])


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60), unique=True, max_size=20
    )
)
def test_ids_get_names_of_their_own_that_stay_in_the_folder(tmp_path_factory, ids):
    folder = tmp_path_factory.getbasetemp()
    files = [patient_files(folder, patient) for patient in ids]
    assert len({f.tensors.name.lower() for f in files}) == len(ids)
    for f in files:
        assert f.tensors.parent == f.rows.parent == folder
        assert f.tensors.name.isascii()
        assert len(f.tensors.name) < 80
        assert "/" not in f.tensors.name
        assert "\\" not in f.tensors.name
