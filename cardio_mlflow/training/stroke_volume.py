"""Stroke volume in place of flow: what follows from heart rate, body surface and arterial pressure.

Cardiac output is stroke volume times heart rate, and heart rate is known without a catheter. What the
network has to find is the stroke volume; CO, CI and SVRI follow by their definitions (Kovacs et al., Eur
Respir J 2014).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.parameters import KEYS

FloatArray = NDArray[np.float64]

STROKE: Final = ("SV", "SVI")
"""What the network predicts beside the nine: stroke volume (mL) and its index (mL/m²)."""
SMALLEST_GRADIENT: Final = 20.0
"""mmHg from right atrial to mean arterial pressure. With less, SVRI is left to its own head."""

_RAP, _CO, _CI, _SVRI = (KEYS.index(key) for key in ("RAP", "CO", "CI", "SVRI"))


class Predicted(NamedTuple):
    """Predictions in their units.

    Attributes:
        predictions: (N, 9), what counts.
        direct: (N, 9), by each parameter's own head.
        derived: (N, 9) bool, the values that follow from stroke volume by an identity.
    """

    predictions: FloatArray
    direct: FloatArray
    derived: NDArray[np.bool_]


def all_direct(values: FloatArray) -> Predicted:
    """Predictions, (N, 9) in their units, that each came from its parameter's own head."""
    return Predicted(values, values, np.zeros(values.shape, dtype=bool))


def stroke_volumes(references: FloatArray, facts: FloatArray) -> FloatArray:
    """Stroke volume and its index, (N, 2) in mL and mL/m²: 1000 · CO / HR and 1000 · CI / HR.

    Of (N, 9) references in their units and (N, 3) facts, see `FACTS`; NaN where a part is missing.
    """
    return 1000 * references[:, [_CO, _CI]] / facts[:, :1]


def by_identities(direct: FloatArray, stroke: FloatArray, facts: FloatArray) -> Predicted:
    """Put what follows from stroke volume in place of CO, CI and SVRI, for whom the facts are known.

    CO = SV · HR; CI = CO / BSA; SVRI = 80 · (MAP − RAP) / CI with the predicted RAP. Where body surface is
    known, stroke volume is predicted twice, as itself and as index times surface: the geometric mean of the
    two counts, better than either alone (docs/explanation/recommended.md). Where it is not, CI = SVI · HR.

    Args:
        direct: (N, 9) predictions of the nine heads.
        stroke: (N, 2) predicted stroke volume and index, mL and mL/m².
        facts: (N, 3), see `FACTS`; NaN where one is not known.
    """
    rate, surface, arterial = facts.T
    volume, index = stroke.T
    both = np.sqrt(np.maximum(volume * index * surface, 0))
    known = np.isfinite(surface)
    output = np.where(known, both, volume) * rate / 1000
    flow = np.where(known, output / surface, index * rate / 1000)
    gradient = arterial - direct[:, _RAP]
    resistance = 80 * np.where(gradient >= SMALLEST_GRADIENT, gradient, np.nan) / flow
    derived = np.full(direct.shape, np.nan)
    derived[:, _CO], derived[:, _CI], derived[:, _SVRI] = output, flow, resistance
    found = np.isfinite(derived)
    return Predicted(np.where(found, derived, direct), direct, found)
