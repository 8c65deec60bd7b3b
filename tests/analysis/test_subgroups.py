from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics

from cardio_mlflow.analysis.bootstrap import expanded_level
from cardio_mlflow.analysis.subgroups import COLUMNS, pulmonary_hypertension, subgroup_table
from cardio_mlflow.parameters import KEYS

IDS = [f"P{i:03d}" for i in range(40)]


def sheet(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"patient_id": IDS, "cohort": "I"} | columns)


def sexes() -> list[str]:
    return ["female", "male"] * 18 + ["", "", "male", "male"]


def test_numbers_equal_those_of_the_filtered_table(table) -> None:
    one = table()
    result = subgroup_table(one, sheet(sex=sexes()), 200, 0)
    assert tuple(result.columns) == COLUMNS
    for level in ("female", "male"):
        ids = [patient for patient, sex in zip(IDS, sexes(), strict=True) if sex == level]
        for key in KEYS:
            own = one[one["patient_id"].isin(ids) & (one["parameter"] == key)]
            row = result.query("subgroup == 'sex' and level == @level and parameter == @key").iloc[0]
            x, y = own["reference"], own["prediction"]
            assert row["n"] == len(ids)
            assert row["mae"] == pytest.approx(metrics.mean_absolute_error(x, y))
            assert row["bias"] == pytest.approx((y - x).mean())
            assert row["r"] == pytest.approx(stats.pearsonr(x, y)[0])
            for name in ("mae", "bias", "r"):
                assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


def test_the_interval_agrees_with_scipys_bootstrap(table) -> None:
    one = table()
    row = subgroup_table(one, sheet(sex=sexes()), 10_000, 0).query("level == 'male'").iloc[0]
    ids = [patient for patient, sex in zip(IDS, sexes(), strict=True) if sex == "male"]
    own = one[one["patient_id"].isin(ids) & (one["parameter"] == row["parameter"])]
    error = (own["prediction"] - own["reference"]).to_numpy()
    theirs = stats.bootstrap((error,), np.mean, method="percentile", n_resamples=10_000, rng=1,
                             confidence_level=expanded_level(0.95, len(ids)))  # fmt: skip
    low, high = theirs.confidence_interval
    assert (row["bias_low"], row["bias_high"]) == pytest.approx((low, high), abs=0.03 * (high - low) + 0.02)


def test_unknown_levels_are_left_out_and_told(table) -> None:
    result = subgroup_table(table(), sheet(sex=sexes()), 20, 0)
    own = result[result["subgroup"] == "sex"]
    assert set(own["level"]) == {"female", "male"}
    assert (own.groupby("parameter")["n"].sum() == 38).all()
    assert (own["note"] == "2 patients of unknown level left out").all()
    # a patient that the sheet does not name is unknown too
    short = subgroup_table(table(), sheet(sex=sexes()).iloc[:-1], 20, 0)
    assert set(short[short["subgroup"] == "sex"]["note"]) == {"3 patients of unknown level left out"}


def test_a_small_level_is_noted(table) -> None:
    rhythm = ["atrial fibrillation"] * 9 + ["paced"] + ["sinus"] * 10 + [""] * 20
    own = subgroup_table(table(), sheet(rhythm=rhythm), 20, 0).query("subgroup == 'rhythm'")
    notes = own.groupby("level")["note"].first()
    assert notes["atrial fibrillation"].startswith("fewer than 10 patients")
    assert "fewer than" not in notes["sinus"]
    assert "1 patient: no correlation" in notes["paced"]
    paced = own[own["level"] == "paced"]
    assert paced[["r", "r_low", "mae_low", "mae_high"]].isna().all(axis=None)
    assert paced["mae"].notna().all()


def test_without_participants_there_is_only_pulmonary_hypertension(table) -> None:
    one = table()
    result = subgroup_table(one, None, 20, 0)
    assert set(result["subgroup"]) == {"PH"}
    pressure = one[one["parameter"] == "meanPAP"]["reference"]
    counts = result[result["parameter"] == "RAP"].set_index("level")["n"]
    assert counts.to_dict() == {"no": (pressure <= 20).sum(), "yes": (pressure > 20).sum()}


def test_pulmonary_hypertension_is_strictly_above_20_and_by_the_reference(table) -> None:
    one = table(3)
    one.loc[one["parameter"] == "meanPAP", "reference"] = [20.0, 20.1, np.nan]
    one.loc[one["parameter"] == "meanPAP", "prediction"] = [50.0, 5.0, 50.0]
    assert pulmonary_hypertension(one).to_dict() == {"P000": False, "P001": True}


def test_order_of_subgroups_and_bands(table) -> None:
    bands = ["> 65", "50-65", "< 50", "50-65"] * 10
    result = subgroup_table(table(), sheet(scanner="A", age_band=bands, sex=sexes()), 5, 0)
    assert list(dict.fromkeys(result["subgroup"])) == ["sex", "age band", "scanner", "PH"]
    ages = result[result["subgroup"] == "age band"]
    assert list(dict.fromkeys(ages["level"])) == ["< 50", "50-65", "> 65"]


def test_the_seed_matters_and_the_order_of_rows_does_not(table) -> None:
    one, people = table(), sheet(sex=sexes())
    first = subgroup_table(one, people, 50, 3)
    shuffled = subgroup_table(
        one.sample(frac=1, random_state=1), people.sample(frac=1, random_state=2), 50, 3
    )
    pd.testing.assert_frame_equal(first, shuffled)
    assert not first.equals(subgroup_table(one, people, 50, 4))


def test_the_other_cohorts_participants_do_not_count(table) -> None:
    result = subgroup_table(table(), sheet(sex="female").assign(cohort="II"), 5, 0)
    assert set(result["subgroup"]) == {"PH"}


def test_nothing_to_split_gives_an_empty_table(table) -> None:
    one = table()
    one.loc[one["parameter"] == "meanPAP", "reference"] = np.nan
    result = subgroup_table(one, None, 5, 0)
    assert result.empty
    assert tuple(result.columns) == COLUMNS


def test_a_constant_prediction_and_a_missing_reference_are_told(table) -> None:
    one = table()
    one.loc[one["parameter"] == "RAP", "prediction"] = 0.1
    one.loc[one["parameter"] == "PVR", "reference"] = np.nan
    notes = subgroup_table(one, sheet(scanner="A"), 5, 0).query("level == 'A'").set_index("parameter")
    assert notes.loc["RAP", "note"] == "constant predictions: no r"
    assert np.isnan(notes.loc["RAP", "r_high"])
    assert (notes.loc["PVR", "n"], notes.loc["PVR", "note"]) == (0, "no reference")
