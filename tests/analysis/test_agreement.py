from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn import metrics
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from cardio_mlflow.analysis.agreement import (
    bias,
    calibration_intercept,
    calibration_slope,
    concordance,
    fisher_interval,
    icc_2_1,
    intraclass_correlation,
    mean_absolute_error,
    pearson,
    root_mean_squared_error,
    spearman,
)

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


@pytest.mark.parametrize(
    "statistic",
    [
        pearson,
        spearman,
        concordance,
        mean_absolute_error,
        bias,
        intraclass_correlation,
        calibration_slope,
        calibration_intercept,
    ],
)
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


@pytest.mark.parametrize(
    "statistic",
    [pearson, spearman, concordance, intraclass_correlation, calibration_slope, calibration_intercept],
)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_patients_have_no_correlation(statistic, n: int) -> None:
    assert np.isnan(statistic(REFERENCE[:n], PREDICTION[:n]))


def test_errors_of_nobody_are_nan() -> None:
    assert np.isnan(mean_absolute_error(REFERENCE[:0], PREDICTION[:0]))
    assert np.isnan(root_mean_squared_error(REFERENCE[:0], PREDICTION[:0]))


def test_golden_values() -> None:
    reference = np.array([12.0, 18.0, 25.0, 33.0, 47.0])
    prediction = np.array([15.0, 16.0, 28.0, 30.0, 40.0])
    got = [float(f(reference, prediction)) for f in (pearson, spearman, concordance, mean_absolute_error,
                                                      root_mean_squared_error, bias)]  # fmt: skip
    np.testing.assert_allclose(got, GOLDEN, rtol=1e-9)


GOLDEN = [0.972259632494, 1.0, 0.932773109244, 3.6, 4.0, -1.2]


SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7.0]]
)


def test_icc_of_the_papers_example() -> None:
    """Shrout and Fleiss 1979, tables 2 and 4: ICC(2,1) = .29."""
    assert icc_2_1(SHROUT_FLEISS) == pytest.approx(0.29, abs=0.005)
    both = icc_2_1(np.stack([SHROUT_FLEISS, SHROUT_FLEISS + np.arange(4.0)]))
    assert both[0] == icc_2_1(SHROUT_FLEISS) != both[1]


def test_icc_equals_that_from_statsmodels_analysis_of_variance() -> None:
    patients, raters = np.tile(np.arange(73), 2), np.repeat([0, 1], 73)
    long = pd.DataFrame({"y": np.append(REFERENCE, PREDICTION), "patient": patients, "rater": raters})
    squares = anova_lm(ols("y ~ C(patient) + C(rater)", long).fit())["mean_sq"]
    msr, msc, mse = (squares[name] for name in ("C(patient)", "C(rater)", "Residual"))
    expected = (msr - mse) / (msr + mse + 2 * (msc - mse) / 73)
    assert intraclass_correlation(REFERENCE, PREDICTION) == pytest.approx(expected, rel=1e-9)


def test_icc_of_constants_and_of_one_rater() -> None:
    assert intraclass_correlation(REFERENCE, np.full(73, REFERENCE.mean())) == pytest.approx(0, abs=0.02)
    assert np.isnan(intraclass_correlation(np.full(73, 1.0), np.full(73, 2.0)))
    assert np.isnan(icc_2_1(SHROUT_FLEISS[:, :1]))
    assert np.isnan(icc_2_1(np.ones((6, 4))))


def test_the_calibration_line_is_that_of_the_reference_on_the_prediction() -> None:
    line = stats.linregress(PREDICTION, REFERENCE)
    assert calibration_slope(REFERENCE, PREDICTION) == pytest.approx(line.slope, rel=1e-12)
    assert calibration_intercept(REFERENCE, PREDICTION) == pytest.approx(line.intercept, rel=1e-9)
    assert np.isnan(calibration_slope(REFERENCE, np.full(73, 0.1)))
    assert np.isnan(calibration_intercept(REFERENCE, np.full(73, 0.1)))
    assert calibration_slope(np.full(73, 5.0), PREDICTION) == pytest.approx(0)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_fishers_interval_equals_scipys(level: float) -> None:
    result = stats.pearsonr(REFERENCE, PREDICTION)
    got = fisher_interval(float(result[0]), 73, level)
    assert got == pytest.approx(tuple(result.confidence_interval(level)), rel=1e-9)


@pytest.mark.parametrize(("r", "n"), [(0.5, 3), (1.0, 20), (-1.0, 20), (np.nan, 20)])
def test_fishers_interval_is_nan_where_undefined(r: float, n: int) -> None:
    assert np.isnan(fisher_interval(r, n)).all()
