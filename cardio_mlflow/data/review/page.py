"""The page to look through all clips of a prepared cohort by, made from masked pixels only."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

import pandas as pd

from cardio_mlflow.data.batch.patient_files import write_bytes
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import UNMASKED
from cardio_mlflow.data.review.clip_review import ClipReview
from cardio_mlflow.data.review.filmstrips import write_filmstrips
from cardio_mlflow.data.review.outcome_words import outcome_words
from cardio_mlflow.data.review.records import SHOWN_COLUMNS, plain, review_records
from cardio_mlflow.parameters import VIEWS

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
