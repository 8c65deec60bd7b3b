"""What a slip of the user's gets: one screen, exit status 1, a FAILED run with the reason."""

import pytest
import torch

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.pipelines.command_line import parse_arguments

GOOD = ("5", "40", "15", "25", "10", "5", "2.6", "2000")  # all but PVR


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
    ("command", "given", "expected"),
    [
        ("train_fold", {"fold": "6"}, "whole number from 1 to 2"),
        ("train_fold", {"fold": "0"}, "whole number from 1 to 2"),
        ("train_fold", {"fold": "two"}, "fold=two is not allowed"),
        ("train_fold", {"vit_rl": "1e-5"}, "Did you mean vit_lr?"),
        ("train_fold", {"epochs": "-3"}, "a whole number at least 1"),
        ("train_fold", {"data": "no/such/folder"}, "there is no such folder"),
        ("train_fold", {"backbone": "no/such/backbone"}, "-P backbone="),
        ("train_fold", {"stages": "7"}, "this backbone has 4 blocks"),
        ("train_fold", {"folds": "nowhere.csv"}, "nowhere.csv"),
        ("train_fold", {"train_indices": "0-99"}, "99"),
        ("prepare", {"data": "."}, "labels.csv"),
        ("test", {}, "No model is registered"),
        ("validate", {}, "has no trained fold"),
    ],
)
def test_a_bad_value_or_order_of_commands(workplace, capsys, command, given, expected):
    assert expected in refused(workplace, capsys, command, **given)


@pytest.mark.parametrize(
    ("second", "pvr", "expected"),
    [("a", "2.1", "duplicate id"), ("b", "168", "divide by 80"), ("b", "2.1", "NOT_DICOM")],
)
def test_a_bad_cohort(workplace, capsys, tmp_path, second, pvr, expected):
    (tmp_path / "cohort" / "dicom").mkdir(parents=True)
    (tmp_path / "cohort" / "dicom" / "a_FC.dcm").write_bytes(b"this is no DICOM file")
    rows = [",".join([patient, *GOOD, value]) for patient, value in (("a", "2.1"), (second, pvr))]
    lines = [",".join(["patient_id", *KEYS]), *rows]
    (tmp_path / "cohort" / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    given = {"data": str(tmp_path / "cohort"), "cohort1_size": "2"}
    assert expected in refused(workplace, capsys, "train_fold", **given)


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
