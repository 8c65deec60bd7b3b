from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special
from sklearn.metrics import roc_auc_score, roc_curve

from cardio_mlflow.analysis.discrimination import (
    COLUMNS,
    area_under_curve,
    delong_interval,
    delong_variance,
    discrimination_table,
    roc_points,
)
from cardio_mlflow.parameters import KEYS, PARAMETERS, parameter

EACH = np.arange(40)
"""Everybody a person of its own."""

PAIRS = hnp.arrays(np.float64, st.tuples(st.just(2), st.integers(2, 30)), elements=st.integers(0, 9))


@given(PAIRS, st.sampled_from(["above", "below"]))
def test_equals_sklearn_in_both_directions_ties_included(pairs, side) -> None:
    reference, prediction = pairs
    abnormal = reference > 4 if side == "above" else reference < 4
    got = area_under_curve(reference, prediction, cutoff=4, abnormal=side)
    if abnormal.all() or not abnormal.any():
        assert np.isnan(got)
    else:
        score = prediction if side == "above" else -prediction
        assert got == pytest.approx(roc_auc_score(abnormal, score))


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda p: p.key)
def test_a_perfect_prediction_has_area_one_for_every_parameter(row) -> None:
    reference = row.cutoff * np.linspace(0.5, 1.5, 21)
    assert area_under_curve(reference, reference, cutoff=row.cutoff, abnormal=row.abnormal) == 1.0


def test_a_value_at_the_cutoff_is_normal() -> None:
    co = partial(area_under_curve, cutoff=parameter("CO").cutoff, abnormal="below")
    assert np.isnan(co(np.array([4.0, 5.0]), np.array([1.0, 2.0])))
    assert co(np.array([3.9, 4.0]), np.array([1.0, 2.0])) == 1.0


def test_works_along_the_last_axis() -> None:
    generator = np.random.default_rng(0)
    reference, prediction = generator.normal(size=(2, 6, 25))
    auc = partial(area_under_curve, cutoff=0.0, abnormal="above")
    expected = [roc_auc_score(r > 0, p) for r, p in zip(reference, prediction, strict=True)]
    np.testing.assert_allclose(auc(reference, prediction), expected)


def slow_delong(positive, score) -> tuple[float, float]:
    """Area and variance from every pair of patients (DeLong 1988, equations 3 to 6)."""
    wins = [[float(x > y) + 0.5 * (x == y) for y in score[~positive]] for x in score[positive]]
    v10, v01 = np.mean(wins, axis=1), np.mean(wins, axis=0)
    variance = np.var(v10, ddof=1) / len(v10) + np.var(v01, ddof=1) / len(v01)
    return float(np.mean(wins)), float(variance)


@pytest.mark.parametrize("seed", range(4))
def test_delong_equals_a_slow_direct_implementation_ties_included(seed: int) -> None:
    generator = np.random.default_rng(seed)
    positive = np.arange(40) < 14
    score = np.round(generator.normal(size=40) + 0.8 * positive, 1 if seed % 2 else 6)
    auc, variance = slow_delong(positive, score)
    assert delong_variance(positive, score, EACH) == pytest.approx(variance, rel=1e-10)
    half = 1.959964 * np.sqrt(variance) / (auc * (1 - auc))
    expected = special.expit(special.logit(auc) + np.array([-half, half]))
    assert delong_interval(positive, score, EACH) == pytest.approx(tuple(expected), rel=1e-6)


def test_delong_is_nan_where_undefined() -> None:
    score = np.arange(6.0)
    assert np.isnan(delong_variance(score > 4.5, score, EACH[: score.size]))
    assert np.isnan(delong_interval(score > 2.5, score, EACH[: score.size])).all()
    assert np.isnan(delong_interval(score > 9, score, EACH[: score.size])).all()


def labels_and_score(one, key: str, outcome: str):
    """PH or own cut-off, and the score that is higher for the abnormal side, by hand."""
    wide = {name: one.pivot_table(index="patient_id", columns="parameter", values=name)
            for name in ("reference", "prediction")}  # fmt: skip
    low = key in ("CO", "CI")
    reference, score = wide["reference"], wide["prediction"][key] * (-1 if low else 1)
    if outcome == "PH":
        return (reference["meanPAP"] > 20).to_numpy(), score.to_numpy()
    cutoff = parameter(key).cutoff
    own = reference[key] < cutoff if low else reference[key] > cutoff
    return own.to_numpy(), score.to_numpy()


def test_the_table_has_every_parameter_at_its_cutoff_and_for_ph(table) -> None:
    one = table()
    got = discrimination_table(one.sample(frac=1, random_state=2), 100, 0)
    assert list(got.columns) == list(COLUMNS)
    assert got["parameter"].tolist() == [*KEYS, *(key for key in KEYS if key != "meanPAP")]
    assert got["outcome"].tolist() == ["cut-off"] * 9 + ["PH"] * 8
    assert got["criterion"][5] == "CO < 4 L/min"
    assert (got["criterion"][9:] == "meanPAP > 20 mmHg").all()
    for row in got.itertuples():
        positive, score = labels_and_score(one, row.parameter, row.outcome)
        assert row.auc == pytest.approx(roc_auc_score(positive, score))
        assert (row.n, row.positives) == (40, positive.sum())
        assert row.auc_delong_low < row.auc < row.auc_delong_high
        assert row.auc_low < row.auc < row.auc_high
        assert row.note == ""


def test_roc_points_are_sklearns(table) -> None:
    one = table().round({"prediction": 0})
    points = roc_points(one)
    curves = points.groupby(["parameter", "outcome"], sort=False)
    assert len(curves) == 17
    for (key, outcome), curve in curves:
        positive, score = labels_and_score(one, key, outcome)
        fpr, tpr, threshold = roc_curve(positive, score, drop_intermediate=False)
        sign = -1 if key in ("CO", "CI") else 1
        np.testing.assert_allclose(curve["fpr"], fpr)
        np.testing.assert_allclose(curve["tpr"], tpr)
        np.testing.assert_allclose(curve["threshold"], sign * threshold)
        area = np.trapezoid(curve["tpr"], curve["fpr"])
        assert area == pytest.approx(roc_auc_score(positive, score))


def test_a_low_output_counts_for_ph(table) -> None:
    one = table()
    ill = one[one["parameter"] == "meanPAP"].set_index("patient_id")["reference"] > 20
    for key in ("CO", "CI"):
        own = one["parameter"] == key
        one.loc[own, "prediction"] = np.where(one.loc[own, "patient_id"].map(ill), 2.0, 6.0)
    got = discrimination_table(one, 50, 0).set_index(["parameter", "outcome"])
    for key in ("CO", "CI"):
        assert got.loc[(key, "PH"), "auc"] == 1
        assert got.loc[(key, "PH"), "note"].startswith("the AUC is 1: no DeLong interval")


def test_degenerate_tasks_say_why(table) -> None:
    one = table(12)
    one.loc[one["parameter"] == "RAP", "prediction"] = 1 / 3
    one.loc[one["parameter"] == "CO", "reference"] = 5.0
    one.loc[one["parameter"] == "PVR", "reference"] = np.nan
    got = discrimination_table(one, 50, 0).set_index(["parameter", "outcome"])
    assert got.loc[("RAP", "cut-off"), "note"] == "constant predictions: no interval of the AUC"
    assert got.loc[("RAP", "cut-off"), "auc"] == 0.5
    assert got.loc[("CO", "cut-off"), "note"] == "no reference has CO < 4 L/min: no AUC"
    assert got.loc[("PVR", "cut-off"), "note"] == "no reference"
    assert np.isfinite(got.loc[("PVR", "PH"), "auc"])
    assert discrimination_table(table(1), 20, 0)["auc"].isna().all()
    assert roc_points(table(1)).empty
