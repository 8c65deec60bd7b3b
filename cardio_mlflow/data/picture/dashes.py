"""Dashes of a dotted line that tissue hides, from those that are seen."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Array = NDArray[np.float64]

_LEAST: Final = 6
_AWAY: Final = 1.5
"""Pixels by which a dash may lie beside its line."""
_MOST_PIECES: Final = 80
_LONGEST: Final = 30
_UNEVEN: Final = 0.15
"""Share of the period by which a dash may be off its place."""
_EVEN: Final = 0.75
_SHORTEST: Final = 4.0
_LONG: Final = 0.4
"""Share of the sector's height from which a dotted line goes on to the sector's border."""


def hidden_dashes(core: Image, sector_mask: Image) -> Image:
    """The places of evenly spaced dashes on the straight line that most small pieces of a core lie on.

    Args:
        core: the cores of strokes, uint8 0 or 255, rows × columns.
        sector_mask: the sector, uint8 0 or 255, rows × columns.

    Returns:
        The dashes that the core lacks, uint8 0 or 255.
    """
    out = np.zeros_like(core)
    count, _, facts, centres = cv2.connectedComponentsWithStats(core, connectivity=8)
    extent = facts[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    small = np.flatnonzero((extent <= _LONGEST) & (np.arange(count) > 0))
    if not _LEAST <= len(small) <= _MOST_PIECES:
        return out
    start, along, on = _line(centres[small])
    places = np.sort((centres[small][on] - start) @ along)
    spaced = _spacing(places)
    if spaced is None:
        return out
    first, period = spaced
    half = 0.5 * (float(np.median(extent[small][on])) - 1.0) * along
    reach = int(np.hypot(*core.shape) / period) + 1
    whole = np.ptp(places) >= _LONG * np.count_nonzero(sector_mask.any(axis=1))
    for place in first + period * np.arange(-reach, reach + 1):
        hidden = np.min(np.abs(places - place)) > _UNEVEN * period
        if hidden and (whole or places[0] <= place <= places[-1]):
            ends = np.rint(start + place * along + np.outer([-1.0, 1.0], half)).astype(int)
            cv2.line(out, ends[0].tolist(), ends[1].tolist(), 255)
    return np.asarray(cv2.bitwise_and(out, sector_mask))


def _line(points: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """A point and the direction of the line that most points lie on, and which do."""
    best = (points[0], np.array([0.0, 1.0]), np.zeros(len(points), bool))
    for i, one in enumerate(points):
        for other in points[i + 1 :]:
            length = float(np.hypot(*(other - one)))
            if length < _LONGEST:
                continue
            along = (other - one) / length
            on = np.abs((points - one) @ np.array([-along[1], along[0]])) <= _AWAY
            if np.count_nonzero(on) > np.count_nonzero(best[2]):
                best = (one, along, on)
    return best


def _spacing(places: Array) -> tuple[float, float] | None:
    """First place and period of places along a line that are even but for gaps; None where they are not.

    Of all periods near the median step it is the one at which the places have the most alike phases.
    """
    if len(places) < _LEAST:
        return None
    median = float(np.median(np.diff(places)))
    periods = median * np.linspace(0.93, 1.07, 141)
    phases = np.exp(2j * np.pi * places[:, None] / periods).mean(axis=0)
    best = int(np.argmax(np.abs(phases)))
    period = float(periods[best])
    first = float(np.angle(phases[best])) * period / (2 * np.pi)
    off = np.abs((places - first + period / 2) % period - period / 2)
    even = np.mean(off <= _UNEVEN * period) >= _EVEN and median >= _SHORTEST
    return (first, period) if even and np.ptp(places) <= 3 * period * len(places) else None
