"""The plain way to train a fold, kept as the baseline of `benchmarks.training_engine`.

fp32; every frame of every batch goes through all twelve blocks in every step, view after view, frozen or
not; validation starts from pixels again in every epoch. Gradients stop at the frozen blocks, as autograd has
it. Nothing is kept from one step to the next.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from cardio_mlflow.model.network import Network
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.fit import FoldData, draw_batches, masked_loss
from cardio_mlflow.training.state import parameter_groups
from cardio_mlflow.training.unfreezing import prepare_stage, stage_schedule


@dataclass(frozen=True)
class PlainEpoch:
    """An epoch: its stage, its losses and its seconds."""

    stage: int
    train_loss: float
    val_loss: float
    seconds: float


def plain_training(network: Network, data: FoldData, settings: Settings, seed: int) -> Iterator[PlainEpoch]:
    """Train a fold plainly; the draws of an epoch are those of the engine, so that losses can be compared."""
    optimizer = AdamW(parameter_groups(network, settings))
    device = data.features.device
    for epoch, stage in enumerate(stage_schedule(settings, network.encoder), start=1):
        start = time.perf_counter()
        prepare_stage(network, stage)
        torch.manual_seed(seed * 100_003 + epoch)
        losses = []
        for batch in draw_batches(data, settings):
            predictions = forward(network, data, batch.patients, batch.present, device)
            loss = masked_loss(predictions, data.targets_of(batch.patients).to(predictions))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
            optimizer.step()
            losses.append(loss.item())
        network.eval()
        with torch.no_grad():
            present = data.features.clips.present[list(data.validation)]
            predictions = forward(network, data, data.validation, present, device).cpu()
        val_loss = float(masked_loss(predictions, data.targets_of(data.validation)))
        yield PlainEpoch(stage, float(np.mean(losses)), val_loss, time.perf_counter() - start)


def forward(
    network: Network, data: FoldData, patients: tuple[int, ...], present: Tensor, device: torch.device
) -> Tensor:
    """Predictions (B, 9) from the pixels of B patients, one view after the other."""
    clips = torch.stack([data.features.clips.clips_of(p) for p in patients]).to(device).float() / 255
    b, views, frames = clips.shape[:3]
    features = clips.new_zeros(b, views, frames, network.encoder.width)
    for view in range(views):
        shown = present[:, view].to(device)
        if shown.any():
            encoded = network.encoder(clips[shown, view].flatten(0, 1))
            features[shown, view] = encoded.view(-1, frames, network.encoder.width)
    by_view, _ = network.temporal(features, present.to(device))
    fused, _ = network.fusion(by_view, present.to(device))
    predictions: Tensor = network.heads(fused)
    return predictions
