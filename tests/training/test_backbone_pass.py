from __future__ import annotations

import pytest
import torch

from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.training import backbone_pass
from cardio_mlflow.training.backbone_pass import (
    PassPlan,
    chunk_frames,
    frame_features,
    plan_pass,
    run_blocks,
    saved_bytes,
)

FP32 = torch.float32


@pytest.fixture
def encoder(tiny_vit):
    return FrameEncoder(tiny_vit())


def gradients(encoder, tokens, plan):
    encoder.zero_grad()
    features = frame_features(encoder, tokens, 1, plan)
    features.square().sum().backward()
    return features.detach(), [p.grad.clone() for p in encoder.vit.layers[1:].parameters()]


@pytest.mark.parametrize(
    "plan", [PassPlan(1, False), PassPlan(3, False), PassPlan(3, True), PassPlan(7, True)]
)
def test_chunks_and_recomputing_change_no_number(encoder, plan):
    tokens = torch.randn(7, encoder.token_count, encoder.width)
    whole, expected = gradients(encoder, tokens, PassPlan(100, recompute=False))
    features, found = gradients(encoder, tokens, plan)
    assert torch.allclose(features, whole, atol=1e-6)
    for one, two in zip(found, expected, strict=True):
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-5)


def saved_by_autograd(encoder, tokens, plan):
    """Bytes of the tensors that the backward pass holds, weights and input left out, a storage once."""
    kept = {}
    own = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
    own.add(tokens.untyped_storage().data_ptr())

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        features = frame_features(encoder, tokens, 1, plan)
    size = sum(kept.values())
    assert features.requires_grad
    return size


def test_the_estimate_is_what_autograd_saves(encoder):
    tokens = torch.randn(12, encoder.token_count, encoder.width)
    measured = saved_by_autograd(encoder, tokens, PassPlan(12, recompute=False))
    assert measured == pytest.approx(12 * saved_bytes(encoder, 2, FP32), rel=0.15)


def test_recomputing_saves_no_activations(encoder):
    tokens = torch.randn(12, encoder.token_count, encoder.width)
    assert saved_by_autograd(encoder, tokens, PassPlan(2, recompute=True)) == 0


def test_the_plan_keeps_within_the_memory(encoder):
    each = saved_bytes(encoder, 3, FP32)
    assert plan_pass(encoder, 3, 40, FP32, 40 * each) == PassPlan(chunk_frames(encoder), recompute=False)
    assert plan_pass(encoder, 3, 40, FP32, 40 * each - 1).recompute
    assert plan_pass(encoder, 3, 40, FP32, 6.5 * each) == PassPlan(6, recompute=True)
    assert plan_pass(encoder, 3, 40, FP32, 0.5 * each) == PassPlan(1, recompute=True)


@pytest.mark.parametrize("frames", [1, 5, 8])
def test_running_blocks_in_chunks_is_running_them_at_once(encoder, frames, monkeypatch):
    tokens = torch.randn(frames, encoder.token_count, encoder.width)
    monkeypatch.setattr(backbone_pass, "CPU_NUMBERS", 3 * encoder.token_count * encoder.width)
    assert chunk_frames(encoder) == 3
    with torch.no_grad():
        assert torch.allclose(
            run_blocks(encoder, tokens, 1, 3, pool=False), encoder.blocks(tokens, 1, 3), atol=1e-6
        )
        pooled = run_blocks(encoder, tokens, 0, 3, pool=True)
        assert torch.allclose(pooled, encoder.pool(encoder.blocks(tokens, 0)), atol=1e-6)


def test_no_frames_give_no_features(encoder):
    empty = torch.zeros(0, encoder.token_count, encoder.width)
    assert frame_features(encoder, empty, 1, PassPlan(4, recompute=False)).shape == (0, 16)
