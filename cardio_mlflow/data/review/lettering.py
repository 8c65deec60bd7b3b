"""Text on contact sheets: a font that is always there, and lines that fit."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import matplotlib
from PIL import ImageFont

_ELLIPSIS: Final = "…"


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib brings it, laid out glyph by glyph so that every machine draws the same.

    Args:
        size: height in pixels.
        bold: whether to take the bold face.
    """
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", name)
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def fitted(text: str, face: ImageFont.FreeTypeFont, width: int) -> str:
    """Shorten a text to a width by cutting out its middle: ids often differ at their ends.

    Characters that cannot be printed, line breaks among them, become the replacement character.

    >>> fitted("P0001", font(12), 200)
    'P0001'
    """
    text = "".join(character if character.isprintable() else "\ufffd" for character in text)
    if face.getlength(text) <= width:
        return text
    fewest, most = 0, min(len(text) - 1, width)
    while fewest < most:
        kept = (fewest + most + 1) // 2
        if face.getlength(_cut(text, kept)) <= width:
            fewest = kept
        else:
            most = kept - 1
    return _cut(text, fewest)


def wrapped(text: str, face: ImageFont.FreeTypeFont, width: int, most: int) -> list[str]:
    """Break a text at spaces into lines of a width; the last of ``most`` lines is shortened to fit."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < most - 1:
        count = len(words)
        while count > 1 and face.getlength(" ".join(words[:count])) > width:
            count -= 1
        lines.append(fitted(" ".join(words[:count]), face, width))
        words = words[count:]
    return lines + ([fitted(" ".join(words), face, width)] if words else [])


def _cut(text: str, kept: int) -> str:
    """The first and last characters of a text, ``kept`` of them together."""
    tail = kept // 2
    return text[: kept - tail] + _ELLIPSIS + (text[-tail:] if tail else "")
