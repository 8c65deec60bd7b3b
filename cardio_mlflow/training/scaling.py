"""Scaling of the nine targets, fitted on a fold's training patients only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, PARAMETERS
from cardio_mlflow.training.stroke_volume import STROKE, Predicted, all_direct, by_identities, stroke_volumes

FloatArray = NDArray[np.float64]

STROKE_WINSOR: Final = (2.0, 98.0)
"""Percentiles at which stroke volume and its index are winsorised, as CO and CI are."""

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
    """How a fold's targets are scaled: each parameter, in table order, then stroke volume and its index."""

    scales: tuple[TargetScale, ...]
    stroke: tuple[TargetScale, ...] = ()

    def targets(self, references: FloatArray, facts: FloatArray) -> FloatArray:
        """Scaled targets of N patients: (N, 9), or (N, 11) with stroke volume and its index; NaN stays NaN.

        Args:
            references: (N, 9) in their units, NaN where one is missing.
            facts: (N, 3), see `FACTS`.
        """
        columns = [s.scale(references[:, i]) for i, s in enumerate(self.scales)]
        volumes = stroke_volumes(references, facts)
        return np.stack(columns + [s.scale(volumes[:, i]) for i, s in enumerate(self.stroke)], 1)

    def predicted(self, targets: FloatArray, facts: FloatArray) -> Predicted:
        """Predicted targets, (N, 9 or 11) scaled, in their units, by identities where (N, 3) facts allow."""
        scales = (*self.scales, *self.stroke)
        unscaled = np.stack([s.unscale(targets[:, i]) for i, s in enumerate(scales)], 1)
        direct, volumes = np.split(unscaled, [len(KEYS)], axis=1)
        if not self.stroke:
            return all_direct(direct)
        return by_identities(direct, volumes, facts)

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
        named = [*zip(KEYS, self.scales, strict=True), *zip(STROKE, self.stroke, strict=False)]
        return json.dumps({key: asdict(s) if s.is_learned else None for key, s in named}, indent=1)

    @staticmethod
    def from_json(text: str) -> TargetScaler:
        """Read what ``to_json`` wrote; the order of the keys does not matter.

        Raises:
            KeyError: a parameter is missing.
        """
        fields = json.loads(text)
        logs = {p.key: p.log for p in PARAMETERS} | dict.fromkeys(STROKE, True)
        found = {
            key: TargetScale(**fields[key]) if fields[key] else _not_learned(log)
            for key, log in logs.items()
            if key in fields or key in KEYS
        }
        return TargetScaler(
            tuple(found[key] for key in KEYS), tuple(found[key] for key in STROKE if key in found)
        )


def fit_scaler(references: FloatArray, facts: FloatArray | None = None) -> TargetScaler:
    """Fit on a fold's training patients.

    A parameter of fewer than `LEAST_VALUES` different values is not learned.

    Args:
        references: (N, 9) in their units; NaN where one is missing.
        facts: (N, 3), see `FACTS`, for scales of stroke volume too; None: without them.

    Raises:
        InputError: none can be learned.
    """
    scales = tuple(_fit_scale(references[:, i], p.winsor, p.log) for i, p in enumerate(PARAMETERS))
    volumes = np.empty((0, 0)) if facts is None else stroke_volumes(references, facts).T
    scaler = TargetScaler(scales, tuple(_fit_scale(column, STROKE_WINSOR, log=True) for column in volumes))
    if len(scaler.left_out) == len(KEYS):
        raise InputError(
            f"No parameter has {LEAST_VALUES} different values among the {len(references)} training patients "
            "of this fold: nothing can be learned. Add patients or values."
        )
    return scaler


def _not_learned(log: bool) -> TargetScale:
    return TargetScale(np.nan, np.nan, log, np.nan, np.nan)


def _fit_scale(values: FloatArray, winsor: tuple[float, float], log: bool) -> TargetScale:
    present = values[np.isfinite(values)]
    if np.unique(present).size < LEAST_VALUES:
        return _not_learned(log)
    low, high = np.percentile(present, winsor)
    if low == high:
        low, high = present.min(), present.max()
    clipped = np.clip(present, low, high)
    clipped = np.log(clipped) if log else clipped
    return TargetScale(float(low), float(high), log, float(clipped.mean()), float(clipped.std()))
