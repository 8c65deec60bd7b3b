"""The pages of predicted patients, and the page of what pushed a patient's values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import safe_open

from cardio_mlflow.data.batch.clip_store import entry_in
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.parameters import VIEWS, View
from cardio_mlflow.pipelines.new_inputs import NewInputs
from cardio_mlflow.pipelines.prediction_results import PAGES
from cardio_mlflow.report.cycle_strip import SHOWN, ClipShown, cycle_drawing, strip_source
from cardio_mlflow.report.patient_page import (
    ModelShown,
    PatientPage,
    clip_facts,
    split_texts,
    write_patient_page,
)

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 60


def page_names(patients: Sequence[str]) -> dict[str, str]:
    """The name of each patient's page, without suffix: a number, and as much of the id as suits any disk.

    >>> page_names(["P 1", "é/.."])
    {'P 1': '1_P_1', 'é/..': '2_..'}
    """
    digits = len(str(len(patients)))
    return {
        patient: f"{number:0{digits}d}_{_UNSAFE.sub('_', patient).strip('_')[:_LONGEST]}"
        for number, patient in enumerate(patients, 1)
    }


def write_pages(
    folder: Path, table: pd.DataFrame, inputs: NewInputs, names: Mapping[str, str], model: ModelShown,
    explained: Mapping[str, str],
) -> None:  # fmt: skip
    """Write the pages of some patients into the results' folder.

    Args:
        folder: of the results.
        table: the patients' rows of the predictions table.
        inputs: where their clips are.
        names: of their pages, by id, in the order of everybody's numbers.
        model: what has predicted.
        explained: the page of what pushed the values, by id, of whom there is one.
    """
    numbers = {patient: number for number, patient in enumerate(names, 1)}
    (folder / PAGES).mkdir(exist_ok=True)
    quality = inputs.quality(list(table["patient"].unique()))
    for patient, rows in table.groupby("patient", sort=False):
        name = str(patient)
        shown = _clips(quality[quality["patient_id"] == name], inputs.files(name))
        page = PatientPage(name, numbers[name], rows, shown, model, explained.get(name, ""))
        write_patient_page(folder / PAGES / f"{names[name]}.html", page)


def _clips(quality: pd.DataFrame, files: Mapping[str, Path]) -> list[ClipShown]:
    """The four views of a patient."""
    rows = {row["view"]: row for row in quality.to_dict("records")}
    return [
        _clip(view, rows[view.code], files.get(view.code))
        if view.code in rows
        else ClipShown(view.name, view.meaning, "No clip.")
        for view in VIEWS
    ]


def _clip(view: View, row: Mapping[Any, Any], path: Path | None) -> ClipShown:
    found = clip_facts(row, view)
    if path is None:
        return found
    with safe_open(path, "numpy") as file:
        review, frames = entry_in(file.metadata()).review, file.get_tensor("frames")
    words = f"{SHOWN} of the {len(frames)} frames of one cycle"
    return replace(found, pictures=strip_source(frames), cycle=cycle_drawing(review), frames=words)


def with_refusals(table: pd.DataFrame, quality: pd.DataFrame) -> pd.DataFrame:
    """The predictions table with notes that say of a view that is missing why its clip was refused."""
    said = {
        (row["patient_id"], f"{_name(row['view'])}: missing"):
            f"{_name(row['view'])}: refused, {row['outcome']} ({Outcome(row['outcome']).words})"
        for row in quality[quality["outcome"] != Outcome.OK].to_dict("records")
    }  # fmt: skip
    notes = [
        "; ".join(said.get((patient, note), note) for note in split_texts(text))
        for patient, text in zip(table["patient"], table["notes"], strict=True)
    ]
    return table.assign(notes=notes)


def _name(code: str) -> str:
    return next(view.name for view in VIEWS if view.code == code)
