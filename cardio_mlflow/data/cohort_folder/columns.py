"""The columns of a label sheet: which heading holds which value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Final

from cardio_mlflow.data.cohort_folder.cells import wrong_unit
from cardio_mlflow.data.cohort_folder.sheet import SHOWN_PROBLEMS, Sheet
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, is_parameter, normalise_name, parameter

PATIENT_ID: Final = "patient_id"
NUMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "HR": ("bpm", "beats/min", "1/min"),
    "BSA": ("m²",),
    "MAP": (parameter("meanPAP").unit,),
}
"""Optional numeric columns and the units that may stand in their cells."""
TEXTS: Final = ("sex", "age", "rhythm", "BMI", "scanner")
"""Optional columns kept as text, for subgroups."""

_KNOWN_HEADINGS: Final = 3
"""From how many known columns on a first row is taken for headings, whose text may be shown."""

_OPTIONAL: Final = {normalise_name(name): name for name in ("cohort", *NUMBERS, *TEXTS)}


def match_columns(sheet: Sheet) -> dict[str, int]:
    """Find the position of each known column; the names are compared without case and punctuation.

    Raises:
        InputError: a required column is missing (with the columns that could be meant), two columns
            hold one value, a heading names a wrong unit, or there is no column for patient ids.
    """
    positions: dict[str, int] = {}
    for position, heading in enumerate(sheet.columns):
        name = _known_name(heading)
        if name is None:
            continue
        if name in positions:
            both = f"{sheet.columns[positions[name]]!r} and {heading!r}"
            raise InputError(f"{sheet.name}: columns {both} both hold {name}: keep one of them.")
        _check_heading_unit(sheet.name, heading, name)
        positions[name] = position
    _check_required(sheet, positions)
    if PATIENT_ID not in positions:
        if 0 in positions.values():
            raise InputError(f"{sheet.name}: no patient_id column, and the first one is no id either.")
        positions[PATIENT_ID] = 0
    return positions


def is_patient_id(heading: str) -> bool:
    """Tell whether a heading is "patient_id", whatever its case and punctuation."""
    return normalise_name(heading) == normalise_name(PATIENT_ID)


def _known_name(heading: str) -> str | None:
    if is_parameter(heading):
        return parameter(heading).key
    if is_patient_id(heading):
        return PATIENT_ID
    return _OPTIONAL.get(normalise_name(heading))


def _check_heading_unit(sheet_name: str, heading: str, name: str) -> None:
    brackets = re.search(r"[(\[](.*?)[)\]]", heading)
    if brackets is None or not is_parameter(name):
        return
    wanted = parameter(name)
    if conversion := wrong_unit(brackets.group(1), wanted.unit):
        raise InputError(
            f"{sheet_name}, column {heading}: {name} is wanted in {wanted.unit}; "
            f"{conversion.advice} and change the heading."
        )


def _no_header(sheet: Sheet) -> str:
    """What to say of a first row that may hold a patient's data, or patients' names: nothing of its text."""
    return (
        f"{sheet.name}: the first row that is not empty names fewer than {_KNOWN_HEADINGS} of the columns "
        f"{PATIENT_ID}, {', '.join(KEYS)} in its {len(sheet.columns)} cells. It must hold the names of the "
        "columns; each patient has a row below it."
    )


def _check_required(sheet: Sheet, positions: dict[str, int]) -> None:
    missing = [key for key in KEYS if key not in positions]
    if not missing:
        return
    unknown = [c for i, c in enumerate(sheet.columns) if c and i not in positions.values()]
    if len(positions) < _KNOWN_HEADINGS:
        raise InputError(_no_header(sheet))
    lines = [f"{sheet.name} lacks {len(missing)} of the {len(KEYS)} required columns:"]
    for key in missing:
        names = {normalise_name(name): name for name in (key, *parameter(key).aliases)}
        near = [c for c in unknown if difflib.get_close_matches(normalise_name(c), names, n=1, cutoff=0.6)]
        hint = f"; is it {' or '.join(map(repr, near[:3]))}?" if near else ""
        lines.append(f"  {key} ({parameter(key).meaning}, {parameter(key).unit}){hint}")
    if unknown:
        shown = ", ".join(map(repr, unknown[:SHOWN_PROBLEMS]))
        lines.append(f"Columns of unknown name: {shown}{' ...' if len(unknown) > SHOWN_PROBLEMS else ''}.")
    raise InputError("\n".join(lines))
