"""Activations on disk, memory-mapped, within a budget, shared by every process that needs the same ones.

The store is a folder with one folder for each *set* of activations (one backbone, one depth, one list of
clips), and in it one safetensors file a *row* (one copy of one patient). A row is written under a
temporary name and renamed, so what has a row's name is whole, whenever a process is killed. A process
that uses a set holds a lock in it, which the system drops when the process ends in whatever way; sets that
nobody holds make way, the least recently used first.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says when a disk, a quota or a file's largest size is full."""
KEPT_FREE: Final = 2**30
"""Bytes of the disk that a set never takes."""
MAX_AGE: Final = 14 * 86400.0
"""Seconds after which a set that nobody has used is removed."""
_TENSOR: Final = "activations"

log = logging.getLogger(__name__)


@dataclass
class ActivationSet:
    """The rows of one set, open in this process; ``ActivationStore.open`` gives it.

    Attributes:
        folder: where its rows lie.
        rows: how many rows a complete set has.
    """

    folder: Path
    rows: int
    _hold: FileLock
    _open: dict[str, Tensor] = field(default_factory=dict)

    def has(self, row: str) -> bool:
        """Whether this row is stored; a file that a loss of power has cut off is removed."""
        if row not in self._open and self._path(row).is_file():
            try:
                self._open[row] = _mapped(self._path(row))
            except SafetensorError:
                self._path(row).unlink(missing_ok=True)
        return row in self._open

    def read(self, row: str) -> Tensor:
        """The row, memory-mapped: its bytes are read when they are looked at.

        Raises:
            KeyError: it is not stored.
        """
        self.has(row)
        return self._open[row]

    def write(self, row: str, activations: Tensor) -> None:
        """Store a row; a row that is there already stays.

        Raises:
            OSError: the disk has no room; nothing is left of the row.
        """
        if self.has(row):
            return
        part = self._path(row).with_suffix(f".{uuid.uuid4().hex}.part")
        try:
            save_file({_TENSOR: activations.contiguous().cpu()}, str(part))
            part.replace(self._path(row))
        except SafetensorError as error:  # how this library tells an OSError
            raise OSError(_errno_in(str(error)), "a row of activations cannot be written") from error
        finally:
            part.unlink(missing_ok=True)

    def is_complete(self) -> bool:
        """Whether every row is stored."""
        return self.stored() >= self.rows

    def stored(self) -> int:
        """How many rows are stored."""
        return sum(1 for _ in self.folder.glob("*.safetensors"))

    @contextmanager
    def claimed(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Hold a lock that one process at a time has; gives whether it is held.

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
        """Let go of the set, so that it may make way for others."""
        self._open.clear()
        with suppress(OSError):
            os.utime(self.folder / "plan.json")
        self._hold.release()
        with suppress(OSError):
            Path(self._hold.lock_file).unlink(missing_ok=True)

    def _path(self, row: str) -> Path:
        return self.folder / f"{row}.safetensors"


class ActivationStore:
    """Sets of activations in a folder, together within a budget of bytes."""

    def __init__(self, folder: Path, budget: float):
        """Use a folder, which is made if need be.

        Args:
            folder: the store.
            budget: bytes that all sets together may take; 0 keeps nothing.
        """
        self.folder = folder
        self.budget = budget

    def open(self, key: str, rows: int, row_bytes: int) -> ActivationSet | None:
        """Open a set, or make room for a new one; other sets that nobody holds make way.

        Args:
            key: names the set.
            rows: how many rows it has when complete.
            row_bytes: size of a row.

        Returns:
            The set, held by this process until ``close``; None where there is no room for it.
        """
        needed = rows * row_bytes
        if needed > self.budget:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "store.lock"):
            folder = self.folder / key
            if not (folder / "plan.json").is_file():
                self._remove_old()
                if not self._make_room(needed):
                    return None
                folder.mkdir(exist_ok=True)
                (folder / "plan.json").write_text(json.dumps({"bytes": needed}), encoding="utf-8")
            return self._hold(folder, rows)

    def open_existing(self, key: str, rows: int) -> ActivationSet | None:
        """Open a set if it is there and complete."""
        if not (self.folder / key / "plan.json").is_file():
            return None
        with FileLock(self.folder / "store.lock"):
            if not (self.folder / key / "plan.json").is_file():
                return None
            found = self._hold(self.folder / key, rows)
        if found.is_complete():
            return found
        found.close()
        return None

    def used(self) -> int:
        """Bytes that the sets take when they are complete."""
        return sum(_planned(folder) for folder in self._sets())

    def _hold(self, folder: Path, rows: int) -> ActivationSet:
        if not _is_held(folder):
            for part in folder.glob("*.part"):  # of a process that was killed
                part.unlink(missing_ok=True)
        os.utime(folder / "plan.json")
        hold = FileLock(folder / f"{uuid.uuid4().hex}.held")
        hold.acquire()
        return ActivationSet(folder, rows, hold)

    def _make_room(self, needed: int) -> bool:
        """Remove sets that nobody holds, the least recently used first, until this many bytes fit."""
        idle = iter(sorted((f for f in self._sets() if not _is_held(f)), key=_last_use))
        while self.used() + needed > self.budget or needed + KEPT_FREE > shutil.disk_usage(self.folder).free:
            folder = next(idle, None)
            if folder is None:
                return False
            _remove(folder)
        return True

    def _remove_old(self) -> None:
        """Remove what nobody has used for long, and what is left of a removal that was cut off."""
        for folder in (path for path in self.folder.iterdir() if path.is_dir()):
            if time.time() - _last_use(folder) > MAX_AGE and not _is_held(folder):
                _remove(folder)

    def _sets(self) -> list[Path]:
        return [plan.parent for plan in self.folder.glob("*/plan.json")]


def is_no_room(error: OSError) -> bool:
    """Whether an error says that the disk, the quota or the file's largest size is full."""
    return error.errno in NO_ROOM


def _mapped(path: Path) -> Tensor:
    with safe_open(str(path), framework="pt") as file:
        tensor: Tensor = file.get_tensor(_TENSOR)
        return tensor


def _errno_in(message: str) -> int:
    """The error number in the words of an I/O error of safetensors: ``... (os error 28) ...``."""
    number = message.partition("(os error ")[2].partition(")")[0]
    return int(number) if number.isdecimal() else errno.EIO


def _planned(folder: Path) -> int:
    try:
        return int(json.loads((folder / "plan.json").read_text(encoding="utf-8"))["bytes"])
    except (OSError, ValueError):  # removed meanwhile, or cut off by a loss of power
        return 0


def _last_use(folder: Path) -> float:
    try:
        return (folder / "plan.json").stat().st_mtime
    except OSError:
        return 0.0


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


def _remove(folder: Path) -> None:
    """Remove a set; first its plan, so that a removal that is cut off leaves nothing that looks whole."""
    (folder / "plan.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
