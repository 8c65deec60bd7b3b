"""Digests of the clips' files, remembered so that a file that has not changed is not read again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from filelock import FileLock
from tqdm import tqdm

from cardio_mlflow.data.batch.patient_files import clear_parts, write_bytes
from cardio_mlflow.data.cohort import Clip
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
