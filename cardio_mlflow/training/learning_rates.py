"""Learning rates over a stage: constant, or a warm-up and a cosine, as a factor on each group's own rate."""

from __future__ import annotations

import math

from torch.optim import Optimizer

from cardio_mlflow.settings import Settings


def rate_factor(settings: Settings, position: float, length: int) -> float:
    """The factor on the learning rates at a position of a stage.

    The warm-up is linear over the first ``warmup_epochs``. After it the factor stays 1 (``constant``), or
    falls to 0 at the stage's end as 0.5 · (1 + cos(pi · share)) (``cosine``; Loshchilov and Hutter 2017,
    arXiv:1608.03983, without restarts within a stage).

    Args:
        settings: lr_schedule and warmup_epochs.
        position: epochs of the stage that are done, with fractions.
        length: epochs of the stage.
    """
    warmup = min(settings.warmup_epochs, length)
    if position < warmup:
        return position / warmup
    if settings.lr_schedule == "constant":
        return 1.0
    share = (position - warmup) / max(length - warmup, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def set_rates(optimizer: Optimizer, factor: float) -> None:
    """Set each group's learning rate to its own rate (``rate``) times a factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * factor
