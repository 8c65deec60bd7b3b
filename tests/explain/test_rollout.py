from __future__ import annotations

import pytest
import torch

from cardio_mlflow.explain.rollout import attention_rollout, gradient_rollout, patch_grid, patch_relevance


def by_hand(encoder, frames, fuse):
    """Rollout from queries and keys that are computed here."""
    tokens = encoder.vit.embeddings(frames.unsqueeze(1))
    flow = torch.eye(tokens.shape[1]).expand(len(frames), -1, -1)
    for block in encoder.vit.layers:
        attention, normed = block.attention, block.layernorm_before(tokens)
        heads = attention.num_attention_heads
        q, k = (
            p(normed).unflatten(-1, (heads, -1)).transpose(1, 2) for p in (attention.q_proj, attention.k_proj)
        )
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        mixed = fuse(weights) + torch.eye(tokens.shape[1])
        flow = (mixed / mixed.sum(-1, keepdim=True)) @ flow
        tokens = block(tokens)
    return flow


@pytest.mark.parametrize(
    ("name", "fuse"),
    [("mean", lambda a: a.mean(1)), ("max", lambda a: a.amax(1)), ("min", lambda a: a.amin(1))],
)
def test_rollout_is_the_formula_and_rows_sum_to_one(tiny_subject, name: str, fuse) -> None:
    subject = tiny_subject()
    encoder = subject.network.encoder
    flow = attention_rollout(encoder, subject.shown, name)
    assert (flow.sum(-1) - 1).abs().max() < 1e-5
    assert (flow >= 0).all()
    with torch.no_grad():
        torch.testing.assert_close(flow, by_hand(encoder, subject.shown, fuse), rtol=1e-4, atol=1e-6)


def test_the_fused_path_is_back_afterwards_and_gives_the_same(tiny_subject) -> None:
    subject = tiny_subject()
    before = subject.network.encoder.vit.config._attn_implementation
    one = subject.outputs(subject.images[None])
    attention_rollout(subject.network.encoder, subject.shown, "mean")
    assert subject.network.encoder.vit.config._attn_implementation == before
    assert not any(block.attention._forward_hooks for block in subject.network.encoder.vit.layers)
    assert torch.equal(subject.outputs(subject.images[None]), one)


def test_rollout_does_not_depend_on_the_batch(tiny_subject) -> None:
    subject = tiny_subject()
    encoder, frames = subject.network.encoder, subject.shown[:8]
    together = attention_rollout(encoder, frames, "mean")
    alone = torch.cat([attention_rollout(encoder, frame[None], "mean") for frame in frames])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-7)


def test_gradient_rollout_differs_by_parameter_and_is_not_negative(tiny_subject) -> None:
    subject = tiny_subject()
    flow = gradient_rollout(subject)
    assert flow.shape == (9, 4, 3, 17, 17)
    assert (flow >= 0).all()
    assert (flow[:, 2] == 0).all()
    assert not torch.allclose(flow[0], flow[1])
    relevance = patch_relevance(flow, patch_grid(subject.network.encoder))
    assert relevance.shape == (9, 4, 3, 4, 4)


def test_a_frame_that_the_network_ignores_has_no_gradient_rollout(tiny_subject) -> None:
    """Of no_attention's mean every frame counts; with a network whose heads are zero none does."""
    subject = tiny_subject()
    for parameter in subject.network.heads.parameters():
        parameter.zero_()
    assert gradient_rollout(subject).abs().max() == 0
