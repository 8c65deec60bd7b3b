"""What the review page knows about each clip, as plain values for JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Final

import pandas as pd

from cardio_mlflow.data.clips import PREPARED_FRAMES
from cardio_mlflow.data.crop import PREPARED_SIZE
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.review.clip_review import ClipReview
from cardio_mlflow.data.review.ecg_strip import sampled_ecg
from cardio_mlflow.data.review.outcome_words import outcome_words
from cardio_mlflow.parameters import VIEW_CODES

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
