"""The batch: each clip once, resuming, parallel runs, refusals, privacy."""

from __future__ import annotations

import errno
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil
import pydicom
import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.numpy import save

from cardio_mlflow.data import clips as clips_module
from cardio_mlflow.data.batch import clip_store, duplicates, parallel
from cardio_mlflow.data.batch.clip_store import ClipStore, Entry
from cardio_mlflow.data.batch.sandbox import ClipStopped, Limits
from cardio_mlflow.data.cohort.cohort import Clip
from cardio_mlflow.data.dataset import load_clips
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.prepare import prepare_cohort
from cardio_mlflow.data.quality import QUALITY_COLUMNS, Quality
from cardio_mlflow.errors import InputError
from tests.data.small_clips import JPEG, fan, write_clip
from tests.forked import kill_with_children
from tests.waiting import PATIENCE, wait_for, wait_for_the_end_of


class InProcess:
    """A sandbox that decodes in this process, which starts quicker; it notes the files it is given."""

    decoded: list[str]
    delay = 0.0

    def __init__(self, limits):
        self.limits = limits

    def prepare(self, path, check_text=False):
        InProcess.decoded.append(path.name)
        if self.limits.seconds < InProcess.delay:
            raise ClipStopped(Outcome.CORRUPT_FRAME, f"took longer than {self.limits.seconds:g} s")
        return clips_module.prepare_clip(path, check_text)

    def close(self):
        pass


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that were decoded, one after the other, in this process."""
    monkeypatch.setattr(parallel, "Sandbox", InProcess)
    InProcess.decoded, InProcess.delay = [], 0.0
    return InProcess.decoded


@pytest.fixture
def clips(tmp_path):
    """Three patients: two good views; one good, one bad; only bad ones."""
    good = write_clip(tmp_path / "good.dcm", fan(words="NOBODY"))
    other = write_clip(tmp_path / "other.dcm", fan(frames=30), JPEG[0], HeartRate="75")
    third = write_clip(tmp_path / "third.dcm", fan(frames=26, period=18))
    bad = tmp_path / "bad.dcm"
    bad.write_text("no clip")
    return [
        Clip("P1", "SA", good), Clip("P1", "FC", other), Clip("../x", "FC", third), Clip("../x", "TC", bad),
        Clip("P3", "LA", bad),
    ]  # fmt: skip


def _contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _kept(cache):
    """All that a cache keeps, without locks, holds and the memo of contents, which know places and times."""
    found = _contents(cache / "prepared")
    return {
        name: data
        for name, data in found.items()
        if not name.endswith(".lock") and not name.startswith(("holds", "contents"))
    }


def _outcomes(prepared):
    return prepared.quality["outcome"].to_list()


def test_a_cohort_is_prepared(tmp_path, clips):
    prepared = prepare_cohort(clips, tmp_path / "cache", jobs=1)
    assert (prepared.patients, prepared.missing) == (("P1", "../x"), ("P3",))
    assert tuple(prepared.quality.columns) == QUALITY_COLUMNS
    assert _outcomes(prepared) == ["OK", "OK", "OK", "NOT_DICOM", "NOT_DICOM"]
    assert set(prepared.clips_of("P1")) == {"FC", "SA"}
    data = load_clips(prepared.clips_of, ["P1"], 32)
    assert (data.clips.shape, data.present.tolist()) == ((1, 4, 32, 224, 224), [[True, False, True, False]])
    assert data.clips[0, [0, 2]].any(dim=(1, 2, 3)).all()
    assert not data.clips[0, 1].any()
    with pytest.raises(KeyError):
        prepared.clips_of("P3")
    sheet = cv2.imread(str(prepared.contact_sheets[0]), cv2.IMREAD_GRAYSCALE)
    assert sheet.std() > 5
    assert not list((tmp_path / "cache" / "prepared" / "cohorts").rglob("*.lock"))
    assert {len(prepared.contents["P1"]), len(prepared.contents["../x"])} == {2, 1}
    rows = pd.read_csv(prepared.table, dtype=str, keep_default_na=False).set_index(["patient_id", "view"])
    assert rows.loc[("P1", "SA"), ["rows", "columns", "frames"]].tolist() == ["240", "320", "24"]
    assert rows.loc[("P3", "LA"), "rows"] == "", "whole numbers stay whole beside empty cells"


def test_any_number_of_jobs_gives_the_same_bytes(tmp_path, clips, decoded):
    prepare_cohort(clips, tmp_path / "one", jobs=1)
    prepare_cohort(clips, tmp_path / "two", jobs=2)
    assert _kept(tmp_path / "one") == _kept(tmp_path / "two")
    assert sorted(decoded) == sorted(2 * ["good.dcm", "other.dcm", "third.dcm", "bad.dcm"])


def test_members_of_a_zip_file_are_prepared_as_the_files_are(tmp_path, clips):
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for clip in clips[:4]:
            file.write(clip.path, f"ST1/{clip.path.name}")
    inside = [replace(clip, path=archive / "ST1" / clip.path.name) for clip in clips]
    prepare_cohort(clips, tmp_path / "files", jobs=1)
    prepared = prepare_cohort(inside, tmp_path / "members", jobs=1)
    assert _outcomes(prepared)[:3] == ["OK"] * 3
    assert _kept(tmp_path / "members") == _kept(tmp_path / "files")
    gone = [replace(inside[0], path=archive / "none.dcm"), *inside[1:]]
    assert _outcomes(prepare_cohort(gone, tmp_path / "members", jobs=1))[:2] == ["UNREADABLE", "OK"]


def test_nothing_is_made_twice(tmp_path, clips, decoded):
    cache = tmp_path / "cache"
    first = prepare_cohort(clips, cache, jobs=1)
    kept = {p: p.stat().st_ino for p in (cache / "prepared" / "clips").iterdir()}
    decoded.clear()

    def again(clips, **options):
        prepared = prepare_cohort(clips, cache, jobs=1, **options)
        assert {p: p.stat().st_ino for p in kept} == kept
        return prepared

    assert again(clips).key == first.key
    renamed = again([replace(clip, patient_id=f"S{clip.patient_id}") for clip in clips])
    assert renamed.patients == ("SP1", "S../x")
    assert renamed.clips_of("SP1") == first.clips_of("P1")
    turned = again([replace(clips[0], view="TC"), *clips[1:]])
    assert turned.clips_of("P1")["TC"] == first.clips_of("P1")["SA"]
    assert again(clips, check_text=True).key == again(clips, synthetic=True).key == first.key
    moved = tmp_path / "moved" / "x.dcm"
    moved.parent.mkdir()
    moved.write_bytes(clips[0].path.read_bytes())
    assert again([replace(clips[0], path=moved), *clips[1:]]).key == first.key
    assert decoded == []  # the refused clip is remembered too
    new = write_clip(tmp_path / "new.dcm", fan(frames=33, period=22))
    more = again([*clips, Clip("P4", "FC", new)])
    assert decoded == ["new.dcm"]
    assert more.key != first.key
    assert more.patients == ("P1", "../x", "P4")
    assert again(clips).contents == {p: more.contents[p] for p in first.patients}


def test_a_prepared_cohort_goes_to_other_processes(tmp_path, clips, decoded):
    prepared = prepare_cohort(clips, tmp_path / "cache", jobs=1)
    there = pickle.loads(pickle.dumps(prepared))
    assert (there.key, there.clips, there.contents) == (prepared.key, prepared.clips, prepared.contents)


def test_the_store_knows_no_patient_view_or_name(tmp_path, clips, decoded):
    named = [replace(clip, patient_id=f"PATIENT-{clip.patient_id}") for clip in clips]
    prepare_cohort(named, tmp_path / "cache", jobs=1)
    for name, data in _contents(tmp_path / "cache" / "prepared" / "clips").items():
        for word in (b"PATIENT", b"good.dcm", b"NOBODY", b"Nobody", str(tmp_path).encode()):
            assert word not in data
            assert word.decode() not in name


def test_text_is_told_only_where_it_is_asked_for(tmp_path, clips, decoded, monkeypatch):
    monkeypatch.setattr(clips_module, "text_in_sector", lambda *_: True)
    assert not prepare_cohort(clips, tmp_path / "cache", jobs=1).quality["review"].any()
    asked = prepare_cohort(clips, tmp_path / "cache", jobs=1, check_text=True)
    assert asked.quality["review"].to_list() == ["text"] * 3 + [""] * 2
    assert len(decoded) == 4


def test_the_kind_of_file_counts_and_not_its_name(tmp_path):
    assert clip_store.clip_key("c", Path("a.dcm")) == clip_store.clip_key("c", Path("b"))
    assert len({clip_store.clip_key("c", Path(f"a{s}")) for s in (".dcm", ".pt", ".avi", ".mp4")}) == 4
    assert clip_store.clip_key("c", Path("a.dcm")) != clip_store.clip_key("d", Path("a.dcm"))


@pytest.mark.parametrize("left", [b"", b"half", None, "no frames"])
def test_what_a_loss_of_power_left_is_made_again(tmp_path, clips, decoded, left):
    prepared = prepare_cohort(clips, tmp_path / "cache", jobs=1)
    whole, path = _kept(tmp_path / "cache"), prepared.clips_of("P1")["SA"]
    decoded.clear()
    if left == "no frames":
        with safe_open(path, "numpy") as file:
            left = save({}, file.metadata())
    path.unlink() if left is None else path.write_bytes(left)
    (prepared.folder / "clips.json").unlink()
    prepared.table.write_text("half")
    prepare_cohort(clips, tmp_path / "cache", jobs=1)
    assert _kept(tmp_path / "cache") == whole
    assert decoded == ["good.dcm"]


def test_a_cohort_folder_that_is_half_gone_is_made_again(tmp_path, clips, decoded):
    """As the removal of what is old leaves it when it is killed, or a user who tidied up."""
    prepared = prepare_cohort(clips, tmp_path / "cache", jobs=1)
    whole = _kept(tmp_path / "cache")
    decoded.clear()
    for name in ("quality.csv", "contact_sheet.png", "review.html", "clips.json", "*.webp"):
        for left in (None, b"\xff\xfe"):
            path = next(prepared.folder.rglob(name))
            path.unlink() if left is None else path.write_bytes(left)  # a film is in the store, too
            again = prepare_cohort(clips, tmp_path / "cache", jobs=1)
            assert again.contact_sheets == prepared.contact_sheets
            assert _kept(tmp_path / "cache") == whole, name
    assert decoded == []


@pytest.fixture
def read_contents(tmp_path, clips, monkeypatch):
    """Reads the contents of the clips' files, which count as settled."""
    monkeypatch.setattr(duplicates, "_SETTLING_NS", 0)
    return lambda: duplicates.read_contents([clip.path for clip in clips], tmp_path, 2)


def test_an_unchanged_file_is_read_once_and_what_is_no_digest_is_not_believed(
    tmp_path, read_contents, monkeypatch
):
    reads, digest = [], duplicates._digested
    monkeypatch.setattr(duplicates, "_digested", lambda file: reads.append(file.path.name) or digest(file))
    first, memo = read_contents(), tmp_path / "contents.json"
    assert sorted(reads) == ["bad.dcm", "good.dcm", "other.dcm", "third.dcm"]  # once where two clips share it
    assert read_contents() == first
    assert len(reads) == 4
    assert "good" not in memo.read_text()
    for bad in ("all the same", 7, None, ["0" * 32], "0" * 33):
        memo.write_text(json.dumps({one.mark: bad for one in first}))
        assert read_contents() == first
    memo.write_text("[]")
    assert read_contents() == first


def test_a_changed_file_is_read_again(clips, read_contents):
    path, first = clips[0].path, read_contents()
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a careful copy would
    changed = read_contents()
    assert changed[0].digest != first[0].digest
    assert changed[1:] == first[1:]


def test_a_file_that_was_just_written_is_not_remembered(tmp_path, clips):
    duplicates.read_contents([clip.path for clip in clips], tmp_path, 1)
    assert not (tmp_path / "contents.json").exists()


def test_a_file_that_changes_while_it_is_decoded_is_not_kept(tmp_path, clips, decoded, monkeypatch):
    decode = InProcess.prepare

    def change(self, path, check_text):
        found = decode(self, path, check_text)
        if path.name == "good.dcm":
            path.write_bytes(path.read_bytes() + b"\0\0")
        return found

    monkeypatch.setattr(InProcess, "prepare", change)
    prepared = prepare_cohort(clips, tmp_path / "cache", jobs=1)
    assert _outcomes(prepared)[:2] == ["UNREADABLE", "OK"]
    monkeypatch.setattr(InProcess, "prepare", decode)
    assert _outcomes(prepare_cohort(clips, tmp_path / "cache", jobs=1))[:2] == ["OK", "OK"]


def test_nothing_prepared_is_an_error_with_a_table(tmp_path, clips, decoded):
    with pytest.raises(InputError, match=r"NOT_DICOM +2[\s\S]*quality\.csv"):
        prepare_cohort([clips[3], clips[4]], tmp_path / "cache", jobs=1)
    with pytest.raises(InputError, match="no clips"):
        prepare_cohort([], tmp_path / "cache", jobs=1)
    with pytest.raises(InputError, match="second of its patient"):
        prepare_cohort([clips[0], clips[0]], tmp_path / "cache", jobs=1)


def test_what_cannot_be_read_is_a_row_and_the_batch_goes_on(tmp_path, clips, decoded):
    gone, folder, loop, pipe = (
        tmp_path / name for name in ("gone.dcm", "folder.dcm", "loop.dcm", "pipe.dcm")
    )
    gone.symlink_to(tmp_path / "nowhere")
    folder.mkdir()
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    bad = [Clip(f"B{i}", "TC", path) for i, path in enumerate((gone, folder, loop, pipe))]
    prepared = prepare_cohort([*bad, *clips], tmp_path / "cache", jobs=1)
    assert _outcomes(prepared) == ["UNREADABLE"] * 4 + ["OK"] * 3 + ["NOT_DICOM"] * 2
    assert prepared.missing[:4] == ("B0", "B1", "B2", "B3")
    messages = prepared.quality["message"].to_list()
    assert messages[0] == "the file cannot be read (No such file or directory)"
    assert not any(str(tmp_path) in message for message in messages)
    gone.unlink()
    gone.write_bytes(clips[0].path.read_bytes() + b"\0\0")  # mended: nothing of it was remembered
    assert _outcomes(prepare_cohort([bad[0], *clips[1:]], tmp_path / "cache", jobs=1))[0] == "OK"


PERMISSION = """
    import os, sys
    from pathlib import Path
    from cardio_mlflow.data.batch.duplicates import read_contents

    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    for content in read_contents([Path(p) for p in sys.argv[2:]], Path(sys.argv[1]), 1):
        print(bool(content.digest), content.fault)
"""


def test_a_file_without_read_permission_is_unreadable():
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to the user `nobody`
        place = Path(name)
        place.chmod(0o777)
        files = [place / "open.dcm", place / "closed.dcm"]
        for file, mode in zip(files, (0o644, 0o000), strict=True):
            file.write_bytes(b"x")
            file.chmod(mode)
        command = [sys.executable, "-c", textwrap.dedent(PERMISSION), place, *files]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["True ", "False Permission denied"]


UID = "1.2.826.0.1.3680043.9.7"


def test_one_uid_and_two_contents_are_refused(tmp_path, decoded):
    first = write_clip(tmp_path / "first.dcm", fan(), SOPInstanceUID=UID)
    second = write_clip(tmp_path / "second.dcm", fan(frames=30, period=22), SOPInstanceUID=UID)
    other = write_clip(tmp_path / "other.dcm", fan(frames=26, period=18))
    clips = [Clip("P1", "FC", first), Clip("P1", "SA", other), Clip("P2", "FC", second)]
    one = prepare_cohort(clips, tmp_path / "one", jobs=1, rows={"P1": 2, "P2": 3})
    rows = one.quality.set_index(["patient_id", "view"])
    told = [message.split(": ") for message in rows["message"].fillna("")]
    assert told[2] == ["the same SOP Instance UID and other content", "row 2, view FC"]
    assert told[0][1] == "row 3, view FC"
    assert rows["outcome"].to_list() == ["UID_CONFLICT", "OK", "UID_CONFLICT"]
    assert rows.loc[("P1", "FC"), "rows":"duration_s"].replace("", np.nan).isna().all()
    assert (one.patients, one.missing) == (("P1",), ("P2",))
    assert set(one.clips_of("P1")) == {"SA"}
    assert not any(UID.encode() in data for data in _contents(tmp_path / "one").values())
    alone = prepare_cohort(clips[:2], tmp_path / "one", jobs=1)  # the other file was taken out
    assert _outcomes(alone) == ["OK", "OK"]
    assert len(decoded) == 3


def test_a_placeholder_is_no_identity(tmp_path, decoded, caplog):
    clips = []
    for i in range(3):
        path = write_clip(tmp_path / f"{i}.dcm", fan(period=18 + 2 * i), SOPInstanceUID="1.2.3.4.5")
        clips.append(Clip(f"P{i}", "FC", path))
    assert _outcomes(prepare_cohort(clips, tmp_path / "cache", jobs=1)) == ["OK"] * 3
    assert "3 clips share a placeholder for a SOP Instance UID" in caplog.text
    assert "1.2.3.4.5" not in caplog.text


@pytest.mark.parametrize(
    ("uid", "placeholder"),
    [(UID, False), ("1.2.840.113619.2.1.4.5", False), ("2.25.329800735698586629295641978511506172918", False),
     ("1.2.3.4.5", True), ("1.2.3.4.5.6.7.8.9.10", True), ("1.2.840.1", True)],
)  # fmt: skip
def test_what_an_archive_gives_is_an_identity(uid, placeholder):
    digest = clips_module.uid_digest(uid)
    assert (len(digest), digest.startswith("0" * 16)) == (32, placeholder)
    assert clips_module.uid_digest("") == ""


def _exported_again(path, target):
    """The same clip with another header, as a second export of it has."""
    data = pydicom.dcmread(path)
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = UID
    data.StudyDescription = "second export"
    data.save_as(target)
    return target


@pytest.mark.parametrize("again", ["same file", "exported again"])
def test_one_clip_for_two_patients_is_refused_for_both(tmp_path, clips, decoded, caplog, again):
    same = clips[0].path if again == "same file" else _exported_again(clips[0].path, tmp_path / "b.dcm")
    rows = {"P1": 2, "../x": 3, "P4": 7}
    prepared = prepare_cohort([*clips, Clip("P4", "LA", same)], tmp_path / "cache", jobs=1, rows=rows)
    assert _outcomes(prepared) == ["SAME_CLIP", "OK", "OK", "NOT_DICOM", "NOT_DICOM", "SAME_CLIP"]
    assert prepared.quality["message"].to_list()[:1] == ["the same clip stands for row 7, view LA"]
    assert prepared.quality["message"].to_list()[-1] == "the same clip stands for row 2, view SA"
    assert (prepared.same_clips, prepared.missing) == ((("P1", "P4"),), ("P3", "P4"))
    assert set(prepared.clips_of("P1")) == {"FC"}
    assert "2 of them stand for more than one patient" in caplog.text
    assert "P4" not in caplog.text
    assert _outcomes(prepare_cohort(clips, tmp_path / "cache", jobs=1))[0] == "OK"


def test_one_clip_for_two_views_of_a_patient_is_marked(tmp_path, clips, decoded, caplog):
    twice = [*clips, Clip("P1", "LA", clips[0].path)]
    prepared = prepare_cohort(twice, tmp_path / "cache", jobs=1)
    assert prepared.quality["review"].to_list() == ["duplicate", "", "", "", "", "duplicate"]
    assert "2 clips stand for two views of one patient" in caplog.text


def test_clips_stopped_by_a_limit_get_another_chance_with_a_higher_one(tmp_path, clips, decoded):
    InProcess.delay = 30.0
    with pytest.raises(InputError, match="CORRUPT_FRAME"):
        prepare_cohort(clips, tmp_path / "cache", jobs=1, limits=Limits(seconds=0.5))
    decoded.clear()
    with pytest.raises(InputError, match="CORRUPT_FRAME"):
        prepare_cohort(clips, tmp_path / "cache", jobs=1, limits=Limits(seconds=0.4))
    assert decoded == []
    done = prepare_cohort(clips, tmp_path / "cache", jobs=1, limits=Limits(seconds=60))
    assert _outcomes(done) == ["OK", "OK", "OK", "NOT_DICOM", "NOT_DICOM"]
    InProcess.delay = 100.0
    again = prepare_cohort(clips, tmp_path / "cache", jobs=1, limits=Limits(seconds=90))
    assert (_outcomes(again), again.key) == (_outcomes(done), done.key)


def test_a_full_disk_is_reported_and_leaves_no_half(tmp_path, clips, decoded):
    """The system refuses a file as large as a prepared clip, as a full disk or quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(InputError, match=r"cannot be written[\s\S]*-P cache="):
            prepare_cohort(clips, tmp_path / "cache", jobs=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "cache").rglob("*.part"))
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    assert prepare_cohort(clips, tmp_path / "cache", jobs=2).patients == ("P1", "../x")


def test_a_cache_that_cannot_be_written_is_told(tmp_path, clips):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        prepare_cohort(clips, tmp_path / "cache", jobs=1)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told(tmp_path, clips, monkeypatch, code):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(InputError, match=r"without file locks[\s\S]*-P cache="):
        prepare_cohort(clips, tmp_path / "cache", jobs=1)


def test_a_clip_that_another_process_prepares_is_waited_for(tmp_path, clips, decoded):
    """The other process is played by a lock, held until it has written the entry."""
    prepare_cohort(clips, tmp_path / "other", jobs=1)
    decoded.clear()
    there, here = ClipStore(tmp_path / "other" / "prepared", 2**40), tmp_path / "cache"
    (key,) = {
        clip_store.clip_key(c.digest, clips[0].path)
        for c in duplicates.read_contents([clips[0].path], tmp_path, 1)
    }
    store = ClipStore(here / "prepared", 2**40)
    lock = FileLock(store.path(key).with_suffix(".lock"), thread_local=False)
    lock.acquire()
    waiter = threading.Thread(target=lambda: prepare_cohort(clips, here, jobs=2))
    waiter.start()
    wait_for(lambda: "third.dcm" in decoded)  # it goes through the others, and waits at this one
    store.path(key).write_bytes(there.path(key).read_bytes())
    lock.release()
    waiter.join(60)
    assert not waiter.is_alive()
    assert "good.dcm" not in decoded
    assert _kept(here) == _kept(tmp_path / "other")


def test_a_tensor_is_prepared_but_shown_nowhere(tmp_path, decoded):
    torch.save(torch.ones(40, 112, 112), tmp_path / "a.pt")
    prepared = prepare_cohort([Clip("P1", "FC", tmp_path / "a.pt")], tmp_path / "cache", jobs=1)
    assert prepared.quality["review"].tolist() == ["unmasked"]
    assert not list((prepared.folder / "review").glob("*"))
    assert not list((tmp_path / "cache").rglob("*.webp"))
    sheet = cv2.imread(str(prepared.contact_sheets[0]))
    assert np.count_nonzero((sheet >= 250).all(axis=2)) < 2000  # words, and no white square


def _entries(store, count, days=0.0):
    """So many entries, each with its last use so many days ago, the first the longest."""
    keys = [f"{i:032x}" for i in range(count)]
    frames = np.zeros((32, 224, 224), np.uint8)
    for i, key in enumerate(keys):
        store.write(key, Entry(Quality(), pixels="p"), frames)
        store.path(key).with_suffix(".webp").write_bytes(b"film")
        past = time.time() - days * 86400 - 1000 + i
        for path in (store.path(key), store.path(key).with_suffix(".webp")):
            os.utime(path, (past, past))
    return keys


def _there(store):
    return sorted(path.stem for path in (store.folder / "clips").glob("*.safetensors"))


def test_the_oldest_make_way_for_what_is_new(tmp_path):
    store = ClipStore(tmp_path, 6 * 1.7e6)
    keys = _entries(store, 6)
    hold = store.hold([keys[0], "new1", "new2"], "cohort")  # two more are to be written
    assert _there(store) == [keys[0], *keys[3:]]
    assert not store.path(keys[1]).with_suffix(".webp").exists()
    del hold


def test_what_nobody_used_for_long_goes_and_so_do_older_formats(tmp_path):
    store = ClipStore(tmp_path, 1e12)
    keys, now = _entries(store, 2, days=100), time.time()
    for name, days in (("0" * 20, 100), ("1" * 20, 10), ("notes", 100), (f"cohorts/{'2' * 20}", 100)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "quality.csv").write_text("x")
        os.utime(tmp_path / name, (now - days * 86400,) * 2)
    half = tmp_path / "clips" / ".x.safetensors.7.part"
    half.write_bytes(b"half")
    os.utime(half, (now - 86400,) * 2)
    hold = store.hold([keys[1]], "cohort")
    assert _there(store) == [keys[1]]
    left = {path.name for path in tmp_path.iterdir()} | {
        path.name for path in (tmp_path / "cohorts").iterdir()
    }
    assert {"1" * 20, "notes"} <= left
    assert not {"0" * 20, "2" * 20} & left
    assert not half.exists()
    del hold


def test_files_that_vanish_while_the_store_is_looked_through_do_no_harm(tmp_path, monkeypatch):
    """Another process writes: a half is renamed, a picture goes, between the listing and the look at it."""
    store = ClipStore(tmp_path, 1e12)
    (cohort := tmp_path / "cohorts" / ("c" * 20)).mkdir()
    (tmp_path / "clips" / ".x.safetensors.7.part").symlink_to(tmp_path / "gone")
    (cohort / "review.webp").symlink_to(tmp_path / "gone")
    keys = _entries(store, 2)
    hold = store.hold(keys, cohort.name)
    assert _there(store) == keys
    assert cohort.exists()
    del hold


HOLDER = """
    import sys
    from pathlib import Path
    from cardio_mlflow.data.batch.clip_store import ClipStore

    hold = ClipStore(Path(sys.argv[1]), 1e12).hold([sys.argv[2]], sys.argv[3])
    print(flush=True)
    sys.stdin.read()
"""


def test_what_a_living_command_uses_stays_and_what_a_dead_one_used_does_not(tmp_path):
    store = ClipStore(tmp_path, 0)
    keys = _entries(store, 3)
    cohort = tmp_path / "cohorts" / ("c" * 20)
    cohort.mkdir()
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), tmp_path, keys[0], cohort.name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        own = store.hold([keys[1]], "mine")
        assert _there(store) == keys[:2]
        assert cohort.exists()
        other.kill()
        other.wait()
    again = store.hold([keys[1]], "mine")
    assert _there(store) == [keys[1]]
    assert not cohort.exists()
    del own, again
    last = store.hold([], "none")
    assert _there(store) == []
    assert len(list((tmp_path / "holds").glob("*.json"))) == 1
    del last


HANGING = """
    import time
    from pathlib import Path
    from cardio_mlflow.data import clips

    done = []

    def prepare_clip(path, check_text=False):
        if done:
            time.sleep(3600)
        done.append(path)
        return clips.prepare_clip(path, check_text)
"""


DRIVER = """
    import sys
    from pathlib import Path
    from cardio_mlflow.data.batch import sandbox
    from cardio_mlflow.data.cohort.cohort import Clip
    from cardio_mlflow.data.prepare import prepare_cohort

    sandbox._PREPARATION = "hanging"
    clips = [Clip(path.stem, "FC", path) for path in sorted(Path(sys.argv[1]).glob("*.dcm"))]
    prepare_cohort(clips, Path(sys.argv[2]), jobs=2)
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The clips of five patients, and all files of the prepared cohort."""
    data, cache = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache")
    clips = [
        Clip(f"P{i}", "FC", write_clip(data / f"P{i}.dcm", fan(frames=30, period=16 + 2 * i)))
        for i in range(5)
    ]
    prepare_cohort(clips, cache, jobs=2)
    return clips, _kept(cache)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_leaves_no_process_and_goes_on(tmp_path, undisturbed, sign):
    """Each of two child processes prepares one clip, and hangs on its second."""
    (clips, whole), cache = undisturbed, tmp_path / "cache"
    (tmp_path / "hanging.py").write_text(textwrap.dedent(HANGING))
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER), str(clips[0].path.parent), str(cache)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_for(lambda: len(list(cache.rglob("*.safetensors"))) == 2)
        children = psutil.Process(run.pid).children()
        assert len(children) == 3, "two that decode, and the one that cleans up after multiprocessing"
        (os.killpg if sign == signal.SIGINT else os.kill)(run.pid, sign)  # Ctrl-C reaches the children too
        said = run.communicate(timeout=PATIENCE)[1].decode()
    finally:
        kill_with_children(run.pid)
    wait_for_the_end_of(children)
    kept = {path: path.stat().st_ino for path in cache.rglob("*.safetensors")}
    assert len(kept) == 2
    assert not list(cache.rglob("quality.csv"))
    assert not list(cache.rglob("*.part"))
    if sign != signal.SIGKILL:
        assert "KeyboardInterrupt" in said
    prepare_cohort(clips, cache, jobs=2)
    assert {path: path.stat().st_ino for path in kept} == kept
    assert _kept(cache) == whole
