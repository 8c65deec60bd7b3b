"""The page to look through all clips of a prepared cohort by, made from masked pixels only."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cardio_mlflow.data.batch.patient_files import write_bytes
from cardio_mlflow.data.clips import PREPARED_FRAMES
from cardio_mlflow.data.outcomes import Outcome, outcome_words
from cardio_mlflow.data.picture.crop import PREPARED_SIZE
from cardio_mlflow.data.quality import UNMASKED, ClipReview
from cardio_mlflow.data.review.filmstrips import write_filmstrips
from cardio_mlflow.parameters import VIEW_CODES, VIEWS

Image = NDArray[np.uint8]
Color = tuple[int, int, int]

TRACE: Final[Color] = (120, 220, 140)
R_MARK: Final[Color] = (255, 120, 110)
ASSUMED: Final[Color] = (150, 150, 150)
CYCLE: Final[Color] = (44, 70, 104)
_GROUND: Final[Color] = (34, 34, 38)
_ASSUMED_CYCLE: Final[Color] = (58, 58, 64)

# A hole longer than this many sample spacings is a stretch that nobody read, such as the gap that a
# sweeping trace wipes before it.
_GAP: Final = 4.0
_SAME_S: Final = 1e-6
_SUBPIXEL: Final = 4
_DASH: Final = 3


def sampled_ecg(review: ClipReview, count: int) -> NDArray[np.uint8]:
    """The ECG at equally spaced times over the whole clip.

    Args:
        review: the clip's numbers.
        count: number of times, at least 2; the first is 0 s, the last the clip's end.

    Returns:
        Shape (count,): 0 where the ECG is unknown, else 1 (lowest) to 255 (highest). All 0 without an ECG.
    """
    times = np.asarray(review.ecg_s, np.float64)
    if len(times) < 2 or review.duration_s <= 0:
        return np.zeros(count, np.uint8)
    wanted = np.linspace(0.0, review.duration_s, count)
    level = 1.0 + 254.0 * np.clip(np.interp(wanted, times, np.asarray(review.ecg, np.float64)), 0.0, 1.0)
    return np.where(_is_read(wanted, times), np.round(level), 0.0).astype(np.uint8)


def _is_read(wanted: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a time is that of a sample, or lies between two that are near each other."""
    before = np.searchsorted(times, wanted + _SAME_S, side="right") - 1
    after = np.searchsorted(times, wanted - _SAME_S, side="left")
    last = len(times) - 1
    gap = times[np.clip(after, 0, last)] - times[np.clip(before, 0, last)]
    near = gap <= _GAP * float(np.median(np.diff(times))) + _SAME_S
    return np.asarray((before >= 0) & (after <= last) & near, np.bool_)


def draw_ecg_strip(image: Image, review: ClipReview, verified: bool) -> None:
    """Draw the time line of a clip over a whole image, in place.

    The chosen cycle is shaded. With an ECG there is its trace; without one a bar along the clip. R waves
    are solid marks; a cycle whose phase is not verified is gray and its bounds are dashed.

    Args:
        image: uint8, height × width × 3, red first.
        review: the clip's numbers; without a duration only the ground is drawn.
        verified: whether the marks are R waves.
    """
    image[:] = _GROUND
    if review.duration_s <= 0:
        return
    height, width = image.shape[:2]
    places = np.asarray([*review.cycle_s, *review.r_waves_s], np.float64) / review.duration_s
    columns = np.round(np.clip(places, -1.0, 2.0) * (width - 1)).astype(int).tolist()
    image[:, max(0, columns[0]) : max(0, columns[1] + 1)] = CYCLE if verified else _ASSUMED_CYCLE
    for column in columns[2:]:
        if 0 <= column < width:
            image[:: 1 if verified else _DASH, column] = R_MARK if verified else ASSUMED
    levels = sampled_ecg(review, width)
    if levels.any():
        _draw_trace(image, levels)
    else:
        image[height // 2, :: 1 if verified else _DASH] = TRACE if verified else ASSUMED


def _draw_trace(image: Image, levels: NDArray[np.uint8]) -> None:
    """A line through the known levels, broken where they are unknown."""
    scale = 1 << _SUBPIXEL
    rows = (1.0 - (levels - 1.0) / 254.0) * (image.shape[0] - 5) + 2
    points = np.round(np.column_stack([np.arange(len(levels)), rows]) * scale).astype(np.int32)
    known = np.flatnonzero(levels)
    for piece in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
        cv2.polylines(image, [points[piece]], False, TRACE, 1, cv2.LINE_AA, _SUBPIXEL)


SHOWN_COLUMNS: Final[tuple[str, ...]] = (
    "outcome", "message", "review", "gating", "phase_verified", "rr_ms", "r_waves", "beats", "ecg", "timing",
    "frame_rate", "duration_s", "frames", "first_frame", "last_frame", "frames_used", "fit_score",
    "inpainted_percent", "rows", "columns", "manufacturer",
)  # fmt: skip
"""Columns of ``quality.csv`` that the page shows, in the order of its table of one clip."""

# A sample each 8 ms keeps a QRS complex of 80 ms upright; a page of thousands of clips stays a few MB.
_SAMPLES_PER_SECOND: Final = 125
_MOST_SAMPLES: Final = 400

Plain = str | int | float | bool | None


def review_records(
    quality: pd.DataFrame,
    reviews: Mapping[tuple[str, str], ClipReview],
    pictures: Mapping[tuple[str, str], str],
) -> dict[str, object]:
    """The page's data.

    Args:
        quality: one row a clip, the columns of ``QUALITY_COLUMNS``.
        reviews: the clips' numbers by patient id and view code.
        pictures: path of each clip's filmstrip.

    Returns:
        ``columns``: names of ``SHOWN_COLUMNS``. ``patients``: ids in the order of the table. ``clips``: a
        list a clip: number of the patient, number of the view, values of the columns, path of the picture
        or None, the drawing or None. ``words``: each outcome code in words. ``frames`` and ``size``: of a
        prepared clip.
    """
    patients = list(dict.fromkeys(quality["patient_id"].map(str)))
    numbers = {patient: number for number, patient in enumerate(patients)}
    clips = []
    for row in quality.to_dict("records"):
        key = (str(row["patient_id"]), str(row["view"]))
        prepared = row["outcome"] == Outcome.OK
        review = reviews.get(key) if prepared else None
        clips.append([
            numbers[key[0]], VIEW_CODES.index(key[1]), [plain(row.get(name)) for name in SHOWN_COLUMNS],
            pictures.get(key) if prepared else None, None if review is None else _drawing(review),
        ])  # fmt: skip
    words = {code: outcome_words(code) for code in sorted(set(quality["outcome"].map(str)))}
    return {
        "columns": list(SHOWN_COLUMNS), "patients": patients, "clips": clips, "words": words,
        "frames": PREPARED_FRAMES, "size": PREPARED_SIZE,
    }  # fmt: skip


def plain(value: object) -> Plain:
    """A table's cell as a JSON value: None for what is missing, whole numbers without a point.

    >>> plain(float("nan")), plain(48.0), plain("sweep"), plain(True)
    (None, 48, 'sweep', True)
    """
    if value is None or value is pd.NA:
        return None
    if isinstance(value, str):
        return str(value) or None
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, bool):
        return number
    if isinstance(number, int | float) and math.isfinite(number):
        return int(number) if float(number).is_integer() else float(number)
    return None


def _drawing(review: ClipReview) -> dict[str, object]:
    """The sector's outline as x, y, x, y ...; the ECG's levels as base64 of bytes, 0 where unknown."""
    count = min(_MOST_SAMPLES, max(2, round(review.duration_s * _SAMPLES_PER_SECOND)))
    ecg = sampled_ecg(review, count)
    return {
        "outline": [plain(round(float(value), 1)) for point in review.outline for value in point],
        "ecg": base64.b64encode(ecg.tobytes()).decode() if ecg.any() else "",
        "r": [plain(round(float(time), 3)) for time in review.r_waves_s],
        "cycle": [plain(round(float(time), 4)) for time in review.cycle_s],
        "duration": plain(round(float(review.duration_s), 3)),
    }


_SCRIPTS: Final = ("card.js", "large.js", "page.js")
_TOTALS: Final = (("outcome", "Outcome"), ("gating", "Gating"), ("manufacturer", "Manufacturer"))


def write_review_page(
    folder: Path,
    quality: pd.DataFrame,
    patients: Sequence[str],
    reviews: Mapping[tuple[str, str], ClipReview],
    *,
    synthetic: bool = False,
    jobs: int = 1,
) -> Path:
    """Write ``review.html`` and the folder ``review`` with its pictures.

    The page needs no network and no server; its policy forbids it to load anything but its own pictures. The
    same input gives the same bytes.

    Args:
        folder: the prepared cohort's folder.
        quality: one row a clip, the columns of ``QUALITY_COLUMNS``.
        patients: ids that have a file.
        reviews: the clips' numbers by patient id and view code; a clip without any has no outline and no
            time line.
        synthetic: whether to say at the top that no real patient is shown.
        jobs: number of threads that make pictures.

    Returns:
        The page.
    """
    prepared = quality[quality["outcome"] == Outcome.OK]
    masked = prepared[[UNMASKED not in str(words).split() for words in prepared["review"]]]
    shown = set(zip(masked["patient_id"].map(str), masked["view"].map(str), strict=True))
    pictures = write_filmstrips(folder, shown, patients, jobs)
    path = folder / "review.html"
    write_bytes(path, _page(quality, review_records(quality, reviews, pictures), synthetic).encode())
    return path


def _page(quality: pd.DataFrame, records: dict[str, object], synthetic: bool) -> str:
    style = _asset("page.css")
    script = "\n".join(_asset(name) for name in _SCRIPTS)
    counts, totals = _summary(quality)
    views = [[view.code, view.name, view.meaning] for view in VIEWS]
    banner = '<p class="banner"><strong>Synthetic data.</strong> No real patient is shown.</p>'
    return Template(_asset("page.html")).substitute(
        policy=_policy(style, script), style=style, script=script, banner=banner if synthetic else "",
        counts=counts, totals=totals, table=_table(quality), data=_embedded({**records, "views": views}),
    )  # fmt: skip


def _asset(name: str) -> str:
    return (files("cardio_mlflow.data.review") / name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing from outside: this style and this script by their digests, pictures from beside the page."""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file:; "
        f"style-src {_source(style)}; script-src {_source(script)}"
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embedded(data: object) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _summary(quality: pd.DataFrame) -> tuple[str, str]:
    """The counts in a line, and the tables of totals."""
    prepared = quality[quality["outcome"] == Outcome.OK]
    refused, flagged = len(quality) - len(prepared), int((quality["review"].map(plain).notna()).sum())
    counts = (
        f"{quality['patient_id'].nunique()} patients · {len(quality)} clips · {len(prepared)} prepared · "
        f"{refused} refused · {flagged} to review"
    )
    tables = "".join(
        _total(title, (quality if column == "outcome" else prepared)[column]) for column, title in _TOTALS
    )
    return counts, tables


def _total(title: str, values: pd.Series) -> str:
    """How often each value occurs, most frequent first."""
    counts = values.map(lambda value: plain(value) or "none").map(str).value_counts()
    rows = "".join(
        f'<tr><th scope="row">{_words(title, value)}</th><td>{count}</td>'
        f'<td><meter min="0" max="{len(values)}" value="{count}">{count / len(values):.0%}</meter></td></tr>'
        for value, count in sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    )
    return f"<table><caption>{title}</caption>{rows}</table>"


def _words(title: str, value: object) -> str:
    code = str(value)
    if title != "Outcome":
        return escape(code.replace("_", " "))
    return f"<code>{escape(code)}</code>" + ("" if code == Outcome.OK else f" {escape(outcome_words(code))}")


def _table(quality: pd.DataFrame) -> str:
    """All rows as plain text, for readers without scripts."""
    names = ("patient_id", "view", *SHOWN_COLUMNS)
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{_cell(row.get(name))}</td>" for name in names) + "</tr>"
        for row in quality.to_dict("records")
    )
    return f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>'


def _cell(value: object) -> str:
    found = plain(value)
    return "" if found is None else escape(str(found))
