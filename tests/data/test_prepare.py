"""The batch: files, resuming, parallel runs, refusals, privacy."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from cardio_mlflow.data.batch import patients as contents
from cardio_mlflow.data.batch import sandbox
from cardio_mlflow.data.batch.patient_files import patient_files, read_rows
from cardio_mlflow.data.batch.sandbox import Limits
from cardio_mlflow.data.cohort.cohort import Clip
from cardio_mlflow.data.prepare import cohort_key, prepare_cohort
from cardio_mlflow.data.quality import QUALITY_COLUMNS
from cardio_mlflow.errors import InputError
from tests.forked import kill_with_children
from tests.waiting import PATIENCE, wait_for, wait_for_the_end_of


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
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


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
    store = prepared.folder.parent  # holds the lock
    assert written == {prepared.folder, prepared.folder / "review", store}


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
    monkeypatch.setattr("cardio_mlflow.data.prepare.prepare_patients", None)
    again = prepare_cohort(clips, tmp_path / "cache", jobs=1)
    assert (again.folder, again.patients, again.missing) == (first.folder, first.patients, first.missing)
    pd.testing.assert_frame_equal(again.quality, first.quality)


def test_the_key_follows_content_and_not_place(tmp_path, clips):
    def key(clips, **changed):
        options = {"check_text": False, "synthetic": False} | changed
        return cohort_key(clips, contents.content_digests(clips, tmp_path, 2), **options)

    moved = tmp_path / "moved.dcm"
    moved.write_bytes(clips[0].path.read_bytes())
    assert key([Clip("P1", "SA", moved), *clips[1:]]) == key(clips)
    moved.write_bytes(moved.read_bytes() + b"\0")
    assert key([Clip("P1", "SA", moved), *clips[1:]]) != key(clips)
    assert key([Clip("P9", "SA", clips[0].path), *clips[1:]]) != key(clips)
    assert key(clips, check_text=True) != key(clips)


def test_rows_cut_by_a_loss_of_power_are_made_again(tmp_path):
    rows = patient_files(tmp_path, "P1").rows
    for left in (b"", b'[{"outcome": "O'):
        rows.write_bytes(left)
        assert read_rows(tmp_path, "P1") == []


def test_an_unchanged_file_is_read_once(tmp_path, clips, monkeypatch):
    monkeypatch.setattr(contents, "_SETTLING_NS", 0)
    reads, digest = [], contents._digest
    monkeypatch.setattr(contents, "_digest", lambda path, i: reads.append(path.name) or digest(path, i))
    first = contents.content_digests(clips, tmp_path, 2)
    assert sorted(reads) == ["bad.dcm", "good.dcm", "other.dcm"]  # once where two clips share it
    assert contents.content_digests(clips, tmp_path, 2) == first
    assert len(reads) == 3
    memo = (tmp_path / "contents.json").read_text()
    assert "good" not in memo
    (tmp_path / "contents.json").write_text("[]")
    assert contents.content_digests(clips, tmp_path, 2) == first


def test_a_changed_file_is_read_again(tmp_path, clips, monkeypatch):
    monkeypatch.setattr(contents, "_SETTLING_NS", 0)
    first, path = contents.content_digests(clips, tmp_path, 1), clips[0].path
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a careful copy would
    assert path.stat().st_size == before.st_size
    changed = contents.content_digests(clips, tmp_path, 1)
    assert changed[0] != first[0]
    assert changed[1:] == first[1:]


def test_a_file_that_was_just_written_is_not_remembered(tmp_path, clips):
    contents.content_digests(clips, tmp_path, 1)
    assert not (tmp_path / "contents.json").exists()


def test_nothing_prepared_is_an_error_with_a_table(tmp_path, clips):
    with pytest.raises(InputError, match=r"NOT_DICOM +2[\s\S]*quality\.csv"):
        prepare_cohort([clips[3], clips[4]], tmp_path / "cache", jobs=1)
    with pytest.raises(InputError, match="no clips"):
        prepare_cohort([], tmp_path / "cache", jobs=1)


def test_two_clips_of_a_view_and_a_lost_file_are_errors(tmp_path, clips):
    with pytest.raises(InputError, match="second of its patient"):
        prepare_cohort([clips[0], clips[0]], tmp_path / "cache", jobs=1)
    with pytest.raises(InputError, match="Clip 1 of the cohort"):
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
    for place, content in _contents(tmp_path / "cache").items():
        for secret in (name.encode(), b"19010203"):
            assert secret not in content
            assert secret.decode() not in place
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


def test_one_uid_and_two_contents_are_refused(tmp_path, fan, write_dicom, caplog):
    uid = "1.2.826.0.1.3680043.9.7"
    first = write_dicom(tmp_path / "first.dcm", fan(), SOPInstanceUID=uid)
    second = write_dicom(tmp_path / "second.dcm", fan(frames=30), SOPInstanceUID=uid)
    other = write_dicom(tmp_path / "other.dcm", fan(frames=26))
    clips = [
        Clip("P1", "FC", first), Clip("P1", "SA", other), Clip("P2", "FC", second), Clip("P3", "SA", other),
    ]  # fmt: skip
    one = prepare_cohort(clips, tmp_path / "one", jobs=1)
    whole = _contents(one.folder)
    rows = one.quality.set_index(["patient_id", "view"])
    assert rows["outcome"].to_list() == ["UID_CONFLICT", "OK", "UID_CONFLICT", "OK"]
    assert rows["review"].to_list() == ["", "duplicate", "", "duplicate"]
    assert rows.loc[("P1", "FC"), "rows":"duration_s"].replace("", np.nan).isna().all()
    assert (one.patients, one.missing) == (("P1", "P3"), ("P2",))
    with safe_open(one.path("P1"), "numpy") as file:
        assert file.get_tensor("view_mask").tolist() == [0, 0, 1, 0]
        assert not file.get_tensor("views")[[0, 1, 3]].any()
    assert "2 clips are the same file" in caplog.text
    assert not any(uid.encode() in data for data in whole.values())
    for name in ("prepared.json", "quality.csv"):
        (one.folder / name).unlink()
    assert _contents(prepare_cohort(clips, tmp_path / "one", jobs=1).folder) == whole
    assert _contents(prepare_cohort(clips, tmp_path / "two", jobs=2).folder) == whole


SLOW = """
    import time
    from cardio_mlflow.data import clips

    def prepare_clip(path, check_text=False):
        time.sleep({seconds})
        return clips.prepare_clip(path)
"""


@pytest.fixture
def slowly(tmp_path, monkeypatch):
    """Makes the preparation of each clip take this many seconds longer."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sandbox, "_PREPARATION", "slow")
    return lambda seconds: (folder / "slow.py").write_text(textwrap.dedent(SLOW.format(seconds=seconds)))


def test_clips_stopped_by_a_limit_get_another_chance_with_a_higher_one(tmp_path, fan, write_dicom, slowly):
    clips = [
        Clip("P1", "FC", write_dicom(tmp_path / "one.dcm", fan())),
        Clip("P2", "FC", tmp_path / "bad.dcm"),
    ]
    clips[1].path.write_text("no clip")
    slowly(30)
    with pytest.raises(InputError, match="CORRUPT_FRAME"):
        prepare_cohort(clips, tmp_path / "cache", jobs=1, limits=Limits(seconds=0.5))
    slowly(0.01)
    done = prepare_cohort(clips, tmp_path / "cache", jobs=1, limits=Limits(seconds=60))
    assert done.quality["outcome"].to_list() == ["OK", "NOT_DICOM"]
    slowly(30)
    again = prepare_cohort(clips, tmp_path / "cache", jobs=1, limits=Limits(seconds=90))
    assert again.quality["outcome"].to_list() == ["OK", "NOT_DICOM"]


def test_a_full_disk_is_told_and_leaves_no_half(tmp_path, clips, monkeypatch):
    write = Path.write_bytes

    def full(path, data):
        if ".safetensors" in path.name:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    with monkeypatch.context() as patching:
        patching.setattr(Path, "write_bytes", full)
        with pytest.raises(InputError, match=r"No space left[\s\S]*-P cache="):
            prepare_cohort(clips, tmp_path / "cache", jobs=2)
    assert not list((tmp_path / "cache").rglob("*.part"))
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    assert prepare_cohort(clips, tmp_path / "cache", jobs=2).patients == ("P1", "../x")


def test_a_cache_that_cannot_be_written_is_told(tmp_path, clips):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        prepare_cohort(clips, tmp_path / "cache", jobs=1)


def test_a_second_process_waits_and_says_so(tmp_path, clips, caplog):
    prepared = prepare_cohort(clips, tmp_path / "cache", jobs=1)
    hold = (
        "import filelock, sys; l = filelock.FileLock({!r}); l.acquire(); print(flush=True); sys.stdin.read()"
    )
    lock = prepared.folder.with_name(f"{prepared.key}.lock")
    command = [sys.executable, "-c", hold.format(str(lock))]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.stdout.readline()
        with caplog.at_level(logging.INFO):
            done = pool.submit(prepare_cohort, clips, tmp_path / "cache", jobs=1)
            try:
                wait_for(lambda: "another process prepares this cohort" in caplog.text)
                assert not done.done()
            finally:
                other.stdin.close()
            assert done.result(PATIENCE).patients == prepared.patients


def test_whole_numbers_stay_whole_beside_empty_cells(tmp_path, clips):
    table = prepare_cohort(clips, tmp_path / "cache", jobs=1).table
    rows = pd.read_csv(table, dtype=str, keep_default_na=False).set_index(["patient_id", "view"])
    assert rows.loc[("P1", "SA"), ["rows", "columns", "frames"]].tolist() == ["240", "320", "24"]
    assert rows.loc[("P3", "LA"), "rows"] == ""


def test_a_tensor_is_prepared_but_shown_nowhere(tmp_path):
    torch.save(torch.ones(40, 112, 112), tmp_path / "a.pt")
    prepared = prepare_cohort([Clip("P1", "FC", tmp_path / "a.pt")], tmp_path / "cache", jobs=1)
    assert prepared.quality["review"].tolist() == ["unmasked"]
    assert not list((prepared.folder / "review").glob("*"))
    sheet = cv2.imread(str(prepared.contact_sheets[0]))
    assert np.count_nonzero((sheet >= 250).all(axis=2)) < 2000  # words, and no white square


DRIVER = """
    import signal, sys
    from pathlib import Path
    from cardio_mlflow.data.batch import sandbox
    from cardio_mlflow.data.cohort.cohort import Clip
    from cardio_mlflow.data.prepare import prepare_cohort

    def stop(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    sandbox._PREPARATION = "slow"
    clips = [Clip(path.stem, "FC", path) for path in sorted(Path(sys.argv[1]).glob("*.dcm"))]
    prepare_cohort(clips, Path(sys.argv[2]), jobs=2)
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, fan, write_dicom):
    """The clips of five patients, and all files of the prepared cohort."""
    data, cache = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache")
    clips = [Clip(f"P{i}", "FC", write_dicom(data / f"P{i}.dcm", fan(frames=24 + i))) for i in range(5)]
    return clips, _contents(prepare_cohort(clips, cache, jobs=2).folder)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_leaves_no_process_and_goes_on(tmp_path, undisturbed, slowly, sign):
    (clips, whole), cache = undisturbed, tmp_path / "cache"
    slowly(f"0 if path.stem == {clips[0].path.stem!r} else 600")  # one patient is done, the others are not
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER), str(clips[0].path.parent), str(cache)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_for(lambda: list(cache.rglob("P*.json")))
        wait_for(lambda: len(psutil.Process(run.pid).children()) >= 2)
        children = psutil.Process(run.pid).children()
        (os.killpg if sign == signal.SIGINT else os.kill)(run.pid, sign)  # Ctrl-C reaches the children too
        said = run.communicate(timeout=PATIENCE)[1].decode()
    finally:
        kill_with_children(run.pid)
    wait_for_the_end_of(children)
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("P*.json")}
    assert len(kept) == 1
    assert not list(cache.rglob("quality.csv"))
    if sign != signal.SIGKILL:
        assert "KeyboardInterrupt" in said
        assert not list(cache.rglob("*.part"))
    (next(iter(kept)).parent / ".P9.safetensors.77.part").write_text("half")
    slowly(0)
    assert _contents(prepare_cohort(clips, cache, jobs=2).folder) == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
