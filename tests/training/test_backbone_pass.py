from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.training import backbone_pass
from cardio_mlflow.training.backbone_pass import (
    MISSING,
    Activations,
    PassPlan,
    chunk_frames,
    distinct_frames,
    frame_features,
    join,
    plan_pass,
    run_blocks,
    saved_bytes,
)

FP32 = torch.float32


@st.composite
def patients(draw, views: int = 4):
    """Images (F, 2, 3) of a patient's present views with repeats within and between them, and the mask."""
    frames = draw(st.integers(1, 5))
    present = torch.tensor(draw(st.lists(st.booleans(), min_size=views, max_size=views)))
    present[draw(st.integers(0, views - 1))] = True
    count = int(present.sum()) * frames
    kinds = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    return torch.tensor(kinds).float().view(-1, 1, 1).expand(-1, 2, 3), present


@given(patients())
def test_every_frame_is_found_and_none_is_kept_twice(patient):
    images, present = patient
    kept, frame_of = distinct_frames(images, present)
    assert len(kept) == len({float(image[0, 0]) for image in images})
    assert torch.equal(images[kept][frame_of[present].flatten()], images)
    assert (frame_of[~present] == MISSING).all()
    assert frame_of.shape == (4, len(images) // int(present.sum()))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.data())
def test_a_batch_selects_what_its_patients_select(sizes, data):
    parts, values = [], 0.0
    for size in sizes:
        frame_of = torch.tensor(data.draw(st.lists(st.integers(-1, size - 1), min_size=6, max_size=6)))
        rows = torch.arange(size).float().view(-1, 1) + values
        parts.append(Activations(rows, frame_of.view(2, 3)))
        values += 100
    whole = join(parts)
    shown = torch.stack([(part.frame_of != MISSING).all(1) for part in parts])
    rows, place = whole.select(shown)
    expected = [part.rows[part.frame_of[mask].flatten()] for part, mask in zip(parts, shown, strict=True)]
    assert torch.equal(rows[place], torch.cat(expected))
    assert len(rows) <= len(whole.rows)


def test_what_is_not_shown_is_not_selected():
    activations = Activations(torch.arange(6.0).view(6, 1), torch.tensor([[0, 1, 1], [2, 3, 4]]))
    rows, place = activations.select(torch.tensor([True, False]))
    assert rows.flatten().tolist() == [0, 1]
    assert place.tolist() == [0, 1, 1]


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
