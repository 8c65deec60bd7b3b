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
from cardio_mlflow.data.review.clip_review import ClipReview
from cardio_mlflow.data.review.contact_cell import CELL_HEIGHT, CELL_WIDTH, Row, draw_clip, draw_refused
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

    A row is a patient, a column a view. A prepared clip shows the first frame of its cycle and the one three
    eighths of the cycle later, near end-systole, with the sector's outline and the time line; a refused clip
    shows its outcome in words.

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
    for start in range(0, len(patients), _PER_PAGE):
        number = start // _PER_PAGE + 1
        path = folder / ("contact_sheet.png" if number == 1 else f"contact_sheet_{number:02d}.png")
        part = patients[start : start + _PER_PAGE]
        title = f"Prepared clips, patients {start + 1} to {start + len(part)} of {len(patients)}"
        page = _page(title, len(part), synthetic)
        for place, patient in enumerate(part):
            _draw_patient(page, folder, patient, start + place + 1, place, rows, reviews)
        write_bytes(path, _encoded(page))
        sheets.append(path)
    return sheets


def _page(title: str, patients: int, synthetic: bool) -> Image.Image:
    """An empty sheet with its head."""
    width = _LABEL + len(VIEWS) * (CELL_WIDTH + _GAP) + _GAP
    page = Image.new("RGB", (width, _HEAD + patients * (CELL_HEIGHT + _GAP)), _GROUND)
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, 6), title, _INK, font(14, bold=True))
    if synthetic:
        draw.text((width - _GAP, 6), "Synthetic data", _SYNTHETIC, font(14, bold=True), anchor="ra")
    for position, view in enumerate(VIEWS):
        text = f"{view.code} · {view.name}, {view.meaning}"
        draw.text((_left(position), 28), fitted(text, font(12), CELL_WIDTH), _SOFT, font(12))
    return page


def _draw_patient(
    page: Image.Image, folder: Path, patient: str, number: int, place: int,
    rows: Mapping[tuple[str, str], Row], reviews: Mapping[tuple[str, str], ClipReview],
) -> None:  # fmt: skip
    top = _HEAD + place * (CELL_HEIGHT + _GAP)
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, top), f"{number}", _SOFT, font(12))
    name = fitted(patient, font(13, bold=True), _LABEL - 2 * _GAP)
    draw.text((_GAP, top + 16), name, _INK, font(13, bold=True))
    with safe_open(patient_files(folder, patient).tensors, "numpy") as file:
        views, mask = file.get_slice("views"), file.get_tensor("view_mask")
        for position, view in enumerate(VIEWS):
            corner, row = (_left(position), top), rows.get((patient, view.code))
            if row is None:
                draw.text(corner, "no clip", _SOFT, font(12))
            elif row["outcome"] != Outcome.OK or not mask[position]:
                draw_refused(page, corner, row)
            else:
                frames = _two_frames(views[position : position + 1][0])
                draw_clip(page, corner, frames, row, reviews.get((patient, view.code), _NO_REVIEW))


def _two_frames(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The start of the cycle, and three eighths of it later, when the ventricles are near their smallest."""
    return frames[[0, 3 * len(frames) // 8]]


def _left(position: int) -> int:
    return _LABEL + position * (CELL_WIDTH + _GAP)


def _encoded(page: Image.Image) -> bytes:
    out = io.BytesIO()
    page.save(out, "PNG", compress_level=3)
    return out.getvalue()
