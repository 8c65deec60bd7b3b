"""Scaling of the nine targets, fitted on a fold's training patients only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, PARAMETERS, Parameter, parameter

FloatArray = NDArray[np.float64]

LEAST_VALUES: Final = 2
"""A parameter of fewer different values among a fold's training patients is not learned in it."""


@dataclass(frozen=True)
class TargetScale:
    """How one parameter is scaled: clip to [low, high], take the logarithm if ``log``, standardise.

    That of a parameter that is not learned is all NaN, and so is what it scales and unscales.
    """

    low: float
    high: float
    log: bool
    mean: float
    sd: float

    @property
    def is_learned(self) -> bool:
        """Whether there were values to learn from."""
        return bool(np.isfinite(self.sd))

    def scale(self, values: FloatArray) -> FloatArray:
        """Values in the parameter's unit, any shape, to scaled values; NaN stays NaN."""
        clipped = np.clip(values, self.low, self.high)
        return ((np.log(clipped) if self.log else clipped) - self.mean) / self.sd

    def unscale(self, scaled: FloatArray) -> FloatArray:
        """Scaled values, any shape, to values in the parameter's unit.

        Of a logarithm only -100 to 100 are taken, so that a training that diverges gives no infinite value.
        """
        values = scaled * self.sd + self.mean
        return np.exp(np.clip(values, -100, 100)) if self.log else values


@dataclass(frozen=True)
class TargetScaler:
    """One ``TargetScale`` a parameter, in table order."""

    scales: tuple[TargetScale, ...]

    def scale(self, references: FloatArray) -> FloatArray:
        """(N, 9) references in their units to (N, 9) scaled targets; NaN stays NaN."""
        return np.stack([s.scale(references[:, i]) for i, s in enumerate(self.scales)], 1)

    def unscale(self, predictions: FloatArray) -> FloatArray:
        """(N, 9) scaled predictions to (N, 9) predictions in their units."""
        return np.stack([s.unscale(predictions[:, i]) for i, s in enumerate(self.scales)], 1)

    @property
    def learned(self) -> tuple[str, ...]:
        """Keys of the parameters that are learned."""
        return tuple(key for key in KEYS if key not in self.left_out)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Keys of the parameters that are not learned."""
        return tuple(key for key, s in zip(KEYS, self.scales, strict=True) if not s.is_learned)

    def to_json(self) -> str:
        """The scales as JSON, keyed by parameter; null for one that is not learned."""
        named = zip(KEYS, self.scales, strict=True)
        return json.dumps({key: asdict(s) if s.is_learned else None for key, s in named}, indent=1)

    @staticmethod
    def from_json(text: str) -> TargetScaler:
        """Read what ``to_json`` wrote; the order of the keys does not matter.

        Raises:
            KeyError: a parameter is missing.
        """
        fields = json.loads(text)
        return TargetScaler(
            tuple(TargetScale(**fields[key]) if fields[key] else _not_learned(parameter(key)) for key in KEYS)
        )


def fit_scaler(references: FloatArray) -> TargetScaler:
    """Fit on the (N, 9) references of the training patients; NaN where one is missing.

    A parameter of fewer than `LEAST_VALUES` different values is not learned.

    Raises:
        InputError: none can be learned.
    """
    scaler = TargetScaler(tuple(_fit_scale(p, references[:, i]) for i, p in enumerate(PARAMETERS)))
    if len(scaler.left_out) == len(KEYS):
        raise InputError(
            f"No parameter has {LEAST_VALUES} different values among the {len(references)} training patients "
            "of this fold: nothing can be learned. Add patients or values."
        )
    return scaler


def _not_learned(parameter: Parameter) -> TargetScale:
    return TargetScale(np.nan, np.nan, parameter.log, np.nan, np.nan)


def _fit_scale(parameter: Parameter, values: FloatArray) -> TargetScale:
    present = values[np.isfinite(values)]
    if np.unique(present).size < LEAST_VALUES:
        return _not_learned(parameter)
    low, high = np.percentile(present, parameter.winsor)
    if low == high:
        low, high = present.min(), present.max()
    clipped = np.clip(present, low, high)
    clipped = np.log(clipped) if parameter.log else clipped
    return TargetScale(float(low), float(high), parameter.log, float(clipped.mean()), float(clipped.std()))
