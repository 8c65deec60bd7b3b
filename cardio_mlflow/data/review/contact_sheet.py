"""Contact sheets of a prepared cohort as PNG files, made from masked pixels only."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from safetensors import safe_open

from cardio_mlflow.data.batch.patient_files import patient_files, write_bytes
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import UNMASKED, ClipReview
from cardio_mlflow.data.review.contact_cell import (
    CELL_HEIGHT,
    CELL_WIDTH,
    LEGEND,
    Row,
    draw_clip,
    draw_refused,
)
from cardio_mlflow.data.review.lettering import fitted, font
from cardio_mlflow.parameters import VIEWS

_PER_PAGE: Final = 24
_LABEL: Final = 118
_GAP: Final = 8
_HEAD: Final = 48
_GROUND: Final = (22, 22, 25)
_INK: Final = (232, 232, 235)
_SOFT: Final = (160, 160, 168)
_SYNTHETIC: Final = (255, 205, 110)
_SYNTHETIC_WIDTH: Final = 140
_NO_REVIEWS: Final[Mapping[tuple[str, str], ClipReview]] = MappingProxyType({})
_NO_REVIEW: Final = ClipReview()


def write_contact_sheets(
    folder: Path,
    quality: pd.DataFrame,
    patients: Sequence[str],
    reviews: Mapping[tuple[str, str], ClipReview] = _NO_REVIEWS,
    *,
    synthetic: bool = False,
) -> list[Path]:
    """Write ``contact_sheet.png`` and, for more than 24 patients, ``contact_sheet_02.png`` and so on.

    A row is a patient, those without any prepared clip included; a column is a view. A prepared clip shows
    the first frame of its cycle and the one three eighths of the cycle later, near end-systole, with the
    sector's outline and the time line; a refused clip shows its outcome in words.

    Args:
        folder: the prepared cohort's folder.
        quality: one row a clip, the columns of ``QUALITY_COLUMNS``.
        patients: ids that have a file.
        reviews: the clips' numbers by patient id and view code.
        synthetic: whether to say on every sheet that no real patient is shown.

    Returns:
        The files, in order.
    """
    rows = {(str(row["patient_id"]), str(row["view"])): row for row in quality.to_dict("records")}
    sheets = []
    everyone, there = list(dict.fromkeys([*quality["patient_id"].map(str), *patients])), set(patients)
    for start in range(0, len(everyone), _PER_PAGE):
        number = start // _PER_PAGE + 1
        path = folder / ("contact_sheet.png" if number == 1 else f"contact_sheet_{number:02d}.png")
        part = everyone[start : start + _PER_PAGE]
        title = f"Prepared clips, patients {start + 1} to {start + len(part)} of {len(everyone)}"
        page = _page(title, len(part), synthetic)
        for place, patient in enumerate(part):
            top = _HEAD + place * (CELL_HEIGHT + _GAP)
            _draw_name(page, top, start + place + 1, patient)
            views = _two_frames(patient_files(folder, patient).tensors) if patient in there else {}
            _draw_views(page, top, patient, views, rows, reviews)
        write_bytes(path, _encoded(page))
        sheets.append(path)
    return sheets


def _page(title: str, patients: int, synthetic: bool) -> Image.Image:
    """An empty sheet with its head."""
    width = _LABEL + len(VIEWS) * (CELL_WIDTH + _GAP) + _GAP
    page = Image.new("RGB", (width, _HEAD + patients * (CELL_HEIGHT + _GAP)), _GROUND)
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, 6), title, _INK, font(14, bold=True))
    _draw_legend(draw, width - _GAP - _SYNTHETIC_WIDTH)
    if synthetic:
        draw.text((width - _GAP, 6), "Synthetic data", _SYNTHETIC, font(14, bold=True), anchor="ra")
    for position, view in enumerate(VIEWS):
        text = f"{view.code} · {view.name}, {view.meaning}"
        draw.text((_left(position), 28), fitted(text, font(12), CELL_WIDTH), _SOFT, font(12))
    return page


def _draw_legend(draw: ImageDraw.ImageDraw, right: int) -> None:
    """What the lines mean, each word in the color of its line, ending at a column."""
    face = font(12)
    for text, color in reversed(LEGEND):
        draw.text((right, 8), text, color, face, anchor="ra")
        right -= round(face.getlength(text)) + 2 * _GAP


def _draw_name(page: Image.Image, top: int, number: int, patient: str) -> None:
    draw, face = ImageDraw.Draw(page), font(13, bold=True)
    draw.text((_GAP, top), f"{number}", _SOFT, font(12))
    draw.text((_GAP, top + 16), fitted(patient, face, _LABEL - 2 * _GAP), _INK, face)


def _draw_views(
    page: Image.Image, top: int, patient: str, views: Mapping[str, NDArray[np.uint8]],
    rows: Mapping[tuple[str, str], Row], reviews: Mapping[tuple[str, str], ClipReview],
) -> None:  # fmt: skip
    for position, view in enumerate(VIEWS):
        corner, row = (_left(position), top), rows.get((patient, view.code))
        if row is None:
            ImageDraw.Draw(page).text(corner, "no clip", _SOFT, font(12))
        elif row["outcome"] != Outcome.OK or view.code not in views:
            draw_refused(page, corner, row)
        else:
            review = reviews.get((patient, view.code), _NO_REVIEW)
            unmasked = UNMASKED in str(row["review"]).split()
            frames = np.zeros_like(views[view.code]) if unmasked else views[view.code]
            draw_clip(page, corner, frames, row, review)


def _two_frames(tensors: Path) -> dict[str, NDArray[np.uint8]]:
    """Of each prepared view, the start of the cycle, and three eighths of it later.

    By then the ventricles are near their smallest.
    """
    with safe_open(tensors, "numpy") as file:
        views, mask = file.get_slice("views"), file.get_tensor("view_mask")
        _, frames, *_ = views.get_shape()
        return {
            view.code: np.stack([views[position, 0], views[position, 3 * frames // 8]])
            for position, view in enumerate(VIEWS)
            if mask[position]
        }


def _left(position: int) -> int:
    return _LABEL + position * (CELL_WIDTH + _GAP)


def _encoded(page: Image.Image) -> bytes:
    out = io.BytesIO()
    page.save(out, "PNG", compress_level=3)
    return out.getvalue()
