from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn import metrics
from statsmodels.stats.weightstats import DescrStatsW

from cardio_mlflow.analysis.agreement import (
    bias,
    concordance,
    mean_absolute_error,
    pearson,
    root_mean_squared_error,
    spearman,
)
from cardio_mlflow.analysis.bland_altman import limits_of_agreement

PAIRS = hnp.arrays(np.float64, st.tuples(st.just(2), st.integers(5, 40)), elements=st.integers(-50, 50))
GENERATOR = np.random.default_rng(5)
REFERENCE = GENERATOR.lognormal(3, 0.5, 73)
PREDICTION = 0.6 * REFERENCE + GENERATOR.normal(5, 4, 73)


@given(PAIRS)
def test_correlations_equal_scipys_ties_included(pairs) -> None:
    reference, prediction = pairs
    if np.ptp(reference) == 0 or np.ptp(prediction) == 0:
        assert np.isnan(pearson(reference, prediction))
        assert np.isnan(spearman(reference, prediction))
        return
    assert pearson(reference, prediction) == pytest.approx(stats.pearsonr(*pairs)[0], abs=1e-12)
    assert spearman(reference, prediction) == pytest.approx(stats.spearmanr(*pairs)[0], abs=1e-12)


@given(PAIRS)
def test_errors_equal_sklearns(pairs) -> None:
    assert mean_absolute_error(*pairs) == pytest.approx(metrics.mean_absolute_error(*pairs))
    assert root_mean_squared_error(*pairs) == pytest.approx(metrics.root_mean_squared_error(*pairs))
    assert bias(*pairs) == pytest.approx(pairs[1].mean() - pairs[0].mean(), abs=1e-10)


def test_the_sign_of_a_correlation_and_of_the_bias() -> None:
    assert pearson(REFERENCE, -PREDICTION) == -pearson(REFERENCE, PREDICTION) < 0
    assert bias(REFERENCE, REFERENCE + 2) == pytest.approx(2)


def test_concordance_is_pearson_times_bias_correction() -> None:
    """Lin 1989: CCC = rho * C_b, C_b = 2 / (v + 1/v + u²), from scipy's and numpy's own moments."""
    v = PREDICTION.std() / REFERENCE.std()
    u = (PREDICTION.mean() - REFERENCE.mean()) / np.sqrt(PREDICTION.std() * REFERENCE.std())
    expected = stats.pearsonr(REFERENCE, PREDICTION)[0] * 2 / (v + 1 / v + u * u)
    assert concordance(REFERENCE, PREDICTION) == pytest.approx(expected, rel=1e-12)


def test_concordance_by_hand() -> None:
    # means 2 and 4, variances 2/3 and 8/3, covariance 4/3: 2·(4/3) / (2/3 + 8/3 + 4)
    assert concordance(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])) == pytest.approx(8 / 22)


@pytest.mark.parametrize("statistic", [pearson, spearman, concordance, mean_absolute_error, bias])
def test_statistics_work_along_the_last_axis(statistic) -> None:
    stacked = np.stack([REFERENCE, REFERENCE[::-1], np.full(73, 0.1)])
    rows = [float(statistic(row, PREDICTION)) for row in stacked]
    np.testing.assert_allclose(
        statistic(stacked, np.broadcast_to(PREDICTION, stacked.shape)), rows, rtol=1e-12
    )


@pytest.mark.parametrize("statistic", [pearson, spearman])
def test_a_constant_up_to_single_precision_has_no_correlation(statistic) -> None:
    assert np.isnan(statistic(np.full(73, 0.1) + np.arange(73) * 1e-10, PREDICTION))
    assert np.isnan(statistic(REFERENCE, np.full(73, 1 / 3)))


@pytest.mark.parametrize("statistic", [pearson, spearman, concordance])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_patients_have_no_correlation(statistic, n: int) -> None:
    assert np.isnan(statistic(REFERENCE[:n], PREDICTION[:n]))


def test_errors_of_nobody_are_nan() -> None:
    assert np.isnan(mean_absolute_error(REFERENCE[:0], PREDICTION[:0]))
    assert np.isnan(root_mean_squared_error(REFERENCE[:0], PREDICTION[:0]))


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


def test_golden_values() -> None:
    reference = np.array([12.0, 18.0, 25.0, 33.0, 47.0])
    prediction = np.array([15.0, 16.0, 28.0, 30.0, 40.0])
    got = [float(f(reference, prediction)) for f in (pearson, spearman, concordance, mean_absolute_error,
                                                      root_mean_squared_error, bias)]  # fmt: skip
    np.testing.assert_allclose(got, GOLDEN, rtol=1e-9)


GOLDEN = [0.972259632494, 1.0, 0.932773109244, 3.6, 4.0, -1.2]
