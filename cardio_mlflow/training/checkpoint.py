"""Checkpoints on disk: a training that is killed resumes after the last whole epoch that was written.

Tensors are written first; ``state.json``, which names their files, is replaced last. So what it names is
whole, whenever the process dies. No pickle.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cardio_mlflow.errors import InputError
from cardio_mlflow.files import is_disk_full, whole_file, write_whole
from cardio_mlflow.training.state import TrainingState, put_weights

log = logging.getLogger(__name__)

_STATE: Final = "state.json"
_MOMENTS: Final = ("exp_avg", "exp_avg_sq", "step")
_PREDICTIONS: Final = "predictions"
_FEATURES: Final = "features"
_MEAN: Final = "mean"


@dataclass(frozen=True)
class _Epoch:
    """What a whole epoch leaves to be written; later epochs change nothing of it."""

    number: int
    last: dict[str, Tensor]
    best: dict[str, Tensor]
    best_epoch: int
    state: str


class Checkpoint:
    """A folder that holds a whole epoch of one training; made with the first one that is written."""

    def __init__(self, folder: Path, minutes: float = 0.0):
        """Use a folder.

        Args:
            folder: of this training alone.
            minutes: from one write to the next, at least; 0 writes every epoch.
        """
        self.folder = folder
        self._seconds = 60 * minutes
        self._due = 0.0
        self._waiting: _Epoch | None = None
        self._best_written = 0

    def exists(self) -> bool:
        """Whether an epoch has been written."""
        return (self.folder / _STATE).is_file()

    def notes(self) -> dict[str, Any]:
        """What ``write`` was given as notes, and ``epoch``, the last whole one.

        Raises:
            InputError: the file is damaged.
        """
        with self._readable():
            stored = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
            notes: dict[str, Any] = stored["notes"] | {"epoch": stored["epoch"]}
            return notes

    def keep(self, state: TrainingState, notes: Mapping[str, Any]) -> None:
        """Write the state after a whole epoch, or hold a copy of it for ``flush`` until it is time to write.

        Args:
            state: after a whole epoch.
            notes: anything that JSON holds, returned by ``notes``.

        Raises:
            InputError: the disk has no room; the epoch that was written before is still whole.
        """
        is_due = time.monotonic() >= self._due
        self._waiting = _after_epoch(state, notes, copy=not is_due)
        if is_due:
            self.flush()

    def flush(self) -> None:
        """Write the epoch that was kept last, unless that is done; the one before stays whole until then.

        Raises:
            InputError: as ``keep``.
        """
        if (epoch := self._waiting) is None:
            return
        last, best = self._tensors("epoch", epoch.number), self._tensors("best", epoch.best_epoch)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if epoch.best and self._best_written != epoch.best_epoch:
                _write_tensors(best, epoch.best)
                self._best_written = epoch.best_epoch
            _write_tensors(last, epoch.last)
            write_whole(self.folder / _STATE, epoch.state)
        except OSError as error:
            self._waiting = None
            raise self._no_room(error, epoch.number) from error
        self._waiting, self._due = None, time.monotonic() + self._seconds
        self._remove_all_but({last.name, best.name, _STATE})

    def read(self, state: TrainingState) -> None:
        """Put what was written into a new state.

        Args:
            state: as ``new_state`` gives it, with the weights of the start; it is changed.

        Raises:
            InputError: a file is damaged or is not of this network.
        """
        with self._readable():
            stored = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
            last = load_file(self._tensors("epoch", stored["epoch"]))
            names = {name for name, _ in state.network.named_parameters()}
            put_weights(state.network, {name: last[name] for name in names & last.keys()})
            _put_moments(state, last)
            state.averaged = stored.get("averaged", 0)
            state.mean_weights = {
                name: last[f"{_MEAN}/{name}"] for name in names if f"{_MEAN}/{name}" in last
            }
            best = load_file(self._tensors("best", stored["best_epoch"])) if stored["best_epoch"] else {}
            if best:
                state.best_predictions = best.pop(_PREDICTIONS).numpy()
                state.best_features = best.pop(_FEATURES).numpy()
            state.best_weights = best
            state.epoch, state.best_epoch = stored["epoch"], stored["best_epoch"]
            state.best_loss = stored["best_loss"]
        self._best_written = state.best_epoch

    def remove(self) -> None:
        """Remove it, when its training has ended."""
        if self.folder.is_dir():
            (self.folder / _STATE).unlink(missing_ok=True)
            self._remove_all_but(set())
            self.folder.rmdir()

    @contextmanager
    def locked(self, wait: float) -> Iterator[None]:
        """Keep other processes from training the same at the same time.

        Args:
            wait: seconds to wait for another one: a worker whose command was killed ends after its epoch.

        Raises:
            InputError: another one is still training.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder.with_name(f"{self.folder.name}.lock"))
        try:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if wait:
                    log.info("Another process is still training this fold: waiting for it.")
                lock.acquire(timeout=wait)
        except Timeout:
            raise InputError(
                "Another process is training this fold of this study with these settings now. Wait for it, "
                "or give this one another name with -P study=<name>."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _tensors(self, what: str, epoch: int) -> Path:
        return self.folder / f"{what}-{epoch:05d}.safetensors"

    def _remove_all_but(self, kept: set[str]) -> None:
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"The checkpoint in {self.folder} is damaged or of another version. Remove the folder, or "
                "train without -P resume=true, which starts this fold anew."
            ) from error

    def _no_room(self, error: OSError, epoch: int) -> InputError:
        if not is_disk_full(error):
            return InputError(f"No checkpoint can be written to {self.folder}: {error.strerror}.")
        kept = "The one that was written before is whole: with" if self.exists() else "With"
        return InputError(
            f"The disk is full: the checkpoint of epoch {epoch} cannot be written to {self.folder}. "
            f"Make room, or set another folder with -P cache=<folder>. "
            f"{kept} -P resume=true the same command goes on."
        )


def _after_epoch(state: TrainingState, notes: Mapping[str, Any], *, copy: bool) -> _Epoch:
    """What has to be written of a state; with ``copy`` it may be trained on before that."""
    stored = {"epoch": state.epoch, "best_epoch": state.best_epoch, "best_loss": state.best_loss,
              "averaged": state.averaged, "notes": dict(notes)}  # fmt: skip
    mean = {f"{_MEAN}/{name}": weight for name, weight in state.mean_weights.items()}
    tensors = dict(state.trained()) | _moments(state)
    last = {name: tensor.to("cpu", copy=copy) for name, tensor in tensors.items()}
    best = dict(state.best_weights)
    if state.best_epoch:
        best[_PREDICTIONS] = torch.from_numpy(state.best_predictions)
        best[_FEATURES] = torch.from_numpy(state.best_features)
    return _Epoch(state.epoch, last | mean, best, state.best_epoch, json.dumps(stored))


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    with whole_file(path) as part:
        save_file(tensors, str(part))


def _moments(state: TrainingState) -> dict[str, Tensor]:
    """The optimiser's tensors by ``<kind>/<parameter>``."""
    named = ((name, state.optimizer.state.get(p, {})) for name, p in state.network.named_parameters())
    return {f"{kind}/{name}": kept[kind] for name, kept in named for kind in _MOMENTS if kind in kept}


def _put_moments(state: TrainingState, stored: Mapping[str, Tensor]) -> None:
    for name, parameter in state.network.named_parameters():
        if f"step/{name}" in stored:
            state.optimizer.state[parameter] = {
                kind: stored[f"{kind}/{name}"].to(parameter.device) for kind in _MOMENTS
            }
