"""The nine regression heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = (256, 128)


class RegressionHead(nn.Module):
    """LayerNorm, 256, GELU, dropout, 128, GELU, dropout, 1; plus a linear path from the normed feature."""

    def __init__(self, width: int, dropout: float):
        """Build for features of ``width`` numbers."""
        super().__init__()
        first, second = HIDDEN
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(
            nn.Linear(width, first), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(first, second), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(second, 1),
        )  # fmt: skip
        self.linear = nn.Linear(width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) patient features to (B, 1) predictions in scaled target space."""
        normed = self.norm(features)
        prediction: Tensor = self.layers(normed) + self.linear(normed)
        return prediction


class Heads(nn.Module):
    """One regression head for each parameter, in the order of the parameter table."""

    def __init__(self, width: int, count: int, dropout: float):
        """Build ``count`` heads for features of ``width`` numbers."""
        super().__init__()
        self.heads = nn.ModuleList(RegressionHead(width, dropout) for _ in range(count))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) patient features to (B, P) predictions in scaled target space."""
        return torch.cat([head(features) for head in self.heads], 1)
