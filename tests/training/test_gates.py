"""Where one path alone carries the signal, its gate finds it in the number of steps that a preset has."""

from __future__ import annotations

import math

import pytest
import torch

from cardio_mlflow.model.network import build_network
from cardio_mlflow.settings import load_settings
from cardio_mlflow.training.optimizer import build_optimizer

PATIENTS, FRAMES, WIDTH = 128, 8, 32


def toy(carrier: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 4, T, D) frame features and (N,) targets.

    ``attention``: one frame in a view, marked by its first number, carries the target, and the mean over
    frames is made to say nothing. ``mean``: every frame carries a part of it, in noise that only the mean
    over all frames averages out, and no frame is marked.
    """
    rng = torch.Generator().manual_seed(5)
    target = torch.randn(PATIENTS, generator=rng)
    features = 0.3 * torch.randn(PATIENTS, 4, FRAMES, WIDTH, generator=rng)
    if carrier == "mean":
        features[..., 1] += target[:, None, None]
        return features, target
    marked = torch.randint(FRAMES, (PATIENTS, 4), generator=rng)
    one = torch.nn.functional.one_hot(marked, FRAMES).float()
    features[..., 0] = 3 * one
    signal = 4 * target[:, None, None] * (one - (1 - one) / (FRAMES - 1))
    features[..., 1] = signal
    return features, target


def alpha_after_training(preset: str, carrier: str, tiny_vit) -> float:
    settings = load_settings({"preset": preset, "data": "anywhere"}, {})
    trained = round(0.8 * settings.cohort1_size)
    steps = settings.epochs * math.ceil(trained / settings.batch_size)
    network = build_network(tiny_vit(hidden_size=WIDTH), "full", 4, 0.0, 0)
    network.encoder.requires_grad_(False)
    optimizer = build_optimizer(network, settings)
    features, target = toy(carrier)
    rng = torch.Generator().manual_seed(6)
    for _ in range(steps):
        chosen = torch.randint(PATIENTS, (settings.batch_size,), generator=rng)
        present = torch.ones(len(chosen), 4, dtype=torch.bool)
        output = network.from_frame_features(features[chosen].flatten(0, 2), present)
        loss = (output.predictions[:, 0] - target[chosen]).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return network.alphas()["temporal"]


@pytest.mark.parametrize("preset", ["demo", "study"])
def test_the_gate_opens_where_attention_alone_carries_the_signal(preset, tiny_vit):
    assert alpha_after_training(preset, "attention", tiny_vit) > 0.9


@pytest.mark.parametrize("preset", ["demo", "study"])
def test_the_gate_closes_where_the_mean_alone_carries_the_signal(preset, tiny_vit):
    assert alpha_after_training(preset, "mean", tiny_vit) < 0.1
