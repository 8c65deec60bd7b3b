"""One set of activations on disk: one safetensors file for each row, memory-mapped when it is read.

A row is written under a temporary name and renamed, so what has a row's name is whole, whenever a process
is killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cardio_mlflow.files import whole_file

Row = Mapping[str, Tensor]
"""The tensors of a row by name."""


@dataclass
class ActivationSet:
    """The rows of a set that this process uses; ``ActivationStore.open`` gives it.

    Attributes:
        folder: where they lie, perhaps beside rows of other cohorts.
        rows: their names.
        written: those that this process has stored.
    """

    folder: Path
    rows: Sequence[str]
    _hold: FileLock
    written: list[str] = field(default_factory=list)
    _open: dict[str, Row] = field(default_factory=dict)

    def has(self, row: str) -> bool:
        """Whether this row is stored; a file that a loss of power has cut off is removed."""
        if row not in self._open and self._path(row).is_file():
            try:
                self._open[row] = _mapped(self._path(row))
            except SafetensorError:
                self._path(row).unlink(missing_ok=True)
        return row in self._open

    def read(self, row: str) -> Row:
        """The row, memory-mapped: its bytes are read when they are looked at.

        Raises:
            KeyError: it is not stored.
        """
        self.has(row)
        return self._open[row]

    def write(self, row: str, tensors: Row) -> None:
        """Store a row; a row that is there already stays.

        Raises:
            OSError: the disk has no room; nothing is left of the row.
        """
        if self.has(row):
            return
        with whole_file(self._path(row), sync=False) as part:  # soon made again after a loss of power
            save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, str(part))
        self.written.append(row)

    def is_complete(self) -> bool:
        """Whether every row is stored."""
        return all(self.has(row) for row in self.rows)

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
        """Let go of the rows, so that they may make way for others."""
        self._open.clear()
        mark_used(self.folder, self.rows)
        self._hold.release()
        with suppress(OSError):
            Path(self._hold.lock_file).unlink(missing_ok=True)

    def _path(self, row: str) -> Path:
        return row_path(self.folder, row)


def row_path(folder: Path, row: str) -> Path:
    """The file of a row."""
    return folder / f"{row}.safetensors"


def mark_used(folder: Path, rows: Iterable[str]) -> None:
    """Note on the rows that are stored that they are used now."""
    for row in rows:
        with suppress(OSError):
            os.utime(row_path(folder, row))


def _mapped(path: Path) -> Row:
    with safe_open(str(path), framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
