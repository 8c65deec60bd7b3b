from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.model.attention_pool import AttentionPool
from cardio_mlflow.model.network import TemporalAttention, ViewFusion

WIDTH, HEADS = 12, 3
POOLINGS = pytest.mark.parametrize("pooling", ["gated", "attention", "mean"])
MASKS = st.integers(1, 7).flatmap(
    lambda items: st.lists(
        st.lists(st.booleans(), min_size=items, max_size=items).filter(any), min_size=1, max_size=4
    )
)


def pool(pooling="gated", gate=0.7):
    torch.manual_seed(0)
    module = AttentionPool(WIDTH, HEADS, pooling)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    if pooling == "gated":
        torch.nn.init.constant_(module.gate, gate)
    return module.requires_grad_(False)


def random_items(n, items, seed=1):
    return torch.randn(n, items, WIDTH, generator=torch.Generator().manual_seed(seed))


def by_hand(module, features, present, alpha):
    """The formula of the docstring, item by item and head by head; what is absent is left out."""
    state = {name: value.numpy() for name, value in module.state_dict().items()}
    part, out, weights = WIDTH // HEADS, [], []
    for patient, here in zip(features.numpy(), np.asarray(present), strict=True):
        x, mean = patient[here], here / here.sum()
        if alpha == 0:
            out.append(x.mean(0))
            weights.append(mean)
            continue
        normed = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        normed = normed * state["norm.weight"] + state["norm.bias"]
        keys = normed @ state["key.weight"].T + state["key.bias"]
        values = normed @ state["value.weight"].T + state["value.bias"]
        joined, shares = [], np.zeros(len(here))
        for head in range(HEADS):
            own = slice(head * part, (head + 1) * part)
            scores = np.exp(keys[:, own] @ state["query"][head] / np.sqrt(part))
            joined.append(scores / scores.sum() @ values[:, own])
            shares[here] += scores / scores.sum() / HEADS
        attended = state["output.weight"] @ np.concatenate(joined) + state["output.bias"]
        out.append(alpha * attended + (1 - alpha) * x.mean(0))
        weights.append(alpha * shares + (1 - alpha) * mean)
    return np.array(out), np.array(weights)


@POOLINGS
@settings(max_examples=40, deadline=None)
@given(mask=MASKS, gate=st.floats(-4, 4))
def test_agrees_with_the_formula(pooling, mask, gate):
    module, present = pool(pooling, gate), torch.tensor(mask)
    alpha = {"gated": 1 / (1 + np.exp(-gate)), "attention": 1, "mean": 0}[pooling]
    assert float(module.alpha) == pytest.approx(alpha)
    features = random_items(*present.shape)
    out, weights = module(features, present)
    for found, expected in zip((out, weights), by_hand(module, features, present, alpha), strict=True):
        assert found.numpy() == pytest.approx(expected, abs=1e-4)


@POOLINGS
@settings(max_examples=25, deadline=None)
@given(mask=MASKS)
def test_what_is_absent_changes_nothing(pooling, mask):
    present = torch.tensor(mask)
    module, features = pool(pooling), random_items(*present.shape)
    other = torch.where(present.unsqueeze(-1), features, random_items(*present.shape, seed=9) * 100)
    for one, two in zip(module(features, present), module(other, present), strict=True):
        assert torch.allclose(one, two, atol=1e-6)


def test_attention_and_mean_have_no_gate():
    names = {p: {n for n, _ in pool(p).named_parameters()} for p in ("gated", "attention", "mean")}
    assert names["gated"] - names["attention"] == {"gate"}
    assert names["mean"] == set()


@POOLINGS
def test_nothing_present_gives_zero_and_finite_gradients(pooling):
    module = pool(pooling).requires_grad_(True)
    features = random_items(2, 3).requires_grad_(True)
    out, weights = module(features, torch.tensor([[False] * 3, [True, False, False]]))
    out.sum().backward()
    assert not out[0].any()
    assert not weights[0].any()
    assert features.grad.isfinite().all()
    assert not features.grad[0].any()
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="5 heads"):
        AttentionPool(WIDTH, 5, "gated")


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), MASKS)
def test_temporal_attention_is_the_same_pool_for_every_view(frames, mask):
    torch.manual_seed(0)
    module, present = TemporalAttention(WIDTH, HEADS, "gated").requires_grad_(False), torch.tensor(mask)
    features = torch.randn(*present.shape, frames, WIDTH)
    out, weights = module(features, present)
    assert out.shape == (*present.shape, WIDTH)
    assert torch.allclose(weights.sum(2), present.float(), atol=1e-5)
    assert not out[~present].any()
    patient, view = present.nonzero()[0]
    every = torch.ones(1, frames, dtype=torch.bool)
    alone, _ = AttentionPool.forward(module, features[patient, view][None], every)
    assert torch.allclose(out[patient, view], alone[0], atol=1e-5)


@pytest.mark.parametrize("pooling", ["gated", "attention"])
def test_view_fusion_tells_the_views_apart(pooling):
    torch.manual_seed(0)
    module = ViewFusion(WIDTH, HEADS, pooling, 4).requires_grad_(False)
    torch.nn.init.normal_(module.view_embedding)
    features, present = torch.randn(2, 4, WIDTH), torch.ones(2, 4, dtype=torch.bool)
    swapped, _ = module(features[:, [1, 0, 2, 3]], present)
    assert not torch.allclose(module(features, present)[0], swapped, atol=1e-3)


def test_view_fusion_by_the_mean_has_no_parameters():
    assert not list(ViewFusion(WIDTH, HEADS, "mean", 4).parameters())
