"""The columns of a label sheet: their names, and which column of a sheet is which."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from openpyxl.utils import get_column_letter

from cardio_mlflow.data.cohort.persons import ALIASES, PERSON
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import FACT_RANGES, KEYS, is_parameter, normalise_name, parameter
from cardio_mlflow.sheets.cells import is_missing
from cardio_mlflow.sheets.sheet import Sheet, raise_problems
from cardio_mlflow.sheets.units import canonical_unit, wrong_unit

PATIENT_ID: Final = "patient_id"
ACCESSION: Final = "accession"
"""The column of accession numbers, by which an export can be matched too."""
PATIENT_NAMES: Final = ("patient_id", "patient", "pid", "subject_id", "subject", "id")
"""Headings of the column of patient ids; the first that is there wins."""
NUMBERS: Final[dict[str, tuple[str, ...]]] = {
    "HR": ("bpm", "beats/min", "1/min"),
    "BSA": ("m²",),
    "MAP": (parameter("meanPAP").unit,),
}
"""Optional numeric columns and the units that may stand in their cells."""
TEXTS: Final = ("sex", "age", "rhythm", "BMI", "scanner")
"""Optional columns kept as text, for subgroups."""
_OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "cohort": (),
    PERSON: ALIASES,
    "study": ("study folder", "echo study"),
    ACCESSION: ("accession number", "accession no", "accession nr", "accession id"),
    "rhc_date": ("date of RHC", "catheterisation date", "catheterization date"),
    "HR": ("heart rate",),
    "BSA": ("body surface area",),
    "MAP": ("mean arterial pressure",),
    **dict.fromkeys(TEXTS, ()),
}
"""Optional columns and other headings for them, compared without case and punctuation."""
_BY_HEADING: Final = {normalise_name(n): name for name, names in _OPTIONAL.items() for n in (name, *names)}
_OTHER_QUANTITIES: Final = frozenset(("svr", "pvri", "tpr", "papi", "tpg", "dpg", "rvsp", "sv", "svi"))
"""Headings like a parameter's that mean something else."""


def implausible(value: float, name: str) -> str | None:
    """What is wrong with a heart rate, body surface or arterial pressure that nobody has."""
    low, high = FACT_RANGES[name]
    if math.isnan(value) or low <= value <= high:
        return None
    unit = NUMBERS[name][0]
    return f"{value:g} is outside {low:g} to {high:g} {unit}; leave the cell empty where it is not known"


def match_columns(sheet: Sheet, values_wanted: bool = True) -> dict[str, int]:
    """Find the position of each known column; the names are compared without case and punctuation.

    Without ``values_wanted`` a column of ids alone will do, and where none is called so, one of persons'
    numbers (MRN) holds them before the first column does.

    Raises:
        InputError: no parameter has a column, one may be misspelt, two columns hold one value, a heading
            names a wrong unit, or there is no column for patient ids.
    """
    positions: dict[str, int] = {}
    for position, heading in enumerate(sheet.columns):
        name = parameter(heading).key if is_parameter(heading) else _BY_HEADING.get(normalise_name(heading))
        if name is None:
            continue
        if name in positions:
            both = f"{sheet.column(positions[name])} and {sheet.column(position)}"
            raise InputError(f"{sheet.name}: columns {both} both hold {name}: keep one of them.")
        if brackets := re.search(r"[(\[](.*?)[)\]]", heading):
            _check_unit(sheet, position, name, brackets.group(1))
        positions[name] = position
    patient = sheet.find(PATIENT_NAMES)
    if patient is None:
        patient = _only_id(positions, values_wanted)
    if values_wanted:
        _check_known(sheet, positions, patient)
    elif not positions and patient is None:
        raise InputError(
            f"{sheet.name}: no heading in its {len(sheet.columns)} cells is known. The first row must hold "
            f"the names of the columns: {PATIENT_ID} for the ids that the export has; optional: accession, "
            f"rhc_date, {PERSON}, cohort, {', '.join(KEYS)}."
        )
    _check_misspelt(sheet, positions, patient)
    if patient is None and 0 in positions.values():
        raise InputError(f"{sheet.name}: no patient_id column, and the first one is no id either.")
    return positions | {PATIENT_ID: patient or 0}


def match_facts(sheet: Sheet) -> dict[str, int]:
    """The position of the columns HR, BSA and MAP, and of the patient ids where there is one of these.

    Nothing is asked of any other column.

    Raises:
        InputError: two columns hold one of them, or a heading names a wrong unit.
    """
    positions = {name: sheet.find((name, *_OPTIONAL[name])) for name in NUMBERS}
    found = {name: position for name, position in positions.items() if position is not None}
    for name, position in found.items():
        if brackets := re.search(r"[(\[](.*?)[)\]]", sheet.columns[position]):
            _check_unit(sheet, position, name, brackets.group(1))
    return found and found | {PATIENT_ID: sheet.find(PATIENT_NAMES) or 0}


def _only_id(positions: dict[str, int], values_wanted: bool) -> int | None:
    """Take a column of another kind of id for the patients' where it is the only one."""
    for name in (PERSON, ACCESSION):
        anywhere = name == PERSON and not values_wanted
        if positions.get(name) == 0 or (anywhere and name in positions):
            column = positions.pop(name)
            return column if anywhere else None
    return None


def _check_unit(sheet: Sheet, position: int, name: str, unit: str) -> None:
    if not is_parameter(name):
        return
    wanted = parameter(name)
    if conversion := wrong_unit(unit, wanted.unit):
        raise InputError(
            f"{sheet.name}, column {sheet.column(position)}: {name} is wanted in {wanted.unit}; "
            f"{conversion.advice} and change the unit."
        )


def _check_known(sheet: Sheet, positions: Mapping[str, int], patient: int | None) -> None:
    """Refuse a sheet without any parameter."""
    if len(positions) + (patient is not None) < 2 or positions.keys().isdisjoint(KEYS):
        raise InputError(
            f"{sheet.name}: the row of headings names none, or too few, of the columns {PATIENT_ID}, "
            f"{', '.join(KEYS)} in its {len(sheet.columns)} cells. It must hold the names of the columns; "
            "each patient has a row below it."
        )


def _check_misspelt(sheet: Sheet, positions: Mapping[str, int], patient: int | None) -> None:
    """Refuse a sheet with a column that may be a missing parameter misspelt."""
    missing = [key for key in KEYS if key not in positions]
    taken = {*positions.values(), patient}
    unknown = {i: heading for i, heading in enumerate(sheet.columns) if i not in taken}
    lines = []
    for key in missing:
        names = [normalise_name(name) for name in (key, *parameter(key).aliases)]
        near = [
            get_column_letter(i + 1) if patient is None else sheet.column(i)
            for i, heading in unknown.items()
            if _may_be(heading, names)
        ]
        if near:
            meant = f"{key} ({parameter(key).meaning}, {parameter(key).unit})"
            lines.append(f"  {meant}: is it column {' or '.join(near[:3])}?")
    if lines:
        head = f"{sheet.name} lacks columns that others may stand for. Rename those, or delete them:"
        raise InputError("\n".join([head, *lines]))


def _may_be(heading: str, names: Sequence[str]) -> bool:
    """Whether a heading of unknown name looks like one of these: a word of it, or nearly the whole."""
    whole, words = normalise_name(heading), re.split(r"[^a-z0-9]+", heading.lower())
    if whole in _OTHER_QUANTITIES:
        return False
    near = difflib.get_close_matches(whole, names, n=1, cutoff=0.8) if len(whole) > 3 else []
    return bool(near) or not {*words}.isdisjoint(names)


def without_units(sheet: Sheet, positions: Mapping[str, int]) -> Sheet:
    """The sheet without a row of units below the headings, which are checked like those in headings."""
    if not sheet.rows:
        return sheet
    row, wanted_units = sheet.rows[0], NUMBERS | {key: (parameter(key).unit,) for key in KEYS}
    texts = {name: row.cells[position].text for name, position in positions.items() if name in wanted_units}
    units = {name: text for name, text in texts.items() if not is_missing(text)}
    ours = {canonical_unit(unit): unit for wanted in wanted_units.values() for unit in wanted}
    known = [
        name
        for name, text in units.items()
        if canonical_unit(text) in ours or any(wrong_unit(text, unit) for unit in ours.values())
    ]
    if 2 * len(known) <= len(units) or any(
        not canonical_unit(text).strip("0123456789") for text in units.values()
    ):
        return sheet
    notes = [f"row {row.number} holds units, no patient"]
    for name, text in units.items():
        _check_unit(sheet, positions[name], name, text)
        wanted = wanted_units[name]
        if name not in known:
            notes.append(
                f"{sheet.column(positions[name])} is taken for {wanted[0]}: its unit was not understood"
            )
        elif canonical_unit(text) not in map(canonical_unit, wanted):
            reason = f"a unit, but {name} is wanted in {wanted[0]}"
            raise_problems(sheet.name, [sheet.problem(row, positions[name], reason)])
    return replace(sheet, rows=sheet.rows[1:], notes=(*sheet.notes, *notes))
