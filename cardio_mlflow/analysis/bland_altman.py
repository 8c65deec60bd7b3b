"""Bland-Altman analysis: bias, limits of agreement, and bias that grows with the value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from cardio_mlflow.analysis.agreement import SMALLEST, is_constant
from cardio_mlflow.analysis.predictions import FloatArray, reference_and_prediction
from cardio_mlflow.parameters import KEYS, Parameter, parameter

COLUMNS: Final = (
    "parameter", "unit", "n", "bias", "bias_low", "bias_high", "sd", "lower", "lower_low", "lower_high",
    "upper", "upper_low", "upper_high", "proportional_slope", "proportional_low", "proportional_high",
    "proportional_p", "proportional_intercept", "proportional_sd", "note",
)  # fmt: skip

SIGNIFICANT: Final = 0.05

ROUNDING: Final = 1e-9
"""What is this much smaller than the values themselves is rounding, and counts as zero."""


@dataclass(frozen=True)
class LimitsOfAgreement:
    """Bland-Altman statistics of prediction − reference, in the parameter's unit.

    Attributes:
        sd: the differences' standard deviation with n − 1.
        lower, upper: bias ∓ 1.96·sd.
        lower_interval, upper_interval: exact 95 % confidence interval of each limit.
        bias_interval: 95 % confidence interval of the bias (Student's t).
    """

    bias: float
    sd: float
    lower: float
    upper: float
    lower_interval: tuple[float, float]
    upper_interval: tuple[float, float]
    bias_interval: tuple[float, float]


def limits_of_agreement(reference: FloatArray, prediction: FloatArray) -> LimitsOfAgreement:
    """Bland-Altman limits of agreement with exact confidence intervals.

    Bland JM, Altman DG. Lancet 1986;327:307-310, with the n − 1 standard deviation. The interval of
    a limit bias + z·sd is bias + sd·t'/√n, with t' the quantiles of the non-central t distribution of
    n − 1 degrees of freedom and non-centrality z·√n: Carkeet A. Exact parametric confidence intervals
    for Bland-Altman limits of agreement. Optom Vis Sci 2015;92:e71-e80 (each limit by itself).

    Args:
        reference: shape (n,).
        prediction: shape (n,).

    Returns:
        The statistics, all NaN for fewer than three patients.
    """
    n = reference.shape[-1]
    nothing = (np.nan, np.nan)
    if n < SMALLEST:
        return LimitsOfAgreement(np.nan, np.nan, np.nan, np.nan, nothing, nothing, nothing)
    difference = prediction - reference
    mean, sd, z = float(difference.mean()), float(difference.std(ddof=1)), float(stats.norm.ppf(0.975))
    near, far = (float(stats.nct.ppf(q, n - 1, z * np.sqrt(n))) * sd / np.sqrt(n) for q in (0.025, 0.975))
    half = float(stats.t.ppf(0.975, n - 1)) * sd / np.sqrt(n)
    return LimitsOfAgreement(
        bias=mean,
        sd=sd,
        lower=mean - z * sd,
        upper=mean + z * sd,
        lower_interval=(mean - far, mean - near),
        upper_interval=(mean + near, mean + far),
        bias_interval=(mean - half, mean + half),
    )


@dataclass(frozen=True)
class ProportionalBias:
    """The line through differences against means.

    Attributes:
        slope: change of prediction − reference for each unit of their mean.
        low, high: its 95 % confidence interval (Student's t).
        p: two-sided p of a slope of zero.
        intercept: the line's difference at a mean of zero.
        sd: of the differences about the line, with n − 2.
    """

    slope: float
    low: float
    high: float
    p: float
    intercept: float
    sd: float

    @property
    def is_shown(self) -> bool:
        """Whether the bias depends on the value (p < 0.05), so that level limits would mislead."""
        return self.p < SIGNIFICANT

    def limits(self, mean: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Bias, lower and upper limit at these means: the line, and the line ∓ 1.96 SD about it."""
        bias = self.intercept + self.slope * mean
        half = float(stats.norm.ppf(0.975)) * self.sd
        return bias, bias - half, bias + half


def proportional_bias(reference: FloatArray, prediction: FloatArray) -> ProportionalBias:
    """Least-squares slope of the difference on the mean of reference and prediction.

    Bland JM, Altman DG. Measuring agreement in method comparison studies. Stat Methods Med Res
    1999;8:135-160, section 3.2; interval and p by Student's t with n − 2 degrees of freedom.

    Args:
        reference: shape (n,).
        prediction: shape (n,).

    Returns:
        All NaN for fewer than three patients or constant means; interval and p NaN when the differences
        lie on the line exactly.
    """
    n = reference.size
    mean, difference = (reference + prediction) / 2, prediction - reference
    if n < SMALLEST or is_constant(mean):
        return ProportionalBias(*[np.nan] * 6)
    x, y = mean - mean.mean(), difference - difference.mean()
    slope = float((x * y).sum() / (x * x).sum())
    residual = y - slope * x
    intercept = float(difference.mean() - slope * mean.mean())
    if np.abs(residual).max() <= ROUNDING * np.abs(reference).max():
        return ProportionalBias(slope, np.nan, np.nan, np.nan, intercept, 0.0)
    sd = float(np.sqrt((residual**2).sum() / (n - 2)))
    error = sd / float(np.sqrt((x * x).sum()))
    half = float(stats.t.ppf(0.975, n - 2)) * error
    p = 2 * float(stats.t.sf(abs(slope) / error, n - 2))
    return ProportionalBias(slope, slope - half, slope + half, p, intercept, sd)


def bland_altman_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Limits of agreement and proportional bias of each parameter.

    Args:
        predictions: a checked predictions table of one variant and cohort; a patient without a reference
            for a parameter is left out of that parameter.

    Returns:
        One row for each parameter that occurs, in table order, with `COLUMNS`; differences are
        prediction − reference in the parameter's unit, `note` says why a value is NaN.
    """
    present = set(predictions["parameter"])
    rows = [_row(predictions, parameter(key)) for key in KEYS if key in present]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(predictions: pd.DataFrame, wanted: Parameter) -> dict[str, object]:
    reference, prediction = reference_and_prediction(predictions, wanted.key)
    limits = limits_of_agreement(reference, prediction)
    row: dict[str, object] = {"parameter": wanted.key, "unit": wanted.unit, "n": reference.size}
    row |= {"bias": limits.bias, "sd": limits.sd, "lower": limits.lower, "upper": limits.upper}
    for name in ("bias", "lower", "upper"):
        row[f"{name}_low"], row[f"{name}_high"] = getattr(limits, f"{name}_interval")
    proportional = proportional_bias(reference, prediction)
    row |= {f"proportional_{name}": value for name, value in asdict(proportional).items()}
    row["note"] = _note(reference, prediction, proportional)
    return row


def _note(reference: FloatArray, prediction: FloatArray, proportional: ProportionalBias) -> str:
    n = reference.size
    if n < SMALLEST:
        return f"{n} patient{'s' if n > 1 else ''}: no limits of agreement" if n else "no reference"
    notes = []
    if np.ptp(prediction - reference) <= ROUNDING * np.abs(reference).max():
        notes.append("all differences are equal")
    if np.isnan(proportional.slope):
        notes.append("constant means: no proportional bias")
    elif np.isnan(proportional.p):
        notes.append("the differences lie on a line: no interval of the proportional bias")
    return "; ".join(notes)
