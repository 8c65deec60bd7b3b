from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cardio_mlflow.analysis.identities import identity_pairs, identity_table

PVR, MEAN, CI = "PVR = (meanPAP - PCWP) / CO", "meanPAP = (SPAP + 2 dPAP) / 3", "CI = CO / BSA"
PATIENTS = 12
BSA = np.linspace(1.5, 2.2, PATIENTS)


def exact(table) -> pd.DataFrame:
    """References and predictions that keep all three identities, at different values."""
    one = table(PATIENTS)
    for name, shift in (("reference", 0.0), ("prediction", 3.0)):
        at = np.arange(PATIENTS)
        values = {"SPAP": 30 + 3.0 * at + shift, "dPAP": 12 + at % 4 + shift, "PCWP": 8 + at % 3 + shift,
                  "CO": 4 + 0.25 * (at % 5)}  # fmt: skip
        values["meanPAP"] = (values["SPAP"] + 2 * values["dPAP"]) / 3
        values["PVR"] = (values["meanPAP"] - values["PCWP"]) / values["CO"]
        values["CI"] = values["CO"] / BSA
        for key, column in values.items():
            one.loc[one["parameter"] == key, name] = column
    return one


def sheet(bsa: object = BSA) -> pd.DataFrame:
    ids = [f"P{i:03d}" for i in range(PATIENTS)]
    return pd.DataFrame({"patient_id": ids, "cohort": "I", "bsa": bsa})


def row(result: pd.DataFrame, identity: str, side: str) -> pd.Series:
    return result.set_index(["identity", "side"]).loc[(identity, side)]


@pytest.mark.parametrize("participants", [None, sheet(), sheet().drop(columns="bsa")])
def test_values_that_keep_the_identities_have_no_bias(table, participants: pd.DataFrame | None) -> None:
    result = identity_table(exact(table), participants)
    assert list(zip(result["identity"], result["side"], strict=True)) == [
        (text, side) for text in (PVR, MEAN, CI) for side in ("references", "predictions")
    ]
    assert result["unit"].tolist() == ["Wood units"] * 2 + ["mmHg"] * 2 + ["L/min/m²"] * 2
    assert (result["n"] == PATIENTS).all()
    np.testing.assert_allclose(result[["bias", "sd", "lower", "upper", "mae"]], 0, atol=1e-12)
    np.testing.assert_allclose(result["r"], 1)


def test_the_note_tells_where_the_body_surface_is_from(table) -> None:
    known = BSA.copy()
    known[:2] = np.nan
    result = identity_table(exact(table), sheet(known))
    by_construction = ", for whom the identity holds by construction"
    text = "BSA of 2 of 12 patients from reference CO / CI"
    assert row(result, CI, "predictions")["note"] == text
    assert row(result, CI, "references")["note"] == text + by_construction
    assert (identity_table(exact(table), sheet())["note"] == "").all()
    alone = identity_table(exact(table), None)
    assert row(alone, CI, "references")["note"].startswith("BSA of 12 of 12 patients")


def test_the_given_body_surface_is_used_and_not_the_derived_one(table) -> None:
    one = exact(table)
    result = identity_table(one, sheet(2 * BSA))
    ci = one.loc[one["parameter"] == "CI", "reference"]
    assert row(result, CI, "references")["bias"] == pytest.approx(ci.mean() / 2)
    other = identity_table(one, sheet(2 * BSA).assign(cohort="II"))
    assert row(other, CI, "references")["bias"] == pytest.approx(0, abs=1e-12)


def test_predictions_are_measured_with_the_references_body_surface(table) -> None:
    one = exact(table)
    one.loc[one["parameter"] == "CI", "prediction"] += 0.5
    result = identity_table(one, None)
    assert row(result, CI, "predictions")["bias"] == pytest.approx(0.5)
    assert row(result, CI, "references")["bias"] == pytest.approx(0, abs=1e-12)


def test_statistics_of_left_minus_right_by_hand(table) -> None:
    one = exact(table)
    error = np.tile([-1.0, 0.0, 4.0], 4)
    at = one["parameter"] == "meanPAP"
    left = one.loc[at, "reference"].to_numpy() + error
    one.loc[at, "reference"] = left
    got = row(identity_table(one, None), MEAN, "references")
    assert got["bias"] == pytest.approx(1)
    assert got["mae"] == pytest.approx(5 / 3)
    sd = np.sqrt(((error - 1) ** 2).sum() / 11)
    assert got["sd"] == pytest.approx(sd)
    assert (got["lower"], got["upper"]) == pytest.approx((1 - 1.95996 * sd, 1 + 1.95996 * sd), rel=1e-5)
    assert got["r"] == pytest.approx(stats.pearsonr(left, left - error)[0])


def test_pairs_are_those_of_the_table_by_patient(table) -> None:
    one = table(PATIENTS)
    one.loc[(one["parameter"] == "PCWP") & (one["patient_id"] == "P003"), "reference"] = np.nan
    pairs = identity_pairs(one.sample(frac=1, random_state=2), None)
    own = pairs[(pairs["identity"] == PVR) & (pairs["side"] == "references")]
    assert own["patient_id"].tolist() == [f"P{i:03d}" for i in range(PATIENTS) if i != 3]
    value = one[one["patient_id"] == "P007"].set_index("parameter")["reference"]
    pair = own.set_index("patient_id").loc["P007"]
    assert pair["left"] == value["PVR"]
    assert pair["right"] == pytest.approx((value["meanPAP"] - value["PCWP"]) / value["CO"])
    assert row(identity_table(one, None), PVR, "references")["n"] == 11
    assert row(identity_table(one, None), PVR, "predictions")["n"] == 12


def test_a_divisor_not_above_zero_is_left_out_and_told(table) -> None:
    one = exact(table)
    one.loc[(one["parameter"] == "CO") & one["patient_id"].isin(["P001", "P002"]), "prediction"] = [0.0, -1.0]
    got = row(identity_table(one, sheet()), PVR, "predictions")
    assert (got["n"], got["note"]) == (10, "2 left out: CO not above zero")
    assert got["bias"] == pytest.approx(0, abs=1e-12)


def test_degenerate_tables_give_nan_with_the_reason(table) -> None:
    alone = identity_table(table(1), None)
    assert alone["note"].str.startswith("1 patient: no correlation and no limits").all()
    assert alone[["r", "sd", "lower"]].isna().all(axis=None)
    without = table(PATIENTS)
    without = without[~without["parameter"].isin(["CO", "dPAP"])]
    result = identity_table(without, sheet())
    assert (result["n"] == 0).all()
    assert (result["note"] == "no patient has all values").all()
    flat = exact(table)
    flat.loc[flat["parameter"] == "meanPAP", "prediction"] = 25.0
    got = row(identity_table(flat, None), MEAN, "predictions")
    assert np.isnan(got["r"])
    assert got["note"] == "constant left side: no r"
