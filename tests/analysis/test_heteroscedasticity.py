from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.diagnostic import het_breuschpagan, het_white
from statsmodels.tools import add_constant

from cardio_mlflow.analysis.heteroscedasticity import heteroscedasticity_table, residual_quartiles
from cardio_mlflow.analysis.predictions import reference_and_prediction
from cardio_mlflow.parameters import KEYS

TESTS = ["bp_statistic", "bp_p", "white_statistic", "white_p", "sd_ratio"]


def put(one: pd.DataFrame, key: str, **columns: object) -> pd.DataFrame:
    """A copy with other references or predictions of one parameter, patients in the table's order."""
    changed = one.copy()
    for name, values in columns.items():
        changed.loc[changed["parameter"] == key, name] = values
    return changed


def test_both_tests_equal_statsmodels_on_the_raw_values(table) -> None:
    one = table()
    one.loc[(one["parameter"] == "PVR") & (one["patient_id"] < "P005"), "reference"] = np.nan
    result = heteroscedasticity_table(one).set_index("parameter")
    assert list(result.index) == list(KEYS)
    assert result.loc["PVR", "n"] == 35
    assert (result["note"] == "").all()
    for key in KEYS:
        reference, prediction = reference_and_prediction(one, key)
        design = add_constant(prediction)
        residual = OLS(reference, design).fit().resid
        expected = [*het_breuschpagan(residual, design)[:2], *het_white(residual, design)[:2]]
        np.testing.assert_allclose(result.loc[key, TESTS[:4]].to_numpy(float), expected, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_unequal_spread_is_detected_and_equal_spread_is_not(table, seed: int) -> None:
    generator = np.random.default_rng(seed)
    prediction = generator.uniform(10, 60, 300)
    noise = generator.normal(size=300)
    one = put(table(300), "SPAP", prediction=prediction, reference=prediction + 0.2 * prediction * noise)
    one = put(one, "RAP", prediction=prediction, reference=prediction + 5 * noise)
    result = heteroscedasticity_table(one).set_index("parameter")
    assert (result.loc["SPAP", ["bp_p", "white_p"]].astype(float) < 1e-4).all()
    assert result.loc["SPAP", "sd_ratio"] > 2
    assert (result.loc["RAP", ["bp_p", "white_p"]].astype(float) > 0.01).all()
    assert 0.6 < result.loc["RAP", "sd_ratio"] < 1.6


def test_equal_spread_is_called_unequal_about_one_time_in_twenty(table) -> None:
    generator = np.random.default_rng(1)
    p_values: list[float] = []
    for _ in range(25):
        one = table(60)
        one["reference"] = one["prediction"] + generator.normal(size=len(one))
        p_values += heteroscedasticity_table(one)["bp_p"].tolist()
    assert 0.01 < np.mean(np.array(p_values) < 0.05) < 0.1


def test_quartiles_and_the_chi_square_interval_by_hand(table) -> None:
    prediction = np.arange(40.0)[::-1]
    error = np.tile([-1.0, 0.0, 1.0, 2.0], 10)
    one = put(table(), "RAP", prediction=prediction, reference=prediction - error)
    own = residual_quartiles(one).query("parameter == 'RAP'")
    assert own["quartile"].tolist() == [1, 2, 3, 4]
    assert own["n"].tolist() == [10] * 4
    assert own["prediction_low"].tolist() == [0, 10, 20, 30]
    assert own["prediction_high"].tolist() == [9, 19, 29, 39]
    for _, row in own.iterrows():
        residual = error[(prediction >= row["prediction_low"]) & (prediction <= row["prediction_high"])]
        assert row["residual_mean"] == pytest.approx(residual.mean())
        sd = np.sqrt(((residual - residual.mean()) ** 2).sum() / 9)
        assert row["residual_sd"] == pytest.approx(sd)
        # tables of chi-square with 9 degrees of freedom: 2.7004 and 19.0228
        assert row["sd_low"] == pytest.approx(sd * np.sqrt(9 / 19.0228), rel=1e-4)
        assert row["sd_high"] == pytest.approx(sd * np.sqrt(9 / 2.7004), rel=1e-4)


def test_the_ratio_is_that_of_the_outer_quartiles(table) -> None:
    one = table()
    quartiles = residual_quartiles(one).pivot_table(
        index="parameter", columns="quartile", values="residual_sd"
    )
    ratio = heteroscedasticity_table(one).set_index("parameter")["sd_ratio"]
    np.testing.assert_allclose(ratio[list(KEYS)], (quartiles[4] / quartiles[1])[list(KEYS)])


def test_equal_predictions_stay_in_one_quartile(table) -> None:
    one = put(table(), "RAP", prediction=np.repeat([1.0, 2.0], [30, 10]))
    own = residual_quartiles(one).query("parameter == 'RAP'")
    assert own["n"].tolist() == [30, 0, 0, 10]
    assert own.iloc[1][["residual_mean", "residual_sd", "sd_low"]].isna().all()
    row = heteroscedasticity_table(one).set_index("parameter").loc["RAP"]
    assert np.isfinite(row["bp_p"])


def test_what_cannot_be_tested_is_nan_with_the_reason(table) -> None:
    one = put(table(), "RAP", prediction=0.1)
    one = put(one, "CO", reference=np.nan)
    one = put(one, "PVR", reference=5.0)
    linear = one.loc[one["parameter"] == "CI", "prediction"].to_numpy()
    one = put(one, "CI", reference=2 * linear + 1)
    one.loc[(one["parameter"] == "dPAP") & (one["patient_id"] > "P006"), "reference"] = np.nan
    result = heteroscedasticity_table(one).set_index("parameter")
    notes = {
        "RAP": "constant predictions: no test",
        "CO": "no reference",
        "PVR": "constant references: no test",
        "CI": "residuals of one size: no test",
        "dPAP": "fewer than 8 patients: no test",
    }
    for key, note in notes.items():
        assert result.loc[key, "note"] == note
        assert result.loc[key, TESTS].isna().all()
    assert residual_quartiles(one).query("parameter == 'RAP'")["n"].sum() == 0


def test_one_patient_alone_crashes_nothing(table) -> None:
    assert heteroscedasticity_table(table(1))["bp_p"].isna().all()
    assert residual_quartiles(table(1))["residual_sd"].isna().all()
