"""One parameter's attribution over the whole cycle, all views beside each other, as a moving picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw

from cardio_mlflow.data.review.lettering import fitted, font
from cardio_mlflow.figures.overlay import (
    LOWERS,
    RAISES,
    Bytes,
    Floats,
    Mask,
    blend,
    lowest_row,
    sector_mask,
    visible_heat,
)
from cardio_mlflow.figures.style import SYNTHETIC_MARK
from cardio_mlflow.files import whole_file
from cardio_mlflow.parameters import VIEWS, parameter

_GAP: Final = 4
_HEAD: Final = 24
_FOOT: Final = 24
_GROUND: Final = (22, 22, 25)
_INK: Final = (232, 232, 235)
_SOFT: Final = (160, 160, 168)
_MARK: Final = (255, 205, 110)
_WEBP: Final = {"quality": 82, "method": 4}


def write_animation(
    path: Path, frames: Bytes, attribution: Floats, present: Mask, *, key: str, synthetic: bool,
    milliseconds: int = 60, sigma: float | None = None,
) -> Path:  # fmt: skip
    """Write the cycle with one parameter's attribution over it, played for ever.

    All views and frames share one colour scale, the largest attribution among them. Each frame carries the
    parameter's name, what the colours mean, its number and, if so, that the patient is synthetic.

    Args:
        path: ends in .webp or .gif.
        frames: (V, T, H, H) prepared clips, 0 outside the sector.
        attribution: (V, T, h, w) of the parameter, signed, per pixel of the network's image.
        present: (V,) whether the patient has the view.
        key: the parameter's.
        milliseconds: that a frame stands.
        sigma: of the smoothing in pixels of the network's image; None takes an 80th of its width.

    Returns:
        The path.

    Raises:
        ValueError: the path ends in neither .webp nor .gif.
    """
    suffix = path.suffix.lower()
    if suffix not in (".webp", ".gif"):
        raise ValueError(f"an animation is a .webp or a .gif, not {path.name}")
    pictures = _pictures(frames, attribution, present, key, sigma, synthetic)
    options: dict[str, Any] = dict(_WEBP) if suffix == ".webp" else {"optimize": False, "disposal": 1}
    first, *others = pictures if suffix == ".webp" else _with_one_palette(pictures)
    path.parent.mkdir(parents=True, exist_ok=True)
    options |= {"append_images": others, "duration": milliseconds, "loop": 0}
    with whole_file(path) as part:
        first.save(part, format=suffix[1:], save_all=True, **options)
    return path


def _pictures(
    frames: Bytes, attribution: Floats, present: Mask, key: str, sigma: float | None, synthetic: bool
) -> list[Image.Image]:
    """The T frames of the animation."""
    sectors = np.stack([sector_mask(clip) for clip in frames])
    views = np.flatnonzero(present).tolist()
    count, side = frames.shape[1], frames.shape[-1]
    cells = [(view, t) for view in views for t in range(count)]
    heats = {cell: visible_heat(attribution[cell], sectors[cell[0]], sigma) for cell in cells}
    scale = max((float(np.abs(heat).max()) for heat in heats.values()), default=0.0)
    rows = lowest_row(sectors[present]) if views else side
    pictures = []
    for t in range(count):
        picture = _page(key, rows, side, present, scale, synthetic)
        for view in views:
            blended = blend(frames[view, t], heats[view, t], scale, sector=sectors[view])[:rows]
            picture.paste(Image.fromarray(blended), (view * (side + _GAP), _HEAD))
        _draw_names(picture, side, present)
        _draw_position(picture, t, count)
        pictures.append(picture)
    return pictures


def _page(key: str, rows: int, side: int, present: Mask, scale: float, synthetic: bool) -> Image.Image:
    """A picture with head and foot, black where the views come."""
    width = len(present) * (side + _GAP) - _GAP
    page = Image.new("RGB", (width, _HEAD + rows + _FOOT), _GROUND)
    draw = ImageDraw.Draw(page)
    right = width - 6
    if synthetic:
        draw.text((right, 5), SYNTHETIC_MARK, _MARK, font(12, bold=True), anchor="ra")
        right -= round(font(12, bold=True).getlength(SYNTHETIC_MARK)) + 12
    name = f"{key}, {parameter(key).meaning}"
    draw.text((6, 5), fitted(name, font(12, bold=True), right - 6), _INK, font(12, bold=True))
    for view in range(len(present)):
        left = view * (side + _GAP)
        draw.rectangle((left, _HEAD, left + side - 1, _HEAD + rows - 1), (0, 0, 0))
    right = width - 6
    words = (("raises it", RAISES), ("lowers it", LOWERS), ("attribution to the prediction:", _SOFT))
    for text, colour in words if scale > 0 else (("attribution is 0 everywhere", _SOFT),):
        draw.text((right, _HEAD + rows + 5), text, colour, font(12), anchor="ra")
        right -= round(font(12).getlength(text)) + 10
    return page


def _draw_names(picture: Image.Image, side: int, present: Mask) -> None:
    """Write each view's name in its upper left corner, which the sector leaves black."""
    draw = ImageDraw.Draw(picture)
    for position, view in enumerate(VIEWS):
        there = bool(present[position])
        words, colour = (view.name, _INK) if there else (f"no {view.name}", _SOFT)
        draw.text((position * (side + _GAP) + 5, _HEAD + 4), words, colour, font(12))


def _draw_position(picture: Image.Image, t: int, count: int) -> None:
    """Write a frame's number (from 1) at the left of the foot, with a bar of how far the cycle is."""
    draw = ImageDraw.Draw(picture)
    top = picture.height - _FOOT
    draw.text((6, top + 5), f"frame {t + 1} of {count}", _SOFT, font(12))
    left, right = 116, 250
    draw.rectangle((left, top + 10, right, top + 13), (70, 70, 76))
    draw.rectangle((left, top + 10, left + round((right - left) * (t + 1) / count), top + 13), _INK)


def _with_one_palette(pictures: list[Image.Image]) -> list[Image.Image]:
    """The pictures in 256 colours, the same for all so that nothing flickers."""
    some = pictures[:: max(1, len(pictures) // 6)]
    montage = Image.new("RGB", (some[0].width, sum(picture.height for picture in some)))
    for place, picture in enumerate(some):
        montage.paste(picture, (0, place * picture.height))
    palette = montage.quantize(256, method=Image.Quantize.MEDIANCUT)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
