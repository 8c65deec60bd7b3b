"""Text on pictures: a font that is always there, and lines that fit."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib
from PIL import ImageFont


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib brings it, laid out glyph by glyph so that every machine draws the same."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"DejaVuSans{'-Bold' if bold else ''}.ttf")
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def fitted(text: str, face: ImageFont.FreeTypeFont, width: int) -> str:
    """Shorten a text to a width by cutting out its middle: ids often differ at their ends.

    Characters that cannot be printed, line breaks among them, become the replacement character.

    >>> fitted("P0001", font(12), 200)
    'P0001'
    """
    text = "".join(character if character.isprintable() else "\ufffd" for character in text)
    kept, short = min(len(text), width), text
    while kept and face.getlength(short) > width:
        kept -= 1
        short = f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"
    return short
