"""What validate and test leave: every table once as CSV and once in the workbook, the figures, the report."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
import yaml

from cardio_mlflow.analysis.predictions import read_patients_table
from cardio_mlflow.parameters import KEYS, VIEW_CODES
from cardio_mlflow.report.workbook import sheet_names
from tests.browser import browse, images_and_excess, needs_browser

TABLES = {
    "performance", "bland_altman", "discrimination", "roc", "classification", "decision_curve", "phenotypes",
    "phenotype_confusion", "phenotype_agreement", "heteroscedasticity", "residual_quartiles", "identities",
    "identity_pairs", "subgroups", "worst_patients", "correlation_references", "correlation_predictions",
    "participant_flow", "ceiling",
}  # fmt: skip


@pytest.fixture(scope="module")
def judged(studied, table, tmp_path_factory: pytest.TempPathFactory):
    """A run of ``test`` on a predictions table of 24 patients, with EPS and TIFF."""
    path = tmp_path_factory.mktemp("given") / "predictions.csv"
    table(24, cohort="II").to_csv(path, index=False)
    given = {"study": "given", "predictions": str(path), "figure_formats": "eps,tiff", "prepare_jobs": "2"}
    assert studied.command("test", **given) == 0
    (run,) = studied.runs(study="given")
    return studied, run


def test_a_predictions_table_gives_every_table_figure_and_the_report(judged) -> None:
    studied, run = judged
    assert {p.stem for p in studied.artifact(run, "tables").iterdir()} == TABLES
    figures = studied.artifact(run, "figures")
    names = {p.stem for p in figures.glob("*.png")}
    assert names >= {"scatter", "scatter_plain", "roc", "confusion", "confusion_median", "decision_curve",
                     "phenotype", "residuals", "identities", "subgroups", "correlation_matrices"}  # fmt: skip
    assert names >= {f"{name}_{key}" for name in ("scatter", "bland_altman", "roc") for key in ("PVR",)}
    assert {p.name for p in (figures / "print").iterdir()} == {
        f"{n}.{e}" for n in names for e in ("eps", "tiff")
    }
    report = studied.artifact(run, "report.html").read_text("utf-8")
    assert "<script" not in report
    assert "synthetic" in report.lower()
    assert report.count("<img") > 10


def test_the_workbook_holds_the_tables_numbers(judged) -> None:
    studied, run = judged
    book = openpyxl.load_workbook(studied.artifact(run, "workbook.xlsx"), read_only=True)
    names = [*sorted(TABLES - {"roc", "identity_pairs", "ceiling"}), "predictions"]
    titles = dict(zip(names, sheet_names(names), strict=True))
    for name in names:
        path = "predictions.csv" if name == "predictions" else f"tables/{name}.csv"
        expected = pd.read_csv(studied.artifact(run, path))
        rows = list(book[titles[name]].iter_rows(values_only=True))[1:]
        assert len(rows) == len(expected), name
        numbers = expected.select_dtypes("number")
        for column in numbers.columns:
            position = list(expected.columns).index(column)
            found = np.array(
                [np.nan if row[position] in (None, "") else row[position] for row in rows], float
            )
            np.testing.assert_array_equal(found, numbers[column].to_numpy(float), err_msg=f"{name}.{column}")


@needs_browser
def test_a_browser_shows_the_whole_report(judged, tmp_path: Path) -> None:
    studied, run = judged
    report = studied.artifact(run, "report.html")
    plain = browse(report, tmp_path)
    assert "CONSOLE" not in plain.stderr
    pictures = plain.stdout.count("<img ")
    seen, excess = images_and_excess(report, tmp_path, 1200)
    assert seen == pictures > 10
    assert excess <= 0
    assert "Mean signed r" in plain.stdout


def test_the_workbook_begins_with_a_summary_and_ends_with_settings_and_versions(judged) -> None:
    studied, run = judged
    book = openpyxl.load_workbook(studied.artifact(run, "workbook.xlsx"))
    assert book.sheetnames[:4] == ["About", "summary", "performance", "predictions"]
    assert book.sheetnames[-2:] == ["settings", "environment"]
    summary = {row[0]: row[1:] for row in book["summary"].iter_rows(values_only=True)}
    metrics = [run.data.metrics[f"cohort2/r_mean{end}"] for end in ("", "_low", "_high")]
    assert summary["mean signed r"][:3] == pytest.approx(metrics)
    assert summary["cohort"][0] == "Cohort II"
    settings = list(book["settings"].iter_rows(min_row=2, values_only=True))
    resolved = yaml.safe_load(studied.artifact(run, "settings.yaml").read_text())
    assert {row[0] for row in settings} == {"analysis"}, "how a given table was trained is not known"
    assert ("analysis", "bootstrap", str(resolved["bootstrap"])) in settings
    versions = dict(book["environment"].iter_rows(min_row=2, values_only=True))
    assert versions["numpy"] == np.__version__


def test_the_metrics_are_those_of_the_tables(judged) -> None:
    studied, run = judged
    performance = pd.read_csv(studied.artifact(run, "tables/performance.csv")).set_index("parameter")
    for key in KEYS:
        for name in ("r", "ccc", "icc", "mae", "auc", "slope"):
            assert run.data.metrics[f"cohort2/{name}_{key}"] == pytest.approx(performance.loc[key, name])
        assert run.data.metrics[f"cohort2/r_low_{key}"] == pytest.approx(performance.loc[key, "r_low"])
    for table, where, columns in (
        ("classification", "split == 'cut-off'", {"ppv": "ppv", "lr_positive": "lr_positive"}),
        ("discrimination", "outcome == 'PH'", {"auc": "auc_ph"}),
        ("bland_altman", "n > 0", {"lower": "limit_lower"}),
    ):
        rows = pd.read_csv(studied.artifact(run, f"tables/{table}.csv")).query(where).set_index("parameter")
        assert len(rows) >= len(KEYS) - 1
        for column, shown in columns.items():
            for key, value in rows[column].dropna().items():
                assert run.data.metrics[f"cohort2/{shown}_{key}"] == pytest.approx(value)


def test_a_given_table_is_no_use_of_cohort_two(judged) -> None:
    _, run = judged
    assert "cohort2/uses" not in run.data.metrics
    assert "cohort2_digest" not in run.data.tags


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cohort": "I"}, "must hold Cohort II alone"),
        ({"unit": "bar"}, "in another unit"),
    ],
)
def test_a_wrong_table_is_refused(
    studied, table, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed, said
) -> None:
    path = tmp_path / "predictions.csv"
    table(6, cohort="II").assign(**changed).to_csv(path, index=False)
    assert studied.command("test", study="wrong", predictions=str(path)) == 1
    assert said in capsys.readouterr().err


def test_one_patient_is_told_and_not_crashed_on(studied, table, tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    table(1).to_csv(path, index=False)
    assert studied.command("validate", study="one-patient", predictions=str(path)) == 0
    (run,) = studied.runs(study="one-patient")
    report = studied.artifact(run, "report.html").read_text("utf-8")
    assert "1 patient: no correlation" in report
    assert not [name for name in run.data.metrics if name.startswith("cohort1/r_")]


def test_the_study_has_features_participants_and_folds(studied) -> None:
    (validation,) = studied.runs(step="validate", study="demo-synthetic")[:1]
    names = {p.stem for p in studied.artifact(validation, "tables").iterdir()}
    assert names == TABLES | {
        "folds",
        "identities_used",
        "history",
        "view_subset_accuracy",
    }  # six patients are too few for an embedding, and for intervals
    report = studied.artifact(validation, "report.html").read_text("utf-8")
    (said,) = re.findall(r"evenly spaced (over one cardiac cycle in .*?);", report)
    assert re.match(r"over one cardiac cycle in \d+ of \d+ clips, by ", said), said
    folds = studied.runs(step="train_fold", variant="full", study="demo-synthetic")[:2]
    for fold in folds:
        features = read_patients_table(studied.artifact(fold, "tables/features.csv"))
        predictions = pd.read_csv(studied.artifact(fold, "predictions.csv"))
        assert set(features["patient_id"]) == set(predictions["patient_id"])
        assert set(features["network"]) == {int(fold.data.tags["fold"])}
        subsets = read_patients_table(studied.artifact(fold, "tables/view_subsets.csv"))
        whole = subsets[subsets["views"].str.count(r"\+") == 3].merge(
            predictions, on=["patient_id", "parameter"]
        )
        assert len(whole)
        np.testing.assert_allclose(whole["prediction_x"], whole["prediction_y"], rtol=1e-4)
        people = read_patients_table(studied.artifact(fold, "tables/participants.csv"))
        assert len(people) == 6
        assert people["used"].all()
        assert set(people[list(VIEW_CODES)].to_numpy().ravel()) <= {"OK", ""}
        assert "age" not in people.columns
        assert set(people["sex"]) <= {"male", "female"}
