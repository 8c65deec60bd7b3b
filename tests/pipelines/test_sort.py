"""The command ``sort``: from an export to a cohort that trains, by tags or by eye; nobody's name is in it."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.pacs_export.export import Export, make_export
from cardio_mlflow.parameters import view

PATIENTS = 6


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Export:
    """A few patients, of whom one is not in the sheet."""
    kinds = ("cine", "still", "colour", "report")
    return make_export(tmp_path_factory.mktemp("export"), PATIENTS, seed=5, kinds=kinds)


@pytest.fixture
def sort(workplace, export, tmp_path):
    """The command on the export, into a folder."""

    def run(**given: str) -> int:
        first = {"export": str(export.root), "labels": str(export.sheet)}
        return workplace.command("sort", cohort=str(tmp_path / "cohort"), **(given or first))

    return run


def taken(export: Export, cohort: Path) -> dict[str, str]:
    """Of each place that the cohort's clips.csv names the row of the sheet and the view."""
    rows = pd.read_csv(cohort / "clips.csv", dtype=str)
    places = [path.removeprefix(f"{export.root}/") for path in rows["path"]]
    return dict(zip(places, rows["patient_id"] + rows["view"], strict=True))


def right(export: Export) -> dict[str, str]:
    files = [file for file in export.files.values() if file.right]
    return {file.place: f"R{file.row:04d}{view(file.view).name}" for file in files}


def test_from_an_export_to_a_trained_fold(sort, workplace, export, tmp_path, caplog):
    before = {path: path.stat().st_mtime_ns for path in export.root.rglob("*")}
    assert sort() == 0
    cohort = tmp_path / "cohort"
    found, wanted = taken(export, cohort), right(export)
    named = {place: what for place, what in wanted.items() if place in found}
    assert found.items() >= named.items()
    assert len(named) >= 0.75 * len(wanted), "the others have names that could tell who it is"
    assert len(pd.read_csv(cohort / "clips.csv")) == len(wanted)
    report = pd.read_csv(cohort / "sort_report.csv", dtype=str, keep_default_na=False)
    assert len(report) == len(export.files) + 1, "one row per file, and the DICOMDIR"
    assert set(report.loc[report["taken"] == "no", "why"].str.len() > 0) == {True}
    (run,) = workplace.runs(step="sort")
    assert run.data.tags["cohort"] == "cohort"
    assert run.data.metrics["clips/taken"] == len(wanted)
    for name in ("tables/sort_report.csv", "sort.html"):
        assert workplace.artifact(run, name).stat().st_size > 0
    assert "<strong>Synthetic data.</strong>" in (cohort / "sort.html").read_text()
    assert "Next: mlflow run . -e prepare -P data=" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in export.root.rglob("*")} == before
    small = {"cohort1_size": "5", "num_folds": "2", "epochs": "1", "stages": "0"}
    assert workplace.command("train_fold", data=str(cohort), **small) == 0
    assert workplace.command("prepare", data=str(cohort), **small) == 0
    assert workplace.runs(step="prepare")[-1].data.tags["prepared"] == str(len(wanted))
    _nobody_is_named(export, [cohort, tmp_path / "mlruns", tmp_path / "mlartifacts"], caplog.text)


def _nobody_is_named(export: Export, folders: list[Path], said: str) -> None:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert files
    for text in (said, *(path.read_bytes().decode("latin-1") for path in files)):
        plain = text.replace(str(export.root), "").casefold()
        for secret in export.planted:
            assert secret.casefold() not in plain


def test_a_second_time_only_what_was_labelled_is_given(sort, workplace, export, tmp_path, capsys, caplog):
    cohort = tmp_path / "cohort"
    assert sort() == 0
    report = pd.read_csv(cohort / "sort_report.csv", dtype=str, keep_default_na=False)
    clip = report.loc[report["taken"] == "yes"].iloc[0]
    saved = tmp_path / "saved.csv"
    saved.write_text(f"clip,view,chosen\n{clip['clip']},other,\n")
    assert sort(views=str(saved)) == 0
    again = pd.read_csv(cohort / "sort_report.csv", dtype=str, keep_default_na=False)
    changed = again.loc[again["clip"] == clip["clip"]].iloc[0]
    assert (changed["view"], changed["view_from"], changed["taken"]) == ("other", "eye", "no")
    assert sort(threshold="0.9") == 0, "what was labelled is kept"
    assert (cohort / "views.csv").read_text() == f"clip,view,chosen\n{clip['clip']},other,no\n"
    with (cohort / "clips.csv").open("a") as file:
        csv.writer(file).writerow(["R0002", "A4C", "mine.dcm"])
    assert sort(threshold="0.9") == 1
    assert "has been changed since" in capsys.readouterr().err
    assert "mine.dcm" in (cohort / "clips.csv").read_text()


def test_what_cannot_be_sorted_is_told_in_one_sentence(sort, workplace, export, tmp_path, capsys):
    other = tmp_path / "other.csv"
    other.write_text("id,RAP\nA77,5\nA78,6\n")
    export_of = {"export": str(export.root)}
    for given, words in (
        ({"labels": str(other), **export_of}, "No file of the export belongs to a patient"),
        (export_of, "Give the label sheet"),
        ({"labels": str(export.sheet)}, "Say where the export lies"),
        ({"labels": str(export.sheet), "export": str(tmp_path / "no")}, "export"),
        ({"labels": str(export.sheet), "threshold": "2", **export_of}, "threshold=2"),
        ({"labels": str(export.sheet), "views": str(tmp_path / "no.csv"), **export_of}, "views="),
    ):
        assert sort(**given) == 1
        assert words in capsys.readouterr().err
        assert not (tmp_path / "cohort").exists()
    inside = export.root / "cohort"
    assert workplace.command("sort", cohort=str(inside), labels=str(export.sheet), **export_of) == 1
    assert not inside.exists()
    assert workplace.command("sort", labels=str(export.sheet), **export_of) == 1
    assert "-P cohort=" in capsys.readouterr().err
