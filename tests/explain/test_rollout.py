from __future__ import annotations

import pytest
import torch

from cardio_mlflow.explain.rollout import attention_rollout, gradient_rollout, patch_relevance

MEMORY = 1e12


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
def test_rollout_is_the_formula_and_rows_sum_to_one(tiny_case, name: str, fuse) -> None:
    case = tiny_case()
    encoder = case.network.encoder
    flow = attention_rollout(encoder, case.shown, name, MEMORY)
    assert (flow.sum(-1) - 1).abs().max() < 1e-5
    assert (flow >= 0).all()
    with torch.no_grad():
        torch.testing.assert_close(flow, by_hand(encoder, case.shown, fuse), rtol=1e-4, atol=1e-6)


def test_the_fused_path_is_back_afterwards_and_gives_the_same(tiny_case) -> None:
    case = tiny_case()
    encoder, weights = case.network.encoder, []
    one = case.outputs(case.images[None])
    attention_rollout(case.network.encoder, case.shown, "mean", MEMORY)
    assert not any(block.attention._forward_hooks for block in encoder.vit.layers)
    encoder.vit.layers[0].attention.register_forward_hook(lambda _m, _i, output: weights.append(output[1]))
    assert torch.equal(case.outputs(case.images[None]), one)
    assert weights == [None], "the plain path would give weights"


@pytest.mark.parametrize("memory", [0, 2e5, 1e12])
def test_rollout_does_not_depend_on_the_memory(tiny_case, memory: float) -> None:
    case = tiny_case()
    encoder, frames = case.network.encoder, case.shown
    alone = torch.cat([attention_rollout(encoder, frame[None], "mean", MEMORY) for frame in frames])
    torch.testing.assert_close(
        attention_rollout(encoder, frames, "mean", memory), alone, rtol=1e-5, atol=1e-7
    )
    whole, parts = gradient_rollout(case, MEMORY), gradient_rollout(case, memory)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-9)


def test_gradient_rollout_is_the_formula(tiny_case) -> None:
    """From attention that is taken out of the blocks' own eager path, and the whole network's gradient."""
    case = tiny_case(missing=None, frames=2)
    encoder, kept = case.network.encoder, []
    encoder.vit.set_attn_implementation("eager")
    for block in encoder.vit.layers:
        block.attention.register_forward_hook(lambda _m, _i, output: kept.append(output[1]))
    frames = case.shown.requires_grad_()
    predictions = case.from_features(encoder(frames)).predictions[0]
    attention = list(kept)
    found = gradient_rollout(case, MEMORY)
    for k, prediction in enumerate(predictions):
        gradients = torch.autograd.grad(prediction, attention, retain_graph=True)
        flow = torch.eye(17).expand(8, -1, -1)
        for a, g in zip(attention, gradients, strict=True):
            flow = flow + (a * g).clamp(min=0).mean(1) @ flow
        expected = (flow - torch.eye(17)).detach().view(4, 2, 17, 17)
        torch.testing.assert_close(found[k], expected, rtol=1e-3, atol=1e-8)


def test_gradient_rollout_differs_by_parameter_and_is_not_negative(tiny_case) -> None:
    case = tiny_case()
    flow = gradient_rollout(case, MEMORY)
    assert flow.shape == (9, 4, 3, 17, 17)
    assert (flow >= 0).all()
    assert (flow[:, 2] == 0).all()
    assert not torch.allclose(flow[0], flow[1])
    relevance = patch_relevance(flow, case.network.encoder.grid)
    assert relevance.shape == (9, 4, 3, 4, 4)


def test_a_network_whose_heads_are_zero_has_no_gradient_rollout(tiny_case) -> None:
    case = tiny_case()
    for parameter in case.network.heads.parameters():
        parameter.zero_()
    assert gradient_rollout(case, MEMORY).abs().max() == 0
