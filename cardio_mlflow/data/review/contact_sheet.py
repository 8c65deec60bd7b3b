"""Pictures to look through a prepared cohort by, made from masked pixels only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import safe_open

from cardio_mlflow.data.patient_files import patient_files, write_bytes
from cardio_mlflow.parameters import VIEW_CODES

_PER_PAGE: Final = 24
_SIDE: Final = 112
_CAPTION: Final = 16
_LABEL: Final = 110
_GAP: Final = 4
_COLUMNS: Final = 2


def write_contact_sheets(folder: Path, quality: pd.DataFrame, patients: Sequence[str]) -> list[Path]:
    """Write ``contact_sheet.png`` and, for more than 24 patients, ``contact_sheet_02.png`` and so on.

    A row shows a patient's four views: the first frame of the prepared cycle, or the outcome code.

    Args:
        folder: the prepared cohort's folder.
        quality: one row a clip.
        patients: ids that have a file.

    Returns:
        The files, in order.
    """
    outcomes = dict(
        zip(
            zip(quality["patient_id"], quality["view"], strict=True), quality["outcome"].map(str), strict=True
        )
    )
    pages = []
    for start in range(0, len(patients), _PER_PAGE):
        number = start // _PER_PAGE + 1
        path = folder / ("contact_sheet.png" if number == 1 else f"contact_sheet_{number:02d}.png")
        write_bytes(path, _encoded(_page(folder, outcomes, patients[start : start + _PER_PAGE], start)))
        pages.append(path)
    return pages


def _page(
    folder: Path, outcomes: dict[tuple[str, str], str], patients: Sequence[str], start: int
) -> NDArray[np.uint8]:
    strips = [_strip(folder, outcomes, patient, start + i + 1) for i, patient in enumerate(patients)]
    columns = 1 if len(strips) == 1 else _COLUMNS
    strips += [np.full_like(strips[0], 24)] * (-len(strips) % columns)
    rows = [np.hstack(strips[i : i + columns]) for i in range(0, len(strips), columns)]
    return np.vstack(rows)


def _strip(
    folder: Path, outcomes: dict[tuple[str, str], str], patient: str, number: int
) -> NDArray[np.uint8]:
    """One patient's row: number and id, then a thumbnail a view with its code and outcome under it."""
    width = _LABEL + len(VIEW_CODES) * (_SIDE + _GAP) + _GAP
    strip = np.full((_SIDE + _CAPTION + _GAP, width), 24, np.uint8)
    _write(strip, f"{number}", 4, 20)
    _write(strip, patient[:14], 4, 38)
    with safe_open(patient_files(folder, patient).tensors, "numpy") as file:
        views, mask = file.get_slice("views"), file.get_tensor("view_mask")
        for position, code in enumerate(VIEW_CODES):
            left = _LABEL + position * (_SIDE + _GAP)
            if mask[position]:
                frame = views[position : position + 1, 0:1][0, 0]
                strip[:_SIDE, left : left + _SIDE] = cv2.resize(
                    frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA
                )
            _write(strip, f"{code} {outcomes.get((patient, code), 'no clip')}"[:19], left, _SIDE + 12)
    return strip


def _write(image: NDArray[np.uint8], text: str, x: int, y: int) -> None:
    ascii_text = text.encode("ascii", "replace").decode("ascii")
    cv2.putText(image, ascii_text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.36, 200, 1, cv2.LINE_AA)


def _encoded(image: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".png", image)
    if not done:
        raise RuntimeError("the contact sheet could not be encoded as PNG")
    return data.tobytes()
