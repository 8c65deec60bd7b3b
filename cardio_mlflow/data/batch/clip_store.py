"""The store of prepared clips: one file per clip, named by what it is made from, shared by all cohorts."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from cardio_mlflow.data.batch.child_process import Limits
from cardio_mlflow.data.clips import PREPARED_FRAMES, PREPARED_SIZE
from cardio_mlflow.data.cohort.clip import KINDS, kind_of
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import ClipReview, Quality
from cardio_mlflow.errors import InputError
from cardio_mlflow.files import PART, write_whole

PREPARATION_VERSION: Final = "5"
"""Raised whenever the same clip would be prepared differently; part of every key."""
MAX_AGE: Final = 90 * 86400.0
"""Seconds after which what nobody has used is removed."""

_CLIP_BYTES: Final = PREPARED_FRAMES * PREPARED_SIZE**2 + 2**16  # and its film
_NO_LOCKS: Final = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_PART_AGE: Final = 3600.0
_COHORT: Final = re.compile("[0-9a-f]{20}")  # its folder; that of versions before 4 lies one floor higher


@dataclass(frozen=True)
class Entry:
    """What is kept of one clip beside its frames; nothing of the patient, the view or the file's name.

    Attributes:
        quality: its row of ``quality.csv``, with every word that can stand in ``review``.
        instance: as in `PreparedClip`.
        pixels: digest of its frames; empty where it was refused.
        limits: seconds and MiB that stopped it.
    """

    quality: Quality
    review: ClipReview = field(default_factory=ClipReview)
    instance: str = ""
    pixels: str = ""
    limits: tuple[float, int] | None = None


_ENTRIES: Final = TypeAdapter(Entry)


def entry_in(metadata: Mapping[str, str] | None) -> Entry:
    """The entry in the metadata of a file of the store; ValidationError where there is none."""
    return _ENTRIES.validate_json((metadata or {}).get("clip", ""))


class Hold:
    """Keeps entries from being removed as long as it lives; a copy in another process holds nothing."""

    def __init__(self, lock: FileLock | None = None) -> None:
        self._lock = lock

    def __reduce__(self) -> tuple[type[Hold], tuple[()]]:
        return Hold, ()


def clip_key(content: str, path: Path) -> str:
    """The name of a clip's entry: from the digest of its content and the kind of file that its name says."""
    kind = kind_of(path) or KINDS[0]
    named = kind if kind == KINDS[0] else path.suffix.lower()
    made_from = [PREPARATION_VERSION, PREPARED_FRAMES, PREPARED_SIZE, content, named]
    return hashlib.blake2b(json.dumps(made_from).encode(), digest_size=16).hexdigest()


class ClipStore:
    """Entries in ``<folder>/clips``: ``<key>.safetensors`` and perhaps its film, ``<key>.webp``."""

    def __init__(self, folder: Path, budget: float) -> None:
        """Use a folder, made if need be, of which everything may take so many bytes, or what commands use.

        Raises:
            InputError: it cannot be written.
        """
        self.folder, self._budget = folder, budget
        for name in ("clips", "cohorts", "holds"):
            made(folder / name)
        try:  # the locks of file names that filelock takes instead would outlive a killed process
            with FileLock(folder / "store.lock", fallback_to_soft=False):
                pass
        except (OSError, NotImplementedError) as fault:
            raise unwritable(fault) from None

    def path(self, key: str) -> Path:
        """The entry's file; of a prepared clip it holds ``frames``, uint8, 32 × 224 × 224."""
        return self.folder / "clips" / f"{key}.safetensors"

    def read(self, key: str, limits: Limits) -> Entry | None:
        """An entry; None where there is none, or a limit below these has stopped the clip."""
        try:
            with safe_open(self.path(key), "numpy") as file:
                entry = entry_in(file.metadata())
                if entry.quality.outcome == Outcome.OK and "frames" not in file.keys():  # noqa: SIM118
                    return None
        except (OSError, SafetensorError, ValidationError):  # not yet, or cut off by a loss of power
            return None
        seconds, memory = entry.limits or (limits.seconds, limits.memory)
        return None if seconds < limits.seconds or memory < limits.memory else entry

    def write(self, key: str, entry: Entry, frames: NDArray[np.uint8] | None) -> None:
        """Write an entry whole or not at all."""
        tensors = {} if frames is None else {"frames": frames}
        write_bytes(self.path(key), save(tensors, {"clip": _ENTRIES.dump_json(entry).decode()}))

    def frames(self, key: str) -> NDArray[np.uint8]:
        """The frames of a prepared clip, uint8, 32 × 224 × 224."""
        return load_file(self.path(key))["frames"]

    def hold(self, keys: Iterable[str], cohort: str) -> Hold:
        """Keep a cohort's folder and its entries, there or still to be made, until the hold is deleted.

        What is old is removed to make room for the entries that are missing. It raises an InputError where
        the folder cannot be written.
        """
        wanted, place = set(keys), self.folder / "holds" / uuid.uuid4().hex
        try:
            with FileLock(self.folder / "store.lock"):
                (lock := FileLock(place.with_suffix(".lock"))).acquire()
                place.with_suffix(".json").write_text(json.dumps([*sorted(wanted), cohort]), "ascii")
                there = [path for key in wanted if (path := self.path(key)).exists()]
                for path in there:
                    os.utime(path)
                self._remove_old(_CLIP_BYTES * (len(wanted) - len(there)))
        except OSError as fault:
            raise unwritable(fault) from None
        return Hold(lock)

    def _remove_old(self, needed: int) -> None:
        """Remove what is too old and, until so many bytes fit, what was used least recently."""
        held, now, things = self._held(), time.time(), sorted(self._things())
        excess = sum(size for _, size, _, _ in things) + needed - self._budget
        for used, size, name, paths in things:
            if name not in held and (excess > 0 or now - used > MAX_AGE):
                excess -= size
                for path in paths:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _held(self) -> set[str]:
        """Names that living processes use; the holds of dead ones are removed."""
        held: set[str] = set()
        for path in (self.folder / "holds").glob("*.json"):
            lock = FileLock(path.with_suffix(".lock"))
            try:
                with lock.acquire(timeout=0):
                    path.unlink()
                    path.with_suffix(".lock").unlink(missing_ok=True)
            except Timeout:
                held |= set(json.loads(path.read_text("ascii")))
        return held

    def _things(self) -> Iterator[tuple[float, int, str, list[Path]]]:
        """What can be removed, each with its last use, bytes, name and paths.

        Clips, cohorts, folders of older versions, and the halves that a killed process left.
        """
        things = defaultdict(list)
        for path in [p for name in ("clips", "cohorts", ".") for p in (self.folder / name).iterdir()]:
            if path.suffix in (".safetensors", ".webp") or (path.is_dir() and _COHORT.fullmatch(path.name)):
                things[path.stem].append(path)
            elif path.suffix == PART:
                with suppress(FileNotFoundError):  # where it has become a whole file meanwhile
                    if time.time() - path.stat().st_mtime > _PART_AGE:
                        path.unlink()
        for name, paths in things.items():
            used = max(path.stat().st_mtime for path in paths)
            yield used, sum(map(_bytes, paths)), name, paths


def _bytes(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; a file of two names counts half for each."""
    inside = [Path(base, name) for base, _, names in os.walk(path) for name in names]
    total = 0
    for file in inside or [path]:
        with suppress(FileNotFoundError):
            total += file.stat().st_size // file.stat().st_nlink
    return total


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, see ``write_whole``; InputError where that fails."""
    try:
        write_whole(path, data)
    except OSError as fault:
        raise unwritable(fault) from None


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process is here, with a lock file that is gone afterwards."""
    with FileLock(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is held: who waits for it starts anew


def made(folder: Path) -> Path:
    """A folder that is there now, or an InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise unwritable(fault) from None
    return folder


def unwritable(fault: OSError | NotImplementedError) -> InputError:
    """The error for a cache folder that takes no more, or has no locks."""
    if not isinstance(fault, OSError) or fault.errno in _NO_LOCKS:
        return InputError(
            "The cache folder lies on a file system without file locks, as some network ones are.\n"
            "Give one on another, such as a local disk: -P cache=<folder>, or have locks turned on "
            "(Lustre: mount option flock)."
        )
    return InputError(
        f"The cache folder cannot be written ({fault.strerror}).\n"
        "Make room there (a clip takes 1.7 MB) or give another one: -P cache=<folder>. "
        "What is prepared is kept."
    )
