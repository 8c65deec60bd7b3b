"""Error, bias and correlation in subgroups of patients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from cardio_mlflow.analysis import agreement
from cardio_mlflow.analysis.agreement import is_constant
from cardio_mlflow.analysis.bootstrap import (
    LEAST_COMPARED,
    LEAST_PATIENTS,
    Interval,
    Statistic,
    count_persons,
    draw,
    expanded_level,
    on_draws,
    percentile_interval,
)
from cardio_mlflow.analysis.predictions import (
    FloatArray,
    IntArray,
    person_codes,
    reference_and_prediction,
    wide,
    with_reference,
)
from cardio_mlflow.parameters import KEYS, PULMONARY_HYPERTENSION, VIEW_CODES, parameter

SUBGROUPS: Final[Mapping[str, str]] = {
    "sex": "sex",
    "age_band": "age band",
    "rhythm": "rhythm",
    "bmi_band": "BMI band",
    "scanner": "scanner",
}
"""Column of the participants table to the subgroup's name; pulmonary hypertension follows as "PH"."""

STATISTICS: Final[Mapping[str, Statistic]] = {
    "mae": agreement.mean_absolute_error,
    "bias": agreement.bias,
    "r": agreement.pearson,
}
COLUMNS: Final = (
    "subgroup", "level", "parameter", "unit", "n",
    *(f"{name}{end}" for name in STATISTICS for end in ("", "_low", "_high")), "note",
)  # fmt: skip


def participants_of(predictions: pd.DataFrame, participants: pd.DataFrame | None) -> pd.DataFrame:
    """The participants of the predictions' cohort, by patient id; without any columns if there are none."""
    if participants is None:
        return pd.DataFrame(index=pd.Index([], dtype=object, name="patient_id"))
    own = participants[participants["cohort"].isin(set(predictions["cohort"]))]
    return own.assign(patient_id=own["patient_id"].astype(str)).set_index("patient_id")


def pulmonary_hypertension(predictions: pd.DataFrame) -> pd.Series[bool]:
    """Whether each patient has pulmonary hypertension by its reference, patients without one left out.

    ESC/ERS 2022 (Humbert M et al. Eur Heart J 2022;43:3618-3731).
    """
    own = predictions[predictions["parameter"] == PULMONARY_HYPERTENSION.key].dropna(subset="reference")
    pressure = own.set_index("patient_id")["reference"].sort_index()
    return pressure.map(PULMONARY_HYPERTENSION.is_abnormal).astype(bool)


def subgroup_table(
    predictions: pd.DataFrame, participants: pd.DataFrame | None, resamples: int, seed: int
) -> pd.DataFrame:
    """Mean absolute error, bias and signed Pearson r of each parameter in each level of each subgroup.

    Args:
        participants: one row per patient with the columns of `SUBGROUPS` that are known; may be missing.
        resamples: bootstrap resamples of the 95 % percentile intervals, widened for few patients.

    Returns:
        `COLUMNS`, errors in the parameter's unit. A patient whose level is unknown is left out of that
        subgroup, and `note` says how many are; it also says why a value is NaN and which levels are small.
        No row where no level is known.
    """
    patients = pd.Index(sorted(set(predictions["patient_id"])), dtype=object)
    present = set(predictions["parameter"])
    drawn: dict[bytes, list[IntArray]] = {}
    rows = []
    for name, levels in _levels(predictions, participants, patients).items():
        unknown = int((levels == "").sum())
        for level in sorted(set(levels) - {""}, key=_natural):
            own = predictions[predictions["patient_id"].isin(levels.index[levels == level])]
            for key in (key for key in KEYS if key in present):
                pair = reference_and_prediction(own, key)
                persons = person_codes(with_reference(own, key))
                count, same = count_persons(persons), persons.tobytes()
                if same not in drawn:
                    drawn[same] = draw(persons, resamples, seed) if count >= LEAST_PATIENTS else []
                head = {"subgroup": name, "level": level, "parameter": key, "unit": parameter(key).unit}
                rows.append(head | _row(*pair, drawn[same], count) | {"note": _note(*pair, count, unknown)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _levels(
    predictions: pd.DataFrame, participants: pd.DataFrame | None, patients: pd.Index
) -> dict[str, pd.Series[str]]:
    """Each subgroup's level by patient, "" where it is unknown."""
    table = participants_of(predictions, participants)
    found = {
        name: table[column].reindex(patients).astype(object).fillna("").astype(str)
        for column, name in SUBGROUPS.items()
        if column in table.columns
    }
    disease = pulmonary_hypertension(predictions).map({True: "yes", False: "no"})
    return found | {"PH": disease.astype(object).reindex(patients).fillna("").astype(str)}


def _natural(level: str) -> tuple[int, float, str]:
    """Sort bands by their numbers: "< 50", "50-65", "> 65"."""
    number = re.search(r"\d+(\.\d+)?", level)
    end = {"<": 0, "≤": 0, ">": 2, "≥": 2}.get(level[0], 1)
    return end, float(number.group()) if number else np.inf, level


def _row(
    reference: FloatArray, prediction: FloatArray, drawn: list[IntArray], persons: int
) -> dict[str, object]:
    """The statistics with their intervals; one draw of persons serves all of them."""
    row: dict[str, object] = {"n": reference.size}
    for name, statistic in STATISTICS.items():
        value = float(statistic(reference, prediction))
        interval = Interval(np.nan, np.nan, 0, 0)
        if drawn and not np.isnan(value):
            values = on_draws(statistic, reference, prediction, drawn)
            interval = percentile_interval(values, expanded_level(0.95, persons))
        row |= {name: value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row


def _note(reference: FloatArray, prediction: FloatArray, persons: int, unknown: int) -> str:
    n = reference.size
    notes = ["no reference"] if n == 0 else []
    if 0 < n < LEAST_COMPARED:
        notes.append(f"fewer than {LEAST_COMPARED} patients")
    if 0 < persons < LEAST_PATIENTS:
        notes.append("too few for a bootstrap interval")
    if 0 < n < agreement.SMALLEST:
        notes.append(f"{n} patient{'s' if n > 1 else ''}: no correlation")
    if n >= agreement.SMALLEST:
        sides = {"references": reference, "predictions": prediction}
        notes += [f"constant {name}: no r" for name, side in sides.items() if agreement.is_constant(side)]
    if unknown:
        notes.append(f"{unknown} patient{'s' if unknown > 1 else ''} of unknown level left out")
    return "; ".join(notes)


WORST_COLUMNS: Final = (
    "rank", "patient_id", "fold", "mean_error", "worst_parameter", "worst_reference", "worst_prediction",
    "unit", *VIEW_CODES,
)  # fmt: skip


def worst_patients(
    predictions: pd.DataFrame, participants: pd.DataFrame | None, count: int = 10
) -> pd.DataFrame:
    """Rank patients by their mean error, each parameter's in standard deviations of its references.

    Args:
        participants: one row per patient with the outcome of its clips, one column per view; may be missing.
        count: how many patients, at most.

    Returns:
        `WORST_COLUMNS`, worst first, equals by patient id. `mean_error` is the mean of |prediction −
        reference| / SD (n − 1) over the parameters the patient has a reference for; one with fewer than two
        references, or equal ones, has no SD and is left out, as is a patient without any. The worst
        parameter's reference and prediction are in `unit`; a view without a clip has "".
    """
    reference, prediction = wide(predictions, "reference"), wide(predictions, "prediction")
    scales = {key: _sd(reference[key].to_numpy(np.float64)) for key in reference.columns}
    scaled = ((prediction - reference).abs() / pd.Series(scales, dtype=np.float64)).dropna(how="all")
    mean = scaled.mean(axis=1).sort_values(ascending=False, kind="stable").head(count)
    folds = predictions.drop_duplicates("patient_id").set_index("patient_id")["fold"]
    outcomes = _outcomes(predictions, participants, mean.index)
    rows = []
    for rank, (index, error) in enumerate(mean.items(), start=1):
        patient = str(index)
        key = str(scaled.loc[patient].idxmax())
        rows.append({
            "rank": rank,
            "patient_id": patient,
            "fold": folds[patient],
            "mean_error": error,
            "worst_parameter": key,
            "worst_reference": reference.loc[patient, key],
            "worst_prediction": prediction.loc[patient, key],
            "unit": parameter(key).unit,
        } | {view: outcomes.loc[patient, view] for view in VIEW_CODES})  # fmt: skip
    return pd.DataFrame(rows, columns=list(WORST_COLUMNS)).astype({"fold": "Int64"})


def _sd(references: FloatArray) -> float:
    present = references[np.isfinite(references)]
    return float("nan") if present.size < 2 or is_constant(present) else float(present.std(ddof=1))


def _outcomes(
    predictions: pd.DataFrame, participants: pd.DataFrame | None, patients: pd.Index
) -> pd.DataFrame:
    """The outcome of each view's clip, shape (patients, views), "" where it is unknown."""
    table = participants_of(predictions, participants)
    return table.reindex(index=patients, columns=list(VIEW_CODES)).astype(object).fillna("")
