"""The nine right-heart-catheterisation parameters and the four echo views.

This is the only place that holds a parameter's name, unit, cut-off, plausible range or order,
and the only place that holds a view's code. Everything else asks here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class Parameter:
    """One catheterisation value.

    Attributes:
        key: the name used in tables, metrics and files.
        meaning: what it measures, in words.
        unit: the unit every value of it carries in this project.
        winsor: lower and upper percentile at which training targets are winsorised.
        log: whether the network learns its logarithm.
        cutoff: the value beyond which it counts as abnormal, fixed beforehand.
        abnormal: on which side of the cut-off the abnormal values lie.
        plausible: smallest and largest value a catheter laboratory could report in this unit;
            a value outside is taken for a wrong unit or a slip of the pen.
        aliases: other column names in use, compared without case, spaces and punctuation.
    """

    key: str
    meaning: str
    unit: str
    winsor: tuple[float, float]
    log: bool
    cutoff: float
    abnormal: Literal["above", "below"]
    plausible: tuple[float, float]
    aliases: tuple[str, ...]

    def is_abnormal(self, value: float) -> bool:
        """Tell whether a value in this parameter's unit lies strictly beyond the cut-off.

        >>> parameter("meanPAP").is_abnormal(20.0), parameter("CO").is_abnormal(3.9)
        (False, True)
        """
        return value > self.cutoff if self.abnormal == "above" else value < self.cutoff

    @property
    def criterion(self) -> str:
        """The abnormality criterion as text, such as ``> 20 mmHg``."""
        return f"{'>' if self.abnormal == 'above' else '<'} {self.cutoff:g} {self.unit}"


@dataclass(frozen=True)
class View:
    """One of the four standard echocardiography views.

    Attributes:
        code: the two-letter code used in file names and tables.
        name: the usual abbreviation.
        meaning: the view in words.
        aliases: other spellings, compared without case, spaces and punctuation.
    """

    code: str
    name: str
    meaning: str
    aliases: tuple[str, ...]


PARAMETERS: Final[tuple[Parameter, ...]] = (
    Parameter("RAP", "right atrial pressure", "mmHg", (5, 95), False, 8, "above", (-5, 50),
              ("mRAP", "mean RAP", "RA pressure", "right atrial pressure", "CVP")),
    Parameter("SPAP", "systolic pulmonary artery pressure", "mmHg", (5, 95), False, 40, "above", (5, 200),
              ("PASP", "PAPs", "sysPAP", "systolic PAP", "systolic pulmonary artery pressure")),
    Parameter("dPAP", "diastolic pulmonary artery pressure", "mmHg", (5, 95), False, 15, "above", (0, 120),
              ("PADP", "PAPd", "diaPAP", "diastolic PAP", "diastolic pulmonary artery pressure")),
    Parameter("meanPAP", "mean pulmonary artery pressure", "mmHg", (5, 95), False, 20, "above", (3, 150),
              ("mPAP", "PAPm", "PAMP", "mean PAP", "mean pulmonary artery pressure")),
    Parameter("PCWP", "pulmonary capillary wedge pressure", "mmHg", (5, 95), False, 15, "above", (-2, 60),
              ("PAWP", "PCW", "wedge", "wedge pressure", "pulmonary capillary wedge pressure")),
    Parameter("CO", "cardiac output", "L/min", (2, 98), False, 4.0, "below", (0.5, 20),
              ("cardiac output",)),
    Parameter("CI", "cardiac index", "L/min/m²", (2, 98), False, 2.5, "below", (0.3, 10),
              ("cardiac index",)),
    Parameter("SVRI", "systemic vascular resistance index", "dyn·s·cm⁻⁵·m²", (1, 99), True, 2400, "above",
              (200, 10000), ("systemic vascular resistance index",)),
    Parameter("PVR", "pulmonary vascular resistance", "Wood units", (1, 99), True, 2.0, "above", (0.05, 40),
              ("pulmonary vascular resistance",)),
)  # fmt: skip
"""The table of the nine parameters, in the order of every tensor's last axis."""

KEYS: Final[tuple[str, ...]] = tuple(p.key for p in PARAMETERS)
"""The nine keys, in table order."""

FACTS: Final = ("HR", "BSA", "MAP")
"""What is known without a catheter, in the order of a facts array's last axis: heart rate (beats/min), body
surface (m²), mean arterial pressure (mmHg)."""

FACT_RANGES: Final = {"HR": (20.0, 300.0), "BSA": (0.2, 4.0), "MAP": (20.0, 250.0)}
"""Smallest and largest of these that is no slip of the pen and no other unit; 0 for missing is."""

PULMONARY_HYPERTENSION: Final[Parameter] = next(p for p in PARAMETERS if p.key == "meanPAP")
"""The parameter whose cut-off defines pulmonary hypertension (ESC/ERS 2022: meanPAP > 20 mmHg)."""

VIEWS: Final[tuple[View, ...]] = (
    View(
        "FC",
        "A4C",
        "apical four-chamber",
        (
            "4C",
            "4CH",
            "AP4",
            "A4CH",
            "AP4C",
            "AP4CH",
            "apical 4",
            "apical 4 chamber",
            "apical four chamber",
            "4 chamber",
            "four chamber",
        ),
    ),
    View(
        "TC",
        "A2C",
        "apical two-chamber",
        (
            "2C",
            "2CH",
            "AP2",
            "A2CH",
            "AP2C",
            "AP2CH",
            "apical 2",
            "apical 2 chamber",
            "apical two chamber",
            "2 chamber",
            "two chamber",
        ),
    ),
    View(
        "SA",
        "PSAX",
        "parasternal short axis",
        ("SAX", "parasternal short", "parasternal short axis", "short axis"),
    ),
    View(
        "LA",
        "PLAX",
        "parasternal long axis",
        ("LAX", "parasternal long", "parasternal long axis", "long axis"),
    ),
)
"""The four views, in the order of every tensor's view axis."""

VIEW_CODES: Final[tuple[str, ...]] = tuple(v.code for v in VIEWS)
"""The four view codes, in table order."""

OTHER_VIEW: Final = "other"
"""A view that is none of the four."""


def normalise_name(text: str) -> str:
    """Reduce a column or view name to lower-case letters and digits, without a unit in brackets.

    >>> normalise_name(" mean PAP (mmHg)")
    'meanpap'
    """
    return re.sub(r"[^a-z0-9]", "", re.sub(r"[(\[].*?[)\]]", "", text).lower())


_PARAMETER_BY_NAME: Final[dict[str, Parameter]] = {
    normalise_name(name): p for p in PARAMETERS for name in (p.key, *p.aliases)
}
_VIEW_BY_NAME: Final[dict[str, View]] = {
    normalise_name(name): v for v in VIEWS for name in (v.code, v.name, *v.aliases)
}


def parameter(name: str) -> Parameter:
    """Find a parameter by its key or an alias.

    Raises:
        KeyError: no parameter has this name.

    >>> parameter("mean PAP").key
    'meanPAP'
    """
    return _PARAMETER_BY_NAME[normalise_name(name)]


def is_parameter(name: str) -> bool:
    """Tell whether a name is a parameter's key or alias.

    >>> is_parameter("PAWP"), is_parameter("heart rate")
    (True, False)
    """
    return normalise_name(name) in _PARAMETER_BY_NAME


def view(name: str) -> View:
    """Find a view by its code, its abbreviation or an alias.

    Raises:
        KeyError: no view has this name.

    >>> view("a4c").code
    'FC'
    """
    return _VIEW_BY_NAME[normalise_name(name)]


def is_view(name: str) -> bool:
    """Tell whether a name is a view's code or alias.

    >>> is_view("PSAX"), is_view("subcostal")
    (True, False)
    """
    return normalise_name(name) in _VIEW_BY_NAME


def view_name(code: str) -> str:
    """What people call the view of a code; any other text, such as "other", as it is.

    >>> view_name("FC"), view_name(OTHER_VIEW)
    ('A4C', 'other')
    """
    return view(code).name if code in VIEW_CODES else code
