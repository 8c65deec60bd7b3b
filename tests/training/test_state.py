"""Parameter groups, learning rates, and whether a gate finds what it has to in a preset's number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR
from transformers import PreTrainedModel

from cardio_mlflow.model.network import build_network
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.training.state import build_optimizer, rate_factor, set_rates
from cardio_mlflow.variants import VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_but_the_embeddings_is_in_one_group_of_its_rate(variant, tiny_vit, tiny_settings):
    network = build_network(tiny_vit(), variant, 2, 0.1, 0, motion=True)
    settings = tiny_settings(task_lr=1e-3, gate_lr=0.07, vit_lr=1e-4, layer_decay=0.5, weight_decay=0.03)
    names = {id(p): name for name, p in network.named_parameters()}
    groups = build_optimizer(network, settings).param_groups
    pairs = [(names[id(p)], group) for group in groups for p in group["params"]]
    owner = dict(pairs)
    assert len(pairs) == len(owner), "a parameter stands in two groups"
    assert set(owner) == {name for name in names.values() if "embeddings." not in name}
    for name, parameter in network.named_parameters():
        if name not in owner:
            continue
        group, rate, label = owner[name], 1e-4, "block-3"  # the final layer norm, as the topmost block
        if name.endswith(".gate"):
            rate, label = 0.07, "gates"
        elif not name.startswith("encoder"):
            rate, label = 1e-3, "task"
        elif "layers" in name:
            block = int(name.split("layers.")[1].split(".")[0])
            rate, label = 1e-4 * 0.5 ** (2 - block), f"block-{block + 1}"
        assert group["lr"] == pytest.approx(rate), name
        assert group["name"] == label
        assert group["weight_decay"] == (0.03 if parameter.ndim > 1 else 0.0), name


@pytest.fixture(scope="module")
def rates(tiny_settings):
    return lambda schedule, warmup: tiny_settings(lr_schedule=schedule, warmup_epochs=warmup)


@pytest.mark.parametrize(
    ("schedule", "warmup", "position", "factor"),
    [
        ("constant", 0, 0.01, 1),
        ("constant", 2, 0.5, 0.25),
        ("constant", 2, 2.5, 1),
        ("cosine", 0, 4, 0.5),
        ("cosine", 0, 8, 0),
        ("cosine", 2, 1, 0.5),
        ("cosine", 2, 5, 0.5),
        ("cosine", 20, 4, 0.5),
    ],
)
def test_factors_of_a_stage_of_eight_epochs(rates, schedule, warmup, position, factor):
    assert rate_factor(rates(schedule, warmup), position, 8) == pytest.approx(factor)


def test_the_cosine_is_that_of_torch(rates):
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = CosineAnnealingLR(optimizer, T_max=10)
    for position in range(10):
        assert rate_factor(rates("cosine", 0), position, 10) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


@given(st.sampled_from(["constant", "cosine"]), st.floats(0, 20), st.floats(0, 1), st.integers(1, 30))
def test_a_factor_lies_between_nothing_and_the_whole_rate(rates, schedule, warmup, share, length):
    assert -1e-12 <= rate_factor(rates(schedule, warmup), share * length, length) <= 1 + 1e-12


def test_each_group_keeps_its_own_rate():
    optimizer = SGD([{"params": [torch.zeros(1)], "lr": rate} for rate in (0.1, 0.02)], lr=1)
    for factor in (0.5, 0.25, 1.0):
        set_rates(optimizer, factor)
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.1 * factor, 0.02 * factor])


PATIENTS, FRAMES, WIDTH = 128, 8, 32


def toy(carrier: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 4, T, D) frame features and (N,) targets, which one path of temporal attention alone can find.

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


@pytest.mark.parametrize("preset", ["demo", "study"])
@pytest.mark.parametrize(("carrier", "least", "most"), [("attention", 0.9, 1), ("mean", 0, 0.1)])
def test_a_gate_finds_the_path_that_carries_the_signal(
    preset: str, carrier: str, least: float, most: float, tiny_vit: Callable[..., PreTrainedModel]
):
    settings = load_settings({"preset": preset, "data": "anywhere"}, {})
    steps = settings.epochs * math.ceil(round(0.8 * settings.cohort1_size) / settings.batch_size)
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
    assert least < network.alphas()["temporal"] < most
