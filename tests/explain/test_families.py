"""What a network on a backbone of each family looked at."""

from __future__ import annotations

import pytest
import torch

from cardio_mlflow.explain.case import case_of
from cardio_mlflow.explain.integrated_gradients import integrate
from cardio_mlflow.explain.rollout import attention_rollout, gradient_rollout, patch_relevance
from cardio_mlflow.model.network import build_network
from tests.families import FAMILIES, gray_family, run_whole

MEMORY = 1e12


@pytest.fixture(params=FAMILIES)
def name(request):
    return request.param


@pytest.fixture
def case(name, tmp_path):
    network = build_network(gray_family(name, tmp_path), "full", 2, 0.1, 0)
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(1, 256, (4, 2, 40, 40), generator=generator, dtype=torch.uint8)
    shown = torch.tensor([True, True, False, True])
    return case_of(network, clips, shown, shown)


def test_rollout_is_the_formula_on_the_models_own_attention(name, case):
    encoder, frames = case.network.encoder, case.shown
    flow = attention_rollout(encoder, frames, "mean", MEMORY)
    assert flow.shape == (6, encoder.token_count, encoder.token_count)
    assert (flow.sum(-1) - 1).abs().max() < 1e-5
    encoder.vit.set_attn_implementation("eager")
    with torch.no_grad():
        kept = run_whole(name, encoder.vit, frames[:, None], output_attentions=True).attentions
    expected = torch.eye(encoder.token_count)
    for attention in kept:
        expected = (attention.mean(1) + torch.eye(encoder.token_count)) / 2 @ expected
    assert len(kept) == 3
    torch.testing.assert_close(flow, expected, rtol=1e-4, atol=1e-6)


def test_relevance_is_the_patches_part_of_the_rows_of_patches(name, case):
    encoder = case.network.encoder
    flow = attention_rollout(encoder, case.shown, "mean", MEMORY)
    rows, columns = encoder.grid
    first = FAMILIES[name].prefix
    relevance = patch_relevance(flow, encoder.grid)
    assert relevance.shape == (6, rows, columns)
    assert torch.allclose(relevance.flatten(1), flow[:, first:, first:].mean(1))


def test_gradient_rollout_differs_by_parameter(case):
    encoder = case.network.encoder
    flow = gradient_rollout(case, MEMORY)
    assert flow.shape == (9, 4, 2, encoder.token_count, encoder.token_count)
    assert (flow >= 0).all()
    assert (flow[:, 2] == 0).all()
    assert not torch.allclose(flow[0], flow[1])


def test_integrated_gradients_are_complete(case):
    found = integrate(case, torch.zeros_like(case.images), 20, 0.01, MEMORY, torch.float32)
    assert (found.relative_delta <= 0.01).all()
    assert found.maps.abs().amax() > 0
    assert (found.maps[:, 2] == 0).all()
