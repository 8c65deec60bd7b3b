"""A clips.csv: the user's own list of which file shows which view of which patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cardio_mlflow.data.cohort_folder.cells import canonical_id
from cardio_mlflow.data.cohort_folder.clip import Clip, Findings
from cardio_mlflow.data.cohort_folder.clip_folders import is_inside
from cardio_mlflow.data.cohort_folder.clip_names import KnownPatients
from cardio_mlflow.data.cohort_folder.sheet import Row, Sheet, raise_problems, read_sheet
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEWS, is_view, normalise_name, view

CLIP_SHEET: Final = "clips.csv"

_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "patient_id": ("patient_id", "patient", "pid", "subject_id", "subject", "id"),
    "view": ("view", "view_name", "view_code", "echo_view"),
    "path": ("path", "file_path", "filename", "file_name", "file", "clip", "dicom", "location"),
}
"""The three columns and other headings for them, compared without case and punctuation; the first wins."""


def find_clip_sheet(folder: Path) -> Path | None:
    """The folder's clips.csv, in any case, or None."""
    return next((p for p in sorted(folder.iterdir()) if p.name.lower() == CLIP_SHEET and p.is_file()), None)


def read_clip_sheet(folder: Path, path: Path, patients: KnownPatients) -> Findings:
    r"""Read a clips.csv.

    Paths are taken from the cohort folder, or are absolute and lie in it; with ``/`` or ``\``.

    Args:
        folder: the cohort folder.
        path: the clips.csv.
        patients: the label sheet's patients.

    Raises:
        InputError: a column is missing, or the first ten problems by row and column; no cell is repeated.
    """
    sheet = read_sheet(path)
    positions = _positions(sheet)
    found, problems = Findings(), []
    for row in sheet.rows:
        patient_id, view_name, place = (row.cells[p] for p in positions)
        file = _located(folder, place)
        if problem := _row_problem(folder, row, (patient_id, view_name, place), file):
            problems.append(problem)
        elif (patient := patients.find(canonical_id(patient_id))) is None:
            found.strangers += 1
        else:
            found.clips.append(Clip(patient, view(view_name).code, file))
    raise_problems(sheet.name, problems)
    return found


def _positions(sheet: Sheet) -> list[int]:
    """Where patient, view and path stand."""
    by_name = {normalise_name(c): i for i, c in reversed([*enumerate(sheet.columns)])}
    found = {
        column: next((by_name[n] for n in map(normalise_name, names) if n in by_name), None)
        for column, names in _COLUMNS.items()
    }
    if missing := [column for column, position in found.items() if position is None]:
        raise InputError(
            f"{sheet.name} lacks the column {', '.join(missing)}: expected patient_id, view, path."
        )
    return [position for position in found.values() if position is not None]


def _located(folder: Path, place: str) -> Path:
    """The file of a cell; one written on Windows has backslashes."""
    path = folder / place
    return folder / place.replace("\\", "/") if "\\" in place and not _is_file(path) else path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long a name, or one that no file can have
        return False


def _row_problem(folder: Path, row: Row, cells: Sequence[str], file: Path) -> str | None:
    patient_id, view_name, place = cells
    if not patient_id:
        return f"row {row.number}, column patient_id: no patient id"
    if not is_view(view_name):
        return f"row {row.number}, column view: not one of {', '.join(f'{v.code}/{v.name}' for v in VIEWS)}"
    if not place or not is_inside(folder, file):
        return (
            f"row {row.number}, column path: the file must lie in the cohort folder, also when links are "
            "followed"
        )
    if not _is_file(file):
        return f"row {row.number}, column path: there is no such file"
    return None
