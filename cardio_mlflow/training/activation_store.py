"""Activations on disk, memory-mapped, within a budget, shared by every process that needs the same ones.

The store is a folder with one folder for each *set* of activations (one backbone, one depth, one list of
clips), and in it one file a *row* (one copy of one patient). A process that uses a set holds a lock in it,
which the system drops when the process ends in whatever way; sets that nobody holds make way, those of
other backbones and clips first, the least recently used of them before the others.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from cardio_mlflow.training.activation_set import ActivationSet

KEPT_FREE: Final = 2**30
"""Bytes of the disk that a set never takes."""
MAX_AGE: Final = 14 * 86400.0
"""Seconds after which a set that nobody has used is removed."""


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

    def open(self, source: str, depth: int, rows: Sequence[str], row_bytes: int) -> ActivationSet | None:
        """Open a set, or make room for a new one; other sets that nobody holds make way.

        Args:
            source: digest of what the activations are made from.
            depth: number of blocks that they are the output of.
            rows: the names of all its rows.
            row_bytes: the most that a row takes.

        Returns:
            The set, held by this process until ``close``; None where there is no room for it.

        Raises:
            OSError: the disk has no room even for the set's folder.
        """
        needed = len(rows) * row_bytes
        if needed > self.budget:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "store.lock"):
            folder = self.folder / _key(source, depth)
            if not (folder / "plan.json").is_file():
                self._remove_old()
                if not self._make_room(needed, source):
                    return None
                folder.mkdir(exist_ok=True)
                part = folder / "plan.part"
                part.write_text(json.dumps({"bytes": needed}), encoding="utf-8")
                part.replace(folder / "plan.json")
            return self._hold(folder, rows)

    def open_existing(self, source: str, depth: int, rows: Sequence[str]) -> ActivationSet | None:
        """Open a set if it is there and complete."""
        folder = self.folder / _key(source, depth)
        if not (folder / "plan.json").is_file():
            return None
        with FileLock(self.folder / "store.lock"):
            if not (folder / "plan.json").is_file():
                return None
            found = self._hold(folder, rows)
        if found.is_complete():
            return found
        found.close()
        return None

    def discard_incomplete(self, source: str, depth: int, rows: Sequence[str]) -> None:
        """Remove a set that could not be completed, unless another process holds it."""
        folder = self.folder / _key(source, depth)
        complete = self.open_existing(source, depth, rows)
        if complete is not None:
            complete.close()
            return
        with FileLock(self.folder / "store.lock"):
            if not _is_held(folder):
                _remove(folder)

    def used(self) -> int:
        """Bytes that the sets take when they are complete."""
        return sum(_planned(folder) for folder in self._sets())

    def _hold(self, folder: Path, rows: Sequence[str]) -> ActivationSet:
        if not _is_held(folder):
            for part in folder.glob("*.part"):  # of a process that was killed
                part.unlink(missing_ok=True)
        os.utime(folder / "plan.json")
        hold = FileLock(folder / f"{uuid.uuid4().hex}.held")
        hold.acquire()
        return ActivationSet(folder, rows, hold)

    def _make_room(self, needed: int, source: str) -> bool:
        """Remove sets that nobody holds until so many bytes fit; none, where that is not enough."""
        idle = sorted((f for f in self._sets() if not _is_held(f)), key=lambda f: _rank(f, source))
        over_budget = self.used() + needed - self.budget
        over_disk = needed + KEPT_FREE - self._free()
        chosen: list[Path] = []
        while max(over_budget, over_disk) > 0:
            if len(chosen) == len(idle):
                return False
            chosen.append(idle[len(chosen)])
            over_budget -= _planned(chosen[-1])
            over_disk -= _planned(chosen[-1])  # written or still to be written, it is free again
        for folder in chosen:
            _remove(folder)
        return True

    def _free(self) -> int:
        """Free bytes of the disk, less what the sets have still to write."""
        owed = sum(max(0, _planned(folder) - _written(folder)) for folder in self._sets() if _is_held(folder))
        return shutil.disk_usage(self.folder).free - owed

    def _remove_old(self) -> None:
        """Remove what nobody has used for long, and what is left of a removal that was cut off."""
        for folder in (path for path in self.folder.iterdir() if path.is_dir()):
            if time.time() - _last_use(folder) > MAX_AGE and not _is_held(folder):
                _remove(folder)

    def _sets(self) -> list[Path]:
        return [plan.parent for plan in self.folder.glob("*/plan.json")]


def _key(source: str, depth: int) -> str:
    return f"{source}-{depth:02d}"


def _rank(folder: Path, source: str) -> tuple[bool, int, float]:
    """Which sets make way first: others' before one's own, of one's own the largest, then the oldest."""
    own = folder.name.startswith(source)
    return own, -_planned(folder) if own else 0, _last_use(folder)


def _planned(folder: Path) -> int:
    try:
        return int(json.loads((folder / "plan.json").read_text(encoding="utf-8"))["bytes"])
    except (OSError, ValueError):  # removed meanwhile
        return 0


def _written(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


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
