"""The cardiac cycle: how far the chambers have contracted and the valves opened at each phase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Array = NDArray[np.float64]

RELAXATION = 0.06
"""Isovolumic relaxation, as a share of the cycle."""


@dataclass(frozen=True)
class Cycle:
    """State of the heart at T phases; every field has shape (T,).

    Attributes:
        contraction: left ventricle, 0 at end-diastole, 1 at end-systole.
        right_contraction: right ventricle, a little later.
        atrial: atrial filling, 1 just before the mitral valve opens, 0 after the atrial kick.
        mitral: opening of the atrioventricular valves, 0 to 1.
        aortic: opening of the aortic valve, 0 to 1.
    """

    contraction: Array
    right_contraction: Array
    atrial: Array
    mitral: Array
    aortic: Array


def cardiac_cycle(phases: Array, systole: float, early_filling: float) -> Cycle:
    """Evaluate the cycle.

    Args:
        phases: (T,), 0 at an R wave, 1 at the next; any real number is taken modulo 1.
        systole: share of the cycle that systole takes.
        early_filling: share of the stroke volume that returns in the early wave, the rest in the atrial kick.
    """
    phase = np.mod(phases, 1.0)
    start = systole + RELAXATION
    early_end, kick = start + 0.42 * (1 - start), start + 0.68 * (1 - start)
    left = 1 - early_filling
    early, late = np.clip(1.25 * early_filling, 0, 1), np.clip(1.6 * left, 0.15, 1)
    knots = (0, 0.04, systole, start, early_end, kick, 0.99)
    volume = (0, 0.02, 1, 0.97, left + 0.02, left, 0)
    contraction = _curve(phase, knots, volume)
    right = _curve(np.mod(phase - 0.015, 1.0), knots, volume)
    atrial = _curve(phase, (0, start, early_end, kick, 0.97), (0.03, 1, 0.48, 0.45, 0))
    mitral = _curve(
        phase,
        (0, start - 0.01, start + 0.3 * (early_end - start), early_end, kick, (kick + 0.99) / 2, 0.995),
        (0, 0, early, 0.35 * early, 0.3 * early, late, 0),
    )
    aortic = _curve(phase, (0, 0.04, 0.09, 0.75 * systole, systole), (0, 0, 1, 0.85, 0))
    return Cycle(contraction, right, atrial, mitral, aortic)


def _curve(phase: Array, knots: tuple[float, ...], values: tuple[float, ...]) -> Array:
    """Periodic shape-preserving curve through knots in [0, 1); the value at 1 is that at 0."""
    x = np.concatenate([np.asarray(knots[-2:]) - 1, knots, 1 + np.asarray(knots[:2])])
    y = np.concatenate([values[-2:], values, values[:2]])
    return np.asarray(PchipInterpolator(x, y)(phase), dtype=np.float64)
