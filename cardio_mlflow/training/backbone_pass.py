"""Activations of different frames, and passes through the backbone's blocks within a stated memory.

A heart cycle of fewer frames than a prepared clip has some of them twice. Each different frame is encoded
once; ``frame_of`` says which one stands where.

A frame is encoded by itself, so a batch can go through the blocks a few frames at a time: the numbers are
the same, and what has to be held is smaller. Where a batch's activations would take more memory than
allowed, they are dropped after each chunk and computed again in the backward pass (gradient checkpointing,
Chen et al. 2016, arXiv:1604.06174), so that those of one chunk are held at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.model.vit_families import family_of

MISSING: Final = -1
"""What stands in ``frame_of`` for the frames of a missing view."""
CPU_NUMBERS: Final = 1_200_000
"""Numbers in the tokens of a chunk on a CPU: large enough to outweigh the calls, few enough for its caches.
Measured: half and twice as many are equally fast, for widths of 128 and 768."""
CUDA_NUMBERS: Final = 32 * CPU_NUMBERS
"""The same on a GPU: enough to fill it."""
_WIDTHS_SAVED: Final = {"cpu": 9, "cuda": 13}
"""Tensors as wide as a token that a block saves for its backward pass, besides the two hidden layers of
the MLP: its input, the normed input, query, key, value, the attention's output twice, the sum, the normed
sum. With autocast on CUDA layer norms are float32, and the normed input is cast for each product."""


@dataclass(frozen=True)
class Activations:
    """Activations of U different frames of a patient or a batch.

    Attributes:
        rows: (U, L, D) tokens or (U, D) frame features.
        frame_of: (V, T) of a patient or (B, V, T) of a batch, int64: the row of each frame; -1 where the view
            is missing.
    """

    rows: Tensor
    frame_of: Tensor

    def select(self, present: Tensor) -> tuple[Tensor, Tensor]:
        """The rows that the frames of some views need, each once.

        Args:
            present: (V,) or (B, V) bool, the views that are shown.

        Returns:
            (U', …) rows, and the (F,) row among them of each of the F frames of these views, in order.
        """
        used, place = torch.unique(self.frame_of[present], return_inverse=True)
        place = place.flatten()
        rows = self.rows if len(used) == len(self.rows) else self.rows[used]
        return rows, place

    def pin(self) -> Activations:
        """The same in page-locked memory, from which it is copied to a GPU beside the computation."""
        return Activations(self.rows.pin_memory(), self.frame_of.pin_memory())

    def to(self, device: torch.device) -> Activations:
        """The same on a device."""
        return Activations(
            self.rows.to(device, non_blocking=True), self.frame_of.to(device, non_blocking=True)
        )


def join(parts: Sequence[Activations]) -> Activations:
    """The activations of a batch from those of its patients: (V, T) each to (B, V, T)."""
    frame_of, offset = [], 0
    for part in parts:
        frame_of.append(torch.where(part.frame_of == MISSING, MISSING, part.frame_of + offset))
        offset += len(part.rows)
    return Activations(torch.cat([part.rows for part in parts]), torch.stack(frame_of))


def distinct_frames(images: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Find the frames that stand more than once.

    Args:
        images: (F, H, W), the frames of the present views, in order.
        present: (V,) bool view mask.

    Returns:
        (U,) positions of the different frames, each where it stands first; and (V, T) ``frame_of``.
    """
    first: dict[bytes, int] = {}
    kept: list[int] = []
    of: list[int] = []
    for position, image in enumerate(images.contiguous().cpu()):
        content = hashlib.blake2b(image.numpy().data, digest_size=16).digest()
        if content not in first:
            first[content] = len(kept)
            kept.append(position)
        of.append(first[content])
    views = int(present.sum())
    frame_of = torch.full((len(present), len(images) // max(views, 1)), MISSING, device=images.device)
    frame_of[present] = torch.tensor(of, device=images.device).view(views, -1)
    return torch.tensor(kept, device=images.device), frame_of


@dataclass(frozen=True)
class PassPlan:
    """How a batch goes through the trained blocks: frames of a chunk, and whether they are recomputed."""

    frames: int
    recompute: bool


def plan_pass(encoder: FrameEncoder, blocks: int, frames: int, dtype: torch.dtype, memory: float) -> PassPlan:
    """The plan that keeps the saved activations of a batch of so many frames within a memory (bytes).

    Activations are recomputed only where that is needed.
    """
    chunk = chunk_frames(encoder)
    each = saved_bytes(encoder, blocks, dtype)
    if frames * each <= memory:
        return PassPlan(chunk, recompute=False)
    return PassPlan(max(1, min(chunk, int(memory // max(1, each)))), recompute=True)


def chunk_frames(encoder: FrameEncoder) -> int:
    """Frames of a chunk that are fast on the encoder's device."""
    device = next(encoder.parameters()).device
    numbers = CUDA_NUMBERS if device.type == "cuda" else CPU_NUMBERS
    return max(1, round(numbers / (encoder.token_count * encoder.width)))


def saved_bytes(encoder: FrameEncoder, blocks: int, dtype: torch.dtype) -> int:
    """Bytes that the backward pass of ``blocks`` blocks needs of one frame.

    L tokens · (9 D + 2 H) · bytes of the dtype in each block (13 D on CUDA), D the width and H the MLP's
    hidden width.
    """
    device, family = next(encoder.parameters()).device, family_of(encoder.vit.config)
    wide = (_WIDTHS_SAVED[device.type] + family.saved_widths) * encoder.width + 2 * encoder.hidden_width
    return int(blocks * encoder.token_count * wide * dtype.itemsize)


def frame_features(encoder: FrameEncoder, tokens: Tensor, depth: int, plan: PassPlan) -> Tensor:
    """Frame features of the tokens at a depth, with gradients for the blocks that are trained.

    Args:
        encoder: its first ``depth`` blocks are frozen.
        tokens: (F, L, D) after those.
        depth: number of frozen blocks.
        plan: how to go through the others.

    Returns:
        (F, D).
    """
    if not len(tokens):  # a process that has no patient of the batch
        return tokens.new_zeros(0, encoder.width)
    parts = []
    for chunk in torch.split(tokens, plan.frames):
        if plan.recompute:
            parts.append(checkpoint(_end, encoder, chunk, depth, use_reentrant=False))
        else:
            parts.append(_end(encoder, chunk, depth))
    return torch.cat(parts)


def run_blocks(encoder: FrameEncoder, tokens: Tensor, start: int, stop: int, *, pool: bool) -> Tensor:
    """Run the blocks from ``start`` to ``stop`` on (F, L, D) tokens, in chunks.

    Returns:
        (F, L, D) tokens, or with ``pool`` (F, D) frame features.
    """
    parts = torch.split(tokens, chunk_frames(encoder))
    ends = [encoder.blocks(part, start, stop) for part in parts]
    return torch.cat([encoder.pool(end) if pool else end for end in ends])


def _end(encoder: FrameEncoder, tokens: Tensor, depth: int) -> Tensor:
    return encoder.pool(encoder.blocks(tokens, depth))
