"""Numbers that say what a clip looks like, by which one that is unlike those of training is told.

Two kinds: of the frame features, as a network sees the clip; and of the prepared pixels, since black, frozen
and noisy clips are plainest there, where no network has yet made something of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cardio_mlflow.data.dataset import Clips, frame_positions

Array = NDArray[np.float64]

FRAMES: Final = 8
"""Frames of a clip whose pixels are looked at, at most."""
FINE: Final = 112
"""Side, in pixels, at which the grain of a picture is looked at."""
COARSE: Final = 14
"""Side at which motion is looked at: speckle and noise are averaged out, a heart's walls are not."""
LIT: Final = 8 / 255
"""A pixel that is brighter than this in some frame belongs to the picture."""
LAGS: Final = (1, 2, 4)
"""Distances, in fine pixels, over which neighbours are compared."""
_LEAST: Final = 1e-4
"""Added before a logarithm is taken, and to a deviation that is divided by; a gray level is 4e-3."""

PIXEL_NAMES: Final = (
    "lit", "brightness", "contrast", "saturated",
    *(f"{way} {lag}" for way in ("down", "across") for lag in LAGS),
    "motion", "steadiness", "fine motion", "fine steadiness",
)  # fmt: skip
"""What the numbers of a pixel summary say: share that is lit and saturated; logarithms of mean brightness and
of contrast; likeness of neighbours; SD over time (logarithm) and how steadily it goes, coarse and fine."""


def summarise(frames: Tensor, present: Tensor) -> Array:
    """Summarise frame features: (N, V, T, D) and an (N, V) bool mask to (N, V, D), NaN for a missing view.

    The mean over time tells views apart better than mean and SD do; motion is told by the pixels.
    """
    mean = frames.detach().double().mean(2).cpu().numpy()
    return np.where(present.cpu().numpy()[..., None], mean, np.nan)


def pixel_summaries(clips: Clips, patients: Sequence[int], present: Tensor, frames: int) -> Array:
    """Summarise prepared pixels, patient by patient, so that memory stays that of one.

    Args:
        clips: prepared clips; they are looked at as they are prepared, whatever their scale.
        patients: N positions among them.
        present: (N, V) bool, the views that are looked at.
        frames: how many frames, evenly spaced, are looked at.

    Returns:
        (N, V, P), see `pixel_summary`; NaN where a view is not looked at.
    """
    positions = frame_positions(clips.frames, frames)
    found = np.full((*present.shape, len(PIXEL_NAMES)), np.nan)
    for row, patient in enumerate(patients):
        shown = clips.prepared_of(patient)
        for view in np.flatnonzero(present[row].cpu().numpy()):
            found[row, view] = pixel_summary(shown[view][positions])
    return found


def pixel_summary(clip: Tensor) -> Array:
    """(P,) numbers of a (T, H, W) uint8 clip of any size, see `PIXEL_NAMES`."""
    pixels = clip.float().div(255).unsqueeze(1)
    fine, coarse = (functional.adaptive_avg_pool2d(pixels, side).squeeze(1) for side in (FINE, COARSE))
    lit = (fine.amax(0) > LIT).float()
    brightness = _mean(fine, lit)
    level = brightness + _LEAST
    contrast = _mean((fine - brightness).square(), lit).sqrt()
    numbers = [
        lit.mean(), level.log(), (contrast / level + _LEAST).log(), (clip > 250).float().mean(),
        *(_likeness(fine, lit, lag, dim) for dim in (1, 2) for lag in LAGS),
        *_motion(coarse, level), *_motion(fine, level),
    ]  # fmt: skip
    return torch.stack(numbers).double().numpy()


def _mean(frames: Tensor, lit: Tensor) -> Tensor:
    """Mean of (T, H, W) values over the (H, W) pixels that are lit; 0 where none is."""
    return (frames * lit).sum() / (len(frames) * lit.sum()).clamp(min=1)


def _likeness(frames: Tensor, lit: Tensor, lag: int, dim: int) -> Tensor:
    """Correlation of lit pixels with those a few pixels on along an axis of (T, H, W), 1 or 2; 1 where flat.

    As 1 - half the mean squared step in variances, which needs no means of its own.
    """
    size = frames.shape[dim] - lag
    both = lit.narrow(dim - 1, 0, size) * lit.narrow(dim - 1, lag, size)
    one, two = frames.narrow(dim, 0, size), frames.narrow(dim, lag, size)
    middle = _mean(one + two, both) / 2
    variance = _mean((one - middle).square() + (two - middle).square(), both) / 2
    return 1 - _mean((one - two).square(), both) / (2 * variance + _LEAST**2)


def _motion(frames: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """Of (T, H, W): logarithm of the SD over time in shares of the brightness, and how steadily it goes.

    Steadiness is the lag-1 autocorrelation over the closed cycle: near 1 on a smooth curve, near 0 for noise,
    1 where nothing moves.
    """
    variance = (frames - frames.mean(0)).square().mean()
    step = (frames - frames.roll(1, 0)).square().mean()
    return (variance.sqrt() / level + _LEAST).log(), 1 - step / (2 * variance + _LEAST**2)
