"""A cohort folder read whole: its label sheet, and one clip for each patient and view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from cardio_mlflow.data.cohort.clip import Clip
from cardio_mlflow.data.cohort.clip_folders import Choice
from cardio_mlflow.data.cohort.found_clips import find_clips, source_in
from cardio_mlflow.data.cohort.labels import read_labels
from cardio_mlflow.data.cohort.persons import PERSON


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
    clips, notes = find_clips(source_in(folder, export, cache), sheet, studies)
    notes = [*sheet.notes, *notes]
    name = folder.resolve().name
    return Cohort(name, folder, sheet.table, tuple(clips), tuple(notes), sheet.rows, sheet.warnings)
