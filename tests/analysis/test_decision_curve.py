from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.api import Logit, add_constant

from cardio_mlflow.analysis.decision_curve import (
    COLUMNS,
    THRESHOLDS,
    decision_curve,
    decision_note,
    net_benefit_of_each,
)


def test_net_benefit_by_hand() -> None:
    positive = np.array([True, True, False, False, False])
    probability = np.array([0.9, 0.2, 0.6, 0.2, 0.1])
    benefit = dict(zip(THRESHOLDS, net_benefit_of_each(positive, probability).mean(axis=1), strict=True))
    # at 0.2 (two true, two false): 2/5 - 2/5 · 0.2/0.8; at 0.5 (one, one): 1/5 - 1/5; at 0.8 one true
    assert benefit[0.2] == pytest.approx(0.3)
    assert benefit[0.5] == pytest.approx(0.0)
    assert benefit[0.8] == pytest.approx(0.2)


def test_the_curve_against_statsmodels_fitted_on_the_other_folds(table) -> None:
    one = table()
    curve = decision_curve(one.sample(frac=1, random_state=0), 200, 0)
    assert list(curve.columns) == list(COLUMNS)
    assert decision_note(one) == ""
    rows = one[one["parameter"] == "meanPAP"]
    ill, x = (rows["reference"] > 20).to_numpy(), add_constant(rows["prediction"].to_numpy())
    fold, probability = rows["fold"].to_numpy(int), np.zeros(40)
    for f in range(1, 6):
        fit = Logit(ill[fold != f].astype(float), x[fold != f]).fit(disp=0)
        probability[fold == f] = fit.predict(x[fold == f])
    for row in curve.itertuples():
        treated, odds = probability >= row.threshold, row.threshold / (1 - row.threshold)
        assert row.model == pytest.approx((np.sum(treated & ill) - odds * np.sum(treated & ~ill)) / 40)
        assert row.treat_all == pytest.approx((ill.sum() - odds * (~ill).sum()) / 40)
    assert (curve["treat_none"] == 0).all()
    assert (curve["n"] == 40).all()
    assert curve["prevalence"][0] == ill.mean()
    assert (curve["model_low"] <= curve["model_high"]).all()


def test_without_folds_the_parts_do_not_hang_on_the_seed(table) -> None:
    first, second = (decision_curve(table(cohort="II"), 50, seed) for seed in (1, 2))
    pd.testing.assert_series_equal(first["model"], second["model"])
    assert len(first) == len(THRESHOLDS)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("reference", np.nan, "no reference of meanPAP"),
        ("reference", 35.0, "every reference has meanPAP > 20 mmHg"),
        ("reference", 20.0, "no reference has meanPAP > 20 mmHg"),
        ("prediction", 20.0, "constant predictions"),
        ("fold", 1, "one fold only"),
    ],
)
def test_an_undefined_curve_is_empty_and_says_why(table, column: str, value: float, reason: str) -> None:
    one = table()
    one.loc[one["parameter"] == "meanPAP", column] = value
    assert decision_note(one).startswith(reason)
    curve = decision_curve(one, 50, 0)
    assert curve.empty
    assert list(curve.columns) == list(COLUMNS)


def test_a_prediction_that_separates_ph_has_no_curve(table) -> None:
    one = table().assign(prediction=lambda t: t["reference"])
    assert "separates PH fully" in decision_note(one)
    assert decision_curve(one, 50, 0).empty
    assert decision_curve(table(1), 50, 0).empty
