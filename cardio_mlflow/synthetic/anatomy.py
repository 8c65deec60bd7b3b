"""The latent anatomy of a synthetic patient: what images carry of the hemodynamics, with its own noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cardio_mlflow.synthetic.seeding import Stream, patient_normals

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Latent:
    """One anatomical quantity.

    Attributes:
        law: expected value given hemodynamics (with SV and SVI), before noise.
        noise: SD of the patient's own deviation; log-normal if `relative`.
        limits: smallest and largest value that can be drawn.
    """

    name: str
    unit: str
    law: Callable[[pd.DataFrame], Array]
    noise: float
    limits: tuple[float, float]
    relative: bool = False


def _column(table: pd.DataFrame, name: str) -> Array:
    return table[name].to_numpy(dtype=np.float64)


def _log_pvr(table: pd.DataFrame) -> Array:
    """Natural logarithm of PVR over 1.5 Wood units."""
    return np.log(np.maximum(_column(table, "PVR"), 0.2) / 1.5)


def _right_atrium(h: pd.DataFrame) -> Array:
    return 13.5 * np.exp(0.045 * (_column(h, "RAP") - 6))


def _left_atrium(h: pd.DataFrame) -> Array:
    return 16.0 * np.exp(0.031 * (_column(h, "PCWP") - 9))


def _atrial_septum(h: pd.DataFrame) -> Array:
    return 0.075 * (_column(h, "PCWP") - _column(h, "RAP") - 6)


def _early_filling(h: pd.DataFrame) -> Array:
    return 0.60 + 0.012 * (_column(h, "PCWP") - 12)


def _right_ventricle(h: pd.DataFrame) -> Array:
    return 17.0 * np.exp(0.011 * (_column(h, "meanPAP") - 16) + 0.008 * (_column(h, "RAP") - 6))


def _right_shortening(h: pd.DataFrame) -> Array:
    return 0.46 - 0.095 * _log_pvr(h)


def _tricuspid_motion(h: pd.DataFrame) -> Array:
    return 2.1 + 0.045 * (_column(h, "SVI") - 36) - 0.20 * _log_pvr(h)


def _right_wall(h: pd.DataFrame) -> Array:
    return 0.38 + 0.0095 * (_column(h, "SPAP") - 28)


def _systolic_flattening(h: pd.DataFrame) -> Array:
    return 0.60 * _column(h, "SPAP") / (1.3 * _column(h, "MAP")) - 0.12


def _diastolic_flattening(h: pd.DataFrame) -> Array:
    return 0.09 + 0.15 * _log_pvr(h)


def _outflow_tract(h: pd.DataFrame) -> Array:
    return 2.5 + 0.035 * (_column(h, "dPAP") - 12)


def _ejection_fraction(h: pd.DataFrame) -> Array:
    return 0.57 + 0.0105 * (_column(h, "SVI") - 36) - 0.002 * (_column(h, "PCWP") - 12)


def _end_diastolic_volume(h: pd.DataFrame) -> Array:
    return _column(h, "SV") / np.clip(_ejection_fraction(h), 0.22, 0.74)


def _aortic_opening(h: pd.DataFrame) -> Array:
    return 0.70 + 0.016 * (_column(h, "SVI") - 36)


def _aortic_root(h: pd.DataFrame) -> Array:
    return 2.9 + 1.2 * (_column(h, "BSA") - 1.85)


def _left_wall(h: pd.DataFrame) -> Array:
    return 0.95 + 0.012 * (_column(h, "MAP") - 91)


def _systolic_share(h: pd.DataFrame) -> Array:
    """Left ventricular ejection time, 413 − 1.7·HR ms (Weissler et al., Circulation 1968), over the cycle."""
    rate = _column(h, "HR")
    return (413 - 1.7 * rate) * rate / 60_000


LATENTS: tuple[Latent, ...] = (
    Latent("ra_area", "cm²", _right_atrium, 0.17, (8, 42), relative=True),
    Latent("la_area", "cm²", _left_atrium, 0.19, (9, 42), relative=True),
    Latent("atrial_septum", "", _atrial_septum, 0.4, (-1, 1)),
    Latent("early_filling", "", _early_filling, 0.09, (0.35, 0.90)),
    Latent("rv_area", "cm²", _right_ventricle, 0.19, (10, 38), relative=True),
    Latent("rv_shortening", "", _right_shortening, 0.09, (0.10, 0.60)),
    Latent("tricuspid_motion", "cm", _tricuspid_motion, 0.34, (0.6, 3.2)),
    Latent("rv_wall", "cm", _right_wall, 0.18, (0.25, 1.3)),
    Latent("systolic_flattening", "", _systolic_flattening, 0.1, (0, 0.6)),
    Latent("diastolic_flattening", "", _diastolic_flattening, 0.12, (0, 0.5)),
    Latent("outflow_tract", "cm", _outflow_tract, 0.42, (1.8, 4.6)),
    Latent("lv_volume", "ml", _end_diastolic_volume, 0.12, (45, 240), relative=True),
    Latent("lv_ejection", "", _ejection_fraction, 0.052, (0.20, 0.76)),
    Latent("aortic_opening", "", _aortic_opening, 0.1, (0.25, 1.0)),
    Latent("aortic_root", "cm", _aortic_root, 0.14, (2.1, 4.2)),
    Latent("lv_wall", "cm", _left_wall, 0.1, (0.55, 1.6)),
    Latent("systole", "", _systolic_share, 0.014, (0.24, 0.50)),
)
"""Every latent the images carry, in column order."""

LATENT_NAMES: tuple[str, ...] = tuple(latent.name for latent in LATENTS)


def draw_anatomy(hemodynamics: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw each patient's anatomy given the references.

    Args:
        hemodynamics: the table of `draw_hemodynamics` from its first patient on, with HR, BSA and MAP.
        seed: the cohort's seed.

    Returns:
        One row per patient, same index; columns LATENT_NAMES in the units of LATENTS.
    """
    noise = patient_normals(len(hemodynamics), seed, Stream.ANATOMY, len(LATENTS))
    stroke = 1000 * hemodynamics["CO"] / hemodynamics["HR"]
    table = hemodynamics.assign(SV=stroke, SVI=stroke / hemodynamics["BSA"])
    columns = {latent.name: _draw(latent, table, z) for latent, z in zip(LATENTS, noise.T, strict=True)}
    return pd.DataFrame(columns, index=hemodynamics.index)


def _draw(latent: Latent, table: pd.DataFrame, z: Array) -> Array:
    expected = latent.law(table)
    drawn = expected * np.exp(latent.noise * z) if latent.relative else expected + latent.noise * z
    return np.clip(drawn, *latent.limits)
