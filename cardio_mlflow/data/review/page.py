"""The page on which a person looks through all clips of a prepared cohort; made from masked pixels only."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow.data.clips import PREPARED_FRAMES
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.picture.sector import PREPARED_SIZE
from cardio_mlflow.data.quality import ClipReview
from cardio_mlflow.data.review.ecg_line import sampled_ecg
from cardio_mlflow.data.review.standalone import write_standalone_page
from cardio_mlflow.parameters import VIEW_CODES, VIEWS

_SAMPLES_PER_SECOND: Final = 125  # 8 ms keep a QRS complex of 80 ms upright; thousands of clips stay a few MB
_MOST_SAMPLES: Final = 400

Plain = str | int | float | bool | None

SHOWN_COLUMNS: Final[tuple[str, ...]] = (
    "outcome", "message", "review", "notes", "gating", "phase_verified", "rr_ms", "r_waves", "beats", "ecg",
    "timing", "frame_rate", "duration_s", "frames", "first_frame", "last_frame", "frames_used", "fit_score",
    "inpainted_percent", "depth_cm", "scale_source", "mm_per_pixel", "prepared_mm_per_pixel",
    "prepared_apex_x", "prepared_apex_y", "rows", "columns", "manufacturer",
)  # fmt: skip
"""Columns of ``quality.csv`` that the page shows, in the order of its table of one clip."""


@dataclass(frozen=True)
class Shown:
    """What the page shows of a prepared clip beside its row."""

    review: ClipReview
    picture: str | None  # path of its film, relative to the page; None for a clip that is shown nowhere


def _records(quality: pd.DataFrame, shown: Mapping[tuple[str, str], Shown]) -> dict[str, object]:
    """The page's data; of each clip numbers of patient and view, ``SHOWN_COLUMNS``, picture and drawing."""
    patients = list(dict.fromkeys(quality["patient_id"].map(str)))
    numbers = {patient: number for number, patient in enumerate(patients)}
    clips = []
    for row in quality.to_dict("records"):
        key = (str(row["patient_id"]), str(row["view"]))
        found = shown.get(key) if row["outcome"] == Outcome.OK else None
        clips.append([
            numbers[key[0]], VIEW_CODES.index(key[1]), [plain(row.get(name)) for name in SHOWN_COLUMNS],
            found and found.picture, found and _drawing(found.review),
        ])  # fmt: skip
    return {
        "columns": SHOWN_COLUMNS, "patients": patients, "clips": clips,
        "words": {code: Outcome(code).words for code in sorted(set(quality["outcome"].map(str)))},
        "frames": PREPARED_FRAMES, "size": PREPARED_SIZE,
        "views": [[view.code, view.name, view.meaning] for view in VIEWS],
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


def write_review_page(
    path: Path, quality: pd.DataFrame, shown: Mapping[tuple[str, str], Shown], *, synthetic: bool = False
) -> None:
    """Write the page; it needs no network and no server, and may load nothing but its own pictures.

    Args:
        path: the file.
        quality: one row per clip, the columns of ``QUALITY_COLUMNS``.
        shown: the prepared clips by patient id and view code.
        synthetic: whether to say at the top that no real patient is shown.
    """
    write_standalone_page(
        path, "cardio_mlflow.data.review", "page.html", "page.css", ("card.js", "large.js", "page.js"),
        synthetic=synthetic, data=_records(quality, shown), **_summary(quality),
    )  # fmt: skip


def _summary(quality: pd.DataFrame) -> dict[str, object]:
    """The counts in a line, and the totals: title, clips, and code, words and count of each value."""
    prepared = quality[quality["outcome"] == Outcome.OK]
    refused, flagged = len(quality) - len(prepared), int((quality["review"].map(plain).notna()).sum())
    unscaled = int(prepared["mm_per_pixel"].isna().sum())
    counts = (
        f"{quality['patient_id'].nunique()} patients · {len(quality)} clips · {len(prepared)} prepared · "
        f"{refused} refused · {flagged} to review · {unscaled} without a true scale"
    )
    outcomes = [
        (code, "" if code == Outcome.OK else Outcome(code).words, count)
        for code, count in _counted(quality["outcome"])
    ]
    columns = {"Gating": "gating", "True scale": "scale_source", "Manufacturer": "manufacturer"}
    others = [
        (
            title,
            len(prepared),
            [("", value.replace("_", " "), count) for value, count in _counted(prepared[name])],
        )
        for title, name in columns.items()
    ]
    return {"counts": counts, "totals": [("Outcome", len(quality), outcomes), *others]}


def _counted(values: pd.Series) -> list[tuple[str, int]]:
    """How often each value occurs, most frequent first."""
    counts = values.map(lambda value: str(plain(value) or "none")).value_counts()
    return sorted(
        ((str(value), int(count)) for value, count in counts.items()), key=lambda one: (-one[1], one[0])
    )
