"""The training loop of one fold, as a generator of epoch records."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW

from cardio_mlflow.errors import InputError
from cardio_mlflow.model.network import Network, Output
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.frozen_features import FrozenFeatures
from cardio_mlflow.training.optimizer import build_optimizer
from cardio_mlflow.training.precision import backbone_autocast
from cardio_mlflow.training.unfreezing import (
    check_stages,
    prepare_stage,
    unfrozen_blocks,
    warn_of_skipped_stages,
)

VALIDATION_BATCH = 16


@dataclass(frozen=True)
class FoldData:
    """What a fold trains and validates on.

    Attributes:
        features: the cohort's clips and what the frozen blocks make of them.
        targets: (N, 9) scaled targets of all its patients, NaN where a reference is missing.
        training: positions of the training patients.
        validation: positions of the validation patients.
    """

    features: FrozenFeatures
    targets: NDArray[np.float64]
    training: tuple[int, ...]
    validation: tuple[int, ...]


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch gave.

    Attributes:
        epoch: 1-based.
        stage: number of unfrozen blocks.
        train_loss: mean loss over the epoch's batches.
        val_loss: loss on the validation patients after the epoch.
        predictions: (N_val, 9) scaled predictions of the validation patients.
        task_lr: learning rate of the task parameters.
        backbone_lr: learning rate of the topmost unfrozen block; 0 while none is.
        best_state: the weights, when this epoch has the lowest validation loss so far.
    """

    epoch: int
    stage: int
    train_loss: float
    val_loss: float
    predictions: NDArray[np.float64]
    task_lr: float
    backbone_lr: float
    best_state: dict[str, Tensor] | None = field(repr=False)


def fit(network: Network, data: FoldData, settings: Settings, seed: int) -> Iterator[EpochRecord]:
    """Train a network on a fold, one record an epoch.

    Each epoch draws its batches, augmented copies, hidden views and dropout from its own seed, so an
    epoch does not depend on what the caller does between two of them.

    Args:
        network: built from the same backbone as ``data.features``, on the same device; it is changed.
        data: the fold.
        settings: epochs, stages, learning rates and the rest.
        seed: seed of the fold.

    Raises:
        InputError: a loss or its gradient is not finite (names epoch, batch and patients), or there are more
            stages than blocks.
    """
    check_stages(settings.stages, network.encoder)
    warn_of_skipped_stages(settings.epochs, settings.stages)
    optimizer = build_optimizer(network, settings)
    stages = [
        unfrozen_blocks(epoch, settings.epochs, settings.stages, settings.stage_epochs)
        for epoch in range(1, settings.epochs + 1)
    ]
    data.features.prepare_together(network.encoder.depth - blocks for blocks in stages)
    best = math.inf
    for epoch, blocks in enumerate(stages, start=1):
        data.features.prepare(network.encoder.depth - blocks)
        train_loss = _train_epoch(network, optimizer, data, settings, blocks, epoch, seed)
        predictions = predict_scaled(network, data.features, data.validation, blocks)
        val_loss = float(
            masked_loss(torch.from_numpy(predictions), torch.from_numpy(_targets(data, data.validation)))
        )
        if not math.isfinite(val_loss):
            unknown = [
                p for p, row in zip(data.validation, predictions, strict=True) if not np.isfinite(row).all()
            ]
            raise InputError(_not_finite("validation loss", data, unknown, epoch, "after its last batch"))
        improved = val_loss < best
        best = min(best, val_loss)
        state = copy.deepcopy(network.state_dict()) if improved else None
        backbone_lr = settings.vit_lr if blocks else 0.0
        yield EpochRecord(
            epoch, blocks, train_loss, val_loss, predictions, settings.task_lr, backbone_lr, state
        )


def masked_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error over the targets that are not NaN; both (N, 9). 0 where none is there."""
    present = ~targets.isnan()
    errors = torch.where(present, predictions - targets.nan_to_num(), 0.0)
    return errors.square().sum() / present.sum().clamp(min=1)


def predict_scaled(
    network: Network, features: FrozenFeatures, patients: Sequence[int], blocks: int
) -> NDArray[np.float64]:
    """Scaled predictions (N, 9) for patients of a feature set, on their unaugmented clips.

    Args:
        network: the network; left in evaluation mode.
        features: its frozen part's activations.
        patients: N positions.
        blocks: how many of the topmost blocks may differ from the pretrained ones.
    """
    network.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(patients), VALIDATION_BATCH):
            batch = patients[start : start + VALIDATION_BATCH]
            present = features.data.present[list(batch)].to(features.device)
            output = _forward(network, features, batch, [0] * len(batch), present, blocks)
            parts.append(output.predictions.double().cpu().numpy())
    return np.concatenate(parts)


def _train_epoch(
    network: Network, optimizer: AdamW, data: FoldData, settings: Settings, blocks: int, epoch: int, seed: int
) -> float:
    prepare_stage(network, blocks)
    torch.manual_seed(seed * 100_003 + epoch)
    order = torch.randperm(len(data.training)).tolist()
    losses = []
    for start in range(0, len(order), settings.batch_size):
        patients = [data.training[i] for i in order[start : start + settings.batch_size]]
        loss = _step_loss(network, data, settings, patients, blocks)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
        if not (loss + norm).isfinite():
            batch = f"batch {start // settings.batch_size + 1}"
            raise InputError(_not_finite("loss or its gradient", data, patients, epoch, batch))
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses))


def _step_loss(
    network: Network, data: FoldData, settings: Settings, patients: list[int], blocks: int
) -> Tensor:
    features = data.features
    copies = torch.randint(features.copies + 1, (len(patients),)).tolist()
    present = hide_views(features.data.present[patients], settings.view_dropout).to(features.device)
    output = _forward(network, features, patients, copies, present, blocks)
    targets = torch.from_numpy(_targets(data, patients)).to(output.predictions)
    return masked_loss(output.predictions, targets)


def hide_views(present: Tensor, chance: float) -> Tensor:
    """Hide each view with a chance, but never a patient's last one: (B, V) bool to (B, V) bool."""
    kept = present & (torch.rand(present.shape) >= chance)
    return torch.where(kept.any(1, keepdim=True), kept, present)


def _forward(
    network: Network,
    features: FrozenFeatures,
    patients: Sequence[int],
    copies: Sequence[int],
    present: Tensor,
    blocks: int,
) -> Output:
    """The output for a batch, from the activations below the topmost ``blocks`` blocks."""
    depth = network.encoder.depth - blocks
    activations = features.batch(patients, copies, depth)[present].flatten(0, 1)
    if not blocks:
        return network.from_frame_features(activations, present)
    with backbone_autocast(features.dtype, features.device):
        pooled = network.encoder.pool(network.encoder.blocks(activations, depth))
    return network.from_frame_features(pooled, present)


def _targets(data: FoldData, patients: Sequence[int]) -> NDArray[np.float64]:
    return data.targets[list(patients)]


def _not_finite(what: str, data: FoldData, patients: Sequence[int], epoch: int, where: str) -> str:
    ids = ", ".join(data.features.data.patient_ids[p] for p in patients)
    return (
        f"The {what} is not finite in epoch {epoch}, {where}. Patients: {ids}. "
        "Smaller learning rates (task_lr, vit_lr) or precision=fp32 usually help; otherwise look at the "
        "clips of these patients in the contact sheet."
    )
