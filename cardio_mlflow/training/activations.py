"""Activations of different frames, and where in the clips each frame stands.

A heart cycle of fewer frames than a prepared clip has some of them twice. Each different frame is encoded
once; ``frame_of`` says which one stands where.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MISSING = -1
"""What stands in ``frame_of`` for the frames of a missing view."""


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
