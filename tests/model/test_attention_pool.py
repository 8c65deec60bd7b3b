from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.model.attention_pool import AttentionPool, mean_weights
from cardio_mlflow.model.network import TemporalAttention, ViewFusion

WIDTH, HEADS = 12, 3


def pool(pooling="gated", seed=0, gate=0.7):
    torch.manual_seed(seed)
    module = AttentionPool(WIDTH, HEADS, pooling)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    if pooling == "gated":
        torch.nn.init.constant_(module.gate, gate)
    return module.requires_grad_(False)


def random_items(n, items, seed=1):
    return torch.randn(n, items, WIDTH, generator=torch.Generator().manual_seed(seed))


masks = st.integers(1, 7).flatmap(
    lambda items: st.lists(
        st.lists(st.booleans(), min_size=items, max_size=items).filter(any), min_size=1, max_size=4
    )
)


def by_hand(module, features, present):
    """The formula of the docstring, item by item and head by head."""
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    part, out, weights = WIDTH // HEADS, [], []
    for patient, here in zip(features.numpy(), np.asarray(present), strict=True):
        x = patient[here]
        normed = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        normed = normed * state["norm.weight"] + state["norm.bias"]
        keys = normed @ state["key.weight"].T + state["key.bias"]
        values = normed @ state["value.weight"].T + state["value.bias"]
        joined, shares = [], np.zeros(len(here))
        for head in range(HEADS):
            own = slice(head * part, (head + 1) * part)
            scores = np.exp(keys[:, own] @ state["query"][head] / np.sqrt(part))
            share = scores / scores.sum()
            joined.append(share @ values[:, own])
            shares[here] += share / HEADS
        attended = state["output.weight"] @ np.concatenate(joined) + state["output.bias"]
        alpha = 1 / (1 + np.exp(-state["gate"]))
        out.append(alpha * attended + (1 - alpha) * x.mean(0))
        weights.append(alpha * shares + (1 - alpha) * here / here.sum())
    return np.array(out), np.array(weights)


@settings(max_examples=40, deadline=None)
@given(masks, st.floats(-4, 4))
def test_agrees_with_the_formula(mask, gate):
    module, present = pool(gate=gate), torch.tensor(mask)
    features = random_items(*present.shape)
    expected, expected_weights = by_hand(module, features, present)
    out, weights = module(features, present)
    assert np.allclose(out.numpy(), expected, atol=1e-4)
    assert np.allclose(weights.numpy(), expected_weights, atol=1e-5)


@pytest.mark.parametrize("pooling", ["gated", "attention", "mean"])
@settings(max_examples=25, deadline=None)
@given(mask=masks)
def test_weights_sum_to_one_over_what_is_present(pooling, mask):
    present = torch.tensor(mask)
    _, weights = pool(pooling)(random_items(*present.shape), present)
    assert torch.allclose(weights.sum(1), torch.ones(len(present), dtype=weights.dtype), atol=1e-6)
    assert not weights[~present].any()
    assert (weights >= 0).all()


@pytest.mark.parametrize("pooling", ["gated", "attention", "mean"])
@settings(max_examples=25, deadline=None)
@given(mask=masks)
def test_what_is_absent_changes_nothing(pooling, mask):
    present = torch.tensor(mask)
    module, features = pool(pooling), random_items(*present.shape)
    other = torch.where(present.unsqueeze(-1), features, random_items(*present.shape, seed=9) * 100)
    for one, two in zip(module(features, present), module(other, present), strict=True):
        assert torch.allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("pooling", ["gated", "attention", "mean"])
def test_absent_items_are_as_if_left_out(pooling):
    module, features = pool(pooling), random_items(2, 5)
    present = torch.tensor([[True, False, True, True, False]] * 2)
    alone, _ = module(features[:, present[0]], torch.ones(2, 3, dtype=torch.bool))
    assert torch.allclose(module(features, present)[0], alone, atol=1e-5)


@pytest.mark.parametrize("pooling", ["gated", "attention", "mean"])
def test_the_order_of_items_does_not_matter(pooling):
    module, features, present = pool(pooling), random_items(1, 6), torch.ones(1, 6, dtype=torch.bool)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    out, weights = module(features, present)
    out2, weights2 = module(features[:, order], present)
    assert torch.allclose(out, out2, atol=1e-5)
    assert torch.allclose(weights[:, order], weights2, atol=1e-5)


@pytest.mark.parametrize(("gate", "limit"), [(60.0, "attention"), (-60.0, "mean")])
def test_the_gate_runs_from_mean_to_attention(gate, limit):
    gated, other = pool("gated", gate=gate), pool(limit)
    if limit == "attention":
        other.load_state_dict({n: t for n, t in gated.state_dict().items() if n != "gate"}, strict=True)
    features, present = random_items(3, 4), torch.tensor([[True, True, False, True]] * 3)
    for one, two in zip(gated(features, present), other(features, present), strict=True):
        assert torch.allclose(one, two, atol=1e-5)
    assert float(gated.alpha) == pytest.approx(float(other.alpha), abs=1e-9)


def test_attention_and_mean_have_no_gate():
    names = {p: {n for n, _ in pool(p).named_parameters()} for p in ("gated", "attention", "mean")}
    assert names["gated"] - names["attention"] == {"gate"}
    assert names["mean"] == set()


@pytest.mark.parametrize("pooling", ["gated", "attention", "mean"])
def test_nothing_present_gives_zero_and_no_nan(pooling):
    present = torch.tensor([[False, False], [True, False]])
    out, weights = pool(pooling)(random_items(2, 2), present)
    assert not out[0].any()
    assert not weights[0].any()
    assert out.isfinite().all()


def test_gradients_are_finite_where_nothing_is_present():
    module = pool().requires_grad_(True)
    features = random_items(2, 3).requires_grad_(True)
    module(features, torch.tensor([[False] * 3, [True, False, False]]))[0].sum().backward()
    assert features.grad.isfinite().all()
    assert not features.grad[0].any()
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="5 heads"):
        AttentionPool(WIDTH, 5, "gated")


def test_mean_weights():
    present = torch.tensor([[True, True, False, True], [False] * 4])
    assert torch.allclose(mean_weights(present), torch.tensor([[1 / 3, 1 / 3, 0, 1 / 3], [0.0] * 4]))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), masks)
def test_temporal_attention_takes_any_number_of_frames(frames, mask):
    torch.manual_seed(0)
    module, present = TemporalAttention(WIDTH, HEADS, "gated").requires_grad_(False), torch.tensor(mask)
    features = torch.randn(*present.shape, frames, WIDTH)
    out, weights = module(features, present)
    assert out.shape == (*present.shape, WIDTH)
    assert weights.shape == (*present.shape, frames)
    assert torch.allclose(weights.sum(2), present.float(), atol=1e-5)
    assert not out[~present].any()


def test_temporal_attention_is_the_same_pool_for_every_view():
    torch.manual_seed(0)
    module = TemporalAttention(WIDTH, HEADS, "gated").requires_grad_(False)
    features, present = torch.randn(2, 4, 5, WIDTH), torch.ones(2, 4, dtype=torch.bool)
    out, _ = module(features, present)
    swapped, _ = module(features[:, [2, 0, 3, 1]], present)
    assert torch.allclose(out[:, [2, 0, 3, 1]], swapped, atol=1e-6)
    alone, _ = AttentionPool.forward(module, features[1, 3:4], torch.ones(1, 5, dtype=torch.bool))
    assert torch.allclose(out[1, 3], alone[0], atol=1e-6)


@pytest.mark.parametrize("pooling", ["gated", "attention"])
def test_view_fusion_tells_the_views_apart(pooling):
    torch.manual_seed(0)
    module = ViewFusion(WIDTH, HEADS, pooling, 4).requires_grad_(False)
    torch.nn.init.normal_(module.view_embedding)
    features, present = torch.randn(2, 4, WIDTH), torch.ones(2, 4, dtype=torch.bool)
    assert not torch.allclose(
        module(features, present)[0], module(features[:, [1, 0, 2, 3]], present)[0], atol=1e-3
    )


def test_view_fusion_by_the_mean_has_no_parameters():
    module = ViewFusion(WIDTH, HEADS, "mean", 4)
    features = torch.randn(1, 4, WIDTH)
    out, weights = module(features, torch.tensor([[True, False, True, False]]))
    assert not list(module.parameters())
    assert torch.allclose(out, (features[:, 0] + features[:, 2]) / 2, atol=1e-6)
    assert weights.tolist() == [[0.5, 0, 0.5, 0]]
