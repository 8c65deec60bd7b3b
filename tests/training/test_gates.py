"""Where one path alone carries the signal, its gate finds it in the number of steps that a preset has."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel

from cardio_mlflow.model.network import build_network
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.training.state import build_optimizer

PATIENTS, FRAMES, WIDTH = 128, 8, 32


def toy(carrier: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 4, T, D) frame features and (N,) targets.

    ``attention``: one frame of each view, marked by its first number, shows the target; in the others there
    is noise in its place, which is all that a mean sees. ``mean``: every frame shows the target under noise
    that is large in each frame and cancels in their mean.
    """
    rng = torch.Generator().manual_seed(5)
    target = torch.randn(PATIENTS, generator=rng)
    shown = target[:, None, None].expand(-1, 4, FRAMES)
    features = 0.3 * torch.randn(PATIENTS, 4, FRAMES, WIDTH, generator=rng)
    if carrier == "attention":
        place = torch.randint(FRAMES, (PATIENTS, 4), generator=rng)
        marked = torch.nn.functional.one_hot(place, FRAMES).bool()
        features[..., 0] = 4.0 * marked
        features[..., 1] = torch.where(marked, shown, 3 * torch.randn(shown.shape, generator=rng))
        return features, target
    noise = 6 * torch.randn(features.shape, generator=rng)
    features += noise - noise.mean(2, keepdim=True)
    features[..., 1] += shown
    return features, target


def alpha_after_training(preset: str, carrier: str, tiny_vit: Callable[..., PreTrainedModel]) -> float:
    """Train temporal attention alone to give the target as the pooled feature's second number."""
    settings = load_settings({"preset": preset, "data": "anywhere"}, {})
    trained = round(0.8 * settings.cohort1_size)
    steps = settings.epochs * math.ceil(trained / settings.batch_size)
    network = build_network(tiny_vit(hidden_size=WIDTH), "full", 4, 0.0, 0)
    optimizer = build_optimizer(network, settings)
    features, target = toy(carrier)
    rng = torch.Generator().manual_seed(6)
    for _ in range(steps):
        chosen = torch.randint(PATIENTS, (settings.batch_size,), generator=rng)
        pooled, _ = network.temporal(features[chosen], torch.ones(len(chosen), 4, dtype=torch.bool))
        loss = (pooled[..., 1] - target[chosen, None]).square().mean()
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
