"""A cohort folder read whole: its label sheet, and one clip for each patient and view."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow.data.cohort.clip import (
    KINDS,
    Clip,
    Findings,
    is_inside,
    kind_of,
    natural_key,
)
from cardio_mlflow.data.cohort.clip_folders import Choice, choose_studies, search_folders
from cardio_mlflow.data.cohort.clip_names import KnownPatients, same_ids
from cardio_mlflow.data.cohort.clip_sheet import clip_sheet_in, read_clip_sheet
from cardio_mlflow.data.cohort.export_link import LinkedExport, linked_export
from cardio_mlflow.data.cohort.labels import LabelSheet, read_labels
from cardio_mlflow.data.cohort.persons import PERSON
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEW_CODES, VIEWS
from cardio_mlflow.sheets.sheet import SHOWN_PROBLEMS, first_few, read_sheet

_LAYOUTS: Final = (
    "dicom/<patient>_<view>.dcm, dicom/<patient>/<view>*.dcm, dicom/<patient>/<view>/*.dcm, "
    "dicom/<patient>/<study>/<view>*.dcm, "
    "tensors/<patient>_<view>.pt, the same without dicom/ or tensors/, videos (avi, mp4, mov, mkv, wmv) by "
    "the same names, or a clips.csv with the columns patient_id, view, path; "
    f"views: {', '.join(f'{v.code} or {v.name}' for v in VIEWS)}"
)


@dataclass(frozen=True)
class Cohort:
    """What a user brings: patients with their catheterisation values, and their clips.

    Attributes:
        labels: the table of `LabelSheet`, with HR, BSA, MAP, sex, age, rhythm, BMI, scanner where given.
        clips: at most one for each patient and view, in the order of patients and views.
        notes: what the user should know: clips left out, patients without any clip, and the like; they name
            rows of the label sheet and never a patient or a file. ``warnings`` are those for which a result
            may be wrong.
        rows: the row of each patient in the label sheet, counted from 1.
    """

    name: str
    folder: Path
    labels: pd.DataFrame
    clips: tuple[Clip, ...]
    notes: tuple[str, ...]
    rows: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def members(self, cohort: str) -> pd.DataFrame:
        """The labels of Cohort "I" or "II", in sheet order."""
        return self.labels[self.labels["cohort"] == cohort]

    def renamed(self, names: Mapping[str, str]) -> Cohort:
        """This cohort with other ids of patients and persons, all different, in the same order.

        Raises:
            KeyError: a patient or person has no new id.
        """
        index = pd.Index([names[p] for p in self.labels.index], name=self.labels.index.name, dtype="object")
        clips = tuple(replace(clip, patient_id=names[clip.patient_id]) for clip in self.clips)
        labels = self.labels.set_axis(index)
        if PERSON in labels:
            labels[PERSON] = [names[person] for person in labels[PERSON]]
        rows = {names[patient]: row for patient, row in self.rows.items()}
        return replace(self, labels=labels, clips=clips, rows=rows)


def read_cohort(
    folder: Path,
    cohort1_size: int,
    studies: Choice = "ask",
    export: Path | None = None,
    cache: Path | None = None,
) -> Cohort:
    """Read a cohort folder.

    A clips.csv, where there is one, is the only source of clips. Of several clips of one patient and view a
    DICOM is taken before a video, a video before a tensor, then the first in natural file-name order
    (2 before 10).

    Args:
        folder: holds labels.csv or labels.xlsx, and clips in folders or named by a clips.csv.
        cohort1_size: how many of the first rows are Cohort I when the sheet has no cohort column.
        studies: which of a patient's several studies is taken; see `choose_studies`.
        export: a folder, zip file or DICOMDIR that clips.csv may name files of, besides the cohort folder.
        cache: the cache folder, which knows the export that a cohort folder was sorted from.

    Raises:
        InputError: the label sheet or clips.csv has errors, no clip matches a patient, a file lies outside
            the folder and the export, the export is not known or gone, or the user has to choose a study;
            names row and column.
    """
    sheet = read_labels(folder, cohort1_size)
    clips, notes = _find_clips(folder, sheet, studies, linked_export(folder, export, cache))
    notes = [*sheet.notes, *notes]
    name = folder.resolve().name
    return Cohort(name, folder, sheet.table, tuple(clips), tuple(notes), sheet.rows, sheet.warnings)


def _find_clips(
    folder: Path, sheet: LabelSheet, studies: Choice, export: LinkedExport
) -> tuple[list[Clip], list[str]]:
    """One clip for each patient and view, in the order of the sheet and of the views; and notes."""
    patients = list(sheet.table.index)
    found = _search(folder, sheet, KnownPatients(patients), export)
    spellings, id_notes = same_ids(sheet, {clip.patient_id for clip in found.all_clips()}, found.strangers)
    if spellings:
        found = _search(folder, sheet, KnownPatients(patients, spellings), export)
    study_notes = choose_studies(found, sheet, studies)
    if not found.clips:
        reasons = "; ".join([*_left_out(found), *id_notes, *study_notes])
        left_out = f" of a patient of the label sheet ({reasons})" if found.seen else ""
        raise InputError(f"{folder.name}: no clip{left_out}. Expected {_LAYOUTS}.")
    order = {patient: i for i, patient in enumerate(patients)}
    found.clips.sort(key=lambda clip: (order[clip.patient_id], VIEW_CODES.index(clip.view)))
    chosen, notes = _choose(found.clips, sheet)
    return chosen, [*id_notes, *study_notes, *notes, *_left_out(found), *_absences(chosen, sheet)]


def _search(folder: Path, sheet: LabelSheet, patients: KnownPatients, export: LinkedExport) -> Findings:
    if path := clip_sheet_in(folder):
        return read_clip_sheet(folder, read_sheet(path), patients, export)
    if export.salt:
        raise InputError(
            f"{folder.name} holds no clips.csv: sort was stopped before it had written it. Run sort again."
        )
    found = search_folders(folder, patients, sheet.studies.values())
    for clip in found.all_clips():
        if not is_inside(folder, clip.path):
            raise InputError(
                f"{sheet.row(clip.patient_id)}, view {clip.view}: the clip is a link to a place outside the "
                "cohort folder, which is not followed. Put the file itself there; or put the label sheet "
                "beside the folder that holds the files and give that place as data."
            )
    return found


def _choose(clips: Sequence[Clip], sheet: LabelSheet) -> tuple[list[Clip], list[str]]:
    """One clip of each patient and view, in the order given, and notes on the others."""
    groups: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.patient_id, clip.view].append(clip)
    several = {place: len(group) for place, group in groups.items() if len(group) > 1}
    notes = [
        f"{sheet.row(patient)}, view {code}: {count} clips, the first was taken"
        for (patient, code), count in several.items()
    ]
    if len(several) > SHOWN_PROBLEMS:
        more = f"... and {len(several) - SHOWN_PROBLEMS} more with several clips"
        notes = [*notes[:SHOWN_PROBLEMS], more]
    if several:
        rule = f"several clips of one view: {' before '.join(KINDS)}, then the first by name (2 before 10)"
        notes = [rule, *notes]
    return [min(group, key=_preference) for group in groups.values()], notes


def _preference(clip: Clip) -> tuple[int, tuple[tuple[int, str], ...]]:
    return KINDS.index(kind_of(clip.path) or KINDS[0]), natural_key(clip.path.as_posix())


def _left_out(found: Findings) -> list[str]:
    left = {**found.ignored, "clips of patients who are not in the label sheet": found.strangers.total()}
    return [f"{count} {reason} were ignored" for reason, count in left.items() if count]


def _absences(clips: Sequence[Clip], sheet: LabelSheet) -> list[str]:
    seen = Counter(clip.patient_id for clip in clips)
    without = [sheet.rows[patient] for patient in sheet.table.index if not seen[patient]]
    partial = sum(0 < seen[patient] < len(VIEW_CODES) for patient in sheet.table.index)
    notes = []
    if without:
        notes.append(f"{len(without)} patients without any clip: row {first_few(without)} of {sheet.name}")
    if partial:
        notes.append(f"{partial} patients lack one to three of the four views")
    return notes
