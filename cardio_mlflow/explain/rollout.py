"""Attention rollout in the backbone: which patches of a frame reach its feature, by the blocks' attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal

import torch
from torch import Tensor, nn

from cardio_mlflow.explain.case import Case
from cardio_mlflow.explain.gradients import GRAPH_FLOATS, feature_gradients
from cardio_mlflow.model.frame_encoder import FUSED_ATTENTION, FrameEncoder

ATTENTION_COPIES: Final = 4
"""Arrays as large as a block's attention that its way back keeps: scores, softmax, gradient, product."""
Fusion = Literal["mean", "max", "min"]
_FUSIONS: Final[Mapping[Fusion, Callable[[Tensor], Tensor]]] = {
    "mean": lambda heads: heads.mean(1),
    "max": lambda heads: heads.amax(1),
    "min": lambda heads: heads.amin(1),
}


def attention_rollout(encoder: FrameEncoder, frames: Tensor, fusion: Fusion, memory: float) -> Tensor:
    """Attention rollout of each frame.

    Abnar S, Zuidema W. Quantifying attention flow in transformers. ACL 2020. The heads' attention is fused,
    half of the weight goes to the residual connection (0.5·A + 0.5·I), rows are made to sum to one, and
    blocks are multiplied.

    Args:
        encoder: the backbone.
        frames: (N, h, w), 0-1, at the backbone's image size.
        fusion: how heads become one.
        memory: bytes that attention and activations may take.

    Returns:
        (N, L, L), the patch tokens last; each row sums to one.
    """
    eye = torch.eye(encoder.token_count, device=frames.device)
    flows = []
    for part in torch.split(frames, _frames_at_once(encoder, memory)):
        with torch.no_grad(), _kept_attention(encoder) as kept:
            encoder(part)
        flow = eye.expand(len(part), -1, -1)
        for attention in kept:
            block = 0.5 * _FUSIONS[fusion](attention.float()) + 0.5 * eye
            flow = (block / block.sum(-1, keepdim=True)) @ flow
        flows.append(flow / flow.sum(-1, keepdim=True))
    return torch.cat(flows)


def gradient_rollout(case: Case, memory: float) -> Tensor:
    """Gradient-weighted rollout of each frame for each parameter.

    Chefer H, Gur S, Wolf L. Generic attention-model explainability. ICCV 2021: R ← R + E_h[(∇A ⊙ A)⁺] · R,
    from R = I, with the gradients of the parameter's prediction; the identity is subtracted at the end. The
    gradients of a frame's attention are those of its feature, pulled back a few frames at a time.

    Args:
        case: network and patient.
        memory: bytes that attention and activations may take.

    Returns:
        (9, V, T, L, L); 0 for missing views.
    """
    encoder = case.network.encoder
    parts = torch.split(case.shown.detach(), _frames_at_once(encoder, memory))
    with torch.no_grad():
        features = torch.cat([encoder(part).float() for part in parts])
    pulled = torch.split(feature_gradients(case, features, 1), [len(part) for part in parts], dim=1)
    flows = [_gradient_flow(encoder, part, back) for part, back in zip(parts, pulled, strict=True)]
    return case.by_view(torch.cat(flows, dim=1))


def _gradient_flow(encoder: FrameEncoder, frames: Tensor, pulled: Tensor) -> Tensor:
    """(9, N, L, L) of N frames, from the (9, N, D) gradients of the predictions by their features."""
    with torch.enable_grad(), _kept_attention(encoder) as kept:
        features = encoder(frames.requires_grad_()).float()
    eye = torch.eye(encoder.token_count, device=frames.device)
    rows = []
    for back in pulled:
        gradients = torch.autograd.grad(features, kept, back, retain_graph=True)
        flow = eye.expand(len(frames), -1, -1)
        for attention, gradient in zip(kept, gradients, strict=True):
            flow = flow + (attention * gradient).clamp(min=0).mean(1).detach() @ flow
        rows.append(flow - eye)
    return torch.stack(rows)


def _frames_at_once(encoder: FrameEncoder, memory: float) -> int:
    """Frames whose activations, attention and its gradients fit into a memory (bytes); at least one."""
    heads, tokens = encoder.vit.config.num_attention_heads, encoder.token_count
    activations = tokens * encoder.width * GRAPH_FLOATS
    return max(1, int(memory // (4 * encoder.depth * (activations + ATTENTION_COPIES * heads * tokens**2))))


def patch_relevance(flow: Tensor, grid: tuple[int, int]) -> Tensor:
    """How much of each patch reaches the frame's feature, which is the mean of the patch tokens.

    Args:
        flow: (…, L, L), the patch tokens last. What reaches class and register tokens counts for nothing.
        grid: rows and columns of patches.

    Returns:
        (…, rows, columns).
    """
    patches = math.prod(grid)
    relevance = flow[..., -patches:, -patches:].mean(-2)
    return relevance.view(*relevance.shape[:-1], *grid)


@contextmanager
def _kept_attention(encoder: FrameEncoder) -> Iterator[list[Tensor]]:
    """The attention (N, heads, L, L) of each block that the encoder runs inside.

    The fused kernels never hold it, so the plain path is taken meanwhile.
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _given: object, output: tuple[Tensor, Tensor]) -> None:
        kept.append(output[1])

    hooks = [attention.register_forward_hook(keep) for attention in encoder.attentions()]
    encoder.vit.set_attn_implementation("eager")
    try:
        yield kept
    finally:
        encoder.vit.set_attn_implementation(FUSED_ATTENTION)
        for hook in hooks:
            hook.remove()
