"""From the sheet to the analysis: how many patients and clips are left at each step."""

from __future__ import annotations

from typing import Final

import pandas as pd

from cardio_mlflow.parameters import KEYS, VIEW_CODES, VIEWS

COLUMNS: Final = ("step", "patients", "clips", "detail")
PREPARED: Final = "OK"
"""The outcome code of a clip that could be prepared."""

_Row = tuple[str, int | None, int | None, str]


def flow_table(participants: pd.DataFrame | None, predictions: pd.DataFrame) -> pd.DataFrame:
    """Count patients and clips from the cohort's sheet to the analysis (TRIPOD+AI item 20a).

    Args:
        participants: one row per patient, with the outcome code of each view's clip ("": no clip) and `used`;
            None when only predictions are known.
        predictions: a checked predictions table of one cohort.

    Returns:
        step, patients and clips (Int64, NA where there is nothing to count), detail (text).
    """
    analysed = set(predictions["patient_id"])
    rows: list[_Row] = []
    if participants is None:
        rows.append(("note", None, None, "only the predictions were given: earlier steps are not known"))
        rows.append(("analysed", len(analysed), None, ""))
    else:
        cohorts = set(predictions["cohort"]) or set(participants["cohort"])
        sheet = participants[participants["cohort"].isin(cohorts)]
        rows += _before(sheet)
        rows += _analysed(sheet, analysed)
    rows += _missing_references(predictions, len(analysed))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"step": object, "patients": "Int64", "clips": "Int64", "detail": object})


def _before(sheet: pd.DataFrame) -> list[_Row]:
    """The steps before the analysis."""
    outcomes = sheet[list(VIEW_CODES)].fillna("")
    there = outcomes != ""
    with_clip = there.any(axis=1)
    rows: list[_Row] = [
        ("in the cohort's sheet", len(sheet), None, ""),
        ("with any clip", int(with_clip.sum()), int(there.to_numpy().sum()), ""),
    ]
    for code in sorted(set(outcomes.to_numpy().ravel()) - {"", PREPARED}):
        refused = outcomes == code
        by_view = [f"{view.name} {refused[view.code].sum()}" for view in VIEWS if refused[view.code].any()]
        counts = int(refused.any(axis=1).sum()), int(refused.to_numpy().sum())
        rows.append((f"clips refused: {code}", *counts, ", ".join(by_view)))
    unused = ~sheet["used"].astype(bool)
    without = int((unused & ~with_clip).sum())
    detail = f"{without} without any clip, {int(unused.sum()) - without} with refused clips only"
    rows.append(("excluded: no prepared view", int(unused.sum()), None, detail if unused.any() else ""))
    return rows


def _analysed(sheet: pd.DataFrame, analysed: set[str]) -> list[_Row]:
    """The analysed patients and their views; those left out or unknown to the sheet are counted."""
    kept = sheet[sheet["patient_id"].isin(analysed)]
    left_out = int((sheet["used"].astype(bool) & ~sheet["patient_id"].isin(analysed)).sum())
    rows: list[_Row] = []
    if left_out:
        rows.append(("prepared, but without a prediction", left_out, None, ""))
    prepared = kept[list(VIEW_CODES)] == PREPARED
    unknown = len(analysed) - kept["patient_id"].nunique()
    detail = f"{unknown} of them not in the sheet: their clips are not counted" if unknown else ""
    rows.append(("analysed", len(analysed), int(prepared.to_numpy().sum()), detail))
    for view in VIEWS:
        count = int(prepared[view.code].sum())
        rows.append((f"analysed with view {view.name}", count, count, view.meaning))
    return rows


def _missing_references(predictions: pd.DataFrame, patients: int) -> list[_Row]:
    rows: list[_Row] = []
    for key in KEYS:
        of_key = predictions[predictions["parameter"] == key]
        known = of_key.loc[of_key["reference"].notna(), "patient_id"].nunique()
        detail = f"{known} of {patients} analysed for {key}" if len(of_key) else "not predicted"
        missing = of_key["patient_id"].nunique() - known
        rows.append((f"reference missing: {key}", missing if len(of_key) else None, None, detail))
    return rows
