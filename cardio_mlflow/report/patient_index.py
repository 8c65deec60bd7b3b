"""The page over all patients: whoever is flagged first, each with a link to their own page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from cardio_mlflow.parameters import PARAMETERS, Parameter
from cardio_mlflow.report.patient_page import ModelShown, flag_sentences, split_texts
from cardio_mlflow.report.table_views import UNDEFINED, number_text
from cardio_mlflow.report.templates import write_page
from cardio_mlflow.report.value_bars import decimals, interval_text


@dataclass(frozen=True)
class _Value:
    text: str
    interval: str
    abnormal: bool


@dataclass(frozen=True)
class _Line:
    """A patient's line: where their page lies, and what stands on it."""

    number: int
    name: str
    page: str
    probability: str
    values: Sequence[_Value]
    flags: str
    notes: str


def write_index_page(
    path: Path, table: pd.DataFrame, pages: Mapping[str, str], model: ModelShown, summary: str
) -> None:
    """Write the index page.

    Args:
        path: the file.
        table: the predictions table of all patients.
        pages: the address of each patient's page relative to this one, by id, in the order of their numbers.
        model: what has predicted.
        summary: a sentence with the counts.
    """
    by_patient = dict(tuple(table.groupby("patient", sort=False)))
    lines = [
        _line(number, name, pages[name], by_patient[name])
        for number, name in enumerate(pages, 1)
        if name in by_patient
    ]
    write_page(
        path,
        "patients.html.j2",
        ["report.css", "patient.css"],
        lines=sorted(lines, key=lambda line: (not line.flags, line.number)),
        parameters=PARAMETERS,
        model=model,
        summary=summary,
    )


def _line(number: int, name: str, page: str, table: pd.DataFrame) -> _Line:
    of = table.set_index("parameter").to_dict("index")
    probability = float(table["ph_probability"].iloc[0])
    return _Line(
        number,
        name,
        quote(page),
        number_text(probability, 2),
        [_value(parameter, of[parameter.key]) for parameter in PARAMETERS],
        "; ".join(flag_sentences(table)),
        "; ".join(split_texts(table["notes"].iloc[0])),
    )


def _value(of: Parameter, row: Mapping[Any, Any]) -> _Value:
    value = float(row["prediction"])
    if math.isnan(value):
        return _Value(UNDEFINED, "", abnormal=False)
    interval = interval_text(of, float(row["lower"]), float(row["upper"]))
    return _Value(number_text(value, decimals(of)), interval, of.is_abnormal(value))
