"""Several folds trained in one process, an epoch of each in turn, so that all are judged at each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from cardio_mlflow.settings import Settings
from cardio_mlflow.training.fit import EpochRecord, FoldData, fit
from cardio_mlflow.training.processes import Processes
from cardio_mlflow.training.state import TrainingState


@dataclass(frozen=True)
class JointEpoch:
    """One epoch of several folds.

    Attributes:
        records: one a fold.
    """

    records: tuple[EpochRecord, ...]

    @property
    def epoch(self) -> int:
        """1-based."""
        return self.records[0].epoch

    @property
    def train_loss(self) -> float:
        """Mean over the folds."""
        return float(np.mean([record.train_loss for record in self.records]))

    @property
    def val_loss(self) -> float:
        """Mean over the folds."""
        return float(np.mean([record.val_loss for record in self.records]))


def fit_together(
    states: Sequence[TrainingState],
    folds: Sequence[FoldData],
    settings: Settings,
    seeds: Sequence[int],
    processes: Processes,
) -> Iterator[JointEpoch]:
    """Train several folds, one epoch of each in turn; each as ``fit`` alone would.

    Args:
        states: a network with its optimiser for each fold.
        folds: the folds, on the same frozen features.
        settings: what to train.
        seeds: the seed of each fold.
        processes: those that train together.

    Raises:
        DivergedError: a loss of one fold is not finite.
    """
    with ExitStack() as stack:
        fits = []
        for state, fold, seed in zip(states, folds, seeds, strict=True):
            epochs = fit(state, fold, settings, seed, processes)
            stack.callback(epochs.close)
            fits.append(epochs)
        for records in zip(*fits, strict=True):
            yield JointEpoch(records)
