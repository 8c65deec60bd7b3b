from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cardio_mlflow.analysis.subgroups import WORST_COLUMNS, worst_patients


def by_hand(table) -> pd.DataFrame:
    """Four patients, two parameters with references 1 to 4 (SD 1.29) and 10 to 40 (SD 12.9)."""
    one = table(4)
    one = one[one["parameter"].isin(["RAP", "SPAP"])].copy()
    rap, spap = one["parameter"] == "RAP", one["parameter"] == "SPAP"
    one.loc[rap, "reference"] = [1.0, 2.0, 3.0, 4.0]
    one.loc[spap, "reference"] = [10.0, 20.0, 30.0, 40.0]
    one.loc[rap, "prediction"] = [1.0, 4.0, 3.0, 3.0]  # errors 0, 2, 0, 1
    one.loc[spap, "prediction"] = [40.0, 20.0, 35.0, 40.0]  # errors 30, 0, 5, 0
    return one


def test_the_ranking_by_hand(table) -> None:
    result = worst_patients(by_hand(table), None)
    assert tuple(result.columns) == WORST_COLUMNS
    sd = np.std([1, 2, 3, 4], ddof=1)
    assert result["rank"].tolist() == [1, 2, 3, 4]
    assert result["patient_id"].tolist() == ["P000", "P001", "P003", "P002"]
    np.testing.assert_allclose(result["mean_error"], np.array([3, 2, 1, 0.5]) / sd / 2)
    first = result.iloc[0]
    assert first["worst_parameter"] == "SPAP"
    assert (first["worst_reference"], first["worst_prediction"], first["unit"]) == (10, 40, "mmHg")
    assert result["worst_parameter"].tolist() == ["SPAP", "RAP", "RAP", "SPAP"]
    assert result["fold"].tolist() == [1, 2, 4, 3]


def test_count_and_equals_by_patient_id(table) -> None:
    one = by_hand(table)
    assert worst_patients(one, None, count=2)["patient_id"].tolist() == ["P000", "P001"]
    one["prediction"] = one["reference"]
    assert worst_patients(one, None)["patient_id"].tolist() == ["P000", "P001", "P002", "P003"]
    shuffled = table().sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(worst_patients(table(), None), worst_patients(shuffled, None))
    assert len(worst_patients(table(), None)) == 10


def test_a_missing_reference_leaves_the_mean_over_the_others(table) -> None:
    one = by_hand(table)
    one.loc[(one["parameter"] == "RAP") & (one["patient_id"] == "P000"), "reference"] = np.nan
    one.loc[one["patient_id"] == "P002", "reference"] = np.nan
    result = worst_patients(one, None)
    assert "P002" not in set(result["patient_id"])
    assert result.iloc[0]["mean_error"] == pytest.approx(30 / np.std([10, 20, 40], ddof=1))


def test_what_the_clips_say(table) -> None:
    people = pd.DataFrame({
        "patient_id": ["P001", "P000", "P000"], "cohort": ["I", "I", "II"],
        "FC": ["OK", "NO_SECTOR", "OK"], "TC": ["", "OK", "OK"], "SA": ["OK", None, "OK"],
    })  # fmt: skip
    result = worst_patients(by_hand(table), people).set_index("patient_id")
    assert result.loc["P000", ["FC", "TC", "SA", "LA"]].tolist() == ["NO_SECTOR", "OK", "", ""]
    assert result.loc["P001", ["FC", "TC", "SA", "LA"]].tolist() == ["OK", "", "OK", ""]
    assert result.loc["P003", ["FC", "TC", "SA", "LA"]].tolist() == [""] * 4


def test_no_scale_leaves_the_parameter_or_the_table_out(table) -> None:
    one = by_hand(table)
    one.loc[one["parameter"] == "SPAP", "reference"] = 25.0
    assert set(worst_patients(one, None)["worst_parameter"]) == {"RAP"}
    alone = worst_patients(table(1), None)
    assert alone.empty
    assert tuple(alone.columns) == WORST_COLUMNS


def test_cohort_two_has_no_folds(table) -> None:
    assert worst_patients(table(cohort="II"), None)["fold"].isna().all()
