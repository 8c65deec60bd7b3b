"""The participants table: who of a cohort went in, with which views, and in which subgroups."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.pipelines.inputs import StudyInputs
from cardio_mlflow.sheets.cells import parse_number

AGE_BANDS: Final = {0: "< 40", 40: "40-59", 60: "60-74", 75: ">= 75"}
"""Lower end of an age band, years, and its name; ages themselves are not written."""
BMI_BANDS: Final = {0: "< 18.5", 18.5: "18.5-24.9", 25: "25-29.9", 30: ">= 30"}
"""Lower end of a band of body-mass index, kg/m², and its name: WHO Technical Report Series 894, 2000."""
_SEXES: Final = {"f": "female", "w": "female", "female": "female", "woman": "female",
                 "m": "male", "male": "male", "man": "male"}  # fmt: skip
SMALLEST_GROUP: Final = 5
"""Texts of a sheet that fewer patients share are written as "other": they could name a patient."""


def participants(inputs: StudyInputs, cohort: str) -> pd.DataFrame:
    """All patients of a cohort in sheet order, also those without a prepared clip.

    Args:
        inputs: the cohort.
        cohort: I or II.

    Returns:
        A row a patient: patient_id, cohort, fold (empty in Cohort II), used (a view is prepared), for each
        view its outcome code (empty: no clip), bsa (m²), and of sex, age_band, rhythm, bmi_band and scanner
        those that the sheet has.
    """
    labels = inputs.cohort.labels
    labels = labels[labels["cohort"] == cohort]
    used = set(inputs.patients(cohort))
    columns: dict[str, object] = {
        "patient_id": list(labels.index),
        "cohort": cohort,
        "fold": pd.array([inputs.folds.get(p, pd.NA) for p in labels.index], dtype="Int64"),
        "used": [patient in used for patient in labels.index],
    }
    quality = inputs.prepared.quality
    for view in VIEW_CODES:
        outcomes = quality[quality["view"] == view].set_index("patient_id")["outcome"].astype(str)
        columns[view] = list(outcomes.reindex(labels.index).fillna(""))
    if "BSA" in labels:
        columns["bsa"] = labels["BSA"].to_numpy(np.float64)
    return pd.DataFrame(columns | _groups(labels))


def _groups(labels: pd.DataFrame) -> dict[str, list[str]]:
    groups = {}
    if "sex" in labels:
        groups["sex"] = [_SEXES.get(str(text).strip().lower(), "") for text in labels["sex"].fillna("")]
    if "age" in labels:
        groups["age_band"] = [_band(text, AGE_BANDS) for text in labels["age"].fillna("")]
    if "rhythm" in labels:
        groups["rhythm"] = _common_texts(labels["rhythm"])
    if "BMI" in labels:
        groups["bmi_band"] = [_band(text, BMI_BANDS) for text in labels["BMI"].fillna("")]
    if "scanner" in labels:
        groups["scanner"] = _common_texts(labels["scanner"])
    return groups


def _band(text: object, bands: dict[float, str] | dict[int, str]) -> str:
    """The band of a cell's number; nothing where it is none.

    >>> _band("63", AGE_BANDS), _band("24,125", BMI_BANDS), _band("unknown", AGE_BANDS)
    ('60-74', '18.5-24.9', '')
    """
    try:
        value = parse_number(str(text).replace(",", "."))  # no age or BMI has thousands
    except ValueError:
        return ""
    below = [name for start, name in bands.items() if value >= start]
    return below[-1] if below else ""


def _common_texts(column: pd.Series[str]) -> list[str]:
    """Texts in lower case without outer spaces; rare ones as "other"."""
    texts = column.fillna("").astype(str).str.strip().str.lower()
    counts = texts.value_counts()
    return [text if not text or counts[text] >= SMALLEST_GROUP else "other" for text in texts]
