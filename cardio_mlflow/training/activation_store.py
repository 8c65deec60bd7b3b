"""Activations on disk, memory-mapped, within a budget, shared by every process that needs the same ones.

The store is a folder with one folder for each *set* of activations (one backbone, one depth), and in it one
file for each *row* (one copy of one patient's clips), whatever cohorts the patient is in. A process that uses
a set holds a lock in it, which the system releases when the process ends in whatever way. Rows of sets that
nobody holds make room for others: those of other backbones and clips first, the least recently used of them
before the others.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cardio_mlflow.files import PART, whole_file, write_whole
from cardio_mlflow.training.backbone_pass import Activations

KEPT_FREE: Final = 2**30
"""Bytes of the disk that a set never takes."""
MAX_AGE: Final = 14 * 86400.0
"""Seconds after which a row that nobody has used is removed."""


@dataclass
class ActivationSet:
    """The rows of a set that this process uses; ``ActivationStore.open`` returns it.

    Attributes:
        folder: may hold rows of other cohorts too.
        rows: their names.
        written: those that this process has stored.
    """

    folder: Path
    rows: Sequence[str]
    _hold: FileLock
    written: list[str] = field(default_factory=list)
    _open: dict[str, Activations] = field(default_factory=dict)

    def has(self, row: str) -> bool:
        """Whether this row is stored; a file that a loss of power has cut off is removed."""
        path = _path(self.folder, row)
        if row not in self._open and path.is_file():
            try:
                with safe_open(path, framework="pt") as file:
                    self._open[row] = Activations(file.get_tensor("rows"), file.get_tensor("frame_of"))
            except SafetensorError:
                path.unlink(missing_ok=True)
        return row in self._open

    def read(self, row: str) -> Activations:
        """The row, memory-mapped: its bytes are read when they are looked at.

        Raises:
            KeyError: it is not stored.
        """
        self.has(row)
        return self._open[row]

    def write(self, row: str, activations: Activations) -> None:
        """Store a row; a row that is there already stays.

        Raises:
            OSError: the disk has no room; nothing is left of the row.
        """
        if self.has(row):
            return
        tensors = {"rows": activations.rows, "frame_of": activations.frame_of}
        with whole_file(_path(self.folder, row), sync=False) as part:  # a loss of power costs only time
            save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, part)
        self.written.append(row)

    def is_complete(self) -> bool:
        """Whether every row is stored."""
        return all(self.has(row) for row in self.rows)

    @contextmanager
    def claimed(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Hold a lock that one process at a time has; yields whether it is held.

        Args:
            name: what is claimed.
            wait: whether to wait for a process that holds it.
        """
        lock = FileLock(self.folder / f"{name}.lock")
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def close(self) -> None:
        """Release the rows, so that they may make room for others."""
        self._open.clear()
        _mark_used(self.folder, self.rows)
        self._hold.release()
        with suppress(OSError):
            Path(self._hold.lock_file).unlink(missing_ok=True)


class ActivationStore:
    """Sets of activations in a folder, together within a budget of bytes."""

    def __init__(self, folder: Path, budget: float):
        """Use a folder, which is made if need be, and so many bytes for all sets; 0 keeps nothing."""
        self.folder = folder
        self.budget = budget

    def open(self, source: str, depth: int, rows: Sequence[str], row_bytes: int) -> ActivationSet | None:
        """Open rows of a set, and make room for those that are not stored.

        Args:
            source: digest of what the activations are made from beside the clips.
            depth: number of blocks that they are the output of.
            rows: the names of the rows that are needed.
            row_bytes: the most that a row takes.

        Returns:
            The set, held by this process until ``close``; None where there is no room for it.

        Raises:
            OSError: the disk has no room even for the set's folder.
        """
        if len(rows) * row_bytes > self.budget:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = self.folder / _key(source, depth)
        with FileLock(self.folder / "store.lock"):
            if new := set(rows) - set(_stored(folder)) - _to_come(folder)[0]:
                _mark_used(folder, rows)
                self._remove_old()
                if not self._make_room(len(new) * row_bytes, source, folder, set(rows)):
                    return None
            return self._hold(folder, rows, row_bytes)

    def open_existing(self, source: str, depth: int, rows: Sequence[str]) -> ActivationSet | None:
        """Open these rows of a set if all of them are stored."""
        folder = self.folder / _key(source, depth)
        if not folder.is_dir():
            return None
        with FileLock(self.folder / "store.lock"):
            if set(rows) - set(_stored(folder)):
                return None
            found = self._hold(folder, rows, 0)
        if found.is_complete():
            return found
        found.close()
        return None

    def discard(self, opened: ActivationSet) -> None:
        """Close a set; of one that could not be completed, remove what this process has stored.

        Where another process holds it, that stays.
        """
        half_done = [] if opened.is_complete() else opened.written
        opened.close()
        with FileLock(self.folder / "store.lock"):
            if not _is_held(opened.folder):
                _remove(opened.folder, half_done)

    def used(self) -> int:
        """Bytes that the sets take when what is to be stored is stored."""
        return sum(sum(_stored(folder).values()) + _owed(folder) for folder in self._sets())

    def _hold(self, folder: Path, rows: Sequence[str], row_bytes: int) -> ActivationSet:
        """Hold a set, and note in it what is to be stored."""
        folder.mkdir(exist_ok=True)
        planned, most = _to_come(folder)
        if not _is_held(folder):
            for left in [*folder.glob(f"*{PART}"), *folder.glob("*.lock")]:  # of a process that was killed
                left.unlink(missing_ok=True)
        plan = {"rows": sorted(planned.union(rows)), "row_bytes": max(most, row_bytes)}
        write_whole(folder / "plan.json", json.dumps(plan))
        _mark_used(folder, rows)
        hold = FileLock(folder / f"{uuid.uuid4().hex}.held")
        hold.acquire()
        return ActivationSet(folder, rows, hold)

    def _make_room(self, needed: int, source: str, folder: Path, rows: Collection[str]) -> bool:
        """Remove rows that nobody holds until so many bytes fit; none, where that is not enough."""
        over = max(self.used() + needed - self.budget, needed + KEPT_FREE - self._free())
        chosen: list[_Idle] = []
        for idle in sorted(self._idle(source, folder, rows)):
            if over <= 0:
                break
            chosen.append(idle)
            over -= idle.bytes
        if over > 0:
            return False
        for idle in chosen:
            _remove(idle.folder, idle.rows)
        return True

    def _idle(self, source: str, folder: Path, rows: Collection[str]) -> Iterator[_Idle]:
        """What may be removed for rows of a set: others' rows one by one, its own of a depth at once."""
        for other in (found for found in self._sets() if not _is_held(found)):
            stored = _stored(other)
            own = {row for row in stored if row in rows} if other.name.startswith(f"{source}-") else set()
            for row in stored.keys() - own:
                yield _Idle(False, _last_use(other, row), other, (row,), stored[row])
            size = sum(stored[row] for row in own)
            if own and other != folder:
                yield _Idle(True, -size, other, tuple(own), size)

    def _free(self) -> int:
        """Free bytes of the disk, less what the sets have still to write."""
        return shutil.disk_usage(self.folder).free - sum(_owed(folder) for folder in self._sets())

    def _remove_old(self) -> None:
        """Remove what nobody has used for long, and what is left of a removal that was cut off."""
        oldest = time.time() - MAX_AGE
        for folder in (found for found in self._sets() if not _is_held(found)):
            _remove(folder, [row for row in _stored(folder) if _last_use(folder, row) < oldest])

    def _sets(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.is_dir()]


class _Idle(NamedTuple):
    """Rows that may be removed; they sort in the order in which they are."""

    own: bool
    rank: float
    folder: Path
    rows: tuple[str, ...]
    bytes: int


def _key(source: str, depth: int) -> str:
    return f"{source}-{depth:02d}"


def _path(folder: Path, row: str) -> Path:
    return folder / f"{row}.safetensors"


def _stored(folder: Path) -> dict[str, int]:
    """The bytes of each row that is stored."""
    sizes = {}
    for file in folder.glob("*.safetensors"):
        with suppress(FileNotFoundError):  # it was cut off, and another process has just removed it
            sizes[file.stem] = file.stat().st_size
    return sizes


def _to_come(folder: Path) -> tuple[set[str], int]:
    """The rows that those who hold a set want, and the most that one takes; none, where nobody holds it."""
    if not _is_held(folder):
        return set(), 0
    try:
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        return set(plan["rows"]), int(plan["row_bytes"])
    except (OSError, ValueError, KeyError, TypeError):  # of another version
        return set(), 0


def _owed(folder: Path) -> int:
    """Bytes that are still to be written into a set."""
    rows, row_bytes = _to_come(folder)
    return len(rows - set(_stored(folder))) * row_bytes


def _mark_used(folder: Path, rows: Iterable[str]) -> None:
    for row in rows:
        with suppress(OSError):
            os.utime(_path(folder, row))


def _last_use(folder: Path, row: str) -> float:
    return _path(folder, row).stat().st_mtime


def _is_held(folder: Path) -> bool:
    """Whether a living process holds the set; locks of dead ones are removed."""
    for file in folder.glob("*.held"):
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        file.unlink(missing_ok=True)
    return False


def _remove(folder: Path, rows: Collection[str]) -> None:
    """Remove rows of a set, and the set when none is left."""
    for row in rows:
        _path(folder, row).unlink(missing_ok=True)
    if not _stored(folder):
        shutil.rmtree(folder, ignore_errors=True)
