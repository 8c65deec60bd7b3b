"""Temporal attention: a view's frame features to one view feature."""

from __future__ import annotations

import torch
from torch import Tensor

from cardio_mlflow.model.attention_pool import AttentionPool


class TemporalAttention(AttentionPool):
    """Gated attention over the frames of a view, shared by the four views."""

    def forward(self, features: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Pool over time.

        Args:
            features: (B, V, T, D) frame features.
            present: (B, V) view mask.

        Returns:
            (B, V, D) view features, 0 for a missing view; and (B, V, T) frame weights, which sum to
            1 over the frames of a present view.
        """
        b, v, t, d = features.shape
        frames_present = present.reshape(b * v, 1).expand(b * v, t)
        pooled, weights = super().forward(features.reshape(b * v, t, d), frames_present)
        return torch.reshape(pooled, (b, v, d)), torch.reshape(weights, (b, v, t))
