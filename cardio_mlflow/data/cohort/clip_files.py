"""The clips of a cohort folder: one for each patient and view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cardio_mlflow.data.cohort.clip import (
    KINDS,
    Clip,
    Findings,
    is_inside,
    kind_of,
    leads_nowhere,
    natural_key,
)
from cardio_mlflow.data.cohort.clip_folders import KnownPatients, search_folders
from cardio_mlflow.data.cohort.columns import PATIENT_NAMES
from cardio_mlflow.data.cohort.labels import LabelSheet
from cardio_mlflow.data.cohort.same_ids import same_ids
from cardio_mlflow.data.cohort.studies import Choice, choose_studies
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEW_CODES, VIEWS, is_view, view
from cardio_mlflow.sheets.cells import canonical_id
from cardio_mlflow.sheets.sheet import Row, Sheet, raise_problems, read_sheet

CLIP_SHEET: Final = "clips.csv"

_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "patient_id": PATIENT_NAMES,
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
        patient_id, view_name, place = (row.cells[p].text for p in positions)
        file = _located(folder, place)
        if problem := _row_problem(folder, sheet, row, positions, file):
            problems.append(problem)
        elif (patient := patients.find(canonical_id(patient_id))) is None:
            found.strangers[canonical_id(patient_id)] += 1
        else:
            found.clips.append(Clip(patient, view(view_name).code, file))
    raise_problems(sheet.name, problems)
    return found


def _positions(sheet: Sheet) -> list[int]:
    """Where patient, view and path stand."""
    found = {column: sheet.find(names) for column, names in _COLUMNS.items()}
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


def _row_problem(folder: Path, sheet: Sheet, row: Row, positions: Sequence[int], file: Path) -> str | None:
    patient, view_name, place = positions
    if not row.cells[patient].text:
        return sheet.problem(row, patient, "no patient id")
    if not is_view(row.cells[view_name].text):
        known = ", ".join(f"{v.code}/{v.name}" for v in VIEWS)
        return sheet.problem(row, view_name, f"not one of {known}")
    if not row.cells[place].text or not is_inside(folder, file):
        reason = "the file must lie in the cohort folder, also when links are followed"
        return sheet.problem(row, place, reason)
    if not _is_file(file) and not leads_nowhere(file):
        return sheet.problem(row, place, "there is no such file")
    return None


LAYOUTS: Final = (
    "dicom/<patient>_<view>.dcm, dicom/<patient>/<view>*.dcm, dicom/<patient>/<view>/*.dcm, "
    "dicom/<patient>/<study>/<view>*.dcm, "
    "tensors/<patient>_<view>.pt, the same without dicom/ or tensors/, videos (avi, mp4, mov, mkv, wmv) by "
    "the same names, or a clips.csv with the columns patient_id, view, path; "
    f"views: {', '.join(f'{v.code} or {v.name}' for v in VIEWS)}"
)
_SHOWN: Final = 10


def find_clips(
    folder: Path, sheet: LabelSheet, studies: Choice = "ask"
) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """Find one clip for each patient and view.

    A clips.csv, where there is one, is the only source. Of several clips of one patient and view a
    DICOM is taken before a video, a video before a tensor, then the first in natural file-name order
    (2 before 10).

    Args:
        folder: the cohort folder.
        sheet: its label sheet.
        studies: which of a patient's several studies is taken; see `choose_studies`.

    Returns:
        The clips in the order of the sheet and of the views; and notes for the user, which name rows of
        the label sheet and never a patient or a file.

    Raises:
        InputError: no clip matches a patient, clips.csv has errors, a file lies outside the folder, or a
            choice of studies is asked for.
    """
    patients = list(sheet.table.index)
    found = _find(folder, sheet, KnownPatients(patients))
    spellings, id_notes = same_ids(sheet, {clip.patient_id for clip in found.all_clips()}, found.strangers)
    if spellings:
        found = _find(folder, sheet, KnownPatients(patients, spellings))
    for clip in found.all_clips():
        _check_inside(folder, clip, sheet)
    study_notes = choose_studies(found, sheet, studies)
    order = {patient: i for i, patient in enumerate(patients)}
    found.clips.sort(key=lambda clip: (order[clip.patient_id], VIEW_CODES.index(clip.view)))
    if not found.clips:
        raise InputError(_nothing_found(folder, found))
    chosen, notes = _choose(found.clips, sheet)
    notes = [*id_notes, *study_notes, *notes, *_left_out(found), *_absences(chosen, sheet)]
    return tuple(chosen), tuple(notes)


def _find(folder: Path, sheet: LabelSheet, patients: KnownPatients) -> Findings:
    if listed := find_clip_sheet(folder):
        return read_clip_sheet(folder, listed, patients)
    return search_folders(folder, patients, sheet.studies.values())


def _check_inside(folder: Path, clip: Clip, sheet: LabelSheet) -> None:
    if not is_inside(folder, clip.path):
        raise InputError(
            f"{_row(clip.patient_id, sheet)}, view {clip.view}: the clip is a link to a place outside the "
            "cohort folder, which is not followed. Put the file itself there; or put the label sheet beside "
            "the folder that holds the files and give that place as data."
        )


def _row(patient: str, sheet: LabelSheet) -> str:
    return f"row {sheet.rows[patient]} of {sheet.name}"


def _choose(clips: Sequence[Clip], sheet: LabelSheet) -> tuple[list[Clip], list[str]]:
    """One clip of each patient and view, in the order given, and notes on the others."""
    groups: dict[tuple[str, str], list[Clip]] = {}
    for clip in clips:
        groups.setdefault((clip.patient_id, clip.view), []).append(clip)
    several = [group for group in groups.values() if len(group) > 1]
    notes = [
        f"{_row(group[0].patient_id, sheet)}, view {group[0].view}: {len(group)} clips, the first was taken"
        for group in several[:_SHOWN]
    ]
    if len(several) > _SHOWN:
        notes.append(f"... and {len(several) - _SHOWN} more with several clips")
    if several:
        notes.insert(
            0, f"several clips of one view: {' before '.join(KINDS)}, then the first by name (2 before 10)"
        )
    return [min(group, key=_preference) for group in groups.values()], notes


def _preference(clip: Clip) -> tuple[int, tuple[tuple[int, str], ...]]:
    return KINDS.index(kind_of(clip.path) or KINDS[0]), natural_key(clip.path.as_posix())


def _left_out(found: Findings) -> list[str]:
    notes = [f"{count} {reason} were ignored" for reason, count in found.ignored.items()]
    if found.strangers:
        notes.append(
            f"{found.strangers.total()} clips of patients who are not in the label sheet were ignored"
        )
    return notes


def _absences(clips: Sequence[Clip], sheet: LabelSheet) -> list[str]:
    seen = Counter(clip.patient_id for clip in clips)
    without = [str(sheet.rows[patient]) for patient in sheet.table.index if not seen[patient]]
    partial = sum(0 < seen[patient] < len(VIEW_CODES) for patient in sheet.table.index)
    notes = []
    if without:
        rows = ", ".join(without[:_SHOWN]) + (" ..." if len(without) > _SHOWN else "")
        notes.append(f"{len(without)} patients without any clip: row {rows} of {sheet.name}")
    if partial:
        notes.append(f"{partial} patients lack one to three of the four views")
    return notes


def _nothing_found(folder: Path, found: Findings) -> str:
    if not found.seen:
        return f"{folder.name}: no clip. Expected {LAYOUTS}."
    left_out = "; ".join(_left_out(found))
    return f"{folder.name}: no clip of a patient of the label sheet ({left_out}). Expected {LAYOUTS}."
