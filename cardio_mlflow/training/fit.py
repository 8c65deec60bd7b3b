"""The training loop of one fold, as a generator of epoch records."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cardio_mlflow.errors import DivergedError
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.activations import Activations
from cardio_mlflow.training.frozen_features import FrozenFeatures
from cardio_mlflow.training.predict import Batch, Forward, predict_scaled
from cardio_mlflow.training.processes import Processes
from cardio_mlflow.training.state import TrainingState, put_weights, rate_factor, set_rates
from cardio_mlflow.training.unfreezing import (
    check_stages,
    prepare_stage,
    stage_schedule,
    trained_modules,
    warn_of_skipped_stages,
)

AVERAGED: Final = 0.5
"""Share of the last stage's epochs over which ``keep=last`` averages the weights."""


@dataclass(frozen=True)
class FoldData:
    """What a fold trains and validates on.

    Attributes:
        features: the cohort's clips and what the frozen blocks make of them.
        targets: (N, 9 or 11) scaled targets of all its patients, NaN where a reference is missing.
        training: positions of the training patients.
        validation: positions of the validation patients.
    """

    features: FrozenFeatures
    targets: NDArray[np.float64]
    training: tuple[int, ...]
    validation: tuple[int, ...]

    def targets_of(self, patients: Sequence[int]) -> Tensor:
        """(B, 9 or 11) scaled targets of these patients."""
        return torch.from_numpy(self.targets[list(patients)])


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch gave.

    Attributes:
        epoch: 1-based.
        stage: number of unfrozen blocks.
        train_loss: mean loss over the epoch's batches.
        val_loss: loss on the validation patients after the epoch.
        predictions: (N_val, 9 or 11) scaled predictions of the validation patients.
        alphas: the gates of the stages after the epoch, 0 to 1, by name.
        task_lr: learning rate of the task parameters in the last step.
        backbone_lr: learning rate of the topmost unfrozen block in the last step; 0 while none is.
        improved: whether this is the lowest validation loss so far, which is kept with ``keep=best``.
    """

    epoch: int
    stage: int
    train_loss: float
    val_loss: float
    predictions: NDArray[np.float64]
    alphas: Mapping[str, float]
    task_lr: float
    backbone_lr: float
    improved: bool


def fit(
    state: TrainingState,
    data: FoldData,
    settings: Settings,
    seed: int,
    processes: Processes | None = None,
) -> Generator[EpochRecord, None, None]:
    """Train a network on a fold, one record an epoch, from the state's epoch on.

    Each epoch draws its batches, augmented copies, hidden views and dropout from its own seed, so an
    epoch does not depend on what the caller does between two of them, nor on where training was resumed.

    Args:
        state: a network on the device of ``data.features``, with its optimiser; both are changed.
        data: the fold.
        settings: epochs, stages, learning rates and the rest.
        seed: seed of the fold.
        processes: those that train together; this one alone by default.

    Raises:
        DivergedError: a loss or its gradient is not finite (names epoch, batch and patients).
        InputError: there are more stages than blocks.
    """
    depth = state.network.encoder.depth
    check_stages(settings.stages, state.network.encoder)
    if settings.unfreezing == "progressive":
        warn_of_skipped_stages(settings.epochs, settings.stages)
    stages = stage_schedule(settings)
    try:
        for epoch in range(state.epoch + 1, settings.epochs + 1):
            blocks = stages[epoch - 1]
            data.features.prepare(depth - blocks, [depth - later for later in stages[epoch:]])
            forward = Forward(state.network, data.features, blocks, settings, processes or Processes())
            yield _run_epoch(state, forward, data, _Rates(settings, stages, epoch), seed)
    finally:
        data.features.close()


@dataclass(frozen=True)
class _Rates:
    """The learning rates within an epoch, as a factor on each group's own; and whether it is averaged."""

    settings: Settings
    stages: Sequence[int]
    epoch: int

    @property
    def is_averaged(self) -> bool:
        """Whether this is an epoch of those whose weights ``keep=last`` averages."""
        in_stage = self.stages.count(self.stages[-1])
        return self.settings.keep == "last" and len(self.stages) - self.epoch < math.ceil(AVERAGED * in_stage)

    def factor(self, step: int, steps: int) -> float:
        """The factor of a step, 0-based, of an epoch of ``steps``: that of its middle."""
        stage = self.stages[self.epoch - 1]
        done = self.epoch - 1 - self.stages.index(stage)
        return rate_factor(self.settings, done + (step + 0.5) / steps, self.stages.count(stage))


def _run_epoch(
    state: TrainingState, forward: Forward, data: FoldData, rates: _Rates, seed: int
) -> EpochRecord:
    """Train for one epoch and validate."""
    epoch, settings = rates.epoch, rates.settings
    train_loss, factor = _train_epoch(state, forward, data, rates, seed)
    predictions = predict_scaled(forward, data.validation)
    val_loss = float(masked_loss(torch.from_numpy(predictions), data.targets_of(data.validation)))
    if not math.isfinite(val_loss):
        unknown = [data.validation[i] for i in np.flatnonzero(~np.isfinite(predictions).all(1))]
        raise DivergedError(_not_finite("validation loss", data, unknown, epoch, "after its last batch"))
    state.epoch = epoch
    if rates.is_averaged:
        state.average()
    improved = settings.keep == "best" and state.keep_best(val_loss, predictions)
    if settings.keep == "last" and epoch == settings.epochs:
        _keep_mean(state, forward, data)
    backbone_lr = settings.vit_lr * factor if forward.blocks else 0.0
    task_lr = settings.task_lr * factor
    alphas = state.network.alphas()
    return EpochRecord(
        epoch, forward.blocks, train_loss, val_loss, predictions, alphas, task_lr, backbone_lr, improved
    )


def _keep_mean(state: TrainingState, forward: Forward, data: FoldData) -> None:
    """Keep the mean of the weights over the last epochs; the network has it from now on."""
    put_weights(state.network, state.mean_weights)
    predictions = predict_scaled(forward, data.validation)
    loss = float(masked_loss(torch.from_numpy(predictions), data.targets_of(data.validation)))
    state.keep(loss, predictions, state.trained_weights())


def _train_epoch(
    state: TrainingState, forward: Forward, data: FoldData, rates: _Rates, seed: int
) -> tuple[float, float]:
    """Train for one epoch; returns the mean loss and the last factor on the learning rates."""
    prepare_stage(state.network, forward.blocks)
    torch.manual_seed(seed * 100_003 + rates.epoch)
    batches = plan_epoch(data, rates.settings)
    losses, factor = [], 1.0
    for number, (batch, activations) in enumerate(zip(batches, forward.read(batches), strict=True)):
        factor = rates.factor(number, len(batches))
        set_rates(state.optimizer, factor)
        loss, norm = _backward(state, forward, data, batch, activations)
        if not (loss + norm).isfinite():
            where = f"batch {number + 1}"
            raise DivergedError(_not_finite("loss or its gradient", data, batch.patients, rates.epoch, where))
        state.optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses)), factor


def plan_epoch(data: FoldData, settings: Settings) -> list[Batch]:
    """Draw an epoch's batches: the order of the patients, their copies and the views that are hidden.

    Returns:
        Batches of ``batch_size`` training patients; the last one may be smaller.
    """
    order = [data.training[i] for i in torch.randperm(len(data.training)).tolist()]
    batches = []
    for start in range(0, len(order), settings.batch_size):
        patients = order[start : start + settings.batch_size]
        copies = torch.randint(data.features.copies + 1, (len(patients),)).tolist()
        clips = data.features.clips
        present = hide_views(clips.present[patients], settings.view_dropout)
        batches.append(Batch(tuple(patients), tuple(copies), present, clips.phased[patients]))
    return batches


def hide_views(present: Tensor, chance: float) -> Tensor:
    """Hide each view with a chance, but never a patient's last one: (B, V) bool to (B, V) bool."""
    kept = present & (torch.rand(present.shape) >= chance)
    return torch.where(kept.any(1, keepdim=True), kept, present)


def _backward(
    state: TrainingState, forward: Forward, data: FoldData, batch: Batch, activations: Activations
) -> tuple[Tensor, Tensor]:
    """Loss of a batch and the norm of its gradient, which is left clipped in the parameters."""
    output = forward.output(batch, activations)
    loss = masked_loss(output.targets, data.targets_of(batch.patients).to(output.targets))
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    network, processes = state.network, forward.processes
    processes.sum_gradients(trained_modules(network, forward.blocks))
    processes.average_gradients(network.task_modules)
    norm = nn.utils.clip_grad_norm_(network.parameters(), forward.settings.gradient_clip)
    return loss.detach(), norm


def _not_finite(what: str, data: FoldData, patients: Sequence[int], epoch: int, where: str) -> str:
    ids = ", ".join(data.features.clips.patient_ids[p] for p in patients)
    return (
        f"The {what} is not finite in epoch {epoch}, {where}. Patients: {ids}. "
        "Smaller learning rates (task_lr, vit_lr) or precision=fp32 usually help; otherwise look at the "
        "clips of these patients in the contact sheet."
    )


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


def masked_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error over the targets that are not NaN; both (N, 9). 0 where none is there."""
    present = ~targets.isnan()
    errors = torch.where(present, predictions - targets.nan_to_num(), 0.0)
    return errors.square().sum() / present.sum().clamp(min=1)
