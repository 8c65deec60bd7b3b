"""Pictures of a prepared cohort, made from masked pixels only: a film of each clip, and contact sheets.

A film is all frames of a clip below each other in one WebP file, which the page slides past a window. Against
an animated WebP it is smaller (41 against 55 kB per clip), quicker to write, and can be stepped through.
"""

from __future__ import annotations

import io
import os
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from safetensors import safe_open

from cardio_mlflow.data.batch.clip_store import ClipStore, made, unwritable, write_bytes
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.review.lettering import fitted, font
from cardio_mlflow.data.review.page import plain
from cardio_mlflow.parameters import VIEWS

FILM_SIDE: Final = 160
"""Height and width of one frame of a film; a multiple of WebP's 16-pixel blocks, so frames don't mix."""
PER_SHEET: Final = 24
"""Patients of one contact sheet."""

_SIDE, _GAP, _HEAD, _NAME, _LINE = 112, 8, 48, 118, 15
_WIDTH, _HEIGHT = 2 * _SIDE + _GAP, _SIDE + 2 * _LINE + _GAP
_GROUND, _INK, _SOFT = (22, 22, 25), (232, 232, 235), (160, 160, 168)
_FLAG, _REFUSED, _REFUSED_GROUND = (255, 190, 90), (255, 140, 130), (52, 26, 28)


def filmstrip(frames: NDArray[np.uint8], side: int = FILM_SIDE, quality: int = 45) -> bytes:
    """A prepared clip, T × 224 × 224 (WebP ends at 16383 rows), as a lossy WebP of T · side × side."""
    small = np.concatenate(
        [cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in frames]
    )
    out = io.BytesIO()
    Image.fromarray(small).convert("RGB").save(out, "WEBP", quality=quality, method=2)
    return out.getvalue()


def write_films(store: ClipStore, keys: Iterable[str], folder: Path, jobs: int) -> None:
    """Put the films of prepared clips, and no others, into a folder as ``<key>.webp``.

    Each is made once, in the store; the folder gets links, or copies where there are none.

    Raises:
        InputError: the store or the folder cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    made(folder)

    def write(key: str) -> None:
        film, place = store.path(key).with_suffix(".webp"), folder / f"{key}.webp"
        if not _is_whole(film):
            write_bytes(film, filmstrip(store.frames(key)))
        try:
            os.link(film, place)
        except OSError:
            shutil.copyfile(film, place)

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        try:
            list(pool.map(write, dict.fromkeys(keys)))
        except OSError as fault:
            raise unwritable(fault) from None


def _is_whole(film: Path) -> bool:
    """Whether a WebP file is there, and as long as its own head says."""
    with suppress(FileNotFoundError), film.open("rb") as file:
        head = file.read(8)
        return head[:4] == b"RIFF" and int.from_bytes(head[4:], "little") + 8 == film.stat().st_size
    return False


def write_contact_sheets(
    folder: Path, quality: pd.DataFrame, shown: Mapping[tuple[str, str], Path], *,
    synthetic: bool = False, jobs: int = 1,
) -> list[Path]:  # fmt: skip
    """Write ``contact_sheet.png`` and, for more than 24 patients, ``contact_sheet_02.png`` and so on.

    A row is a patient, a column is a view. A prepared clip shows the first frame of its cycle and the one
    three eighths of the cycle later, near end-systole; a refused one says why.

    Args:
        folder: the cohort's folder.
        quality: one row per clip, the columns of ``QUALITY_COLUMNS``.
        shown: the store's file of each clip whose picture may be shown, by patient id and view code.
        synthetic: whether to say on every sheet that no real patient is shown.
        jobs: number of threads.

    Returns:
        The files, in order.
    """
    rows = {(str(row["patient_id"]), str(row["view"])): row for row in quality.to_dict("records")}
    everyone = list(dict.fromkeys(patient for patient, _ in rows))

    def write(start: int) -> Path:
        number = start // PER_SHEET + 1
        path, out = folder / f"contact_sheet{f'_{number:02d}' if start else ''}.png", io.BytesIO()
        _sheet(everyone, start, rows, shown, synthetic).save(out, "PNG", compress_level=1)
        write_bytes(path, out.getvalue())
        return path

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(write, range(0, len(everyone), PER_SHEET)))


def _sheet(
    everyone: Sequence[str], start: int, rows: Mapping[tuple[str, str], Mapping[Any, Any]],
    shown: Mapping[tuple[str, str], Path], synthetic: bool,
) -> Image.Image:  # fmt: skip
    """The sheet of the patients from this position on."""
    part = everyone[start : start + PER_SHEET]
    page = Image.new("RGB", (_NAME + 4 * _WIDTH, _HEAD + len(part) * _HEIGHT), _GROUND)
    draw = ImageDraw.Draw(page)
    title = f"Prepared clips, patients {start + 1} to {start + len(part)} of {len(everyone)}"
    draw.text((_GAP, 6), title, _INK, font(14, bold=True))
    if synthetic:
        draw.text((page.width - _GAP, 6), "Synthetic data", _FLAG, font(14, bold=True), anchor="ra")
    for left, view in zip(range(_NAME, page.width, _WIDTH), VIEWS, strict=True):
        draw.text((left, 28), f"{view.code} · {view.name}", _SOFT, font(12))
        for top, patient in zip(range(_HEAD, page.height, _HEIGHT), part, strict=True):
            key = (patient, view.code)
            _draw_clip(page, (left, top), rows.get(key), shown.get(key))
    for number, patient in enumerate(part):
        top = _HEAD + number * _HEIGHT
        draw.text((_GAP, top), str(start + number + 1), _SOFT, font(12))
        draw.text((_GAP, top + 16), fitted(patient, font(13), _NAME - 2 * _GAP), _INK, font(13))
    return page


def _draw_clip(
    page: Image.Image, corner: tuple[int, int], row: Mapping[Any, Any] | None, path: Path | None
) -> None:
    (left, top), draw = corner, ImageDraw.Draw(page)
    if row is None:
        draw.text(corner, "no clip", _SOFT, font(12))
        return
    lines, refused = _facts(row), row["outcome"] != Outcome.OK
    if refused:
        draw.rectangle((left, top, left + 2 * _SIDE - 1, top + _HEIGHT - 2 * _GAP), _REFUSED_GROUND)
    elif path is not None:
        with safe_open(path, "numpy") as file:
            frames = file.get_slice("frames")
            for place, number in enumerate((0, 3 * frames.get_shape()[0] // 8)):
                small = cv2.resize(frames[number], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
                page.paste(Image.fromarray(small), (left + place * _SIDE, top))
    left, top = (left + _GAP, top + _GAP) if refused else (left, top + _SIDE + 1)
    for number, (text, color) in enumerate(lines):
        draw.text((left, top + number * _LINE), fitted(text, font(11), 2 * _SIDE - _GAP), color, font(11))


def _facts(row: Mapping[Any, Any]) -> list[tuple[str, tuple[int, int, int]]]:
    """Lines of text with their colors: why it was refused; or gating, depth and what stands out."""
    outcome, cells = Outcome(row["outcome"]), {name: plain(value) for name, value in row.items()}
    if outcome != Outcome.OK:
        reason = textwrap.wrap(str(cells["message"] or ""), 36)[:5]
        return [(outcome.words, _REFUSED), (outcome, _REFUSED), *((line, _INK) for line in reason)]
    rr_ms, flags = cells["rr_ms"], str(cells["review"] or "").replace("_", " ").split()
    rate = f"R–R {rr_ms:.0f} ms" if isinstance(rr_ms, int | float) and rr_ms else ""
    gating = str(cells["gating"] or "").replace("_", " ")
    flags += [] if cells["phase_verified"] else ["phase not verified"]
    deep = cells["depth_cm"]
    depth = f"{deep:.1f} cm" if isinstance(deep, int | float) else "no true scale"
    return [(" · ".join(filter(None, (gating, rate, depth))), _INK), (", ".join(flags), _FLAG)]
