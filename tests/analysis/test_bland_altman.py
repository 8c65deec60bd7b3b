from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from cardio_mlflow.analysis.bland_altman import (
    COLUMNS,
    bland_altman_table,
    limits_of_agreement,
    proportional_bias,
)
from cardio_mlflow.analysis.predictions import reference_and_prediction
from cardio_mlflow.parameters import KEYS

GENERATOR = np.random.default_rng(5)
REFERENCE = GENERATOR.lognormal(3, 0.5, 73)
PREDICTION = 0.6 * REFERENCE + GENERATOR.normal(5, 4, 73)


def test_limits_use_n_minus_one_and_agree_with_statsmodels() -> None:
    limits = limits_of_agreement(REFERENCE, PREDICTION)
    described = DescrStatsW(PREDICTION - REFERENCE, ddof=1)
    assert limits.sd == pytest.approx(described.std_ddof(1))
    assert limits.bias == pytest.approx(described.mean)
    assert limits.bias_interval == pytest.approx(described.tconfint_mean(0.05))
    assert limits.upper - limits.bias == pytest.approx(1.959964 * limits.sd, rel=1e-6)


@pytest.mark.parametrize(("n", "factor"), [(10, 2.911), (20, 2.396), (50, 2.065), (100, 1.927)])
def test_the_intervals_formula_gives_published_tolerance_factors(n: int, factor: float) -> None:
    """One-sided normal tolerance factors for 95 % of a population with 95 % confidence.

    The exact interval of a limit of agreement is the same construction at another quantile
    (Owen 1963; NIST/SEMATECH e-Handbook 7.2.6.3 tabulates these k).
    """
    k = stats.nct.ppf(0.95, n - 1, stats.norm.ppf(0.95) * np.sqrt(n)) / np.sqrt(n)
    assert k == pytest.approx(factor, abs=6e-4)


def test_the_exact_intervals_cover_the_true_limit() -> None:
    """At n = 10, where the usual approximation covers too little, 95 % ± 2 of 4,000 simulations."""
    generator = np.random.default_rng(1)
    true_limit = 1 + 2 * stats.norm.ppf(0.975)
    differences = generator.normal(1, 2, size=(4000, 10))
    covered = 0
    unit = limits_of_agreement(np.zeros(10), np.arange(10.0))
    near, far = ((edge - unit.bias) / unit.sd for edge in unit.upper_interval)
    mean, sd = differences.mean(axis=1), differences.std(axis=1, ddof=1)
    covered = np.mean((mean + near * sd < true_limit) & (true_limit < mean + far * sd))
    assert covered == pytest.approx(0.95, abs=0.02)


def test_limits_are_symmetric_and_nan_for_two_patients() -> None:
    limits = limits_of_agreement(REFERENCE, PREDICTION)
    for below, above in zip(limits.lower_interval, limits.upper_interval[::-1], strict=True):
        assert limits.bias - below == pytest.approx(above - limits.bias)
    assert np.isnan(limits_of_agreement(REFERENCE[:2], PREDICTION[:2]).upper)


def test_proportional_bias_equals_scipys_line() -> None:
    line = stats.linregress((REFERENCE + PREDICTION) / 2, PREDICTION - REFERENCE)
    got = proportional_bias(REFERENCE, PREDICTION)
    half = stats.t.ppf(0.975, 71) * line.stderr
    assert got.slope == pytest.approx(line.slope)
    assert (got.low, got.high) == pytest.approx((line.slope - half, line.slope + half))
    assert got.p == pytest.approx(line.pvalue, rel=1e-6)


def test_sloped_limits_hold_95_percent_about_the_line() -> None:
    mean, difference = (REFERENCE + PREDICTION) / 2, PREDICTION - REFERENCE
    line = stats.linregress(mean, difference)
    got = proportional_bias(REFERENCE, PREDICTION)
    assert got.is_shown
    bias, lower, upper = got.limits(mean)
    assert bias == pytest.approx(line.intercept + line.slope * mean)
    residual = difference - line.intercept - line.slope * mean
    sd = np.sqrt((residual**2).sum() / (len(mean) - 2))
    assert upper - bias == pytest.approx(1.959964 * sd, rel=1e-6)
    assert bias - lower == pytest.approx(1.959964 * sd, rel=1e-6)
    assert not proportional_bias(REFERENCE, REFERENCE + GENERATOR.normal(0, 1, 73)).is_shown


def test_proportional_bias_where_it_is_undefined() -> None:
    assert np.isnan(proportional_bias(REFERENCE[:2], PREDICTION[:2]).slope)
    assert np.isnan(proportional_bias(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])).slope)
    exact = proportional_bias(REFERENCE, 2 * REFERENCE)
    assert exact.slope == pytest.approx(2 / 3)
    assert np.isnan([exact.low, exact.high, exact.p]).all()


def test_the_table_has_each_parameters_statistics(table) -> None:
    one = table()
    got = bland_altman_table(one.sample(frac=1, random_state=1))
    assert list(got.columns) == list(COLUMNS)
    assert list(got["parameter"]) == list(KEYS)
    assert (got["note"] == "").all()
    for row in got.itertuples():
        reference, prediction = reference_and_prediction(one, row.parameter)
        limits = limits_of_agreement(reference, prediction)
        assert (row.lower_low, row.lower_high) == limits.lower_interval
        assert (row.upper_low, row.upper_high) == limits.upper_interval
        assert row.bias == pytest.approx((prediction - reference).mean())
        assert row.sd == pytest.approx((prediction - reference).std(ddof=1))
        assert row.proportional_slope == proportional_bias(reference, prediction).slope


def test_degenerate_parameters_say_why(table) -> None:
    one = table(12)
    one.loc[one["parameter"] == "RAP", "reference"] = np.nan
    one.loc[(one["parameter"] == "CI") & (one["patient_id"] > "P001"), "reference"] = np.nan
    shifted = one["parameter"] == "PVR"
    one.loc[shifted, "prediction"] = one.loc[shifted, "reference"] + 1
    got = bland_altman_table(one).set_index("parameter")
    assert got.loc["RAP", "note"] == "no reference"
    assert got.loc["CI", "note"] == "2 patients: no limits of agreement"
    assert np.isnan(got.loc["CI", "bias"])
    assert got.loc["PVR", "note"].startswith("all differences are equal")
    assert got.loc["PVR", "bias"] == pytest.approx(1)
    assert bland_altman_table(table(1))["note"].eq("1 patient: no limits of agreement").all()
