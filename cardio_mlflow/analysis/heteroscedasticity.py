"""Whether the size of the errors depends on the predicted value: quartiles, Breusch-Pagan and White tests.

The residual of a quartile is prediction − reference, as in the bias; the tests look at the residuals of the
least-squares line of the reference on the prediction, so that a wrong slope is not taken for unequal spread.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.diagnostic import het_breuschpagan, het_white
from statsmodels.tools import add_constant

from cardio_mlflow.analysis.agreement import is_constant
from cardio_mlflow.analysis.predictions import FloatArray, reference_and_prediction
from cardio_mlflow.parameters import KEYS, parameter

SMALLEST_TESTED: Final = 8
"""Fewer patients than this are not tested: a quartile would hold fewer than two."""

QUARTILE_COLUMNS: Final = (
    "parameter", "unit", "quartile", "n", "prediction_low", "prediction_high",
    "residual_mean", "residual_sd", "sd_low", "sd_high",
)  # fmt: skip
TEST_COLUMNS: Final = (
    "parameter", "unit", "n", "bp_statistic", "bp_p", "white_statistic", "white_p", "sd_ratio", "note",
)  # fmt: skip


def residual_quartiles(predictions: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation of prediction − reference in each quartile of the prediction.

    Equal predictions stay in one quartile, so that quartiles may differ in size. The interval of a standard
    deviation is the chi-square interval for normal residuals, sd·√((n − 1) / χ²): Armitage P, Berry G,
    Matthews JNS. Statistical Methods in Medical Research, 4th edition, 2002, section 5.1.

    Returns:
        Four rows for each parameter that occurs, with `QUARTILE_COLUMNS`, in the parameter's unit; the
        values of a quartile without a patient are NaN, as are all of a constant prediction (n 0).
    """
    rows = [
        {"parameter": key, "unit": parameter(key).unit, "quartile": number} | _quartile(*values)
        for key in _present(predictions)
        for number, values in enumerate(_by_quartile(*reference_and_prediction(predictions, key)), start=1)
    ]
    return pd.DataFrame(rows, columns=list(QUARTILE_COLUMNS))


def heteroscedasticity_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Test whether the spread of the errors depends on the prediction.

    Breusch-Pagan in its robust form (Koenker R. J Econometrics 1981;17:107-112) and White's test
    (White H. Econometrica 1980;48:817-838), both on the residuals of the line reference ~ prediction.

    Returns:
        One row for each parameter that occurs, with `TEST_COLUMNS`; `sd_ratio` is the residual standard
        deviation of the fourth quartile over that of the first. NaN where `note` says why.
    """
    rows = [_test_row(predictions, key) for key in _present(predictions)]
    return pd.DataFrame(rows, columns=list(TEST_COLUMNS))


def _present(predictions: pd.DataFrame) -> list[str]:
    present = set(predictions["parameter"])
    return [key for key in KEYS if key in present]


def _by_quartile(reference: FloatArray, prediction: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """Reference and prediction of each quartile of the prediction, all empty for a constant prediction."""
    if prediction.size == 0 or is_constant(prediction):
        empty = np.empty(0)
        return [(empty, empty)] * 4
    edges = np.quantile(prediction, [0.25, 0.5, 0.75])
    quartile = np.searchsorted(edges, prediction, side="left")
    return [(reference[quartile == q], prediction[quartile == q]) for q in range(4)]


def _quartile(reference: FloatArray, prediction: FloatArray) -> dict[str, object]:
    """The columns of one quartile from `n` on."""
    residual, n = prediction - reference, reference.size
    sd = _sd(residual)
    low, high = np.nan, np.nan
    if n > 1:
        low, high = (sd * np.sqrt((n - 1) / stats.chi2.ppf(q, n - 1)) for q in (0.975, 0.025))
    return {
        "n": n,
        "prediction_low": prediction.min() if n else np.nan,
        "prediction_high": prediction.max() if n else np.nan,
        "residual_mean": residual.mean() if n else np.nan,
        "residual_sd": sd,
        "sd_low": low,
        "sd_high": high,
    }


def _sd(values: FloatArray) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else float("nan")


def _test_row(predictions: pd.DataFrame, key: str) -> dict[str, object]:
    reference, prediction = reference_and_prediction(predictions, key)
    names = TEST_COLUMNS[3:-1]
    row: dict[str, object] = {"parameter": key, "unit": parameter(key).unit, "n": reference.size}
    note = _why_untested(reference, prediction)
    if note:
        return row | dict.fromkeys(names, np.nan) | {"note": note}
    # Both tests are the same for any shift and scale of the prediction; this keeps their squares tame.
    design = add_constant((prediction - prediction.mean()) / prediction.std(), has_constant="add")
    residual = OLS(reference, design).fit().resid
    if is_constant(np.abs(residual)) or np.abs(residual).max() <= 1e-9 * np.abs(reference).max():
        return row | dict.fromkeys(names, np.nan) | {"note": "residuals of one size: no test"}
    with np.errstate(divide="ignore", invalid="ignore"):  # their F statistic, which is not used, may be 0/0
        bp, bp_p = het_breuschpagan(residual, design)[:2]
        curved = len(np.unique(prediction)) > 2  # else the square of White's design adds nothing
        white, white_p = het_white(residual, design)[:2] if curved else (np.nan, np.nan)
    ratio, note = _sd_ratio(reference, prediction)
    note = (
        note if curved else "; ".join(filter(None, ["only two different predictions: no White test", note]))
    )
    values = (float(bp), float(bp_p), float(white), float(white_p), ratio)
    return row | dict(zip(names, values, strict=True)) | {"note": note}


def _why_untested(reference: FloatArray, prediction: FloatArray) -> str:
    if reference.size == 0:
        return "no reference"
    if reference.size < SMALLEST_TESTED:
        return f"fewer than {SMALLEST_TESTED} patients: no test"
    sides = {"references": reference, "predictions": prediction}
    return "; ".join(f"constant {name}: no test" for name, side in sides.items() if is_constant(side))


def _sd_ratio(reference: FloatArray, prediction: FloatArray) -> tuple[float, str]:
    """The fourth quartile's residual standard deviation over the first's, and why it is NaN."""
    quartiles = _by_quartile(reference, prediction)
    first, last = (_sd(y - x) for x, y in (quartiles[0], quartiles[3]))
    if np.isnan(first) or np.isnan(last):
        return float("nan"), "a quartile of fewer than two patients: no sd ratio"
    if first <= 1e-9 * np.abs(reference).max():
        return float("nan"), "equal residuals in the first quartile: no sd ratio"
    return last / first, ""
