"""Intervals in a predictions table, their coverage, and subsets of the views."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.analysis.intervals import (
    has_intervals,
    interval_table,
    oracle_width,
    out_of_fold_intervals,
)
from cardio_mlflow.analysis.predictions import check_predictions
from cardio_mlflow.analysis.scores import smallest
from cardio_mlflow.analysis.spread import EVEN, fit_spread, moved, transformed
from cardio_mlflow.analysis.view_subsets import MEAN, SUBSETS, view_subset_accuracy
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import parameter


def predictions_of(reference, prediction, key: str = "RAP", **columns: object) -> pd.DataFrame:
    count = len(reference)
    base = {
        "patient_id": [f"P{i}" for i in range(count)], "cohort": "I",
        "fold": pd.array(np.arange(count) % 5 + 1, dtype="Int64"), "variant": "full", "parameter": key,
        "unit": parameter(key).unit, "reference": reference, "prediction": prediction,
    }  # fmt: skip
    return pd.DataFrame(base | columns)


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    prediction = rng.uniform(5, 15, count)
    return prediction + rng.normal(0, 2, count), prediction


def test_each_patient_by_the_other_patients_errors() -> None:
    reference, prediction = drawn(20, seed=1)
    table = out_of_fold_intervals(predictions_of(reference, prediction))
    for row in range(20):
        others = sorted(
            abs(r - p) for i, (r, p) in enumerate(zip(reference, prediction, strict=True)) if i != row
        )
        reach = others[math.ceil(0.9 * 20) - 1]
        low, high = parameter("RAP").plausible
        assert table.loc[row, "lower"] == pytest.approx(max(prediction[row] - reach, low))
        assert table.loc[row, "upper"] == pytest.approx(min(prediction[row] + reach, high))


def test_a_patients_own_reference_and_that_of_the_same_person_do_not_count() -> None:
    reference, prediction = drawn(24, seed=2)
    persons = [f"P{i - 1}" if i % 2 else f"P{i}" for i in range(24)]
    table = out_of_fold_intervals(predictions_of(reference, prediction, person=persons))
    reference[[4, 5]] = 49.0
    again = out_of_fold_intervals(predictions_of(reference, prediction, person=persons))
    pd.testing.assert_frame_equal(
        table.loc[[4, 5], ["lower", "upper"]], again.loc[[4, 5], ["lower", "upper"]]
    )
    assert (again["upper"] - again["lower"] >= table["upper"] - table["lower"]).all()


def test_variants_are_taken_apart_and_order_and_index_stay() -> None:
    one, other = (predictions_of(*drawn(15, seed=seed)) for seed in (3, 4))
    both = pd.concat([one, other.assign(variant="no_fusion")]).sample(frac=1, random_state=0)
    found = out_of_fold_intervals(both)
    assert list(found["patient_id"]) == list(both["patient_id"])
    alone = out_of_fold_intervals(one).set_index("patient_id")["upper"]
    of_full = found[found["variant"] == "full"].set_index("patient_id")["upper"]
    pd.testing.assert_series_equal(of_full.sort_index(), alone.sort_index())


def test_a_patient_without_reference_has_an_interval_and_too_few_patients_have_none() -> None:
    reference, prediction = drawn(12, seed=5)
    reference[3] = np.nan
    assert out_of_fold_intervals(predictions_of(reference, prediction)).loc[3, "lower":"upper"].notna().all()
    few = out_of_fold_intervals(predictions_of(*drawn(smallest(0.9), seed=6)))
    assert few[["lower", "upper"]].isna().all(axis=None)
    assert not has_intervals(few)
    assert check_predictions(few) is not None


@pytest.mark.parametrize("key", ["meanPAP", "PVR"])
def test_new_patients_are_covered_as_often_as_promised(key: str) -> None:
    """400 simulated patients with errors that grow; the count of hits has an SD of 6 (1.5 %)."""
    rng = np.random.default_rng(7)
    prediction = rng.uniform(1, 8, 400) * (1 if key == "PVR" else 6)
    reference = prediction * np.exp(rng.normal(0, 0.2, 400))
    rows = interval_table(out_of_fold_intervals(predictions_of(reference, prediction, key)))
    assert 0.86 <= rows.loc[0, "coverage"] <= 0.94
    assert rows.loc[0, "coverage_low"] < rows.loc[0, "coverage"] < rows.loc[0, "coverage_high"]
    assert 1.0 <= rows.loc[0, "width_ratio"] < 1.3 if key == "PVR" else rows.loc[0, "width_ratio"] < 1.1


def test_intervals_are_wider_where_errors_are() -> None:
    rng = np.random.default_rng(8)
    prediction = rng.uniform(5, 60, 120)
    reference = np.clip(prediction + rng.normal(0, 0.2, 120) * prediction, 5, 140)
    found = out_of_fold_intervals(predictions_of(reference, prediction, "meanPAP"))
    width = (found["upper"] - found["lower"]).to_numpy()
    assert width[prediction > 45].mean() > 1.8 * width[prediction < 20].mean()


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=12), st.data())
def test_the_oracle_is_the_narrowest_of_all(errors: list[float], data: st.DataObject) -> None:
    held = data.draw(st.integers(1, len(errors)))
    prediction = np.full(len(errors), 10.0)
    reference = prediction + np.array(errors)
    ends = [(a, b) for a in errors for b in errors if a <= b]
    narrowest = min(b - a for a, b in ends if sum(a <= e <= b for e in errors) >= held)
    assert oracle_width("RAP", reference, prediction, held) == pytest.approx(narrowest, abs=1e-9)


def test_a_spread_is_fitted_where_errors_grow_and_only_there() -> None:
    rng = np.random.default_rng(9)
    prediction = rng.uniform(10, 60, 200)
    growing = prediction + rng.normal(0, 0.1, 200) * prediction
    spread = fit_spread("meanPAP", growing, prediction)
    assert spread.at(np.array([50.0]))[0] > 1.5 * spread.at(np.array([15.0]))[0]
    assert fit_spread("meanPAP", prediction + rng.normal(0, 3, 200), prediction) == EVEN
    assert fit_spread("PVR", growing, prediction) == EVEN
    assert fit_spread("meanPAP", growing[:20], prediction[:20]) == EVEN


@pytest.mark.parametrize("key", ["CO", "PVR"])
def test_moving_by_the_error_of_a_patient_gives_the_reference(key: str) -> None:
    reference, prediction = np.array([2.0, 5.0]), np.array([3.0, 4.0])
    errors = transformed(key, reference) - transformed(key, prediction)
    np.testing.assert_allclose(moved(key, prediction, errors, EVEN), reference)


def test_a_table_of_a_user_needs_no_intervals_and_turned_ones_are_refused() -> None:
    table = predictions_of(*drawn(3, seed=10))
    assert not has_intervals(table)
    turned = table.assign(lower=table["prediction"] + 1, upper=table["prediction"] - 1)
    with pytest.raises(InputError, match="lower end lies above the upper one in rows 1"):
        check_predictions(turned)


def test_subsets_are_fifteen_those_of_most_views_first() -> None:
    assert len(SUBSETS) == len(set(SUBSETS)) == 15
    assert SUBSETS[0] == "A4C+A2C+PSAX+PLAX"
    counts = [name.count("+") for name in SUBSETS]
    assert counts == sorted(counts, reverse=True)


def test_fewer_views_are_judged_on_those_who_have_them_and_widen_by_their_errors() -> None:
    reference, prediction = drawn(60, seed=11)
    whole = predictions_of(reference, prediction).assign(views=SUBSETS[0])
    worse = predictions_of(reference, reference - 3 * (reference - prediction)).assign(views="A4C")
    both = pd.concat([whole, worse[:50]]).drop(columns="variant")
    found = view_subset_accuracy(both).set_index(["views", "parameter"])
    assert found.loc[(SUBSETS[0], "RAP"), "n"] == 60
    assert found.loc[("A4C", "RAP"), "n"] == 50
    mae = np.abs(3 * (reference - prediction))[:50].mean()
    assert found.loc[("A4C", "RAP"), "mae"] == pytest.approx(mae)
    assert found.loc[(SUBSETS[0], "RAP"), "width_ratio"] == 1
    assert 1.5 < found.loc[("A4C", "RAP"), "width_ratio"] < 3.5
    assert found.loc[("A4C", MEAN), "mae"] == pytest.approx(mae / reference[:50].std(ddof=1))
