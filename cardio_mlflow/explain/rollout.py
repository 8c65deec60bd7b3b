"""Attention rollout in the backbone: which patches of a frame reach its feature, by the blocks' attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal

import torch
from torch import Tensor, nn

from cardio_mlflow.explain.subject import Subject
from cardio_mlflow.model.frame_encoder import FrameEncoder

Fusion = Literal["mean", "max", "min"]
_FUSIONS: Final[Mapping[Fusion, Callable[[Tensor], Tensor]]] = {
    "mean": lambda heads: heads.mean(1),
    "max": lambda heads: heads.amax(1),
    "min": lambda heads: heads.amin(1),
}


def attention_rollout(encoder: FrameEncoder, frames: Tensor, fusion: Fusion) -> Tensor:
    """Attention rollout of each frame.

    Abnar S, Zuidema W. Quantifying attention flow in transformers. ACL 2020. The heads' attention is fused,
    half of it is given to the residual connection (0.5·A + 0.5·I), rows are made to sum to one, and blocks
    are multiplied.

    Args:
        encoder: the backbone.
        frames: (N, h, w), 0-1, at the backbone's image size.
        fusion: how heads become one.

    Returns:
        (N, L, L), the class token first; each row sums to one.
    """
    with torch.no_grad(), _kept_attention(encoder) as kept:
        encoder(frames)
    fused = _FUSIONS[fusion]
    eye = torch.eye(kept[0].shape[-1], device=frames.device)
    flow = eye.expand(len(frames), -1, -1)
    for attention in kept:
        block = 0.5 * fused(attention.float()) + 0.5 * eye
        flow = (block / block.sum(-1, keepdim=True)) @ flow
    return flow / flow.sum(-1, keepdim=True)


def gradient_rollout(subject: Subject) -> Tensor:
    """Gradient-weighted rollout of each frame for each parameter.

    Chefer H, Gur S, Wolf L. Generic attention-model explainability. ICCV 2021: R ← R + E_h[(∇A ⊙ A)⁺] · R,
    from R = I, with the gradients of the parameter's prediction; the identity is taken off at the end.

    Returns:
        (9, V, T, L, L); 0 for missing views.
    """
    encoder, frames = subject.network.encoder, subject.shown
    with torch.enable_grad(), _kept_attention(encoder) as kept:
        features = encoder(frames.detach().requires_grad_()).float()
        predictions = subject.from_features(features).predictions[0]
    eye = torch.eye(kept[0].shape[-1], device=frames.device)
    rows = []
    for prediction in predictions:
        gradients = torch.autograd.grad(prediction, kept, retain_graph=True)
        flow = eye.expand(len(frames), -1, -1)
        for attention, gradient in zip(kept, gradients, strict=True):
            flow = flow + (attention * gradient).clamp(min=0).mean(1).detach() @ flow
        rows.append(flow - eye)
    return subject.by_view(torch.stack(rows))


def patch_relevance(flow: Tensor, grid: tuple[int, int]) -> Tensor:
    """How much of each patch reaches the frame's feature, which is the mean of the patch tokens.

    Args:
        flow: (…, L, L), the class token first.
        grid: rows and columns of patches.

    Returns:
        (…, rows, columns).
    """
    relevance = flow[..., 1:, 1:].mean(-2)
    return relevance.view(*relevance.shape[:-1], *grid)


def patch_grid(encoder: FrameEncoder) -> tuple[int, int]:
    """Rows and columns of patches of a frame."""
    size = encoder.vit.config.patch_size
    down, across = (size, size) if isinstance(size, int) else size
    height, width = encoder.image_size
    return height // down, width // across


@contextmanager
def _kept_attention(encoder: FrameEncoder) -> Iterator[list[Tensor]]:
    """The attention (N, heads, L, L) of each block that the encoder runs inside.

    The fused kernels never hold it, so the plain path is taken meanwhile.
    """
    kept: list[Tensor] = []
    config = encoder.vit.config
    before = config._attn_implementation

    def keep(_module: nn.Module, _given: object, output: tuple[Tensor, Tensor]) -> None:
        kept.append(output[1])

    hooks = [block.attention.register_forward_hook(keep) for block in encoder.vit.layers]
    config._attn_implementation = "eager"
    try:
        yield kept
    finally:
        config._attn_implementation = before
        for hook in hooks:
            hook.remove()
