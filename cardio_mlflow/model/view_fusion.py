"""View fusion: the features of the views present to one patient feature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cardio_mlflow.model.attention_pool import AttentionPool, Pooling


class ViewFusion(AttentionPool):
    """Gated attention over a patient's views; when it attends, a learned vector tells the views apart."""

    def __init__(self, width: int, heads: int, pooling: Pooling, views: int):
        """Build for ``views`` views with features of ``width`` numbers."""
        super().__init__(width, heads, pooling)
        if pooling != "mean":
            self.view_embedding = nn.Parameter(torch.randn(views, width) * 0.02)

    def forward(self, features: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Pool over views; the mean path sees the features as they are.

        Args:
            features: (B, V, D) view features.
            present: (B, V) bool view mask, at least one view a patient.

        Returns:
            (B, D) patient features; and (B, V) view weights, which sum to 1 over the present views.
        """
        return super().forward(features, present)

    def _attend(self, features: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        return super()._attend(features + self.view_embedding, present)
