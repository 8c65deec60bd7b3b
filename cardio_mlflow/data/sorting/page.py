"""The page on which a person labels clips by view, and chooses between several of one view."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from cardio_mlflow.data.review.page import plain
from cardio_mlflow.data.review.pictures import filmstrip
from cardio_mlflow.data.review.standalone import write_standalone_page
from cardio_mlflow.data.sorting.facts import Source
from cardio_mlflow.parameters import OTHER_VIEW, VIEWS, view_name

FILM_FRAMES: Final = 8
FILM_SIDE: Final = 112
"""Pixels; a multiple of WebP's 16-pixel blocks, so frames don't mix."""
FILM_BYTES: Final = 8000
"""So that thousands of clips are a page that a browser opens: 5,000 are 50 MB at most."""
_QUALITIES: Final = (60, 45, 30, 15, 5, 0)

_SHARES: Final = ("accuracy", "taken_accuracy", "coverage", "threshold")
_SOURCES: Final = get_args(Source)


@dataclass(frozen=True)
class ShownClip:
    """What the page shows of a clip; nothing of the patient but the cohort's own id.

    Attributes:
        clip: id of its content, as in the saved file.
        patient: id in the cohort.
        days: from the catheterisation to the study; None where unknown.
        film: WebP as of `sort_film`; empty where the clip could not be prepared.
        view: code, "other", or "" where nothing is known.
        view_from: "eye" (an earlier round), "tags", "suggested"; "" where a person is asked, also where
            ``view`` holds a suggestion below the threshold.
        probability: of the suggestion.
        taken: whether it is the patient's clip of this view.
        why: why it is not, in words.
        facts: frames, depth and the like, in words.
        rr_ms: duration of the film, one R-R interval; None: 1 s.
        doubt: why a person should look at it once more; empty for none.
    """

    clip: str
    patient: str
    days: int | None
    film: bytes
    view: str
    view_from: Source
    probability: float | None
    taken: bool
    why: str
    facts: str
    rr_ms: float | None
    doubt: str = ""


def sort_film(frames: NDArray[np.uint8]) -> bytes:
    """Every fourth frame of a prepared clip, (32, 224, 224), as a WebP of (896, 112), at most 8 kB."""
    few = frames[:: max(1, len(frames) // FILM_FRAMES)][:FILM_FRAMES]
    film = b""
    for quality in _QUALITIES:
        film = filmstrip(few, FILM_SIDE, quality)
        if len(film) <= FILM_BYTES:
            break
    return film


def write_sort_page(
    path: Path, clips: Sequence[ShownClip], *, name: str, accuracy: Mapping[str, object] | None,
    synthetic: bool,
) -> None:  # fmt: skip
    """Write the page, one file with its pictures; it needs no network and no server.

    Args:
        path: the file.
        clips: in the order to show them.
        name: under which the browser keeps the labels; the same for every page of one cohort.
        accuracy: of the suggestions, None for none yet. "accuracy", "taken_accuracy" (of those taken),
            "coverage" (share of the unlabelled that are taken) and "threshold", each 0 to 1; "confusion",
            5 × 5 counts, rows by label, columns by suggestion, in the order of the four views and "other";
            "notes", lines of text. Any may be absent.
        synthetic: whether to say at the top that no real patient is shown.

    Raises:
        InputError: the file cannot be written.
    """
    write_standalone_page(
        path, "cardio_mlflow.data.sorting", "sort.html", "sort.css", ("labels.js", "cards.js", "sort.js"),
        synthetic=synthetic, data=_records(clips, name), films=_films(clips), accuracy=_accuracy(accuracy),
        views=[*((view.name, view.meaning) for view in VIEWS), (OTHER_VIEW, "another view")],
    )  # fmt: skip


def _films(clips: Sequence[ShownClip]) -> Markup:
    """A line of base64 per clip: a browser cuts them out of one text, where JSON would copy each."""
    return Markup("\n".join(base64.b64encode(clip.film).decode() for clip in clips))


def _records(clips: Sequence[ShownClip], name: str) -> dict[str, object]:
    """The page's data; of each clip a row in the order of labels.js."""
    patients = {patient: number for number, patient in enumerate(dict.fromkeys(one.patient for one in clips))}
    rows = [
        [one.clip, patients[one.patient], one.days, view_name(one.view), _SOURCES.index(one.view_from),
         plain(one.probability), int(one.taken), one.why, one.facts, plain(one.rr_ms), one.doubt]
        for one in clips
    ]  # fmt: skip
    views = [*(view.name for view in VIEWS), OTHER_VIEW]
    known = repr(sorted((one.clip, one.view) for one in clips if one.view_from == "eye"))
    edition = hashlib.sha256(known.encode()).hexdigest()[:16]
    return {
        "name": name, "edition": edition, "patients": list(patients), "clips": rows, "sources": _SOURCES,
        "views": views, "codes": {view.code: view.name for view in VIEWS}, "frames": FILM_FRAMES,
    }  # fmt: skip


def _accuracy(given: Mapping[str, object] | None) -> dict[str, object] | None:
    """What the panel shows: shares as numbers, the matrix with each cell's share of its row."""
    if given is None:
        return None
    counts = np.asarray(given.get("confusion", np.zeros((0, 0))), np.float64)
    totals = counts.sum(axis=1) if counts.size else counts
    rows = [
        [(int(count), float(count / total) if total else 0.0) for count in row]
        for row, total in zip(counts, totals, strict=True)
    ]
    shares = {key: plain(given.get(key)) for key in _SHARES}
    return {**shares, "rows": rows, "notes": given.get("notes", ())}
