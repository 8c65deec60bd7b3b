from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cardio_mlflow.analysis.predictions import reference_and_prediction
from cardio_mlflow.analysis.summary import STATISTICS, mean_correlation, performance_table
from cardio_mlflow.parameters import KEYS, parameter


def test_every_number_of_a_row_against_independent_ones(table) -> None:
    one = table()
    one.loc[(one["parameter"] == "PCWP") & (one["patient_id"] < "P004"), "reference"] = np.nan
    performance = performance_table(one, 200, 0).set_index("parameter")
    assert list(performance.index) == list(KEYS)
    assert performance.loc["PCWP", "n"] == 36
    for key in KEYS:
        reference, prediction = reference_and_prediction(one, key)
        row = performance.loc[key]
        assert row["r"] == pytest.approx(stats.pearsonr(reference, prediction)[0])
        assert row["mae"] == pytest.approx(np.abs(reference - prediction).mean())
        assert row["abnormal"] == sum(parameter(key).is_abnormal(v) for v in reference)
        assert row["note"] == ""
        for name in STATISTICS:
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_the_order_of_rows_does_not_matter_and_the_seed_does(table) -> None:
    one = table()
    shuffled = one.sample(frac=1, random_state=4)
    pd.testing.assert_frame_equal(performance_table(one, 100, 3), performance_table(shuffled, 100, 3))
    assert mean_correlation(one, 100, 3) == mean_correlation(shuffled, 100, 3)
    assert not performance_table(one, 100, 3).equals(performance_table(one, 100, 4))


def note(one: pd.DataFrame, key: str) -> pd.Series:
    return performance_table(one, 50, 0).set_index("parameter").loc[key]


def test_degenerate_parameters_are_nan_with_the_reason(table) -> None:
    one = table(12)
    one.loc[one["parameter"] == "RAP", "prediction"] = 0.1
    one.loc[one["parameter"] == "CO", "reference"] = np.linspace(5, 6, 12)
    one.loc[one["parameter"] == "PVR", "reference"] = np.nan
    one.loc[(one["parameter"] == "CI") & (one["patient_id"] > "P001"), "reference"] = np.nan
    assert np.isnan(note(one, "RAP")[["r", "r_low", "spearman", "spearman_high"]].astype(float)).all()
    assert np.isfinite(note(one, "RAP")["mae_high"])
    assert note(one, "RAP")["note"] == (
        "constant predictions: no r, no calibration line; "
        "icc, auc the same on every resample: no bootstrap interval"
    )
    one.loc[one["parameter"] == "RAP", "prediction"] += 1e-9 * np.arange(12)
    collapsed = note(one, "RAP")
    assert collapsed["auc"] == 0.5, "noise in the last bits orders nobody"
    assert np.isnan(collapsed["auc_low"])
    assert np.isnan(note(one, "CO")["auc"])
    assert note(one, "CO")["note"] == "no reference is < 4 L/min: no AUC"
    assert note(one, "PVR")["note"] == "no reference"
    assert note(one, "PVR")["n"] == 0
    assert note(one, "CI")["note"].startswith("2 patients: no correlation")


def test_dropped_resamples_are_told(table) -> None:
    one = table(12)
    one.loc[one["parameter"] == "CO", "reference"] = [3.0, *np.linspace(5, 6, 11)]
    assert re.search(r"auc undefined on \d+ of 50 resamples", note(one, "CO")["note"])


def test_one_patient_alone_crashes_nothing(table) -> None:
    performance = performance_table(table(1), 50, 0)
    assert performance["r"].isna().all()
    assert performance["mae"].notna().all()
    assert np.isnan(mean_correlation(table(1), 50, 0).r)


def test_mixed_cohorts_or_variants_are_a_mistake(table) -> None:
    with pytest.raises(ValueError, match="more than one variant"):
        performance_table(pd.concat([table(), table(variant="no_fusion")]), 10, 0)
    with pytest.raises(ValueError, match="more than one cohort"):
        mean_correlation(pd.concat([table(), table(cohort="II")]), 10, 0)


def test_the_mean_is_that_of_the_table_and_its_interval_resamples_patients_jointly(table) -> None:
    one = table()
    one.loc[::11, "reference"] = np.nan
    mean = mean_correlation(one, 2000, 0)
    assert mean.r == pytest.approx(performance_table(one, 10, 0)["r"].mean())
    assert (mean.parameters, mean.note) == (9, "")
    slow = slow_joint_bootstrap(one, 400)
    assert (mean.low, mean.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), abs=0.02)


def slow_joint_bootstrap(one: pd.DataFrame, resamples: int) -> list[float]:
    wide = {"index": "patient_id", "columns": "parameter", "dropna": False}
    reference, prediction = (one.pivot_table(values=name, **wide) for name in ("reference", "prediction"))
    generator = np.random.default_rng(99)
    means = []
    for _ in range(resamples):
        drawn = generator.integers(0, len(reference), len(reference))
        x, y = reference.iloc[drawn].reset_index(drop=True), prediction.iloc[drawn].reset_index(drop=True)
        means.append(x.corrwith(y.where(x.notna())).mean())
    return means


def test_the_mean_says_which_parameters_it_leaves_out(table) -> None:
    one = table()
    one.loc[one["parameter"].isin(["CO", "PVR"]), "prediction"] = 1 / 3
    mean = mean_correlation(one, 100, 0)
    assert mean.parameters == 7
    assert mean.note == "without CO, PVR: no correlation"
    assert mean.r == pytest.approx(performance_table(one, 10, 0)["r"].mean())


def test_fisher_interval_and_calibration_line_are_scipys(table) -> None:
    one = table()
    performance = performance_table(one, 20, 0).set_index("parameter")
    assert STATISTICS == (
        "r", "spearman", "ccc", "icc", "mae", "rmse", "bias", "slope", "intercept", "auc",
    )  # fmt: skip
    for key in KEYS:
        reference, prediction = reference_and_prediction(one, key)
        interval = stats.pearsonr(reference, prediction).confidence_interval()
        line = stats.linregress(prediction, reference)
        row = performance.loc[key]
        assert (row["r_fisher_low"], row["r_fisher_high"]) == pytest.approx((interval.low, interval.high))
        assert (row["slope"], row["intercept"]) == pytest.approx((line.slope, line.intercept))


def test_the_note_says_why_r_has_no_fisher_interval(table) -> None:
    perfect = table().assign(prediction=lambda t: t["reference"])
    for one, reason in ((table(3), "three patients"), (perfect, "r is 1")):
        row = note(one, "RAP")
        assert np.isnan([row["r_fisher_low"], row["r_fisher_high"]]).all()
        assert f"{reason}: no Fisher interval of r" in row["note"]
