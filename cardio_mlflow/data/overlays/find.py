"""What scanners draw over the tissue: found over time, frame by frame, to be painted over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.overlays.changing import (
    PickableFrames,
    moving_overlays,
    probe_windows,
    sweeping_overlays,
)
from cardio_mlflow.data.overlays.rising import rising_overlays
from cardio_mlflow.data.overlays.steady import steady_overlays
from cardio_mlflow.data.statistics import ClipStatistics

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Overlays:
    """What is drawn over the sector of a clip.

    Attributes:
        steady: pixels drawn on in every frame, uint8 0 or 255, rows × columns.
        changing: more pixels drawn on in single frames, by 0-based frame index, uint8 0 or 255.
    """

    steady: Image
    changing: Mapping[int, Image] = field(default_factory=dict)

    def mask(self, index: int) -> Image:
        """Pixels inside the sector that are drawn on in one of the chosen frames: uint8 0 or 255."""
        more = self.changing.get(index)
        return self.steady if more is None else np.asarray(cv2.bitwise_or(self.steady, more))


def find_overlays(
    frames: PickableFrames, statistics: ClipStatistics, sector_mask: Image, chosen: Sequence[int]
) -> Overlays:
    """Find thin overlays inside the sector.

    Depth ticks, focus marks, calipers, dotted lines, words and still traces are thin, bright, steep and
    there in all frames. A sweeping trace is so for a run of frames. A scrolling trace and a moving cursor
    are so when the frames are shifted along their motion.

    Args:
        frames: the clip.
        statistics: over all of its frames.
        sector_mask: the sector, uint8 0 or 255, rows × columns.
        chosen: rising 0-based indices of the frames whose masks will be asked for.
    """
    count = len(statistics.thumbnails)
    windows = probe_windows(frames, chosen, count)
    steady = steady_overlays(statistics, sector_mask)
    changing = sweeping_overlays(frames, windows, sector_mask, steady, chosen, count)
    rising = rising_overlays(zip(chosen, frames.pick(chosen), strict=True), statistics, sector_mask)
    for more in (moving_overlays(frames, windows, sector_mask, chosen, count), rising):
        for index, mask in more.items():
            changing[index] = changing[index] | mask if index in changing else mask
    return Overlays(steady, changing)
