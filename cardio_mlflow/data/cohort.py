"""A cohort folder read whole: its label sheet and its clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cardio_mlflow.data.clip_files import Clip, find_clips
from cardio_mlflow.data.labels import read_labels

__all__ = ["Clip", "Cohort", "read_cohort"]


@dataclass(frozen=True)
class Cohort:
    """What a user brings: patients with their catheterisation values, and their clips.

    Attributes:
        name: the folder's name.
        folder: the cohort folder.
        labels: indexed by patient_id (str) in sheet order: `cohort` ("I" or "II"), the nine values
            (float, NaN where missing), and HR, BSA, MAP, sex, age, rhythm, BMI, scanner where given.
        clips: at most one for each patient and view, in the order of patients and views.
        notes: what the user should be told: clips left out, patients without any clip, and the like.
    """

    name: str
    folder: Path
    labels: pd.DataFrame
    clips: tuple[Clip, ...]
    notes: tuple[str, ...]

    def members(self, cohort: str) -> pd.DataFrame:
        """The labels of Cohort "I" or "II", in sheet order."""
        return self.labels[self.labels["cohort"] == cohort]


def read_cohort(folder: Path, cohort1_size: int) -> Cohort:
    """Read a cohort folder.

    Args:
        folder: holds labels.csv or labels.xlsx, and dicom/, tensors/ or clips.csv.
        cohort1_size: how many of the first rows are Cohort I when the sheet has no cohort column.

    Raises:
        InputError: the label sheet or the clips cannot be used; names row and column.
    """
    labels, label_notes = read_labels(folder, cohort1_size)
    clips, clip_notes = find_clips(folder, list(labels.index))
    return Cohort(folder.resolve().name, folder, labels, clips, label_notes + clip_notes)
