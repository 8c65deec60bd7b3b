"""What makes a clip no gray picture of one sector: a second panel, an M-mode or Doppler strip, colours."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from cardio_mlflow.data.files.frames import decode_rgb
from cardio_mlflow.data.files.header import ClipHeader
from cardio_mlflow.data.files.regions import Bound, ClaimedRegion, RegionKind, scaled
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.sector import ClipStatistics, Flags, Floats, Image, Mask

# Tuned on the hard clips biplane, frozen_beside_live, m_mode, spectral_with_2d, report, moving_line,
# color_doppler, sepia, blue; see benchmarks.tuned_constants.
# A second panel's pixels are textured and bright or dark against the screen (gray levels), or they move. A
# page of words, a scanner's menu and a recorder's noise are none.
_STILL: Final = 0.25  # share of the screen, the stillest, among which its own gray level is looked for
_LIT: Final = 20  # difference of a still pixel from the screen
_TEXTURE: Final = 8  # range over its eight neighbours: a menu is flat
_MOVING: Final = 14  # range of a moving pixel over time
_RAISED: Final = 4  # difference of its mean from the screen: a recorder's noise has none
_GRID: Final = 120  # rows of cells into which the screen is reduced
_DENSE: Final = 0.42  # share of three by three cells that a picture fills; letters fill less
# Shares of the screen's height, width and area.
_LEAST_HEIGHT: Final = 0.15  # more than an ECG strip has
_LEAST_WIDTH: Final = 0.06
_LEAST_SHARE: Final = 0.05  # of a picture beside the sector
_LEAST_ALONE: Final = 0.03  # of one without a sector
_BORDER: Final = 0.03  # around the sector that belongs to it
_UPRIGHT: Final = 0.015  # by which the sides of a strip stray; those of a fan slant
_STRIP_WIDTH: Final = 0.6  # of a strip alone
_WIDER: Final = 1.3  # times the width of the sector above it is a strip wide
_COMPARABLE: Final = 0.5  # one area or height over the other of pictures side by side
_CLAIM_SHARE: Final = 0.06  # of a region that tags claim, and
_CLAIM_FILLED: Final = 0.05  # how much of it a picture fills
_OVERLAPPING: Final = 0.1  # of the smaller of two regions that show one picture

# Colour Doppler.
_FRAMES: Final = 8  # looked at, of which
_LEAST_FRAMES: Final = 2  # show colour
_REDUCTION: Final = 4
_LEAST_FLOW: Final = 0.008  # share of the sector in colour; a smaller jet is not seen
_AWAY: Final = 24.0  # of 128, chroma from the tint at a pixel's luma; no compression makes it over an area
_LEVELS: Final = 16  # of luma at which the tint is taken
_MOST_PIXELS: Final = 1 << 18  # from which it is taken
_FILLED: Final = 5  # reduced pixels of the squares that a patch holds; lines, ticks and words hold none


@dataclass(frozen=True)
class _Picture:
    """One connected picture on the screen, in cells; a strip stands upright on both sides."""

    left: int
    top: int
    width: int
    height: int
    area: int
    strip: bool


def refuse_other_pictures(
    regions: Sequence[ClaimedRegion], statistics: ClipStatistics, scale: float, sector_mask: Mask
) -> None:
    """Refuse a clip that shows more than its sector.

    Beside the sector counts what is higher than any ECG strip and denser than any text. Less is enough where
    the region tags claim another picture; stale tags claim nothing that the pixels show. Regions are in
    pixels of the file; ``scale`` is pixels of the statistics per pixel of the file.

    Raises:
        ClipRefused: NOT_2D for an M-mode or spectral region or a picture with upright sides, MULTI_2D for two
            2-D regions apart or a picture of any other shape.
    """
    dense = _dense_cells(statistics)
    margin = 2 * round(_BORDER * len(dense)) + 1
    near = cv2.dilate(_to_cells(sector_mask), np.ones((margin, margin), np.uint8))
    beyond = np.where(near == 0, dense, np.uint8(0))
    refusal = _refusal_by_tags(regions, scale * len(dense) / len(sector_mask), dense, beyond)
    if refusal is not None:
        raise refusal
    large = [picture for picture in _pictures(beyond) if picture.area >= _LEAST_SHARE * dense.size]
    if any(picture.strip for picture in large):
        raise ClipRefused(Outcome.NOT_2D, "a strip of M-mode or Doppler beside the sector")
    if large:
        raise ClipRefused(Outcome.MULTI_2D, "a second picture beside the sector")


def why_no_sector(
    regions: Sequence[ClaimedRegion], statistics: ClipStatistics, scale: float
) -> ClipRefused | None:
    """The plain reason why a clip has no sector, if there is one: a strip, or two pictures side by side."""
    dense = _dense_cells(statistics)
    refusal = _refusal_by_tags(regions, scale * len(dense) / len(statistics.mean), dense, dense)
    if refusal is not None:
        return refusal
    pictures = [picture for picture in _pictures(dense) if picture.area >= _LEAST_ALONE * dense.size]
    pairs = list(itertools.permutations(pictures, 2))
    # Under its small sector a strip is clearly wider; alone it is wide, unlike the picture of a linear probe.
    under = any(
        one.top >= other.top + other.height and one.width >= _WIDER * other.width for one, other in pairs
    )
    least = _STRIP_WIDTH * dense.shape[1]
    if under or any(p.strip and p.width >= max(least, p.height) for p in pictures):
        return ClipRefused(Outcome.NOT_2D, "a strip of M-mode or Doppler")
    if any(_side_by_side(one, other) for one, other in pairs):
        return ClipRefused(Outcome.MULTI_2D, "two pictures side by side")
    return None


def _refusal_by_tags(
    regions: Sequence[ClaimedRegion], factor: float, dense: Mask, beyond: Mask
) -> ClipRefused | None:
    """The refusal that the tags ask for and the pixels bear out.

    There are ``factor`` cells per pixel of the file; ``dense`` are cells of any picture, ``beyond`` those
    that are not the sector's.
    """
    placed = [replace(region, rectangle=scaled(region.rectangle, factor)) for region in regions]
    strips = [r.rectangle for r in placed if r.kind in (RegionKind.M_MODE, RegionKind.SPECTRAL)]
    if any(_is_filled(rectangle, beyond) for rectangle in strips):
        return ClipRefused(Outcome.NOT_2D, "the region tags name M-mode or spectral Doppler")
    claimed = [region.rectangle for region in placed if region.kind is RegionKind.TWO_D and region.tissue]
    planes = [rectangle for rectangle in claimed if _is_filled(rectangle, dense)]
    others = [rectangle for rectangle in planes if _is_filled(rectangle, beyond)]
    if any(_are_apart(one, other) for one in others for other in planes):
        return ClipRefused(Outcome.MULTI_2D, "the region tags name two 2-D pictures")
    return None


def _dense_cells(statistics: ClipStatistics) -> Mask:
    """The cells around which most pixels move or have a texture: uint8 0 or 255, 120 rows."""
    mean, spread = statistics.mean, statistics.spread
    few = (slice(None, None, 2), slice(None, None, 2))
    still = spread[few] <= np.quantile(spread[few], _STILL)
    screen = int(np.argmax(np.bincount(mean[few][still])))
    away = cv2.absdiff(mean, np.full_like(mean, screen))
    texture = cv2.morphologyEx(mean, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    moving = (spread >= _MOVING) & (away >= _RAISED) & ~statistics.passing
    busy = np.where(moving | ((away >= _LIT) & (texture >= _TEXTURE)), np.uint8(255), np.uint8(0))
    share = cv2.blur(_to_cells(busy), (3, 3), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(cv2.threshold(share, 255 * _DENSE, 255, cv2.THRESH_BINARY)[1])


def _to_cells(image: Mask) -> Mask:
    size = (max(1, round(image.shape[1] * _GRID / len(image))), _GRID)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _pictures(dense: Mask) -> list[_Picture]:
    """The connected pictures among dense cells, without what is narrow or as low as an ECG strip."""
    height, width = round(_LEAST_HEIGHT * len(dense)), max(3, round(_LEAST_WIDTH * dense.shape[1]))
    outlines, _ = cv2.findContours(dense, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(dense), outlines, -1, 255, cv2.FILLED)
    # Columns and rows that are too short go; then the slanting sides that went with them come back.
    core = filled
    for kernel in (np.ones((height, 1), np.uint8), np.ones((1, width), np.uint8)):
        core = cv2.morphologyEx(core, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    whole = cv2.bitwise_and(filled, cv2.dilate(core, np.ones((1, 2 * width + 1), np.uint8)))
    count, labels, facts, _ = cv2.connectedComponentsWithStats(whole)
    found = []
    for label in range(1, count):
        left, top, across, down, area = facts[label].tolist()
        piece = labels[top : top + down, left : left + across] == label
        strip = _stands_upright(piece, _UPRIGHT * dense.shape[1], height)
        found.append(_Picture(left, top, across, down, area, strip))
    return found


def _stands_upright(piece: Flags, slack: float, least: int) -> bool:
    """Whether both sides are straight down for half of the rows, and for ``least`` rows."""
    first, last = piece.argmax(axis=1), piece.shape[1] - piece[:, ::-1].argmax(axis=1)
    straight = np.abs(first - np.percentile(first, 10)) <= slack
    straight &= np.abs(last - np.percentile(last, 90)) <= slack
    return int(np.count_nonzero(straight)) >= max(least, 0.5 * len(piece))


def _side_by_side(one: _Picture, other: _Picture) -> bool:
    """Whether two pictures of about one size stand at one height."""
    shared = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    apart = one.left + one.width <= other.left or other.left + other.width <= one.left
    alike = min(one.area, other.area) >= _COMPARABLE * max(one.area, other.area)
    return apart and alike and shared >= _COMPARABLE * min(one.height, other.height)


def _is_filled(rectangle: Bound, dense: Mask) -> bool:
    left, top, right, bottom = rectangle
    inside = dense[top:bottom, left:right]
    large = inside.size >= _CLAIM_SHARE * dense.size
    return bool(large and np.count_nonzero(inside) >= _CLAIM_FILLED * inside.size)


def _are_apart(one: Bound, other: Bound) -> bool:
    """Whether hardly any of the smaller rectangle lies in the other."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((r[2] - r[0]) * (r[3] - r[1]) for r in (one, other))
    return max(0, width) * max(0, height) < _OVERLAPPING * smaller


def refuse_colour_doppler(header: ClipHeader, sector_mask: Mask) -> None:
    """Refuse a clip with a colour velocity map, power or tissue Doppler in its sector.

    A tinted picture has one colour for each luma; what lies far from it and fills an area is Doppler. Gray
    clips are accepted without decoding.

    Raises:
        ClipRefused: COLOR_DOPPLER, or CORRUPT_FRAME when a frame cannot be decoded.
    """
    if not header.has_colour:
        return
    indices = sorted({int(i) for i in np.linspace(0, header.frames - 1, _FRAMES)})
    size = (-(-header.columns // _REDUCTION), -(-header.rows // _REDUCTION))
    sector = cv2.resize(sector_mask, size, interpolation=cv2.INTER_AREA) >= 250
    shares = doppler_shares(list(decode_rgb(header, indices, _REDUCTION)), sector)
    coloured = sum(share >= _LEAST_FLOW for share in shares)
    if coloured >= min(_LEAST_FRAMES, len(shares)):
        raise ClipRefused(
            Outcome.COLOR_DOPPLER,
            f"{coloured} of {len(shares)} frames have a colour map over up to {100 * max(shares):.0f} % "
            "of the sector",
        )


def doppler_shares(frames: Sequence[Image], sector: Flags) -> list[float]:
    """Share of the sector away from the clip's tint, in patches that are no lines, of each RGB frame."""
    inside = max(1, int(np.count_nonzero(sector)))
    pictures = [cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb) for frame in frames]
    chromas = [np.abs(p[sector][:, 1:].astype(np.int16) - 128).max(axis=-1) for p in pictures]
    if not any(np.count_nonzero(chroma >= _AWAY / 3) >= _LEAST_FLOW * inside for chroma in chromas):
        return [0.0] * len(frames)
    pixels = np.concatenate([picture[sector] for picture in pictures])
    table = _tint(pixels[:: 1 + len(pixels) // _MOST_PIXELS])
    return [float(np.count_nonzero(_patches(picture, table, sector)) / inside) for picture in pictures]


def _patches(picture: Image, table: Floats, sector: Flags) -> Mask:
    """Where whole squares of a Y Cr Cb picture are away from the tint (0 or 1)."""
    tint = table[picture[..., 0].astype(np.int32) * _LEVELS // 256]
    distance = np.linalg.norm(picture[..., 1:].astype(np.float32) - 128.0 - tint, axis=-1)
    away = (sector & (distance >= _AWAY)).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(away, cv2.MORPH_OPEN, np.ones((_FILLED, _FILLED), np.uint8)))


def _tint(pixels: Image) -> Floats:
    """Chroma of the clip's tint at each of 16 levels of luma, 16 × 2; from the sector's Y Cr Cb, N × 3.

    It is the median, as long as that grows with luma or changes little from one level to the next. Where a
    velocity map has most of the bright pixels, the line through the dark and middling ones stands for it.
    """
    luma, chroma = pixels[:, 0], pixels[:, 1:].astype(np.float32) - 128.0
    level, bright = luma.astype(np.int32) * _LEVELS // 256, luma >= 24
    slope = np.zeros(2)
    if bright.any():
        slope = np.median(chroma[bright] / luma[bright, None], axis=0).astype(np.float64)
    table = np.zeros((_LEVELS, 2), np.float32)
    for i in range(_LEVELS):
        expected = slope * (i + 0.5) * (256 / _LEVELS)
        here = chroma[level == i]
        median = np.median(here, axis=0) if len(here) else expected
        nearest = min(np.linalg.norm(median - expected), np.linalg.norm(median - table[i - 1]))
        table[i] = median if nearest < _AWAY / 2 else expected
    return table
