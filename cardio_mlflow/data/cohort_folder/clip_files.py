"""The clips of a cohort folder: one for each patient and view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cardio_mlflow.data.cohort_folder.clip import KINDS, Clip, Findings, kind_of
from cardio_mlflow.data.cohort_folder.clip_folders import is_inside, search_folders
from cardio_mlflow.data.cohort_folder.clip_names import KnownPatients, natural_key
from cardio_mlflow.data.cohort_folder.clip_sheet import find_clip_sheet, read_clip_sheet
from cardio_mlflow.data.cohort_folder.labels import LabelSheet
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEW_CODES, VIEWS

LAYOUTS: Final = (
    "dicom/<patient>_<view>.dcm, dicom/<patient>/<view>*.dcm, dicom/<patient>/<view>/*.dcm, "
    "tensors/<patient>_<view>.pt, the same without dicom/ or tensors/, videos (avi, mp4, mov, mkv, wmv) by "
    "the same names, or a clips.csv with the columns patient_id, view, path; "
    f"views: {', '.join(f'{v.code} or {v.name}' for v in VIEWS)}"
)
_SHOWN: Final = 10


def find_clips(folder: Path, sheet: LabelSheet) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """Find one clip for each patient and view.

    A clips.csv, where there is one, is the only source. Of several clips of one patient and view a
    DICOM is taken before a video, a video before a tensor, then the first in natural file-name order
    (2 before 10).

    Args:
        folder: the cohort folder.
        sheet: its label sheet.

    Returns:
        The clips in the order of the sheet and of the views; and notes for the user, which name rows of
        the label sheet and never a patient or a file.

    Raises:
        InputError: no clip matches a patient, clips.csv has errors, or a file lies outside the folder.
    """
    patients = list(sheet.table.index)
    known, listed = KnownPatients(patients), find_clip_sheet(folder)
    found = read_clip_sheet(folder, listed, known) if listed else search_folders(folder, known)
    order = {patient: i for i, patient in enumerate(patients)}
    found.clips.sort(key=lambda clip: (order[clip.patient_id], VIEW_CODES.index(clip.view)))
    for clip in found.clips:
        _check_inside(folder, clip, sheet)
    if not found.clips:
        raise InputError(_nothing_found(folder, found))
    chosen, notes = _choose(found.clips, sheet)
    return tuple(chosen), (*notes, *_left_out(found), *_absences(chosen, sheet))


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
        notes.append(f"{found.strangers} clips of patients who are not in the label sheet were ignored")
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
