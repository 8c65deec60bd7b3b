from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from cardio_mlflow.analysis.classification import (
    COLUMNS,
    classification_table,
    count,
    likelihood_ratio,
    wilson,
)
from cardio_mlflow.analysis.predictions import reference_and_prediction
from cardio_mlflow.parameters import KEYS, parameter


@pytest.mark.parametrize(("k", "n"), [(0, 20), (1, 29), (15, 148), (73, 73)])
def test_wilsons_interval_equals_statsmodels_and_scipys(k: int, n: int) -> None:
    share, low, high = wilson(k, n)
    theirs = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert share == k / n
    assert (low, high) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilsons_interval_of_nobody_and_as_published() -> None:
    assert np.isnan(wilson(0, 0)).all()
    # Newcombe, Stat Med 1998;17:857-872, table I
    assert wilson(15, 148)[1:] == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_likelihood_ratio_by_hand() -> None:
    # (40/50) / (10/100) = 8; variance of its log 1/40 - 1/50 + 1/10 - 1/100 = 0.095
    ratio, low, high = likelihood_ratio(40, 50, 10, 100)
    assert ratio == pytest.approx(8)
    assert low == pytest.approx(8 * np.exp(-1.959964 * np.sqrt(0.095)), rel=1e-6)
    assert high == pytest.approx(8 * np.exp(1.959964 * np.sqrt(0.095)), rel=1e-6)


def test_likelihood_ratio_of_zero_cells() -> None:
    assert np.isnan(likelihood_ratio(5, 10, 0, 10)).all()
    assert np.isnan(likelihood_ratio(0, 0, 3, 10)).all()
    assert likelihood_ratio(0, 10, 4, 10)[0] == 0
    assert np.isnan(likelihood_ratio(0, 10, 4, 10)[1:]).all()


def test_the_four_cells() -> None:
    counts = count(np.array([True, True, True, False, False, False]), np.array([1, 1, 0, 1, 0, 0], bool))
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == (2, 1, 1, 2)
    assert counts.shares["npv"] == (2, 3)


def test_the_table_counts_on_the_abnormal_side_of_cutoff_and_median(table) -> None:
    one = table()
    got = classification_table(one)
    assert list(got.columns) == list(COLUMNS)
    assert list(got["parameter"]) == [key for key in KEYS for _ in range(2)]
    for row in got.itertuples():
        reference, prediction = reference_and_prediction(one, row.parameter)
        p = parameter(row.parameter)
        limit = p.cutoff if row.split == "cut-off" else np.median(reference)
        ill, called = reference > limit, prediction > limit
        if row.parameter in ("CO", "CI"):
            ill, called = reference < limit, prediction < limit
        assert row.sensitivity == pytest.approx(called[ill].mean())
        assert row.specificity == pytest.approx((~called[~ill]).mean())
        assert row.ppv == pytest.approx(ill[called].mean())
        assert row.npv == pytest.approx((~ill[~called]).mean())
        assert row.accuracy == pytest.approx((ill == called).mean())
        assert row.lr_positive == pytest.approx(row.sensitivity / (1 - row.specificity))
        assert row.lr_negative == pytest.approx((1 - row.sensitivity) / row.specificity)
        assert row.tp + row.fp + row.fn + row.tn == row.n == 40
    assert got["criterion"][10] == "CO < 4 L/min"


def cells(one, key: str):
    return classification_table(one).set_index(["parameter", "split"]).loc[(key, "cut-off")]


def test_a_value_at_the_cutoff_is_normal(table) -> None:
    one = table(4)
    own = one["parameter"] == "CO"
    one.loc[own, "reference"] = [3.9, 4.0, 4.0, 4.1]
    one.loc[own, "prediction"] = [4.0, 4.0, 3.9, 5.0]
    assert cells(one, "CO")[["tp", "fp", "fn", "tn"]].tolist() == [0, 1, 1, 2]


def test_empty_cells_are_nan_with_the_reason(table) -> None:
    one = table(12)
    one.loc[one["parameter"] == "RAP", "prediction"] = 5.0
    one.loc[one["parameter"] == "CO", "reference"] = 5.0
    one.loc[one["parameter"] == "CI", "reference"] = 1.0
    one.loc[one["parameter"] == "PVR", "reference"] = np.nan
    own = one["parameter"] == "PCWP"
    one.loc[own, "prediction"] = one.loc[own, "reference"]
    assert "no prediction is abnormal: no PPV" in cells(one, "RAP")["note"]
    assert np.isnan(cells(one, "RAP")["ppv_low"])
    assert cells(one, "CO")["note"].startswith("no reference is abnormal")
    assert cells(one, "CI")["note"].startswith("no reference is normal")
    assert np.isnan([cells(one, "CO")["sensitivity"], cells(one, "CI")["specificity"]]).all()
    assert cells(one, "PVR")["note"] == "no reference"
    assert cells(one, "PVR")["n"] == 0
    assert cells(one, "PCWP")["note"] == "fp is 0: no LR+; fn is 0: no interval of LR−"
    assert cells(one, "PCWP")["lr_negative"] == 0
