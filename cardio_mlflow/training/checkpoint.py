"""Checkpoints on disk: a training that is killed at any moment goes on from its last whole epoch.

Tensors are written first, each file under a temporary name, synced and renamed; ``state.json``, which
names them, is replaced last. So what it names is whole, whenever the process dies. No pickle.
"""

from __future__ import annotations

import json
import logging
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
_MEAN: Final = "mean"


@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds the last whole epoch of one training.

    Attributes:
        folder: made with the first epoch that is written.
    """

    folder: Path

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

    def write(self, state: TrainingState, notes: Mapping[str, Any]) -> None:
        """Write the state after an epoch; the one before stays whole until this one is.

        Args:
            state: after a whole epoch.
            notes: anything that JSON holds, given back by ``notes``.

        Raises:
            InputError: the disk has no room; the checkpoint before is still whole.
        """
        last, best = f"epoch-{state.epoch:05d}.safetensors", f"best-{state.best_epoch:05d}.safetensors"
        stored = {"epoch": state.epoch, "best_epoch": state.best_epoch, "best_loss": state.best_loss,
                  "last": last, "best": best, "averaged": state.averaged, "notes": dict(notes)}  # fmt: skip
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if state.best_epoch == state.epoch:
                predictions = torch.from_numpy(state.best_predictions)
                _write_tensors(self.folder / best, state.best_weights | {_PREDICTIONS: predictions})
            mean = {f"{_MEAN}/{name}": weight for name, weight in state.mean_weights.items()}
            _write_tensors(self.folder / last, state.trained_weights() | _moments(state) | mean)
            write_whole(self.folder / _STATE, json.dumps(stored))
        except OSError as error:
            raise self._no_room(error, state.epoch) from error
        self._remove_all_but({last, best, _STATE})

    def read(self, state: TrainingState) -> None:
        """Put what was written into a new state.

        Args:
            state: as ``new_state`` gives it, with the weights of the start; it is changed.

        Raises:
            InputError: a file is damaged or is not of this network.
        """
        with self._readable():
            stored = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
            last = load_file(str(self.folder / stored["last"]))
            names = {name for name, _ in state.network.named_parameters()}
            put_weights(state.network, {name: last[name] for name in names & last.keys()})
            _put_moments(state, last)
            state.averaged = stored.get("averaged", 0)
            state.mean_weights = {
                name: last[f"{_MEAN}/{name}"] for name in names if f"{_MEAN}/{name}" in last
            }
            best = load_file(str(self.folder / stored["best"])) if stored["best_epoch"] else {}
            if best:
                state.best_predictions = best.pop(_PREDICTIONS).numpy()
            state.best_weights = best
            state.epoch, state.best_epoch = stored["epoch"], stored["best_epoch"]
            state.best_loss = stored["best_loss"]

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
            InputError: another one is still at it.
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
        kept = "The checkpoint of the epoch before is whole: with" if self.exists() else "With"
        return InputError(
            f"The disk is full: the checkpoint of epoch {epoch} cannot be written to {self.folder}. "
            f"Make room, or set another folder with -P cache=<folder>. "
            f"{kept} -P resume=true the same command goes on."
        )


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    with whole_file(path) as part:
        save_file(tensors, str(part))


def _moments(state: TrainingState) -> dict[str, Tensor]:
    """The optimiser's tensors by ``<kind>/<parameter>``."""
    named = ((name, state.optimizer.state.get(p, {})) for name, p in state.network.named_parameters())
    return {f"{kind}/{name}": kept[kind].cpu() for name, kept in named for kind in _MOMENTS if kind in kept}


def _put_moments(state: TrainingState, stored: Mapping[str, Tensor]) -> None:
    for name, parameter in state.network.named_parameters():
        if f"step/{name}" in stored:
            state.optimizer.state[parameter] = {
                kind: stored[f"{kind}/{name}"].to(parameter.device) for kind in _MOMENTS
            }
