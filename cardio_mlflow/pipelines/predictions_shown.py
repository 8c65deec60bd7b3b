"""Predictions in a few lines: counts, a sentence, and a table for the terminal; patients by number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from cardio_mlflow.parameters import parameter
from cardio_mlflow.report.patient_page import flag_sentences
from cardio_mlflow.report.table_views import number_text
from cardio_mlflow.report.value_bars import decimals, interval_text

SHOWN: Final = ("RAP", "meanPAP", "PCWP", "CO", "PVR")
"""The parameters that fit into a terminal; the page has all nine."""
MOST: Final = 12
"""Patients of the terminal's table."""


def counts_of(table: pd.DataFrame) -> dict[str, int]:
    """How many patients there are, how many are flagged, and of how many there is no value at all."""
    patients, flagged = table["patient"], table.loc[table["flags"] != "", "patient"]
    valued = table.loc[table["prediction"].notna(), "patient"]
    return {
        "patients": patients.nunique(),
        "flagged": flagged.nunique(),
        "without_value": patients.nunique() - valued.nunique(),
    }


def summary_of(table: pd.DataFrame) -> str:
    """The counts in a sentence."""
    counts = counts_of(table)
    many = "patient" if counts["patients"] == 1 else "patients"
    bare = f", {counts['without_value']} without any value" if counts["without_value"] else ""
    return f"{counts['patients']} {many}: {counts['flagged']} flagged{bare}."


def terminal_table(table: pd.DataFrame, names: Mapping[str, str]) -> str:
    """The first patients, those that are flagged before others, some values each with its interval.

    Args:
        table: the predictions table.
        names: everybody, in the order of their numbers; ids are not shown.
    """
    numbers = {patient: number for number, patient in enumerate(names, 1)}
    rows = []
    for patient, own in table.groupby("patient", sort=False):
        flags, of = flag_sentences(own), own.set_index("parameter").to_dict("index")
        cells = {key: _cell(key, of[key]) for key in SHOWN}
        rows.append((not flags, numbers[str(patient)], cells, "; ".join(flags)))
    rows.sort(key=lambda row: row[:2])
    heads = [f"{key}, {parameter(key).unit}" for key in SHOWN]
    shown = pd.DataFrame(
        [[f"{number}", *cells.values(), flags[:60]] for _, number, cells, flags in rows[:MOST]],
        columns=["patient", *heads, "flags"],
    )
    left = len(rows) - len(shown)
    return shown.to_string(index=False, justify="left") + (f"\n... and {left} more" if left else "")


def _cell(key: str, row: Mapping[Any, Any]) -> str:
    of, value = parameter(key), float(row["prediction"])
    if math.isnan(value):
        return "–"
    mark = "*" if of.is_abnormal(value) else ""
    interval = interval_text(of, float(row["lower"]), float(row["upper"]))
    return f"{number_text(value, decimals(of))}{mark} ({interval})"
