"""The participant flow, counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cardio_mlflow.report.participant_flow import COLUMNS, flow_table


def _participants():
    rows = [
        ("P000", True, "OK", "OK", "OK", "OK"),
        ("P001", True, "OK", "NO_SECTOR", "", "OK"),
        ("P002", False, "NO_SECTOR", "NO_SECTOR", "", "TRUNCATED"),
        ("P003", False, "", "", "", ""),
        ("P999", True, "OK", "", "", ""),
    ]
    sheet = pd.DataFrame(rows, columns=["patient_id", "used", "FC", "TC", "SA", "LA"])
    other = sheet.assign(patient_id="Q" + sheet["patient_id"], cohort="II")
    return pd.concat([sheet.assign(cohort="I"), other], ignore_index=True)


def _counts(flow):
    return {row.step: (row.patients, row.clips) for row in flow.itertuples()}


def test_every_step(table):
    predictions = table(patients=2)
    predictions.loc[
        (predictions["parameter"] == "CO") & (predictions["patient_id"] == "P001"), "reference"
    ] = np.nan
    flow = flow_table(_participants(), predictions)
    counts = _counts(flow)
    assert list(flow.columns) == list(COLUMNS)
    assert (flow["patients"].dtype, flow["clips"].dtype) == ("Int64", "Int64")
    assert counts["in the cohort's sheet"][0] == 5
    assert counts["with any clip"] == (4, 11)
    assert counts["clips refused: NO_SECTOR"] == (2, 3)
    assert counts["clips refused: TRUNCATED"] == (1, 1)
    assert counts["excluded: no prepared view"][0] == 2
    assert counts["prepared, but without a prediction"][0] == 1
    assert counts["analysed"] == (2, 6)
    assert counts["analysed with view A4C"] == (2, 2)
    assert counts["analysed with view PSAX"] == (1, 1)
    assert counts["reference missing: CO"][0] == 1
    assert counts["reference missing: RAP"][0] == 0
    details = dict(zip(flow["step"], flow["detail"], strict=True))
    assert details["clips refused: NO_SECTOR"] == "A4C 1, A2C 2"
    assert details["excluded: no prepared view"] == "1 without any clip, 1 with refused clips only"
    assert details["reference missing: CO"] == "1 of 2 analysed for CO"


def test_patients_that_the_sheet_lacks_are_told(table):
    flow = flow_table(_participants(), table(patients=6)).set_index("step")
    assert flow.loc["analysed", "detail"] == "2 of them not in the sheet: their clips are not counted"


def test_without_participants_only_the_predictions_are_counted(table):
    predictions = table(patients=3)
    flow = flow_table(None, predictions[predictions["parameter"] != "PVR"]).set_index("step")
    assert list(flow.index[:2]) == ["note", "analysed"]
    assert flow.loc["analysed", "patients"] == 3
    assert flow.loc["reference missing: PVR", "detail"] == "not predicted"
    assert flow["clips"].isna().all()


def test_no_prediction_at_all(table):
    flow = flow_table(_participants(), table().iloc[:0])
    assert _counts(flow)["analysed"] == (0, 0)
