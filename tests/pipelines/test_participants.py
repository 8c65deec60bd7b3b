"""The participants table: bands in place of ages, rare texts as other, refused clips by code."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from cardio_mlflow.data.cohort.cohort import Cohort
from cardio_mlflow.pipelines.inputs import participants


def inputs():
    ids = [f"{i:03d}" for i in range(8)]
    labels = pd.DataFrame(
        {
            "cohort": ["I"] * 7 + ["II"], "BSA": np.linspace(1.5, 2.2, 8),
            "sex": ["M", "f", "Female", "male", "x", None, "W", "M"],
            "age": ["39", "40", "59,5", "60", "75", "unknown", None, "80"],
            "BMI": ["18.4", "18.5", "25", "30", "", None, "22", "22"],
            "rhythm": ["Sinus", "sinus ", "sinus", "sinus", "sinus", "John Doe", None, "AF"],
        },
        index=pd.Index(ids, name="patient_id"),
    )  # fmt: skip
    quality = pd.DataFrame(
        [
            ("000", "FC", "OK", "tags"),
            ("000", "TC", "NO_SECTOR", None),
            ("001", "LA", "TRUNCATED", None),
            ("007", "FC", "OK", "clip"),
        ],
        columns=["patient_id", "view", "outcome", "gating"],
    )
    folds = pd.Series({patient: i % 2 + 1 for i, patient in enumerate(ids[:7])}, name="fold")
    used = {"I": ("000",), "II": ("007",)}
    cohort, prepared = Cohort("clinic", Path(), labels, (), ()), SimpleNamespace(quality=quality)
    return SimpleNamespace(cohort=cohort, prepared=prepared, folds=folds, patients=used.__getitem__)


def test_every_patient_of_the_cohort_with_outcomes_and_folds():
    table = participants(inputs(), "I")
    assert list(table["patient_id"]) == [f"{i:03d}" for i in range(7)]
    assert list(table["used"]) == [True] + [False] * 6
    assert list(table.loc[0, ["FC", "TC", "SA", "LA"]]) == ["OK", "NO_SECTOR", "", ""]
    assert list(table.loc[0, ["gating_FC", "gating_TC", "gating_SA"]]) == ["tags", "", ""]
    assert list(table["fold"]) == [1, 2, 1, 2, 1, 2, 1]
    assert participants(inputs(), "II")["fold"].isna().all()


def test_groups_are_bands_and_rare_texts_do_not_come_out():
    table = participants(inputs(), "I")
    assert list(table["sex"]) == ["male", "female", "female", "male", "", "", "female"]
    assert list(table["age_band"]) == ["< 40", "40-59", "40-59", "60-74", ">= 75", "", ""]
    assert list(table["bmi_band"]) == ["< 18.5", "18.5-24.9", "25-29.9", ">= 30", "", "", "18.5-24.9"]
    assert list(table["rhythm"]) == ["sinus"] * 5 + ["other", ""]
    assert "scanner" not in table
    assert "john" not in table.to_csv().lower()
