from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cardio_mlflow.analysis.agreement import correlation_matrix
from cardio_mlflow.analysis.predictions import wide
from cardio_mlflow.parameters import KEYS


@pytest.mark.parametrize("side", ["reference", "prediction"])
def test_equals_numpys_matrix(table, side) -> None:
    one = table()
    result = correlation_matrix(one.sample(frac=1, random_state=0), side)
    assert list(result.columns) == ["parameter", *KEYS]
    assert result["parameter"].tolist() == list(KEYS)
    expected = np.corrcoef(wide(one, side).to_numpy(float), rowvar=False)
    np.testing.assert_allclose(result[list(KEYS)], expected, atol=1e-12)


def test_missing_values_are_left_out_by_pair(table) -> None:
    one = table()
    one.loc[(one["parameter"] == "RAP") & (one["patient_id"] < "P010"), "reference"] = np.nan
    one.loc[(one["parameter"] == "CO") & (one["patient_id"] > "P030"), "reference"] = np.nan
    result = correlation_matrix(one, "reference").set_index("parameter")
    values = wide(one, "reference").astype(float)
    for a in KEYS:
        for b in KEYS:
            present = values[[a, b]].notna().all(axis=1)
            expected = np.corrcoef(values[a][present], values[b][present])[0, 1]
            assert result.loc[a, b] == pytest.approx(expected, abs=1e-12)


def test_the_sign_is_kept(table) -> None:
    one = table()
    rap = one.loc[one["parameter"] == "RAP", "prediction"].to_numpy()
    one.loc[one["parameter"] == "CO", "prediction"] = 10 - rap
    assert correlation_matrix(one, "prediction").set_index("parameter").loc["RAP", "CO"] == pytest.approx(-1)


def test_undefined_pairs_are_nan(table) -> None:
    one = table()
    one.loc[one["parameter"] == "RAP", "reference"] = 0.1
    one.loc[one["parameter"] == "CO", "reference"] = np.nan
    one.loc[(one["parameter"] == "PVR") & (one["patient_id"] > "P001"), "reference"] = np.nan
    result = correlation_matrix(one, "reference").set_index("parameter")
    assert result[["RAP", "CO", "PVR"]].isna().all(axis=None)
    spap, dpap = (wide(one, "reference")[key].to_numpy(float) for key in ("SPAP", "dPAP"))
    assert result.loc["SPAP", "dPAP"] == pytest.approx(stats.pearsonr(spap, dpap)[0])
    assert correlation_matrix(table(1), "prediction")[list(KEYS)].isna().all(axis=None)


def test_another_side_is_a_mistake(table) -> None:
    with pytest.raises(ValueError, match="not lower"):
        correlation_matrix(table(), "lower")
