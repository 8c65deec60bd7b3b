"""Heart rate, body surface and mean arterial pressure of patients without catheterisation values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow.data.cohort.clip_names import KnownPatients
from cardio_mlflow.data.cohort.columns import (
    NUMBERS,
    PATIENT_ID,
    implausible,
    match_facts,
    without_units,
)
from cardio_mlflow.data.cohort.label_cells import Reading
from cardio_mlflow.parameters import FACTS
from cardio_mlflow.sheets.cells import canonical_id
from cardio_mlflow.sheets.sheet import Sheet, raise_problems, read_sheet

PATIENT_SHEETS: Final = ("patients.csv", "patients.xlsx")
LABEL_SHEETS: Final = ("labels.csv", "labels.xlsx")


def facts_beside(folder: Path, clips: Path | None, patients: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """What is known of patients: by clips.csv, else by patients.csv, else by labels.csv.

    Of a label sheet nothing but these three columns is read.

    Args:
        folder: where the sheets lie.
        clips: the clips.csv.
        patients: their ids.

    Returns:
        HR (beats/min), BSA (m²) and MAP (mmHg) by patient id, NaN where not known; and notes.

    Raises:
        InputError: a cell is no plausible number, or two rows of a patient differ; names row and column.
    """
    facts = pd.DataFrame(math.nan, pd.Index(list(patients), name=PATIENT_ID, dtype="object"), list(FACTS))
    notes = []
    for sheet in map(read_sheet, filter(None, (clips, *_sheets_in(folder)))):
        found = _facts_in(sheet, KnownPatients(patients))
        if found.empty:
            continue
        notes.append(
            f"{', '.join(map(str, found))} of {len(found)} of {len(patients)} patients are in {sheet.name}"
        )
        facts = facts.combine_first(found)
    return facts.loc[list(patients), list(FACTS)], notes


def _sheets_in(folder: Path) -> Iterator[Path]:
    by_name = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    return (by_name[name] for name in (*PATIENT_SHEETS, *LABEL_SHEETS) if name in by_name)


def _facts_in(sheet: Sheet, patients: KnownPatients) -> pd.DataFrame:
    """The columns of a sheet by patient id, of patients of whom it says something."""
    positions = match_facts(sheet)
    if not positions:
        return pd.DataFrame()
    reading = Reading(without_units(sheet, positions), positions)
    names = [name for name in NUMBERS if name in positions]
    columns = {name: reading.numbers(name, NUMBERS[name], partial(implausible, name=name)) for name in names}
    found: dict[str, dict[str, float]] = {}
    for i, row in enumerate(reading.sheet.rows):
        patient = patients.find(canonical_id(row.cells[positions[PATIENT_ID]].text))
        if patient is None:
            continue
        for name in names:
            value = columns[name][i]
            if not math.isnan(value) and found.setdefault(patient, {}).setdefault(name, value) != value:
                reading.refuse(row, name, "another value than in an earlier row of this patient")
    raise_problems(sheet.name, reading.problems)
    return pd.DataFrame.from_dict(found, orient="index", columns=names, dtype="float64")
