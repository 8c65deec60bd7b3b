"""The folder of predictions: grows by whole patients, is taken up again, and refuses what is not its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import PARAMETERS
from cardio_mlflow.pipelines.predicted_pages import page_names, with_refusals
from cardio_mlflow.pipelines.prediction_results import PREDICTIONS, open_results
from cardio_mlflow.pipelines.predictions_shown import counts_of, summary_of, terminal_table
from tests.report.test_patient_page import answers


def chunk(*names: str) -> pd.DataFrame:
    return pd.concat([answers(name, 0.1 + 1 / 3) for name in names], ignore_index=True)


def test_a_table_in_two_goes_is_the_table_in_one(tmp_path):
    with open_results(tmp_path / "one", "a") as results:
        results.append(chunk("007", "NA"))
        results.append(chunk("=1+1"))
    with open_results(tmp_path / "two", "a") as results:
        results.append(chunk("007", "NA"))
    with open_results(tmp_path / "two", "a") as results:
        assert results.done() == 2
        results.append(chunk("=1+1"))
        table = results.table()
    assert (tmp_path / "one" / PREDICTIONS).read_bytes() == (tmp_path / "two" / PREDICTIONS).read_bytes()
    assert list(table["patient"].unique()) == ["007", "NA", "=1+1"]
    assert table["prediction"].tolist() == chunk("007", "NA", "=1+1")["prediction"].tolist()
    assert not list(tmp_path.glob("*/.lock"))


def test_values_that_are_left_out_come_back_as_missing(tmp_path):
    table = answers("P", np.nan, flags="A4C: black").assign(abnormal=pd.NA)
    with open_results(tmp_path, "a") as results:
        results.append(table)
        read = results.table()
    assert read["abnormal"].isna().all()
    assert read["unfamiliar"].all()
    assert counts_of(read) == {"patients": 1, "flagged": 1, "without_value": 1}
    assert summary_of(read) == "1 patient: 1 flagged, 1 without any value."


@pytest.mark.parametrize("other", ["notes.txt", "predictions.csv"])
def test_a_folder_that_holds_something_else_stays_as_it_is(tmp_path, other):
    (tmp_path / other).write_text("mine")
    with pytest.raises(InputError, match="something else"), open_results(tmp_path, "a"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [other]


def test_results_of_another_input_are_not_gone_on_with(tmp_path):
    with open_results(tmp_path, "a"):
        pass
    with (
        pytest.raises(InputError, match="another input, model, version or settings"),
        open_results(tmp_path, "b"),
    ):
        pass


def test_only_one_process_writes(tmp_path):
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(InputError, match="Another predict"),
        open_results(tmp_path, "a"),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_said_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), open_results(tmp_path / "file" / "x", "a"):
        pass


def test_pages_are_called_by_number_and_by_what_suits_any_disk():
    names = page_names([*(f"p{i}" for i in range(9)), "CON:../\n" + "é" * 200 + "x" * 200])
    assert names["p0"] == "01_p0"
    last = list(names.values())[-1]
    assert last.startswith("10_CON_.._")
    assert len(last) < 70
    assert len(set(page_names(["A", "a", "a ", "?", "!"]).values())) == 5


def test_a_refused_clip_is_named_with_its_outcome_in_place_of_a_missing_view():
    quality = pd.DataFrame({"patient_id": ["P", "P", "Q"], "view": ["TC", "FC", "FC"],
                            "outcome": ["NO_SECTOR", "OK", "TRUNCATED"]})  # fmt: skip
    found = with_refusals(answers("P", notes="A2C: missing; A4C: missing; x"), quality)
    assert set(found["notes"]) == {"A2C: refused, NO_SECTOR (no sector found); A4C: missing; x"}


def test_the_terminal_shows_numbers_first_the_flagged_and_no_id():
    names = {f"id-{i}": "" for i in range(20)}
    table = pd.concat([answers(name, flags="PSAX: black" if name == "id-9" else "") for name in names])
    lines = terminal_table(table, names).splitlines()
    assert lines[1].split()[0] == "10"
    assert lines[2].split()[0] == "1"
    assert "PSAX: black" in lines[1]
    assert "24* (14 to 36)" in lines[1]
    assert lines[-1] == "... and 8 more"
    assert "id-" not in "\n".join(lines)
    assert len(table) == 20 * len(PARAMETERS)
