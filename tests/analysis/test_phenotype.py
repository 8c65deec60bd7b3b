from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from cardio_mlflow.analysis.classification import wilson
from cardio_mlflow.analysis.phenotype import (
    AGREEMENT_COLUMNS,
    PHENOTYPES,
    cohen_kappa,
    phenotype,
    phenotype_agreement,
    phenotype_confusion,
    phenotype_table,
)


@pytest.mark.parametrize(
    ("mean_pap", "wedge", "resistance", "expected"),
    [
        (20, 30, 9, "no PH"),
        (20, np.nan, np.nan, "no PH"),
        (20.1, 15, 2.1, "pre-capillary"),
        (20.1, 15.1, 2, "isolated post-capillary"),
        (20.1, 15.1, 2.1, "combined"),
        (20.1, 15, 2, "unclassified"),
        (20.1, np.nan, 2.1, ""),
        (20.1, 15, np.nan, ""),
        (np.nan, 15, 2, ""),
    ],
)
def test_each_class_at_its_boundaries(mean_pap, wedge, resistance, expected: str) -> None:
    assert phenotype(mean_pap, wedge, resistance) == expected


def test_patients_without_a_needed_reference_are_left_out(table) -> None:
    one = table(4)
    for key, values in {"meanPAP": [20, 30, 30, np.nan], "PCWP": [np.nan, np.nan, 16, 10]}.items():
        one.loc[one["parameter"] == key, "reference"] = values
    one.loc[one["parameter"] == "PVR", "reference"] = 3.0
    got = phenotype_table(one.sample(frac=1, random_state=0))
    assert got["patient_id"].tolist() == ["P000", "P002"]
    assert got["reference"].tolist() == ["no PH", "combined"]
    assert set(got["prediction"]) <= set(PHENOTYPES)


def test_kappa_equals_sklearns_and_works_along_the_last_axis() -> None:
    reference, prediction = np.random.default_rng(0).integers(0, 5, (2, 6, 30)).astype(float)
    expected = [cohen_kappa_score(r, p) for r, p in zip(reference, prediction, strict=True)]
    np.testing.assert_allclose(cohen_kappa(reference, prediction, 5), expected)


def test_confusion_and_agreement_of_a_table(table) -> None:
    phenotypes = phenotype_table(table())
    confusion = phenotype_confusion(phenotypes)
    assert len(confusion) == 25
    assert confusion["n"].sum() == 40
    pairs = phenotypes.groupby(["reference", "prediction"]).size()
    for row in confusion.itertuples():
        assert row.n == pairs.get((row.reference, row.prediction), 0)
    got = phenotype_agreement(phenotypes, 300, 0)
    assert list(got.columns) == list(AGREEMENT_COLUMNS)
    row = got.iloc[0]
    same = int((phenotypes["reference"] == phenotypes["prediction"]).sum())
    assert (row["accuracy"], row["accuracy_low"], row["accuracy_high"]) == wilson(same, 40)
    assert row["kappa"] == pytest.approx(cohen_kappa_score(phenotypes["reference"], phenotypes["prediction"]))
    assert row["kappa_low"] < row["kappa"] < row["kappa_high"]
    assert row["note"] == ""


@pytest.mark.parametrize(
    ("n", "note"), [(0, "no patient has a known phenotype"), (5, "all patients are in one class: no kappa")]
)
def test_nobody_or_one_class_has_no_kappa(n: int, note: str) -> None:
    names = ["combined"] * n
    one = pd.DataFrame({"patient_id": [f"P{i}" for i in range(n)], "reference": names, "prediction": names})
    row = phenotype_agreement(one, 50, 0).iloc[0]
    assert row["n"] == n
    assert np.isnan([row["kappa"], row["kappa_low"], row["kappa_high"]]).all()
    assert row["note"] == note
    assert phenotype_confusion(one)["n"].sum() == n


def test_a_table_without_references_has_no_patient(table) -> None:
    one = table(5)
    one["reference"] = np.nan
    assert phenotype_table(one).empty


@pytest.mark.parametrize("absent", ["PVR", "PCWP", "meanPAP"])
def test_without_one_of_the_three_parameters_nobody_has_a_class(table, absent: str) -> None:
    """Else only patients without PH on both sides would be counted, all of them right."""
    one = table(30)
    assert len(phenotype_table(one)) > 0
    assert phenotype_table(one[one["parameter"] != absent]).empty
    one.loc[one["parameter"] == absent, "reference"] = np.nan
    assert phenotype_table(one).empty
