"""Many patients prepared side by side, each worker with a sandbox of its own."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Self, TypeVar

import pandas as pd
from filelock import FileLock
from tqdm import tqdm

from cardio_mlflow.data.batch.patient_files import (
    Row,
    clear_parts,
    drop_views,
    is_done,
    prepare_patient,
    read_rows,
    write_bytes,
)
from cardio_mlflow.data.batch.sandbox import Limits, Sandbox
from cardio_mlflow.data.cohort.cohort import Clip
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import ClipReview, Quality
from cardio_mlflow.errors import InputError

_MEMO: Final = "contents.json"
_MAX_REMEMBERED: Final = 200_000
# A file written so short a time ago could be written again within one tick of the file system's clock.
_SETTLING_NS = 3 * 10**9


def content_digests(clips: Sequence[Clip], folder: Path, jobs: int) -> list[str]:
    """Digest of each clip's file, 32 hexadecimal digits, in the order of the clips.

    A file whose place, size, inode and times of change are those of an earlier call is not read again.
    The time of the inode's change is among them: nobody can set it back. The memo names no file.

    Args:
        clips: the clips.
        folder: where the memo lies; it must exist.
        jobs: number of files read at a time.

    Raises:
        InputError: a clip's file cannot be read.
    """
    marks = [_mark(clip.path, _stat(clip.path, i)) for i, clip in enumerate(clips)]
    known = _read_memo(folder / _MEMO)
    new = {mark: i for i, mark in enumerate(marks) if mark not in known}
    found: dict[str, str] = {}
    with ExitStack() as stack:
        workers = stack.enter_context(ThreadPoolExecutor(jobs))
        stack.callback(workers.shutdown, wait=False, cancel_futures=True)
        digests = workers.map(lambda i: _digest(clips[i].path, i), new.values())
        bar = stack.enter_context(tqdm(total=len(new), desc="read", unit="clip", delay=1.0))
        for mark, digest in zip(new, digests, strict=True):
            found[mark] = digest
            bar.update()
    settled = {mark: digest for mark, digest in found.items() if _settled(clips[new[mark]].path, mark)}
    if settled:
        _remember(folder / _MEMO, settled)
    known |= found
    return [known[mark] for mark in marks]


def _stat(path: Path, position: int) -> os.stat_result:
    try:
        return path.stat()
    except OSError as fault:
        raise _unreadable(position, fault) from None


def _mark(path: Path, stat: os.stat_result) -> str:
    """Changes whenever the file does."""
    facts = [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    text = json.dumps([str(path.resolve()), *facts])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _digest(path: Path, position: int) -> str:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    except OSError as fault:
        raise _unreadable(position, fault) from None
    return str(digest.hexdigest())


def _settled(path: Path, mark: str) -> bool:
    """Whether a file is as it was before it was read, and has been so for a while."""
    try:
        stat = path.stat()
    except OSError:
        return False
    age = time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns)
    return age > _SETTLING_NS and _mark(path, stat) == mark


def _read_memo(path: Path) -> dict[str, str]:
    try:
        memo = json.loads(path.read_text("ascii"))
    except (OSError, ValueError):
        return {}
    return memo if isinstance(memo, dict) else {}


def _remember(path: Path, found: dict[str, str]) -> None:
    """Add to the memo, the newest last; the oldest go when there are too many."""
    with FileLock(path.with_suffix(".lock")):
        clear_parts(path.parent)
        memo = list((_read_memo(path) | found).items())[-_MAX_REMEMBERED:]
        write_bytes(path, json.dumps(dict(memo), indent=0).encode())


def _unreadable(position: int, fault: OSError) -> InputError:
    return InputError(
        f"Clip {position + 1} of the cohort cannot be read ({fault.strerror}); clips are counted by the "
        "rows of the label sheet, then by view.\nCheck that the file exists and that you may read it."
    )


def conflicting(instances: Sequence[str], contents: Sequence[str]) -> set[int]:
    """Positions of clips that carry one instance's UID and differ in content.

    Args:
        instances: digest of each clip's UID, empty where it has none.
        contents: digest of each clip's file.

    >>> sorted(conflicting(["u", "u", "v", "v", "", ""], ["a", "b", "c", "c", "d", "e"]))
    [0, 1]
    """
    found: dict[str, set[str]] = defaultdict(set)
    for instance, content in zip(instances, contents, strict=True):
        found[instance].add(content)
    return {i for i, instance in enumerate(instances) if instance and len(found[instance]) > 1}


def repeated(contents: Sequence[str]) -> set[int]:
    """Positions of clips whose file is the same, byte for byte, as another's.

    >>> sorted(repeated(["a", "b", "a"]))
    [0, 2]
    """
    counts = Counter(contents)
    return {i for i, content in enumerate(contents) if counts[content] > 1}


DUPLICATE: Final = "duplicate"
"""The word in the column ``review`` of a clip whose file is the same as another clip's."""

_CONFLICT: Final = "another file of the cohort has the same SOP Instance UID and other content"


def cohort_rows(
    patients: Mapping[str, Sequence[Clip]], contents: Mapping[Clip, str], home: Path
) -> list[Row]:
    """The rows of a cohort's clips, by patient and view, once every patient is prepared.

    Two clips with one SOP Instance UID and different contents are both refused, since nobody can say
    whose they are; their pixels are taken out of the patients' files. Clips of the same content are kept
    and marked for review. The files of rows stay as they are, so a stop in between changes nothing.

    Args:
        patients: the clips of each patient.
        contents: digest of each clip's file.
        home: the prepared cohort's folder.
    """
    digests = {(clip.patient_id, clip.view): digest for clip, digest in contents.items()}
    rows = [row for patient in patients for row in read_rows(home, patient)]
    content = [digests[row["patient_id"], row["view"]] for row in rows]
    conflicts = conflicting([row["instance"] for row in rows], content)
    same = repeated(content)
    _drop(home, [rows[i] for i in sorted(conflicts)])
    return [_judged(row, i in conflicts, i in same) for i, row in enumerate(rows)]


def _drop(home: Path, rows: Sequence[Row]) -> None:
    views = defaultdict(list)
    for row in rows:
        views[row["patient_id"]].append(row["view"])
    for patient, codes in views.items():
        drop_views(home, patient, codes)


def _judged(row: Row, conflict: bool, same: bool) -> Row:
    if row["outcome"] == Outcome.OK and conflict:
        refused = asdict(Quality(outcome=Outcome.UID_CONFLICT, message=_CONFLICT))
        return row | refused | {"review_data": asdict(ClipReview())}
    if row["outcome"] == Outcome.OK and same:
        return row | {"review": f"{row['review']} {DUPLICATE}".strip()}
    return row


_HINTS: Final[dict[Outcome, str]] = {
    Outcome.NOT_DICOM: "export the clip again, or take the file out of the cohort",
    Outcome.NO_PIXELS: "a report or a header without an image; export the clip itself",
    Outcome.WRONG_MODALITY: "not ultrasound; take it out of the cohort",
    Outcome.WRONG_SOP: "not an ultrasound multi-frame image; export it as a cine loop",
    Outcome.UNSUPPORTED_TRANSFER_SYNTAX: "export as uncompressed or JPEG",
    Outcome.TRUNCATED: "copy the file again",
    Outcome.CORRUPT_FRAME: "copy or export again; a clip that took too long: -P clip_seconds=",
    Outcome.FRAME_COUNT_MISMATCH: "export the clip again",
    Outcome.SINGLE_FRAME: "a still; export the cine loop",
    Outcome.TOO_LARGE: "export a shorter loop, or a smaller image; out of memory: -P clip_memory=",
    Outcome.NOT_2D: "M-mode or spectral Doppler; take a 2-D clip of the view",
    Outcome.COLOR_DOPPLER: "take the clip without colour",
    Outcome.MULTI_2D: "two images side by side; take a clip of one",
    Outcome.NO_SECTOR: "no sector found, so nothing could be masked; take another clip of the view",
    Outcome.NO_TIMING: "export with frame times",
    Outcome.NO_FULL_CYCLE: "take a clip of at least one whole heart cycle",
    Outcome.UID_CONFLICT: "two different files claim to be one clip; find out which is right",
    Outcome.BAD_TENSOR: "needs one float tensor of 0 to 1, frames x rows x columns",
    Outcome.BAD_VIDEO: "convert it to AVI or MP4 that OpenCV reads, or export DICOM",
}


def outcome_table(quality: pd.DataFrame) -> str:
    """The number of clips by outcome code, OK first, then the most frequent, each with what to do.

    Args:
        quality: one row a clip, with the column ``outcome``.
    """
    counts = quality["outcome"].map(str).value_counts()
    order = sorted(counts.index, key=lambda code: (code != Outcome.OK, -counts[code], code))
    return "\n".join(f"  {code:<28}{counts[code]:>6}  {_hint(code)}".rstrip() for code in order)


def _hint(code: str) -> str:
    return _HINTS.get(Outcome(code), "")


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def prepare_patients(
    patients: Mapping[str, Sequence[Clip]], home: Path, jobs: int, check_text: bool, limits: Limits
) -> None:
    """Prepare the patients that are not done yet, with a progress bar that counts clips.

    On an error, Ctrl-C or SIGTERM the child processes are ended at once; patients that are done stay
    done, and those in work leave nothing.

    Args:
        patients: the clips of each patient, at most one a view.
        home: the prepared cohort's folder.
        jobs: number of sandboxes, at least 1.
        check_text: mark clips with text left inside the sector for review.
        limits: of one clip.

    Raises:
        InputError: the folder cannot be written, or a sandbox cannot be started.
    """
    waiting, done, refused = [], 0, 0
    for patient in patients:
        rows = read_rows(home, patient)
        if is_done(rows, limits):
            done, refused = done + len(rows), refused + _refused(rows)
        else:
            waiting.append(patient)
    total = sum(map(len, patients.values()))
    with (
        tqdm(total=total, initial=done, desc="prepare", unit="clip", smoothing=0.05) as bar,
        _Workers(min(jobs, len(waiting)), limits) as workers,
    ):
        for rows in workers.each(
            lambda patient, sandbox: prepare_patient(home, patient, patients[patient], sandbox, check_text),
            waiting,
        ):
            refused += _refused(rows)
            bar.set_postfix(refused=refused, refresh=False)
            bar.update(len(rows))


def _refused(rows: Iterable[Row]) -> int:
    return sum(row["outcome"] != Outcome.OK for row in rows)


class _Workers:
    """Threads that each lead a sandbox; leaving the context ends all of them at once."""

    def __init__(self, count: int, limits: Limits) -> None:
        self._sandboxes = [Sandbox(limits) for _ in range(count)]
        self._idle: SimpleQueue[Sandbox] = SimpleQueue()
        for sandbox in self._sandboxes:
            self._idle.put(sandbox)
        self._threads = ThreadPoolExecutor(max(1, count))

    def each(self, work: Callable[[_Item, Sandbox], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """What comes of each item, in the order in which they are finished."""

        def lead(item: _Item) -> _Result:
            sandbox = self._idle.get()
            try:
                return work(item, sandbox)
            finally:
                self._idle.put(sandbox)

        for future in as_completed([self._threads.submit(lead, item) for item in items]):
            yield future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for sandbox in self._sandboxes:
            sandbox.close()
        self._threads.shutdown(wait=True)
