from __future__ import annotations

import pytest

from cardio_mlflow.model.network import build_network
from cardio_mlflow.training.state import build_optimizer
from cardio_mlflow.variants import VARIANTS


@pytest.fixture(params=VARIANTS)
def network(request, tiny_vit):
    return build_network(tiny_vit(), request.param, 2, 0.1, 0, motion=True)


@pytest.fixture
def owner(network, tiny_settings):
    """The group of each parameter by name."""
    settings = tiny_settings(task_lr=1e-3, gate_lr=0.07, vit_lr=1e-4, layer_decay=0.5, weight_decay=0.03)
    names = {id(p): name for name, p in network.named_parameters()}
    groups = build_optimizer(network, settings).param_groups
    pairs = [(names[id(p)], group) for group in groups for p in group["params"]]
    assert len(pairs) == len(dict(pairs)), "a parameter stands in two groups"
    return dict(pairs)


def test_every_parameter_but_the_embeddings_is_in_a_group(network, owner):
    assert set(owner) == {name for name, _ in network.named_parameters() if "embeddings." not in name}


def test_learning_rates_are_explicit(owner):
    for name, group in owner.items():
        if name.endswith(".gate"):
            expected = 0.07
        elif not name.startswith("encoder"):
            expected = 1e-3
        elif "layers" in name:
            expected = 1e-4 * 0.5 ** (2 - int(name.split("layers.")[1].split(".")[0]))
        else:
            expected = 1e-4
        assert group["lr"] == pytest.approx(expected), name


def test_vectors_and_scalars_do_not_decay(network, owner):
    for name, parameter in network.named_parameters():
        if name in owner:
            assert owner[name]["weight_decay"] == (0.03 if parameter.ndim > 1 else 0.0), name


def test_groups_are_named_after_what_they_hold(owner):
    assert owner["heads.heads.0.linear.weight"]["name"] == "task"
    assert owner["encoder.vit.layers.2.layernorm_after.weight"]["name"] == "block-3"
    assert owner["encoder.vit.layernorm.weight"]["name"] == "block-3"
    assert owner["encoder.vit.layers.0.layernorm_after.weight"]["name"] == "block-1"
