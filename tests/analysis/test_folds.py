from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cardio_mlflow.analysis.summary import fold_table
from cardio_mlflow.parameters import KEYS

HISTORY = pd.DataFrame({
    "fold": [2, 2, 2, 1, 1, 1, 1],
    "epoch": [3, 2, 1, 1, 2, 3, 4],
    "val_loss": [0.4, 0.3, 0.5, 0.9, 0.7, 0.7, np.nan],
})  # fmt: skip


def test_each_fold_by_hand(table) -> None:
    one = table()
    result = fold_table(one.sample(frac=1, random_state=0), None).set_index("fold")
    assert list(result.index) == ["1", "2", "3", "4", "5", "mean", "SD"]
    for fold in range(1, 6):
        row, correlations = result.loc[str(fold)], []
        assert row["n"] == 8
        for key in KEYS:
            own = one[(one["fold"] == fold) & (one["parameter"] == key)]
            correlations.append(stats.pearsonr(own["reference"], own["prediction"])[0])
            assert row[f"r_{key}"] == pytest.approx(correlations[-1])
            assert row[f"mae_{key}"] == pytest.approx((own["reference"] - own["prediction"]).abs().mean())
        assert row["r_mean"] == pytest.approx(np.mean(correlations))
        assert row["note"] == ""


def test_mean_and_sd_over_the_folds(table) -> None:
    result = fold_table(table(43), None)
    folds, summary = result.iloc[:5], result.set_index("fold")
    for name in ["n", "r_mean", *(f"r_{key}" for key in KEYS), *(f"mae_{key}" for key in KEYS)]:
        values = folds[name].to_numpy(float)
        assert summary.loc["mean", name] == pytest.approx(values.sum() / 5)
        assert summary.loc["SD", name] == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / 4))
    assert folds["n"].tolist() == [9, 9, 9, 8, 8]


def test_the_best_epoch_is_the_first_of_the_smallest_loss(table) -> None:
    result = fold_table(table(), HISTORY).set_index("fold")
    assert result.loc["1", ["best_epoch", "best_loss"]].tolist() == [2, 0.7]
    assert result.loc["2", ["best_epoch", "best_loss"]].tolist() == [2, 0.3]
    assert result.loc["3":"5", ["best_epoch", "best_loss"]].isna().all(axis=None)
    assert result.loc["mean", "best_loss"] == pytest.approx(0.5)
    assert "best_loss over 2 of 5 folds" in result.loc["mean", "note"]
    without = fold_table(table(), None)
    assert without[["best_epoch", "best_loss"]].isna().all(axis=None)
    assert (without["note"] == "").all()


def test_undefined_values_are_nan_and_told(table) -> None:
    one = table()
    one.loc[(one["parameter"] == "RAP") & (one["fold"] == 1), "prediction"] = 0.1
    one.loc[(one["parameter"] == "PVR") & (one["fold"] == 2), "reference"] = np.nan
    result = fold_table(one, None).set_index("fold")
    assert np.isnan(result.loc["1", "r_RAP"])
    assert np.isfinite(result.loc["1", "mae_RAP"])
    assert result.loc["1", "note"] == "no r of RAP"
    assert np.isnan(result.loc["2", "mae_PVR"])
    assert result.loc["2", "note"] == "no reference of PVR"
    others = result.loc[["1", "3", "4", "5"], "r_PVR"].to_numpy(float)
    assert result.loc["mean", "r_PVR"] == pytest.approx(others.mean())
    assert (
        result.loc["mean", "note"]
        == "r_RAP over 4 of 5 folds; r_PVR over 4 of 5 folds; mae_PVR over 4 of 5 folds"
    )
    defined = [result.loc["1", f"r_{key}"] for key in KEYS if key != "RAP"]
    assert result.loc["1", "r_mean"] == pytest.approx(np.mean(defined))


def test_one_fold_has_no_sd_and_cohort_two_no_rows(table) -> None:
    one = table()
    result = fold_table(one[one["fold"] == 3], None).set_index("fold")
    assert list(result.index) == ["3", "mean", "SD"]
    assert np.isnan(result.loc["SD", "r_mean"])
    assert result.loc["SD", "note"] == "one fold: no SD"
    assert fold_table(table(cohort="II"), None).empty


def test_one_patient_a_fold_crashes_nothing(table) -> None:
    result = fold_table(table(5), HISTORY).set_index("fold")
    assert result.loc["1":"5", "r_mean"].isna().all()
    assert result.loc["1":"5", "mae_RAP"].notna().all()
