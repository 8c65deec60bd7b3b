"""The training loop of one fold: a generator of epoch records."""

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
from cardio_mlflow.training.forward import Batch, ScaledPredictions, forward, predict, read_batches
from cardio_mlflow.training.frozen_features import FrozenFeatures
from cardio_mlflow.training.processes import Processes
from cardio_mlflow.training.state import TrainingState, put_weights, rate_factor, set_rates
from cardio_mlflow.training.unfreezing import (
    prepare_stage,
    stage_schedule,
    trained_modules,
)

AVERAGED: Final = 0.5
"""Share of the last stage's epochs over which ``keep=last`` averages the weights."""


@dataclass(frozen=True)
class FoldData:
    """What a fold trains and validates on.

    Attributes:
        features: the cohort's clips, and the activations of the frozen blocks for them.
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
    """The outcome of one epoch.

    Attributes:
        epoch: 1-based.
        stage: number of unfrozen blocks.
        train_loss: mean loss over the epoch's batches.
        val_loss: loss on the validation patients after the epoch.
        predictions: (N_val, 9 or 11) scaled predictions of the validation patients.
        alphas: the gates of the attention stages after the epoch, 0 to 1, by name.
        task_lr: learning rate of the task parameters in the last step.
        backbone_lr: learning rate of the topmost block in the last step; 0 while it is frozen.
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
    """Train a network on a fold, one record per epoch, from the state's epoch on.

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
    stages = stage_schedule(settings, state.network.encoder)
    try:
        for epoch in range(state.epoch + 1, settings.epochs + 1):
            frozen, later = depth - stages[epoch - 1], [depth - blocks for blocks in stages[epoch:]]
            data.features.prepare(frozen, later)
            yield _run_epoch(state, data, settings, seed, stages, epoch, processes or Processes())
    finally:
        data.features.close()


def _run_epoch(
    state: TrainingState, data: FoldData, settings: Settings, seed: int, stages: Sequence[int], epoch: int,
    processes: Processes,
) -> EpochRecord:  # fmt: skip
    """Train for one epoch, validate, and keep what is best."""
    network, optimizer, blocks = state.network, state.optimizer, stages[epoch - 1]
    of_stage, stage_length = epoch - 1 - stages.index(blocks), stages.count(blocks)
    prepare_stage(network, blocks)
    torch.manual_seed(seed * 100_003 + epoch)
    batches = draw_batches(data, settings)
    read = read_batches(data.features, batches, network.encoder.depth - blocks, settings, processes)
    losses = []
    for step, (batch, activations) in enumerate(zip(batches, read, strict=True)):
        position = of_stage + (step + 0.5) / len(batches)
        set_rates(optimizer, rate_factor(settings, position, stage_length))
        output = forward(network, batch, activations, blocks, settings, processes)
        loss = masked_loss(output.targets, data.targets_of(batch.patients).to(output.targets))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        processes.sum_gradients(trained_modules(network, blocks))
        processes.average_gradients(network.task_modules)
        norm = nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
        if not (loss.detach() + norm).isfinite():
            where = f"batch {step + 1}"
            raise _diverged("loss or its gradient", data, batch.patients, epoch, where)
        optimizer.step()
        losses.append(loss.item())

    found, val_loss = _validate(state, data, settings, blocks, processes)
    if not math.isfinite(val_loss):
        unknown = [data.validation[i] for i in np.flatnonzero(~np.isfinite(found.targets).all(1))]
        raise _diverged("validation loss", data, unknown, epoch, "after its last batch")
    state.epoch = epoch
    improved = settings.keep == "best" and val_loss < state.best_loss
    if improved:
        state.keep(val_loss, found)
    if settings.keep == "last" and settings.epochs - epoch < math.ceil(AVERAGED * stages.count(stages[-1])):
        state.average()
    if settings.keep == "last" and epoch == settings.epochs:
        put_weights(network, state.mean_weights)
        mean, mean_loss = _validate(state, data, settings, blocks, processes)
        state.keep(mean_loss, mean)
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    backbone_lr = rates[f"block-{network.encoder.depth}"] if blocks else 0.0
    return EpochRecord(
        epoch, blocks, float(np.mean(losses)), val_loss, found.targets, network.alphas(), rates["task"],
        backbone_lr, improved,
    )  # fmt: skip


def _validate(
    state: TrainingState, data: FoldData, settings: Settings, blocks: int, processes: Processes
) -> tuple[ScaledPredictions, float]:
    """Predictions of the validation patients on their unaugmented clips, and their loss."""
    found = predict(state.network, data.features, data.validation, blocks, settings, processes)
    loss = masked_loss(torch.from_numpy(found.targets), data.targets_of(data.validation))
    return found, float(loss)


def draw_batches(data: FoldData, settings: Settings) -> list[Batch]:
    """Draw an epoch's batches: the order of the patients, their copies and the views that are hidden.

    Returns:
        Batches of ``batch_size`` training patients; the last one may be smaller.
    """
    order = [data.training[i] for i in torch.randperm(len(data.training)).tolist()]
    batches, clips = [], data.features.clips
    for start in range(0, len(order), settings.batch_size):
        patients = order[start : start + settings.batch_size]
        copies = torch.randint(data.features.copies + 1, (len(patients),)).tolist()
        present = hide_views(clips.present[patients], settings.view_dropout)
        batches.append(Batch(tuple(patients), tuple(copies), present, clips.phased[patients]))
    return batches


def hide_views(present: Tensor, chance: float) -> Tensor:
    """Hide each view with a chance, but never a patient's last one: (B, V) bool to (B, V) bool."""
    kept = present & (torch.rand(present.shape) >= chance)
    return torch.where(kept.any(1, keepdim=True), kept, present)


def masked_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error over the targets that are not NaN; both (N, 9 or 11). 0 where all are missing."""
    present = ~targets.isnan()
    errors = torch.where(present, predictions - targets.nan_to_num(), 0.0)
    return errors.square().sum() / present.sum().clamp(min=1)


def _diverged(what: str, data: FoldData, patients: Sequence[int], epoch: int, where: str) -> DivergedError:
    ids = ", ".join(data.features.clips.patient_ids[p] for p in patients)
    return DivergedError(
        f"The {what} is not finite in epoch {epoch}, {where}. Patients: {ids}. "
        "Smaller learning rates (task_lr, vit_lr) or precision=fp32 usually help; otherwise look at the "
        "clips of these patients in the contact sheet."
    )


@dataclass(frozen=True)
class JointEpoch:
    """One epoch of several folds: one record for each."""

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
    """Train several folds on the same frozen features, one epoch of each in turn, each as ``fit`` would.

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
