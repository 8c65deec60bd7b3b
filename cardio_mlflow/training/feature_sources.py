"""What frozen features are made from, and the digest that tells when they would be others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Final

import torch

from cardio_mlflow.data.dataset import Clips
from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.training.augmentation import Augmentation
from cardio_mlflow.training.precision import kernels

VERSION: Final = 1
"""Raised when the same weights and clips would give other activations; part of the store's keys."""


@dataclass(frozen=True)
class Sources:
    """What activations are made from.

    Attributes:
        encoder: the pretrained encoder, on its device; it must not be trained elsewhere.
        clips: prepared clips of N patients.
        augmentation: how copies differ from the original.
        copies: augmented copies beside the original.
        dtype: compute dtype.
    """

    encoder: FrameEncoder
    clips: Clips
    augmentation: Augmentation
    copies: int
    dtype: torch.dtype

    def digest(self) -> str:
        """Changes when the activations would: with weights, clips, augmentation, dtype or kernels."""
        digest = hashlib.blake2b(digest_size=10)
        for name, tensor in sorted(self.encoder.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes())
        changes = [getattr(self.augmentation, field.name) for field in fields(self.augmentation)]
        config = self.encoder.vit.config.to_json_string()
        shown = [(p, self.clips.content_of(i)) for i, p in enumerate(self.clips.patient_ids)]
        known = (VERSION, shown, str(self.dtype), kernels(self.device), config, self.copies)
        digest.update(repr((*known, changes if self.copies else None)).encode())
        return digest.hexdigest()

    @property
    def device(self) -> torch.device:
        """Where the encoder computes."""
        return next(self.encoder.parameters()).device
