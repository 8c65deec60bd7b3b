from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

from cardio_mlflow.analysis.predictions import (
    check_folds,
    check_predictions,
    pool_out_of_fold,
    read_patients_table,
    read_predictions,
    reference_and_prediction,
    wide,
)
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.report.contents import read_evidence


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("parameter", "mPAP", "unknown parameters: mPAP"),
        ("unit", "kPa", "another unit than mmHg"),
        ("cohort", "train", "must hold I or II"),
        ("fold", 0, "counted from 1"),
        ("prediction", np.nan, "lacks 1 predictions, of RAP"),
        ("prediction", np.inf, "column prediction is infinite in row 1"),
        ("reference", -np.inf, "column reference is infinite in row 1"),
        ("patient_id", "P001", r"parameter and variant twice: again in row 2\. Keep one"),
        ("patient_id", None, r"lacks the patient_id in row 1\."),
        ("patient_id", " ", r"lacks the patient_id in row 1\."),
    ],
)
def test_a_broken_table_is_refused(table, column: str, value: object, expected: str) -> None:
    broken = table()
    if column == "unit":
        broken["unit"] = broken["unit"].astype(object)
    broken.loc[0, column] = value
    with pytest.raises(InputError, match=expected) as refused:
        check_predictions(broken)
    assert "P00" not in str(refused.value), "no patient is named"


def test_missing_columns_and_text_numbers_are_named(table) -> None:
    with pytest.raises(InputError, match="lacks fold, unit"):
        check_predictions(table().drop(columns=["fold", "unit"]))
    with pytest.raises(InputError, match="text where a number"):
        check_predictions(table().assign(prediction="high"))


def test_a_table_survives_csv_with_ids_that_look_like_something_else(table, tmp_path: Path) -> None:
    original = table(3, cohort="II")
    original["patient_id"] = original["patient_id"].replace({"P000": "NA", "P001": "007", "P002": "1e5"})
    original.loc[2, "reference"] = np.nan
    original.to_csv(tmp_path / "predictions.csv", index=False)
    again = read_predictions(tmp_path / "predictions.csv")
    pd.testing.assert_frame_equal(again, original, check_dtype=False, rtol=1e-14)
    assert again["fold"].isna().all()
    with pytest.raises(InputError, match="no predictions table"):
        read_predictions(tmp_path / "absent.csv")


@pytest.mark.parametrize("written", ["", "NA", "NaN", "nan", "N/A", "null", "."])
def test_missing_references_are_read_however_they_are_written(table, tmp_path: Path, written: str) -> None:
    """R writes NA, SAS a point."""
    one = table(3)
    one.loc[2, "reference"] = np.nan
    one.to_csv(tmp_path / "predictions.csv", index=False, na_rep=written)
    again = read_predictions(tmp_path / "predictions.csv")
    np.testing.assert_array_equal(again["reference"].isna(), one["reference"].isna())


def test_a_table_from_a_german_spreadsheet_is_the_same_table(table, tmp_path: Path) -> None:
    original = table(4, cohort="II")
    original.loc[3, "reference"] = np.nan
    path = tmp_path / "predictions.csv"
    text = original.rename(columns=str.upper).to_csv(index=False, sep=";", decimal=",")
    path.write_bytes(("sep=;\r\n" + text.replace("⁻⁵", "-5").replace("·", "*")).encode("cp1252"))
    pd.testing.assert_frame_equal(read_predictions(path), original, check_dtype=False, rtol=1e-14)


def test_a_workbook_is_a_table_and_its_hidden_rows_are_reported(
    table, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    original = table(4, cohort="II")
    path = tmp_path / "predictions.xlsx"
    original.to_excel(path, index=False)
    book = openpyxl.load_workbook(path)
    for row in range(2, 2 + len(KEYS)):
        book.active.row_dimensions[row].hidden = True
    book.save(path)
    with caplog.at_level("INFO"):
        read = read_predictions(path)
    pd.testing.assert_frame_equal(
        read, original.iloc[len(KEYS) :].reset_index(drop=True), check_dtype=False, rtol=1e-14
    )
    assert "9 rows that a filter or the user hides were left out (row 2, 3, 4" in caplog.text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({(0, "prediction"): "12. May"}, "row 3, column H (prediction): a date or a time"),
        ({(1, "reference"): "<5"}, "row 4, column G (reference): a bound"),
        ({(2, "prediction"): "1,234"}, "row 5, column H (prediction): three digits behind a comma"),
        ({(2, "prediction"): "#REF!"}, "row 5, column H (prediction): an error of the spreadsheet"),
        ({(0, "patient_id"): ""}, "lacks the patient_id in row 3."),
        ({(0, "fold"): "2"}, "1 patient is in two folds"),
        ({(0, "fold"): ""}, "no fold in row 3, but does in others"),
    ],
)
def test_problems_of_a_file_are_named_as_a_spreadsheet_shows_them(
    table, tmp_path: Path, changes: dict[tuple[int, str], str], expected: str
) -> None:
    broken = table(4).astype(object)
    for (row, column), text in changes.items():
        broken.loc[row, column] = text
    path = tmp_path / "predictions.csv"
    lines = broken.to_csv(index=False).splitlines()
    path.write_text("\n".join([lines[0], "", *lines[1:]]))
    with pytest.raises(InputError, match=re.escape(expected)) as refused:
        read_predictions(path)
    assert "P00" not in str(refused.value)


def test_pairs_leave_out_missing_references_and_are_sorted_by_patient(table) -> None:
    one = table(6)
    one.loc[one["patient_id"] == "P002", "reference"] = np.nan
    shuffled = one.sample(frac=1, random_state=3)
    for key in KEYS:
        for ours, theirs in zip(
            reference_and_prediction(one, key), reference_and_prediction(shuffled, key), strict=True
        ):
            assert len(ours) == 5
            np.testing.assert_array_equal(ours, theirs)


def test_wide_has_parameters_in_table_order(table) -> None:
    one = table(4).sample(frac=1, random_state=1)
    result = wide(one, "reference")
    assert list(result.columns) == list(KEYS)
    assert list(result.index) == ["P000", "P001", "P002", "P003"]
    row = one[(one["patient_id"] == "P002") & (one["parameter"] == "CI")]
    assert result.loc["P002", "CI"] == row["reference"].item()


def folds(one: pd.DataFrame) -> dict[int, pd.DataFrame]:
    return {fold: one[one["fold"] == fold] for fold in range(1, 6)}


def test_pooling_keeps_every_row_once(table) -> None:
    one = table()
    pooled = pool_out_of_fold(dict(reversed(folds(one).items())))
    assert len(pooled) == len(one)
    assert pooled["fold"].is_monotonic_increasing


def test_a_patient_in_two_folds_is_refused(table) -> None:
    parts = folds(table())
    stray = parts[2][parts[2]["patient_id"] == "P001"].assign(fold=3)
    parts[3] = pd.concat([parts[3], stray])
    with pytest.raises(InputError, match="1 patient is in two folds") as refused:
        pool_out_of_fold(parts)
    assert "P001" not in str(refused.value)


def test_a_table_of_ones_own_has_each_patient_in_one_fold_or_nobody_in_any(table) -> None:
    check_folds(check_predictions(table()))
    check_folds(check_predictions(table(cohort="II")))
    split = table()
    split.loc[[0, 9], "fold"] = [4, 1]
    with pytest.raises(InputError, match="2 patients are in two folds"):
        read_evidence(split, "I")
    partly = table()
    partly.loc[partly["patient_id"] == "P001", "fold"] = None
    with pytest.raises(
        InputError, match="no fold in rows 2, 42, 82, 122, 162 and 4 more, but does in others"
    ):
        read_evidence(partly, "I")


def test_pooling_refuses_other_folds_cohort_two_and_nothing(table) -> None:
    parts = folds(table())
    with pytest.raises(InputError, match="given for fold 1 belong to another"):
        pool_out_of_fold({1: parts[2]})
    with pytest.raises(InputError, match="hold patients of Cohort II"):
        pool_out_of_fold({1: parts[1].assign(cohort="II")})
    with pytest.raises(InputError, match="train the folds"):
        pool_out_of_fold({})


def test_a_patients_table_keeps_texts_and_reads_numbers(tmp_path: Path) -> None:
    path = tmp_path / "participants.csv"
    path.write_text(
        "patient_id,cohort,fold,used,FC,sex,bsa\n007,I,1,True,OK,,1.9\nNA,II,,False,NO_SECTOR,NA,\n"
    )
    got = read_patients_table(path)
    assert got["patient_id"].tolist() == ["007", "NA"]
    assert got["sex"].tolist() == ["", "NA"]
    assert got["FC"].tolist() == ["OK", "NO_SECTOR"]
    assert got["used"].tolist() == [True, False]
    assert got["fold"].dtype == "Int64"
    assert got["fold"].isna().tolist() == [False, True]
    np.testing.assert_array_equal(got["bsa"], [1.9, np.nan])


def test_a_features_table_has_numbers(tmp_path: Path) -> None:
    path = tmp_path / "features.csv"
    path.write_text("patient_id,network,f0,f1\n001,2,0.5,-1\n")
    got = read_patients_table(path)
    assert got["patient_id"].tolist() == ["001"]
    assert got[["network", "f0", "f1"]].iloc[0].tolist() == [2, 0.5, -1]
    assert got["f1"].dtype == np.float64
