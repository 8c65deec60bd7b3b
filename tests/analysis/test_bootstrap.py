from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from cardio_mlflow.analysis.agreement import bias, pearson, root_mean_squared_error
from cardio_mlflow.analysis.bootstrap import bootstrap_interval, expanded_level, percentile_interval, resample
from cardio_mlflow.analysis.discrimination import area_under_curve

GENERATOR = np.random.default_rng(2)
REFERENCE = GENERATOR.normal(20, 6, 73)
PREDICTION = 0.7 * REFERENCE + GENERATOR.normal(0, 3, 73)


@pytest.mark.parametrize("statistic", [pearson, bias, root_mean_squared_error])
def test_agrees_with_scipys_own_bca_bootstrap(statistic) -> None:
    ours = bootstrap_interval(statistic, REFERENCE, PREDICTION, 4000, 0)
    theirs = stats.bootstrap(
        (REFERENCE, PREDICTION), lambda x, y, axis: statistic(x, y), paired=True, method="BCa",
        n_resamples=4000, vectorized=True, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    scale = 1 if statistic is pearson else float(np.std(PREDICTION - REFERENCE))
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02 * scale)
    assert (ours.used, ours.dropped) == (4000, 0)


def test_bca_of_the_same_resamples_is_scipys() -> None:
    """Given the same resamples both read the same quantiles."""
    drawn = resample(73, 2000, 3)
    values = pearson(REFERENCE[drawn], PREDICTION[drawn])
    theirs = stats.bootstrap(
        (REFERENCE, PREDICTION), lambda x, y, axis: pearson(x, y), paired=True, method="BCa",
        n_resamples=0, vectorized=True, bootstrap_result=SimpleNamespace(bootstrap_distribution=values),
        confidence_level=expanded_level(0.95, 73),
    ).confidence_interval  # fmt: skip
    ours = bootstrap_interval(pearson, REFERENCE, PREDICTION, 2000, 3)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-3)
    plain = percentile_interval(values)
    assert ours.low != plain.low


def distinct(reference, prediction):
    """How many patients occur: fewer in every resample than in the sample."""
    return (np.diff(np.sort(reference, axis=-1), axis=-1) > 0).sum(axis=-1) + 1.0


def test_where_bca_is_undefined_the_percentile_interval_is_given() -> None:
    drawn = resample(73, 500, 0)
    assert bootstrap_interval(distinct, REFERENCE, PREDICTION, 500, 0) == percentile_interval(
        distinct(REFERENCE[drawn], PREDICTION[drawn]), expanded_level(0.95, 73)
    )


@pytest.mark.parametrize("patients", [4, 10, 73])
def test_the_interval_of_a_mean_is_as_wide_as_students(patients: int) -> None:
    """The expanded percentile interval of Hesterberg 2015: nearly Student's, where values are symmetric."""
    values = np.linspace(-1, 1, patients)
    drawn = np.random.default_rng(0).normal(0, np.sqrt(values.var() / patients), 400_000)
    interval = percentile_interval(drawn, expanded_level(0.95, patients))
    low, high = stats.t.interval(0.95, patients - 1, 0, stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=0.03)


def test_seed_and_level() -> None:
    one = bootstrap_interval(bias, REFERENCE, PREDICTION, 500, 7)
    assert one == bootstrap_interval(bias, REFERENCE, PREDICTION, 500, 7)
    assert one != bootstrap_interval(bias, REFERENCE, PREDICTION, 500, 8)
    narrow = bootstrap_interval(bias, REFERENCE, PREDICTION, 500, 7, level=0.5)
    assert one.low < narrow.low < narrow.high < one.high


def test_resamples_without_both_classes_are_dropped_and_counted() -> None:
    reference = np.array([1.0] * 9 + [3.0])
    auc = partial(area_under_curve, cutoff=2.0, abnormal="above")
    interval = bootstrap_interval(auc, reference, np.arange(10.0), 2000, 0)
    assert interval.dropped / 2000 == pytest.approx(0.9**10, abs=0.04)
    assert interval.used + interval.dropped == 2000
    assert np.isnan(interval.low), "always 1, which is no certainty"
    assert interval.note.endswith("of 2000 resamples: no bootstrap interval")
    assert bootstrap_interval(bias, REFERENCE, REFERENCE, 100, 0).note == (
        "the same on every resample: no bootstrap interval"
    )


def test_too_few_defined_resamples_give_no_interval() -> None:
    values = np.array([0.5, 0.6, np.nan, np.nan, np.nan])
    assert np.isnan(percentile_interval(values).low)
    assert percentile_interval(values).dropped == 3
    assert np.isnan(bootstrap_interval(bias, REFERENCE[:3], PREDICTION[:3], 100, 0).high)
    assert bootstrap_interval(bias, REFERENCE[:3], PREDICTION[:3], 100, 0).note == (
        "too few patients for a bootstrap interval"
    )
    assert bootstrap_interval(bias, REFERENCE[:4], PREDICTION[:4], 100, 0).note == ""
