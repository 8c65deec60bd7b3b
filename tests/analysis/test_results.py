"""What the reader of a report is told of values that are not there."""

from __future__ import annotations

import pytest

from cardio_mlflow.analysis.predictions import check_predictions
from cardio_mlflow.analysis.results import NOTED, Evidence, analyse, notes
from cardio_mlflow.parameters import KEYS


def told(predictions) -> list[str]:
    evidence = Evidence(check_predictions(predictions))
    return notes(evidence, dict(analyse(evidence, 100, 0)))


def test_two_patients_have_no_limits_which_is_told_once_for_all_parameters(table) -> None:
    every = f"{', '.join(KEYS[:-1])} and {KEYS[-1]}"
    assert f"Bland-Altman, {every}: 2 patients: no limits of agreement" in told(table(2))


@pytest.mark.parametrize("patients", [1, 2, 3, 40])
def test_no_note_of_any_table_is_lost(table, patients: int) -> None:
    evidence = Evidence(check_predictions(table(patients)))
    tables = dict(analyse(evidence, 100, 0))
    said = "\n".join(notes(evidence, tables))
    found = {note for name in NOTED if name in tables for note in tables[name]["note"] if note}
    assert all(note in said for note in found)
    assert {name for name, one in tables.items() if "note" in one and len(one)} <= set(NOTED)


def test_what_is_not_predicted_is_told(table) -> None:
    one = table(20)
    one = one[(one["parameter"] != "PVR") & ~((one["parameter"] == "CO") & one["fold"].isin([1, 3]))]
    told = notes(Evidence(one), {})
    assert "PVR is not predicted: without references it cannot be learned." in told
    (about,) = [note for note in told if note.startswith("CO ")]
    assert "in fold 1, 3," in about
    assert not [note for note in notes(Evidence(table(20)), {}) if "not predicted" in note]
