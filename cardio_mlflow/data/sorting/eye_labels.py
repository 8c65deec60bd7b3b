"""What a person decided on the page: the view of a clip, and which clip of a place is to be taken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import OTHER_VIEW, is_view, view
from cardio_mlflow.sheets.sheet import Row, Sheet, raise_problems, read_sheet

COLUMNS: Final = ("clip", "view", "chosen")
_CLIP: Final = re.compile("[0-9a-f]{16}")
_OTHERS: Final = (OTHER_VIEW, "0", "another view", "none")


@dataclass(frozen=True)
class EyeLabel:
    """One clip's view, a code or "other" (empty: only the choice was made), and whether it is to be taken."""

    view: str
    chosen: bool = False


def with_later(before: Mapping[str, EyeLabel], given: Mapping[str, EyeLabel]) -> dict[str, EyeLabel]:
    """Earlier labels and later ones, which count; a later choice without a view leaves the view as it was."""
    later = {
        clip: label if label.view else replace(label, view=before.get(clip, label).view)
        for clip, label in given.items()
    }
    return {clip: label for clip, label in before.items() if clip not in later} | later


def read_eye_labels(path: Path) -> dict[str, EyeLabel]:
    """The labels of a file that the page saved, by clip id; of a clip that stands there twice the last.

    Raises:
        InputError: there is no such file, it is none of the page's, or a cell makes no sense; by row.
    """
    if not path.is_file():
        raise InputError(
            f"views={path}: there is no such file (looked for it from {Path.cwd()}). Give the absolute path "
            "of the clips.csv that the page sort.html has saved."
        )
    sheet = read_sheet(path)
    places = [sheet.find([column]) for column in COLUMNS]
    if places[0] is None or places[1] is None:
        raise InputError(
            f"{sheet.name} is not what sort.html saves: it lacks the column clip or view. (The clips.csv of "
            "the cohort folder is another file, which sort writes itself.)"
        )
    labels, problems = {}, []
    for row in sheet.rows:
        try:
            clip, label = _label(sheet, row, places[0], places[1], places[2])
        except ValueError as problem:
            problems.append(str(problem))
        else:
            labels[clip] = label
    raise_problems(sheet.name, problems)
    return labels


def _label(sheet: Sheet, row: Row, clip_at: int, view_at: int, chosen_at: int | None) -> tuple[str, EyeLabel]:
    """One row; ValueError says what is wrong with it."""
    clip, seen = row.cells[clip_at].text.lower(), row.cells[view_at].text
    if not _CLIP.fullmatch(clip):
        raise ValueError(sheet.problem(row, clip_at, "not the 16 hexadecimal digits of a clip"))
    if seen and seen.lower() not in _OTHERS and not is_view(seen):
        raise ValueError(sheet.problem(row, view_at, f"neither one of the four views nor {OTHER_VIEW!r}"))
    chosen = chosen_at is not None and row.cells[chosen_at].text.lower() in ("yes", "true", "1", "x")
    return clip, EyeLabel(view(seen).code if is_view(seen) else OTHER_VIEW if seen else "", chosen)
