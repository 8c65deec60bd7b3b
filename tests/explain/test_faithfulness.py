from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cardio_mlflow.explain.faithfulness import (
    SHARES,
    deletion_insertion,
    map_correlation,
    randomised,
    with_noise,
)
from cardio_mlflow.explain.integrated_gradients import Attribution, integrate
from cardio_mlflow.parameters import KEYS


@pytest.fixture
def explained(tiny_case):
    case = tiny_case()
    zero = torch.zeros_like(case.images)
    return case, zero, integrate(case, zero, 20, 0.05, 1e12, torch.float32)


def test_curves_begin_and_end_where_they_must(explained) -> None:
    case, zero, found = explained
    curves = deletion_insertion(case, zero, found, 8, 0)
    shown = [key for k, key in enumerate(KEYS) if abs(found.outputs[k] - found.baseline[k]) >= 0.1]
    assert list(dict.fromkeys(curves["parameter"])) == shown
    for (_, kind, _), curve in curves.groupby(["parameter", "kind", "order"]):
        assert curve["share"].tolist() == list(SHARES)
        ends = [1, 0] if kind == "deletion" else [0, 1]
        assert curve["value"].iloc[[0, -1]].tolist() == pytest.approx(ends, abs=1e-3)


def test_attribution_is_faster_than_chance_and_its_reverse_slower(explained) -> None:
    case, zero, found = explained
    areas = {}
    for name, values in (("right", found.maps), ("reversed", -found.maps)):
        curves = deletion_insertion(case, zero, replace(found, maps=values), 8, 0)
        area = curves.groupby(["kind", "order"])["value"].mean()
        areas[name] = area["insertion", "attribution"] - area["insertion", "random"]
    assert areas["right"] > 0 > areas["reversed"]


def test_other_weights_give_another_map_and_a_little_noise_does_not(explained) -> None:
    case, zero, found = explained
    same = map_correlation(found, found, 8)
    assert list(same.values()) == pytest.approx([1] * 9)
    other = replace(case, network=randomised(case.network, 0))
    moved = map_correlation(found, integrate(other, zero, 20, 9, 1e12, torch.float32), 8)
    noisy = case.with_images(with_noise(case.images, 0))
    steady = map_correlation(found, integrate(noisy, zero, 20, 9, 1e12, torch.float32), 8)
    assert np.mean(list(steady.values())) > 0.9
    assert abs(np.mean(list(moved.values()))) < 0.3
    assert list(map_correlation(found, opposite(found), 8).values()) == pytest.approx([-1] * 9)
    assert list(map_correlation(found, opposite(found), 8, signed=False).values()) == pytest.approx([1] * 9)
    one, two = (sorted(p.flatten().tolist()) for p in (case.network.fusion.key.weight,
                                                        other.network.fusion.key.weight))  # fmt: skip
    assert one == two, "shuffled, so that its norm stays"


def test_black_patches_are_no_part_of_a_random_order(tiny_case) -> None:
    """With two thirds of each image black, noise as an attribution is about as good as chance."""
    case = tiny_case(missing=None)
    images = case.images.clone()
    images[..., :21, :] = 0
    case, black = case.with_images(images), torch.zeros_like(images)
    found = integrate(case, black, 20, 9, 1e12, torch.float32)
    noise = torch.rand(found.maps.shape, generator=torch.Generator().manual_seed(0)) * (images > 0)
    signs = (found.outputs - found.baseline).sign().view(9, 1, 1, 1, 1)
    curves = deletion_insertion(case, black, replace(found, maps=noise * signs), 8, 0)
    rows = curves[curves["share"].between(0.1, 0.5)]
    means = rows.groupby(["kind", "order"])["value"].mean()
    for kind in ("deletion", "insertion"):
        assert means[kind, "attribution"] == pytest.approx(means[kind, "random"], abs=0.2)


def opposite(found: Attribution) -> Attribution:
    return replace(found, maps=-found.maps)


def test_a_constant_map_has_no_correlation(explained) -> None:
    _, _, found = explained
    flat = replace(found, maps=torch.zeros_like(found.maps))
    assert np.isnan(list(map_correlation(found, flat, 8).values())).all()
