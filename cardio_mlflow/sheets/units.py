"""Units: those that stand in place of the wanted one, and values that only another unit explains."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from cardio_mlflow.parameters import Parameter, parameter

_DAYS: Final = range(32874, 54789)
"""A spreadsheet's numbers of the days from 1990 to 2049."""


@dataclass(frozen=True)
class Conversion:
    """A unit that is often met in place of the wanted one, and what 1 of it is in that one.

    Its pattern matches it as `canonical_unit` spells it.
    """

    found: str
    pattern: str
    wanted: str
    factor: float
    advice: str


CONVERSIONS: Final[tuple[Conversion, ...]] = (
    Conversion("kPa", "kpa", parameter("meanPAP").unit, 7.50062, "multiply by 7.5"),
    Conversion("mL/min", "ml(min)?", parameter("CO").unit, 0.001, "divide by 1000"),
    Conversion("mL/min/m²", "ml(minm2)?", parameter("CI").unit, 0.001, "divide by 1000"),
    Conversion("dyn·s·cm⁻⁵", "dyn(scm5)?", parameter("PVR").unit, 1 / 80, "divide by 80"),
    Conversion("Wood units·m²", "woodunits?(m2)?", parameter("SVRI").unit, 80.0, "multiply by 80"),
)
"""Wrong units that the reader recognises and explains (1 kPa = 7.50062 mmHg, 1 Wood unit = 80 dyn·s·cm⁻⁵)."""


def canonical_unit(text: str) -> str:
    """Spell a unit in lower-case letters and digits, so that its usual spellings agree.

    >>> canonical_unit("dynes·sec/cm^5·m2") == canonical_unit("dyn·s·cm⁻⁵·m²")
    True
    """
    word = re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKC", text).lower())
    for spelling, usual in (
        (r"dynes?", "dyn"),
        (r"sec", "s"),
        (r"lit(?:er|re)s?", "l"),
        (r"min1", "min"),
        (r"^(?:wu|woods?(?:units?)?)", "woodunits"),
        (r"^mmofhg$|^torr$", "mmhg"),
    ):
        word = re.sub(spelling, usual, word)
    return word


def wrong_unit(text: str, unit: str) -> Conversion | None:
    """The conversion needed when a text names a unit known to differ from the wanted one.

    >>> wrong_unit("dyn·s/cm5", "Wood units").advice
    'divide by 80'
    """
    word = canonical_unit(text)
    found = (c for c in CONVERSIONS if c.wanted == unit and re.fullmatch(c.pattern, word))
    return next(found, None)


def range_problem(value: float, wanted: Parameter) -> str | None:
    """Say what is wrong with a value outside the plausible range, with a hint at the likely unit.

    >>> range_problem(320.0, parameter("PVR"))
    '320 is outside 0.05 to 40 Wood units; if it is in dyn·s·cm⁻⁵, divide by 80'
    """
    low, high = wanted.plausible
    if math.isnan(value) or low <= value <= high:
        return None
    message = f"{value:g} is outside {low:g} to {high:g} {wanted.unit}"
    for conversion in CONVERSIONS:
        if conversion.wanted == wanted.unit and low <= value * conversion.factor <= high:
            return f"{message}; if it is in {conversion.found}, {conversion.advice}"
    if value in _DAYS:
        return f"{message}; it may be a date, which spreadsheets keep as such a number"
    if low <= value * 1000 <= high:
        return f"{message}; write thousands without a separator"
    return message
