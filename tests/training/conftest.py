"""A fold of a few tiny patients, and the plain training loop that the fast one must equal."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch.optim import AdamW

from cardio_mlflow.model.frame_encoder import FrameEncoder, resize_frames
from cardio_mlflow.model.network import Network
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.activation_store import ActivationStore
from cardio_mlflow.training.augmentation import Augmentation
from cardio_mlflow.training.bundle import network_of
from cardio_mlflow.training.fit import EpochRecord, FoldData, fit
from cardio_mlflow.training.forward import predict
from cardio_mlflow.training.frozen_features import FrozenFeatures, Sources, frozen
from cardio_mlflow.training.processes import Processes
from cardio_mlflow.training.state import new_state


@pytest.fixture(scope="session")
def tiny_fold(tiny_vit, tiny_clips, tmp_path_factory) -> Callable[..., FoldData]:
    """Ten patients, three of them for validation; a fifth of the targets missing."""

    def build(settings: Settings, disk: float = 1e9, side: int = 32, patients: int = 10) -> FoldData:
        dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
        clips, moves = tiny_clips(patients=patients, side=side), Augmentation.from_settings(settings)
        sources = Sources(
            frozen(FrameEncoder(tiny_vit()), dtype), clips, moves, settings.augmented_copies, dtype
        )
        features = FrozenFeatures(sources, ActivationStore(tmp_path_factory.mktemp("features"), disk))
        rng = np.random.default_rng(1)
        targets = rng.normal(size=(patients, len(KEYS)))
        targets[rng.random(targets.shape) < 0.2] = np.nan
        return FoldData(features, targets, tuple(range(patients - 3)), tuple(range(patients - 3, patients)))

    return build


@pytest.fixture(scope="session")
def tiny_network(tiny_vit) -> Callable[..., Network]:
    def build(settings: Settings) -> Network:
        return network_of(tiny_vit(), settings)

    return build


@pytest.fixture(scope="session")
def records_of() -> Callable[..., list[EpochRecord]]:
    """The records of a training from its start."""
    return lambda network, data, settings, seed: list(fit(new_state(network, settings), data, settings, seed))


@pytest.fixture(scope="session")
def predicted() -> Callable[..., np.ndarray]:
    """Scaled targets that a network predicts for patients, its topmost ``blocks`` blocks not frozen."""
    return lambda network, data, settings, blocks, patients: (
        predict(network, data.features, patients, blocks, settings, Processes()).targets
    )


@pytest.fixture(scope="session")
def plain_loop() -> Callable[..., Iterator[tuple[float, float, np.ndarray]]]:
    """Training without any reuse: all pixels through the whole network in every step."""
    return run_plain_loop


def run_plain_loop(network: Network, data: FoldData, settings: Settings, seed: int):
    vit, clips = network.encoder.vit, data.features.clips
    optimizer = AdamW(plain_groups(network, settings))
    for epoch in range(1, settings.epochs + 1):
        stage = (epoch - 1) * (settings.stages + 1) // settings.epochs
        network.requires_grad_(True).train()
        for part in (
            vit.embeddings,
            *vit.layers[: len(vit.layers) - stage],
            *(() if stage else (vit.layernorm,)),
        ):
            part.requires_grad_(False).eval()
        torch.manual_seed(seed * 100_003 + epoch)
        order, drawn, losses = [data.training[i] for i in torch.randperm(len(data.training))], [], []
        for start in range(0, len(order), settings.batch_size):
            batch = order[start : start + settings.batch_size]
            copies = torch.randint(settings.augmented_copies + 1, (len(batch),)).tolist()
            shown = clips.present[batch]
            kept = shown & (torch.rand(shown.shape) >= settings.view_dropout)
            kept = torch.stack([k if k.any() else s for k, s in zip(kept, shown, strict=True)])
            drawn.append((batch, copies, kept))
        for batch, copies, kept in drawn:
            pixels = torch.stack([pixels_of(data, p, c) for p, c in zip(batch, copies, strict=True)])
            loss = plain_loss(network(pixels, kept).predictions, data.targets[batch])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
            optimizer.step()
            losses.append(loss.item())
        network.eval()
        held_out = list(data.validation)
        pixels = torch.stack([pixels_of(data, p, 0) for p in held_out])
        with torch.no_grad():
            predictions = network(pixels, clips.present[held_out]).predictions
        yield (
            float(np.mean(losses)),
            plain_loss(predictions, data.targets[held_out]).item(),
            predictions.numpy(),
        )


def pixels_of(data: FoldData, patient: int, copy: int) -> torch.Tensor:
    """(V, T, H, W) augmented pixels at the backbone's size."""
    clips = data.features.clips.clips[patient].float() / 255
    size = data.features.encoder.image_size
    resized = resize_frames(clips.flatten(0, 1), size).view(*clips.shape[:2], *size)
    augmentation = data.features.sources.augmentation
    return augmentation.copy_of(resized, data.features.clips.content_of(patient), copy)


def plain_loss(predictions: torch.Tensor, targets: np.ndarray) -> torch.Tensor:
    wanted = torch.from_numpy(targets).float()
    there = wanted.isfinite()
    return (predictions[there] - wanted[there]).square().mean()


def plain_groups(network: Network, settings: Settings) -> list[dict[str, object]]:
    groups = []
    for name, parameter in network.named_parameters():
        depth = (
            len(network.encoder.vit.layers) - 1 - int(name.split(".")[3])
            if ".layers." in name and name.startswith("encoder")
            else 0
        )
        task_lr = settings.gate_lr if name.endswith(".gate") else settings.task_lr
        lr = settings.vit_lr * settings.layer_decay**depth if name.startswith("encoder") else task_lr
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.append({"params": [parameter], "lr": lr, "weight_decay": decay})
    return groups
