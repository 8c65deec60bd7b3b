"""What a slip of the user's gets: one screen, exit status 1, a FAILED run with the reason."""

import pytest
import torch

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.pipelines.command_line import parse_arguments

GOOD = dict(zip(KEYS, ("5", "40", "15", "25", "10", "5", "2.6", "2000", "2.1"), strict=True))


def refused(workplace, capsys, name, **given):
    """Run a command that must be refused; returns what it said."""
    assert workplace.command(name, **given) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.count("\n") <= 30
    runs = workplace.client.search_runs(["0"], order_by=["attributes.start_time DESC"])
    assert runs[0].info.status == "FAILED"
    assert runs[0].data.tags["failure"][:200] in said
    assert runs[0].data.tags["step"] == name
    return said


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"fold": "6"}, "whole number from 1 to 2"),
        ({"fold": "two"}, "fold=two is not allowed"),
        ({"fold": "0"}, "whole number from 1 to 2"),
        ({"vit_rl": "1e-5"}, "Did you mean vit_lr?"),
        ({"epochs": "-3"}, "a whole number at least 1"),
        ({"data": "no/such/folder"}, "there is no such folder"),
        ({"backbone": "no/such/backbone"}, "-P backbone="),
        ({"stages": "7"}, "this backbone has 4 blocks"),
        ({"folds": "nowhere.csv"}, "nowhere.csv"),
        ({"train_indices": "0-99"}, "99"),
    ],
)
def test_bad_values(workplace, capsys, given, expected):
    assert expected in refused(workplace, capsys, "train_fold", **given)


def write_cohort(folder, rows):
    (folder / "dicom").mkdir(parents=True)
    (folder / "dicom" / f"{rows[0]['patient_id']}_FC.dcm").write_bytes(b"this is no DICOM file")
    lines = [",".join(rows[0])] + [",".join(row.values()) for row in rows]
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    return str(folder)


def row(patient, **changed):
    return {"patient_id": patient, **GOOD, **changed}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [([row("a"), row("a")], "duplicate"), ([row("a"), row("b", PVR="168")], "80"),
     ([row("a"), row("b", CO="normal")], "CO"), ([row("a"), row("b")], "NOT_DICOM")],
)  # fmt: skip
def test_bad_cohorts(workplace, capsys, tmp_path, rows, expected):
    folder = write_cohort(tmp_path / "cohort", rows)
    said = refused(workplace, capsys, "train_fold", data=folder, cohort1_size="2")
    assert expected.lower() in said.lower()


def test_a_folder_without_labels(workplace, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "labels.csv" in refused(workplace, capsys, "prepare", data=str(tmp_path / "empty"))


def test_no_registered_model(workplace, capsys):
    assert "No model is registered" in refused(workplace, capsys, "test")


def test_no_trained_fold(workplace, capsys):
    assert "has no trained fold" in refused(workplace, capsys, "validate")


@pytest.mark.parametrize(
    "words", [["fold", "2"], ["--fold"], ["--fold", "--epochs"], ["--fold", "1", "--fold", "2"]]
)
def test_words_that_are_no_settings(words):
    with pytest.raises(InputError):
        parse_arguments(words)


def test_memory_that_runs_out_ends_the_run_with_what_to_lower(workplace, capsys, monkeypatch):
    """In any step: here one whose tensor no machine has room for."""
    monkeypatch.setattr("entry_points.train.train", lambda *_: torch.empty(2**52))
    assert "Lower what is computed at once: -P batch_size" in refused(workplace, capsys, "train")
