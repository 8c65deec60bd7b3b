"""The loss: mean squared error over the references that are there."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error over the targets that are not NaN; both (N, 9). 0 where none is there."""
    present = ~targets.isnan()
    errors = torch.where(present, predictions - targets.nan_to_num(), 0.0)
    return errors.square().sum() / present.sum().clamp(min=1)
