"""The clips.csv of a cohort folder: whose clip each file is, and of which view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cardio_mlflow.data.cohort.clip import Clip, Findings, is_inside
from cardio_mlflow.data.cohort.clip_names import KnownPatients
from cardio_mlflow.data.cohort.columns import PATIENT_NAMES
from cardio_mlflow.data.cohort.export_link import LinkedExport, is_clip_file
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEWS, is_view, view
from cardio_mlflow.sheets.cells import canonical_id
from cardio_mlflow.sheets.sheet import Row, Sheet, raise_problems

CLIP_SHEET: Final = "clips.csv"
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "patient_id": PATIENT_NAMES,
    "view": ("view", "view_name", "view_code", "echo_view"),
    "path": ("path", "file_path", "filename", "file_name", "file", "clip", "dicom", "location"),
}
"""The columns of clips.csv and other headings for them; the first wins."""


def clip_sheet_in(folder: Path) -> Path | None:
    """The clips.csv of a cohort folder, however it is written."""
    paths = sorted(path for path in folder.iterdir() if path.name.lower() == CLIP_SHEET)
    return next((path for path in paths if path.is_file()), None)


def read_clip_sheet(folder: Path, sheet: Sheet, patients: KnownPatients, export: LinkedExport) -> Findings:
    r"""The clips of a clips.csv: files of the export, else of the cohort folder; with / or \.

    Raises:
        InputError: a column is missing, the export is not known or not there, or the first ten problems by
            row and column; no cell is repeated.
    """
    places = {column: sheet.find(names) for column, names in _COLUMNS.items()}
    if missing := [column for column, position in places.items() if position is None]:
        raise InputError(
            f"{sheet.name} lacks the column {', '.join(missing)}: expected patient_id, view, path."
        )
    positions = [position for position in places.values() if position is not None]
    found, problems = Findings(), []
    for row in sheet.rows:
        try:
            clip = _clip(folder, sheet, row, positions, export)
        except ValueError as problem:
            problems.append(str(problem))
            continue
        if (patient := patients.find(clip.patient_id)) is None:
            found.strangers[clip.patient_id] += 1
        else:
            found.clips.append(Clip(patient, clip.view, clip.path))
    raise_problems(sheet.name, problems)
    return found


def _clip(folder: Path, sheet: Sheet, row: Row, positions: Sequence[int], export: LinkedExport) -> Clip:
    """The clip of a row, of a patient as the row spells it; ValueError names row and column."""
    patient, view_name, place = (row.cells[position].text for position in positions)
    at_patient, at_view, at_place = positions
    if not patient:
        raise ValueError(sheet.problem(row, at_patient, "no patient id"))
    if not is_view(view_name):
        known = ", ".join(f"{v.code}/{v.name}" for v in VIEWS)
        raise ValueError(sheet.problem(row, at_view, f"not one of {known}"))
    try:
        path = _file(folder, place, export)
    except ValueError as reason:
        raise ValueError(sheet.problem(row, at_place, str(reason))) from None
    return Clip(canonical_id(patient), view(view_name).code, path)


def _file(folder: Path, place: str, export: LinkedExport) -> Path:
    """The file that a row names; ValueError where it may not, or there is none."""
    if place and (linked := export.find(place)):
        return linked
    path = folder / place
    if "\\" in place and not is_clip_file(path):  # written on Windows
        path = folder / place.replace("\\", "/")
    inside = bool(place) and is_inside(folder, path)
    if inside and is_clip_file(path):
        return path
    export.check_followed()
    where = "the cohort folder" if export.root is None else "the cohort folder or the export"
    if not inside:
        raise ValueError(f"the file must lie in {where}, also when links are followed")
    again = ": run sort again if the export has changed" if export.salt else ""
    raise ValueError(f"there is no such file in {where}{again}")
