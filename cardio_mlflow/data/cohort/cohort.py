"""A cohort folder read whole: its label sheet and its clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from cardio_mlflow.data.cohort.clip import Clip
from cardio_mlflow.data.cohort.clip_files import find_clips
from cardio_mlflow.data.cohort.labels import read_labels
from cardio_mlflow.data.cohort.persons import PERSON
from cardio_mlflow.data.cohort.studies import Choice

__all__ = ["Clip", "Cohort", "read_cohort"]


@dataclass(frozen=True)
class Cohort:
    """What a user brings: patients with their catheterisation values, and their clips.

    Attributes:
        name: the folder's name.
        folder: the cohort folder.
        labels: indexed by patient_id (str) in sheet order: `cohort` ("I" or "II"), `person` (the patient
            id where none is given), the nine values (float, NaN where missing, and throughout where the sheet
            has no such column), and HR, BSA, MAP, sex, age, rhythm, BMI, scanner where given.
        clips: at most one for each patient and view, in the order of patients and views.
        notes: what the user should be told: clips left out, patients without any clip, and the like; they
            name rows of the label sheet and never a patient or a file.
        rows: the row of each patient in the label sheet, counted from 1.
    """

    name: str
    folder: Path
    labels: pd.DataFrame
    clips: tuple[Clip, ...]
    notes: tuple[str, ...]
    rows: Mapping[str, int] = field(default_factory=dict)

    def members(self, cohort: str) -> pd.DataFrame:
        """The labels of Cohort "I" or "II", in sheet order."""
        return self.labels[self.labels["cohort"] == cohort]

    def renamed(self, names: Mapping[str, str]) -> Cohort:
        """This cohort with other ids of patients and persons, in the same order.

        Args:
            names: the new id of each patient and person; each one different.

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


def read_cohort(folder: Path, cohort1_size: int, studies: Choice = "ask") -> Cohort:
    """Read a cohort folder.

    Args:
        folder: holds labels.csv or labels.xlsx, and clips in folders or named by a clips.csv.
        cohort1_size: how many of the first rows are Cohort I when the sheet has no cohort column.
        studies: which of a patient's several studies is taken.

    Raises:
        InputError: the label sheet or the clips cannot be used; names row and column.
    """
    sheet = read_labels(folder, cohort1_size)
    clips, clip_notes = find_clips(folder, sheet, studies)
    return Cohort(folder.resolve().name, folder, sheet.table, clips, sheet.notes + clip_notes, sheet.rows)
