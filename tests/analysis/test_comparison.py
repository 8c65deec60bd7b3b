from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cardio_mlflow.analysis.comparison import comparison_table
from cardio_mlflow.analysis.predictions import reference_and_prediction
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS


def two_variants(one: pd.DataFrame) -> pd.DataFrame:
    other = one.assign(variant="no_fusion", prediction=-one["prediction"])
    return pd.concat([one, other.sample(frac=1, random_state=0)])


def test_signed_r_of_each_variant_and_its_mean(table) -> None:
    one = table()
    comparison = comparison_table(two_variants(one))
    assert list(comparison.columns) == ["variant", "n", *KEYS, "mean_r"]
    assert list(comparison["variant"]) == ["full", "no_fusion"]
    assert comparison["n"].tolist() == [40, 40]
    expected = [stats.pearsonr(*reference_and_prediction(one, key))[0] for key in KEYS]
    np.testing.assert_allclose(comparison.loc[0, list(KEYS)].to_numpy(float), expected)
    np.testing.assert_allclose(comparison.loc[1, "mean_r"], -np.mean(expected))


def test_other_patients_folds_or_references_are_refused(table) -> None:
    both = two_variants(table())
    second = both["variant"] == "no_fusion"
    with pytest.raises(InputError, match="same patients: P007"):
        comparison_table(both[~(second & (both["patient_id"] == "P007"))])
    with pytest.raises(InputError, match="differ in folds"):
        comparison_table(both.assign(fold=both["fold"].mask(second & (both["patient_id"] == "P007"), 5)))
    with pytest.raises(InputError, match="references of the same patients"):
        comparison_table(both.assign(reference=both["reference"].mask(second, 1.0)))


def test_a_constant_variant_has_no_mean(table) -> None:
    both = two_variants(table())
    both.loc[(both["variant"] == "no_fusion") & (both["parameter"] == "RAP"), "prediction"] = 1.0
    comparison = comparison_table(both).set_index("variant")
    assert np.isnan(comparison.loc["no_fusion", "RAP"])
    assert np.isnan(comparison.loc["no_fusion", "mean_r"])
