"""One clip on a contact sheet: two frames, time line and facts, or why it was refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cardio_mlflow.data.outcomes import outcome_words
from cardio_mlflow.data.quality import ClipReview
from cardio_mlflow.data.review.lettering import fitted, font, wrapped
from cardio_mlflow.data.review.page import ASSUMED, CYCLE, R_MARK, TRACE, draw_ecg_strip, plain

Row = Mapping[Any, Any]
"""A row of the quality table by column name."""

_SIDE: Final = 132
_STRIP: Final = 26
_LINE: Final = 15
CELL_WIDTH: Final = 2 * _SIDE + 2
"""Width of a clip's place on the sheet, pixels."""
CELL_HEIGHT: Final = _SIDE + _STRIP + 3 * _LINE + 5
"""Its height."""

_OUTLINE: Final = (255, 212, 0)
_INK: Final = (215, 215, 220)
_FLAG: Final = (255, 190, 90)
_REFUSED: Final = (255, 140, 130)
_REFUSED_GROUND: Final = (52, 26, 28)
_SUBPIXEL: Final = 4
# The cycle's ground, bright enough to be read as a word.
_CYCLE_WORD: Final = (CYCLE[0] + 70, CYCLE[1] + 85, CYCLE[2] + 110)
LEGEND: Final = (
    ("sector", _OUTLINE),
    ("ECG", TRACE),
    ("R wave", R_MARK),
    ("cycle that was taken", _CYCLE_WORD),
    ("phase not known", ASSUMED),
)
"""What the lines of a cell mean, each with its color."""


def draw_clip(
    page: Image.Image, corner: tuple[int, int], frames: NDArray[np.uint8], row: Row, review: ClipReview
) -> None:
    """Draw a prepared clip.

    Args:
        page: the sheet, RGB; drawn on in place.
        corner: column and row of the place's upper left corner.
        frames: uint8, 2 × 224 × 224.
        row: the clip's quality row.
        review: the clip's numbers; may be empty.
    """
    left, top = corner
    verified = plain(row.get("phase_verified")) is True
    for position, frame in enumerate(frames):
        page.paste(Image.fromarray(_outlined(frame, review)), (left + position * (_SIDE + 2), top))
    strip = np.zeros((_STRIP, CELL_WIDTH, 3), np.uint8)
    draw_ecg_strip(strip, review, verified)
    page.paste(Image.fromarray(strip), (left, top + _SIDE + 2))
    draw = ImageDraw.Draw(page)
    face, below = font(11), top + _SIDE + _STRIP + 4
    for number, (text, color) in enumerate(_facts(row, verified)):
        draw.text((left, below + number * _LINE), fitted(text, face, CELL_WIDTH), color, face)


def draw_refused(page: Image.Image, corner: tuple[int, int], row: Row) -> None:
    """Draw what became of a clip that was refused: the outcome in words, its code, and the reason.

    Args:
        page: the sheet, RGB; drawn on in place.
        corner: column and row of the place's upper left corner.
        row: the clip's quality row.
    """
    left, top = corner
    draw = ImageDraw.Draw(page)
    draw.rectangle((left, top, left + CELL_WIDTH - 1, top + _SIDE - 1), _REFUSED_GROUND)
    code, width = str(row["outcome"]), CELL_WIDTH - 16
    lines = [
        (outcome_words(code), font(13, bold=True), _REFUSED),
        (code, font(11), _REFUSED),
        *(
            (line, font(11), _INK)
            for line in wrapped(str(plain(row.get("message")) or ""), font(11), width, 5)
        ),
    ]
    for number, (text, face, color) in enumerate(lines):
        draw.text((left + 8, top + 8 + number * 17), fitted(text, face, width), color, face)


def _outlined(frame: NDArray[np.uint8], review: ClipReview) -> NDArray[np.uint8]:
    """A frame at the sheet's size in RGB, with the sector's outline on it."""
    small = cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    picture = cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)
    if review.outline:
        # The outline runs from edge to edge of the frame; OpenCV counts from the first pixel's centre.
        points = np.asarray(review.outline, np.float64) * _SIDE / frame.shape[0] - 0.5
        fixed = np.round(points * (1 << _SUBPIXEL)).astype(np.int32)
        cv2.polylines(picture, [fixed], True, _OUTLINE, 1, cv2.LINE_AA, _SUBPIXEL)
    return np.asarray(picture, np.uint8)


def _facts(row: Row, verified: bool) -> list[tuple[str, tuple[int, int, int]]]:
    """Three lines: outcome, rate and frames; gating; the fit and what stands out."""
    rr_ms, score = plain(row.get("rr_ms")), plain(row.get("fit_score"))
    rate = f"R–R {rr_ms:.0f} ms, {60000 / rr_ms:.0f}/min" if isinstance(rr_ms, int | float) and rr_ms else ""
    frames = f"{plain(row.get('frames_used'))} of {plain(row.get('frames'))} frames"
    gating = str(plain(row.get("gating")) or "").replace("_", " ")
    phase = "phase verified" if verified else "phase not verified"
    fit = f"fit {score:.3f}" if isinstance(score, int | float) else ""
    flags = ", ".join(str(plain(row.get("review")) or "").split()).replace("_", " ")
    marked = (fit, f"review: {flags}" if flags else "")
    return [
        (" · ".join(filter(None, (str(row["outcome"]), rate, frames))), _INK),
        (
            " · ".join(filter(None, (f"gating: {gating}" if gating else "", phase))),
            _INK if verified else _FLAG,
        ),
        (" · ".join(filter(None, marked)), _FLAG if flags else _INK),
    ]
