"""Attribution drawn over the frames: a page of views by parameters, and one frame beside its overlay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from cardio_mlflow.figures.overlay import (
    ATTRIBUTION,
    Bytes,
    Floats,
    Mask,
    Meaning,
    blend,
    coloured,
    lowest_row,
    sector_mask,
    sector_outline,
    top_frames,
    usual_smoothing,
    visible_heat,
)
from cardio_mlflow.figures.style import NEUTRAL, TWO_COLUMNS, new_figure, say_empty, signed, styled
from cardio_mlflow.parameters import KEYS, VIEWS

_SHADES: Final = 201
_BAR_GRAY: Final = 60
"""Gray that the colour bar's colours lie on: about that of tissue."""
_OUTLINE: Final = "#8C8C8C"
_NAMES, _MARK, _GAP, _TITLE, _BELOW, _BAR = 0.22, 0.2, 0.03, 0.18, 0.18, 0.5
"""Inches for the views' names, the synthetic mark, between columns, above and below a row, for the bar."""
_MISSING: Final = 0.1
"""Inches of height of the row of a missing view."""


@dataclass(frozen=True)
class _Cell:
    """One frame of the page and its heat (H, H)."""

    frame: Bytes
    heat: Floats
    position: int


def overlay_page(
    frames: Bytes, attribution: Floats, importance: Floats, present: Mask, keys: Sequence[str] = KEYS, *,
    synthetic: bool, title: str = "", phases: Floats | None = None, phase_known: Mask | None = None,
    sigma: float | None = None, meaning: Meaning = ATTRIBUTION,
) -> Figure:  # fmt: skip
    """Draw maps over frames, a row a view and a column a parameter, on one colour scale.

    The first column is the plain frame in the middle of the cycle. Every other cell is the view's frame of
    largest absolute importance for the parameter, its number (from 1) below, and its phase where given.

    Args:
        frames: (V, T, H, H) prepared clips, 0 outside the sector.
        attribution: (9, V, T, h, w) signed, SDs per pixel of the network's image.
        importance: (9, V, T) signed, its sums over the pixels.
        present: (V,) whether the patient has the view.
        keys: the parameters to draw, of `KEYS`.
        title: in words; empty leaves it out.
        phases: (T,) share of the R-R interval, 0 to 1; None leaves them out.
        phase_known: (V,); views whose phase is unknown show none. None takes all as known.
        sigma: of the smoothing in cells of the map; None takes an 80th of its width.
        meaning: what the numbers are.
    """
    if not present.any() or not keys:
        return _empty("no view to draw" if keys else "no parameter to draw", synthetic=synthetic)
    softened = usual_smoothing(attribution) if sigma is None else sigma
    known = np.ones(len(present), np.bool_) if phase_known is None else phase_known
    sectors = np.stack([sector_mask(clip) for clip in frames])
    rows = lowest_row(sectors[present])
    cells = _cells(frames, attribution, importance, present, keys, sectors, softened)
    scale = max(float(np.abs(cell.heat).max()) for cell in cells.values())
    ratios = [rows / frames.shape[-1] if there else None for there in present]
    note = _note(frames.shape[1], phases is not None, softened, attribution.shape[-1], meaning)
    with styled():
        figure, panels, bar = _lay_out(ratios, len(keys) + 1, title, note, headed=True, synthetic=synthetic)
        for view, name in enumerate(v.name for v in VIEWS):
            if present[view]:
                shown = [_plain(frames[view]), *(cells[key, view] for key in keys)]
                _draw_row(panels[view], shown, scale, sectors[view], rows, phases if known[view] else None)
                panels[view][0].set_ylabel(name, fontsize=8, labelpad=2)
            else:
                _say_missing(panels[view], name)
        for axes, words in zip(panels[0], ("plain", *keys), strict=True):
            axes.set_title(words, pad=3)
        _colour_bar(figure, bar, scale, "the page's largest", meaning)
    return figure


def overlay_pair(
    frame: Bytes, heat: Floats, *, synthetic: bool, title: str = "", scale: float | None = None,
    sector: Mask | None = None, sigma: float | None = None, meaning: Meaning = ATTRIBUTION,
) -> Figure:  # fmt: skip
    """Draw a plain frame beside the same frame under its map, with a colour bar.

    Args:
        frame: (H, H) of a prepared clip.
        heat: (h, w) signed, SDs per pixel of the network's image.
        title: in words, such as view, parameter and frame; empty leaves it out.
        scale: attribution of the full colour; None takes the largest of this frame.
        sector: (H, H), True inside; None takes it from the frame, a whole clip knows it better.
        sigma: of the smoothing in cells of the map; None takes an 80th of its width.
        meaning: what the numbers are.
    """
    inside = sector_mask(frame) if sector is None else sector
    if not inside.any():
        return _empty("the frame is black", synthetic=synthetic)
    shown, rows, outline = visible_heat(heat, inside, sigma), lowest_row(inside), sector_outline(inside)
    full = float(np.abs(shown).max()) if scale is None else scale
    with styled():
        figure, panels, bar = _lay_out([rows / len(frame)], 2, title, "", headed=False, synthetic=synthetic)
        for axes, seen in zip(panels[0], (np.zeros_like(shown), shown), strict=True):
            _draw(axes, blend(frame, seen, full, sector=inside)[:rows], outline)
        _colour_bar(figure, bar, full, "the frame's largest" if scale is None else "the scale", meaning)
    return figure


def _cells(
    frames: Bytes, attribution: Floats, importance: Floats, present: Mask, keys: Sequence[str],
    sectors: Mask, sigma: float,
) -> dict[tuple[str, int], _Cell]:  # fmt: skip
    """The frame and heat of each parameter and view present."""
    best = top_frames(importance, 1)[..., 0]
    cells = {}
    for key in keys:
        row = KEYS.index(key)
        for view in np.flatnonzero(present).tolist():
            position = int(best[row, view])
            heat = visible_heat(attribution[row, view, position], sectors[view], sigma)
            cells[key, view] = _Cell(frames[view, position], heat, position)
    return cells


def _lay_out(
    ratios: Sequence[float | None], columns: int, title: str, note: str, *, headed: bool, synthetic: bool
) -> tuple[Figure, list[list[Axes]], Axes]:
    """A figure with a grid of axes, and axes for the colour bar; placed by inches, so cells are equal.

    Args:
        ratios: height over width of each row's cells; None for a view that is missing.
        columns: number of cells in a row.
        title: above all; empty leaves it out.
        note: below all, two lines; empty leaves it out.
        headed: whether the columns have names, the rows names and the cells words below.
        synthetic: whether to mark the figure.
    """
    left, below = (_NAMES, _BELOW) if headed else (0.03, 0.05)
    width = (TWO_COLUMNS - _MARK - left) / columns - _GAP
    heights = [_MISSING if ratio is None else width * ratio for ratio in ratios]
    top = _TITLE * (bool(title) + headed) + 0.03
    total = top + sum(heights) + below * len(heights) + _BAR + 0.3 * bool(note)
    figure = new_figure(TWO_COLUMNS, total, synthetic=synthetic)
    figure.set_layout_engine("none")

    def place(x: float, y: float, across: float, down: float) -> Axes:
        page = TWO_COLUMNS, total
        return figure.add_axes((x / page[0], 1 - (y + down) / page[1], across / page[0], down / page[1]))

    panels, y = [], top
    for height in heights:
        panels.append([place(left + c * (width + _GAP), y, width, height) for c in range(columns)])
        y += height + below
    middle = (left + TWO_COLUMNS - _MARK) / 2
    bar = place(middle - 1.7, y + 0.04, 3.4, 0.08)
    figure.text(middle / TWO_COLUMNS, 1 - 0.03 / total, title, ha="center", va="top", fontsize=8)
    figure.text(middle / TWO_COLUMNS, 0.03 / total, note, ha="center", va="bottom", fontsize=6.5)
    return figure, panels, bar


def _empty(reason: str, *, synthetic: bool) -> Figure:
    with styled():
        figure = new_figure(TWO_COLUMNS, 2.0, synthetic=synthetic)
        say_empty(figure.subplots(), reason)
    return figure


def _draw(axes: Axes, picture: Bytes, outline: Floats) -> None:
    """Draw an RGB picture (rows, H, 3) with the sector's outline, without ticks or frame."""
    axes.imshow(picture, aspect="auto")
    axes.plot(outline[:, 0], outline[:, 1], color=_OUTLINE, linewidth=0.5)
    axes.set(xlim=(-0.5, picture.shape[1] - 0.5), ylim=(picture.shape[0] - 0.5, -0.5), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _say_missing(panels: Sequence[Axes], name: str) -> None:
    """Leave a row empty and say in its first cell which view there is not."""
    for axes in panels:
        axes.spines[:].set_visible(False)
        say_empty(axes, f"no {name}" if axes is panels[0] else "")


def _plain(clip: Bytes) -> _Cell:
    """The frame (H, H) in the middle of a clip (T, H, H), without heat."""
    middle = len(clip) // 2
    return _Cell(clip[middle], np.zeros(clip.shape[1:]), middle)


def _draw_row(
    panels: Sequence[Axes],
    cells: Sequence[_Cell],
    scale: float,
    sector: Mask,
    rows: int,
    phases: Floats | None,
) -> None:
    """Draw a view's cells, below each its frame's number from 1 and its phase."""
    outline = sector_outline(sector)
    for axes, cell in zip(panels, cells, strict=True):
        _draw(axes, blend(cell.frame, cell.heat, scale, sector=sector)[:rows], outline)
        phase = "" if phases is None else f" · {signed(float(phases[cell.position]))}"
        axes.set_xlabel(f"{cell.position + 1}{phase}", fontsize=6.5, labelpad=1)


def _note(frames: int, with_phase: bool, sigma: float, width: int, meaning: Meaning) -> str:
    """What a page's cells are, in words."""
    phase = " · its share of the R–R interval" if with_phase else ""
    across = f"{width} {meaning.cells} across"
    smoothed = f"{across}, smoothed, σ = {sigma:.1f}" if sigma > 0.5 else across
    return (
        "Colour: the view's frame of largest importance for the parameter. Plain: the frame in the middle.\n"
        f"Below each frame: its number (of {frames}){phase}. Maps: {smoothed}."
    )


def _colour_bar(figure: Figure, axes: Axes, scale: float, whose: str, meaning: Meaning) -> None:
    """The map relative to the scale, in the colours that it has on tissue."""
    lowest = -1 if meaning.low else 0
    strength = np.linspace(lowest, 1, _SHADES)
    colours = ListedColormap(coloured(np.full(_SHADES, _BAR_GRAY, np.uint8), strength) / 255)
    bar = figure.colorbar(ScalarMappable(Normalize(lowest, 1), colours), cax=axes, orientation="horizontal")
    names = {-1: f"−1, {meaning.low}", -0.5: "−0.5", 0: "0", 0.5: "0.5",
             1: f"1, {meaning.high}" if meaning.high else "1"}  # fmt: skip
    shown = [tick for tick in names if tick >= lowest]
    bar.set_ticks(shown, labels=[names[tick] for tick in shown])
    bar.outline.set_visible(False)
    words = f"{meaning.label}, relative to {whose}, {_power(scale)}"
    words = words if scale > 0 else f"{meaning.label.partition(' (')[0]} is 0 in every frame drawn"
    bar.set_label(words, fontsize=7, labelpad=2, color="black" if scale > 0 else NEUTRAL)


def _power(value: float) -> str:
    """A number such as ``3.2·10⁻⁴``."""
    digits, exponent = f"{value:.1e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits}·10{raised}"
