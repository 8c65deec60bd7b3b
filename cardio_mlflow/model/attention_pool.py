"""Gated attention pooling: what temporal attention and view fusion have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cardio_mlflow.variants import Pooling


class AttentionPool(nn.Module):
    """Pool a set of features by attention with a learned query, mixed with their mean.

    Each head h has a query q_h of D/heads numbers; the weight of item i in head h is
    softmax_i(q_h · (K x_i)_h / sqrt(D/heads)), over the items that are present. The output is

        alpha · W_o concat_h(sum_i w_hi (V x_i)_h) + (1 - alpha) · mean_i(x_i),   alpha = sigmoid(gate)

    with one learned gate. ``attention`` fixes alpha at 1 and ``mean`` at 0; both have no gate, and
    ``mean`` has no parameters at all.
    """

    def __init__(self, width: int, heads: int, pooling: Pooling):
        """Build for features of ``width`` numbers.

        Raises:
            ValueError: ``width`` is not a multiple of ``heads``.
        """
        super().__init__()
        if width % heads:
            raise ValueError(f"a feature of {width} numbers cannot be split into {heads} heads")
        self.heads = heads
        self.pooling = pooling
        if pooling == "mean":
            return
        self.norm = nn.LayerNorm(width)
        self.query = nn.Parameter(torch.randn(heads, width // heads) * (width // heads) ** -0.5)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        if pooling == "gated":
            self.gate = nn.Parameter(torch.zeros(()))

    @property
    def alpha(self) -> Tensor | float:
        """Share of attention in the output: learned, or 1 (attention), or 0 (mean)."""
        if self.pooling == "gated":
            return self.gate.sigmoid()
        return 1.0 if self.pooling == "attention" else 0.0

    def forward(self, features: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Pool over the second axis.

        Args:
            features: (N, I, D).
            present: (N, I) bool; items that are not present have weight 0.

        Returns:
            (N, D) pooled features, 0 where nothing is present; and the (N, I) weights that each item
            has in the pooling (attention averaged over heads, mixed with the mean by alpha).
        """
        uniform = mean_weights(present)
        mean = torch.einsum("ni,nid->nd", uniform, features)
        if self.pooling == "mean":
            return mean, uniform
        attended, weights = self._attend(features, present)
        attended = attended * present.any(1, keepdim=True)
        alpha = self.alpha
        return alpha * attended + (1 - alpha) * mean, alpha * weights.mean(1) + (1 - alpha) * uniform

    def _attend(self, features: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Attention output (N, D) and the weights of each head (N, heads, I)."""
        n, items, width = features.shape
        normed = self.norm(features)
        keys = self.key(normed).view(n, items, self.heads, -1)
        values = self.value(normed).view(n, items, self.heads, -1)
        scores = torch.einsum("hc,nihc->nhi", self.query, keys) * keys.shape[-1] ** -0.5
        scores = scores.masked_fill(~present.unsqueeze(1), torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1) * present.unsqueeze(1)
        pooled = torch.einsum("nhi,nihc->nhc", weights, values).reshape(n, width)
        return self.output(pooled), weights


def mean_weights(present: Tensor) -> Tensor:
    """Equal weights over the present items: (N, I) bool to (N, I), rows summing to 1 or, if empty, 0."""
    weights = present.float()
    return weights / weights.sum(1, keepdim=True).clamp(min=1)
