from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cardio_mlflow.analysis.promotion import common_patients, compare


def nearer(judged, share, seed=0):
    """Predictions moved towards the reference by a share; away from it, with noise, by a negative one."""
    moved = judged.copy()
    if share >= 0:
        moved["prediction"] += share * (moved["reference"] - moved["prediction"])
        return moved
    rng = np.random.default_rng(seed)
    spread = moved.groupby("parameter")["reference"].transform("std")
    moved["prediction"] += -share * spread * rng.normal(size=len(moved))
    return moved


def test_a_better_model_takes_over(table):
    champion = table(80)
    found = compare(nearer(champion, 0.5), champion, 200, 0)
    assert found.promoted
    assert "is better" in found.sentence
    assert found.metrics["r_low"] > 0 > found.metrics["mae_high"]


def test_a_model_that_is_worse_is_the_challenger(table):
    champion = table(80)
    found = compare(nearer(champion, -2.0), champion, 200, 0)
    assert not found.promoted
    assert found.sentence.startswith("It becomes the challenger, since it is worse: on 80 patients")
    assert found.metrics["r_high"] < 0 < found.metrics["mae_low"]


def test_a_model_that_cannot_be_told_apart_takes_over(table):
    champion = table(30)
    found = compare(nearer(champion, -0.2), champion, 200, 0)
    assert found.promoted
    assert found.metrics["r_low"] < 0 <= found.metrics["r_high"]
    assert "not shown to be worse" in found.sentence


def test_the_difference_is_that_of_the_means(table):
    champion = table(60)
    new = nearer(champion, 0.3)

    def measured(judged):
        by = [rows for _, rows in judged.groupby("parameter")]
        r = np.mean([np.corrcoef(rows["reference"], rows["prediction"])[0, 1] for rows in by])
        mae = np.mean([
            (rows["reference"] - rows["prediction"]).abs().mean() / rows["reference"].std() for rows in by
        ])  # fmt: skip
        return r, mae

    found = compare(new, champion, 200, 0).metrics
    expected = np.subtract(measured(new), measured(champion))
    assert (found["r_difference"], found["mae_difference"]) == pytest.approx(tuple(expected))


def test_folds_may_differ(table):
    champion = table(40)
    new = champion.assign(fold=pd.array(champion["fold"] % 3 + 1, dtype="Int64"))
    assert compare(new, champion, 200, 0).metrics["r_difference"] == 0


def test_patients_of_one_name_and_other_references_are_not_the_same(table):
    champion = table(40)
    other = champion.assign(reference=champion["reference"] + 1)
    assert common_patients(champion, other) == []
    found = compare(other, champion, 200, 0)
    assert found.promoted
    assert found.metrics == {}
    assert "no patient in common" in found.sentence


def test_few_common_patients_are_no_comparison(table):
    champion = table(40)
    few = champion[champion["patient_id"].isin([f"P{i:03d}" for i in range(6)])]
    found = compare(few, champion, 200, 0)
    assert found.promoted
    assert "fewer than 10 patients" in found.sentence


def test_a_reference_that_is_missing_in_one_table_makes_no_other_patient(table):
    champion = table(40)
    new = champion.copy()
    new.loc[new.index[0], "reference"] = np.nan
    assert len(common_patients(new, champion)) == 40


def test_only_parameters_of_both_are_compared(table):
    champion = table(40)
    found = compare(champion[champion["parameter"] != "CO"], champion, 200, 0)
    assert found.metrics["r_difference"] == 0
    assert set(found.table["parameter"]) >= {"RAP", "mean"}
    assert "CO" not in set(found.table["parameter"])
