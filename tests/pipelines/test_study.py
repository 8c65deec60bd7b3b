"""A whole study in one process: what each step logs, and that the steps fit together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

import cardio_mlflow.parameters
import cardio_mlflow.pipelines.main as main_step
from cardio_mlflow.analysis.predictions import wide
from cardio_mlflow.data.clips import PREPARED_FRAMES
from cardio_mlflow.data.dataset import load_clips
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import FACTS, KEYS
from cardio_mlflow.pipelines.inputs import StudyInputs, load_inputs
from cardio_mlflow.pipelines.test import find_version
from cardio_mlflow.prediction.answers import COLUMNS
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.tracking.loaded_model import model_input
from cardio_mlflow.tracking.registry import CHAMPION, MODEL_NAME, load_version, version_called
from tests.pipelines.conftest import SMALL

STUDY = {"study": "demo-synthetic"}
EVERY_RUN = {"study", "step", "preset", "cohort", "settings_digest", "cohort_digest"}


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"patient_id": str})


def test_each_step_has_its_runs(studied) -> None:
    counts = {
        s: len(studied.runs(**STUDY, step=s)) for s in ("main", "prepare", "train", "train_fold", "ablation")
    }
    assert counts == {"main": 1, "prepare": 1, "train": 1, "train_fold": 3, "ablation": 1}
    folds = studied.runs(**STUDY, step="train_fold")
    assert [run.info.run_name for run in folds] == ["fold-1", "fold-2", "no_fusion/fold-1"]
    assert [run.data.params["cfg/variant"] for run in folds] == ["full", "full", "no_fusion"]
    for run in studied.runs(**STUDY):
        assert run.info.status == "FINISHED"
        assert set(run.data.tags) >= EVERY_RUN
        assert "mlflow.parentRunId" not in run.data.tags
        assert run.data.params["cfg/epochs"] == "2"


def test_a_fold_run_holds_metrics_predictions_and_model(studied) -> None:
    run = studied.runs(**STUDY, step="train_fold")[0]
    assert set(run.data.tags) >= {"fold", "variant", "mlflow.runColor"}
    names = {"train/loss", "val/loss", "val/r_mean", "lr/task", "lr/backbone", "stage", "best/epoch"}
    assert set(run.data.metrics) >= names | {f"val/mae_{key}" for key in KEYS}
    history = studied.client.get_metric_history(run.info.run_id, "stage")
    assert [(m.step, m.value) for m in history] == [(1, 0.0), (2, 1.0)]
    losses = {m.step: m.value for m in studied.client.get_metric_history(run.info.run_id, "val/loss")}
    assert run.data.metrics["best/loss"] == min(losses.values())
    assert losses[int(run.data.metrics["best/epoch"])] == min(losses.values())
    assert set(read(studied.artifact(run, "predictions.csv"))["parameter"]) == set(KEYS)
    files = {path.name for path in studied.artifact(run, "model/artifacts/fold-1").iterdir()}
    assert files == {"weights.safetensors", "settings.yaml", "scaler.json", "backbone.json", "scale.json",
                     "version.json"}  # fmt: skip
    assert not list(studied.artifact(run, "model").rglob("*.pkl"))


def test_validation_pools_the_folds(studied) -> None:
    (run,) = studied.runs(**STUDY, step="validate")
    pooled = read(studied.artifact(run, "predictions.csv"))
    folds = studied.runs(**STUDY, step="train_fold", variant="full")
    parts = [read(studied.artifact(fold, "predictions.csv")) for fold in folds]
    ends = ["lower", "upper"]  # of the fold's patients alone there, of all patients here
    joined = pd.concat(parts, ignore_index=True)
    pd.testing.assert_frame_equal(pooled.drop(columns=ends), joined.drop(columns=ends))
    assert pooled["patient_id"].nunique() == 6
    assert pooled["cohort"].eq("I").all()
    for key in KEYS:
        rows = pooled[pooled["parameter"] == key]
        expected = np.corrcoef(rows["reference"], rows["prediction"])[0, 1]
        assert run.data.metrics[f"cohort1/r_{key}"] == pytest.approx(expected)
    names = {path.name for path in studied.artifact(run, "figures").iterdir()}
    assert {"scatter.png", "bland_altman.png", "correlation.png", "scatter_PVR.png"} <= names


def test_cohort_two_is_judged_by_the_registered_model_with_its_own_code(
    studied, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = studied.runs(**STUDY, step="test")
    assert run.data.metrics["cohort2/uses"] == 1
    assert run.data.tags["model_code"] == "the model's own"
    table = read(studied.artifact(run, "predictions.csv"))
    assert table["cohort"].eq("II").all()
    assert table["fold"].isna().all()
    assert table["patient_id"].nunique() == 4
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    mlflow.set_tracking_uri(f"sqlite:///{studied.folder}/mlflow.db")
    model = load_version(version_called(CHAMPION))
    assert model.code_folder.parent.name == "code"
    assert Path(cardio_mlflow.parameters.__file__).parent != model.code_folder


def test_the_registered_model_takes_what_its_settings_need_and_says_what_the_test_said(studied) -> None:
    """As a colleague would use it: through MLflow alone, with arrays that this project prepares."""
    (tested,) = studied.runs(**STUDY, step="test")
    told = read(studied.artifact(tested, "predictions.csv"))
    settings = load_settings(SMALL | {"cache": str(studied.cache)}, {})
    inputs = load_inputs(settings)
    patients = inputs.patients("II")
    clips = load_clips(inputs.prepared.clips_of, patients, PREPARED_FRAMES)
    given = model_input(clips, inputs.facts(patients))
    model = mlflow.pyfunc.load_model(f"models:/{MODEL_NAME}@champion")
    assert model.metadata.get_input_schema() is None, "MLflow's own check shows the pixels"
    assert model.metadata.get_output_schema().input_names() == list(COLUMNS)
    found = model.predict(given | {"patient_id": patients})
    wanted = wide(told, "prediction").loc[list(patients), list(KEYS)]
    values = found.pivot_table(index="patient", columns="parameter", values="prediction")
    np.testing.assert_allclose(values.loc[list(patients), list(KEYS)], wanted, rtol=1e-6)
    assert set(told.loc[told["parameter"].isin(["CO", "CI", "SVRI"]), "way"]) == {"identity"}
    files = pd.DataFrame(
        [{view: str(path) for view, path in of.items()} for of in _clip_files(inputs, patients)]
    )
    facts = inputs.cohort.labels.reindex(columns=list(FACTS)).loc[list(patients)].reset_index(drop=True)
    from_files = model.predict(pd.concat([files, facts], axis=1))
    np.testing.assert_array_equal(from_files["prediction"], found["prediction"])
    assert from_files["flags"].tolist() == found["flags"].tolist()


def _clip_files(inputs: StudyInputs, patients: tuple[str, ...]) -> list[dict[str, Path]]:
    return [{c.view: c.path for c in inputs.cohort.clips if c.patient_id == one} for one in patients]


def test_the_version_has_a_card_and_says_why_it_is_champion(studied) -> None:
    (run,) = studied.runs(**STUDY, step="validate")[:1]
    version = studied.client.get_model_version(MODEL_NAME, "1")
    card = studied.artifact(run, "model_card.md").read_text(encoding="utf-8")
    assert card.startswith("> **SYNTHETIC COHORT.")
    inside = studied.artifact(run, "model/artifacts/ensemble/model_card.md")
    assert inside.read_text(encoding="utf-8") == card
    assert version.description.splitlines()[0] == card.splitlines()[0]
    assert len(version.description) <= 5000
    assert "no medical device" in studied.client.get_registered_model(MODEL_NAME).description
    assert (
        version.tags["promotion"] == run.data.tags["promotion"] == "It becomes the champion: there was none."
    )


def test_the_summary_says_what_to_do_next(studied) -> None:
    (run,) = studied.runs(**STUDY, step="main")
    summary = studied.artifact(run, "summary.txt").read_text(encoding="utf-8")
    assert "SYNTHETIC" in summary
    assert "mlflow ui --backend-store-uri" in summary
    assert all(
        fold.info.run_id in summary for fold in studied.runs(**STUDY, step="train_fold", variant="full")
    )
    assert all(key in summary for key in KEYS)
    for prefix, step in (("cohort1", "validate"), ("cohort2", "test")):
        (of_step,) = studied.runs(**STUDY, step=step)
        assert run.data.metrics[f"{prefix}/r_mean"] == of_step.data.metrics[f"{prefix}/r_mean"]


def test_a_fold_alone_gives_what_the_study_gave(studied) -> None:
    assert studied.command("train_fold", fold="2", study="again") == 0
    (again,) = studied.runs(study="again", step="train_fold")
    before = studied.runs(study="demo-synthetic", step="train_fold", fold="2")[0]
    assert again.data.metrics == before.data.metrics


def test_ablation_takes_up_the_folds_that_are_there(studied) -> None:
    before = len(studied.runs(step="train_fold", study="demo-synthetic"))
    assert studied.command("ablation", variants="full,no_fusion", ablation_folds="1") == 0
    assert len(studied.runs(step="train_fold", study="demo-synthetic")) == before
    one, two = studied.runs(**STUDY, step="ablation")
    assert one.data.metrics == two.data.metrics


def test_best_fold_registers_one_fold_and_uses_are_counted(studied, few_figures) -> None:
    assert studied.command("validate", champion="best_fold") == 0
    version = studied.client.get_model_version_by_alias(MODEL_NAME, CHAMPION)
    folds = studied.runs(step="train_fold", study="demo-synthetic", variant="full")
    losses = {run.data.tags["fold"]: run.data.metrics["best/loss"] for run in folds}
    assert version.tags["folds"] == min(losses, key=lambda fold: losses[fold])
    assert (str(version.version), version.tags["cohort"]) == ("2", "synthetic")
    assert studied.command("test") == 0
    assert [run.data.metrics["cohort2/uses"] for run in studied.runs(**STUDY, step="test")] == [1, 2]


def test_training_only_trains_in_its_experiment_and_no_more(
    studied, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the study of the same name in another experiment neither folds nor model are taken."""
    versions = len(studied.client.search_model_versions(f"name = '{MODEL_NAME}'"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert studied.command("main", training_only="true", epochs="1", stages="0") == 0
    own = studied.client.get_experiment_by_name("mine")
    assert own.artifact_location == f"{studied.folder}/mlruns/mine"
    steps = [run.data.tags["step"] for run in studied.client.search_runs([own.experiment_id])]
    assert sorted(steps) == ["main", "prepare", "train", "train_fold", "train_fold"]
    assert len(studied.client.search_model_versions(f"name = '{MODEL_NAME}'")) == versions
    assert studied.command("validate", epochs="50") == 1
    assert "epochs was 1, is now 50" in capsys.readouterr().err
    assert studied.command("test") == 1
    assert "has no registered model in this experiment" in capsys.readouterr().err


@pytest.fixture
def another_champion(studied) -> Iterator[str]:
    """Another study has validated: its version of the same model is champion, for the time."""
    client = studied.client
    first = client.get_model_version(MODEL_NAME, "1")
    tags = first.tags | {"study": "another"}
    number = str(client.create_model_version(MODEL_NAME, first.source, first.run_id, tags=tags).version)
    client.set_registered_model_alias(MODEL_NAME, CHAMPION, number)
    yield number
    client.set_registered_model_alias(MODEL_NAME, CHAMPION, "1")


def test_a_test_takes_the_model_of_its_study(studied, another_champion: str, capsys) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{studied.folder}/mlflow.db")
    settings = load_settings(SMALL, {})
    with pytest.raises(InputError, match="'another'") as error:
        find_version(settings, "study")
    assert "-P study=demo-synthetic" in str(error.value)
    assert "-P model=champion" in str(error.value)
    named = load_settings(SMALL | {"study": "demo-synthetic"}, {})
    latest = max(
        int(v.version)
        for v in studied.client.search_model_versions(f"name = '{MODEL_NAME}'")
        if v.tags["study"] == "demo-synthetic"
    )
    (validation,) = studied.runs(**STUDY, step="validate")[:1]
    assert find_version(named, "study").number == str(latest)
    assert find_version(load_settings(SMALL | {"study": "another"}, {}), "study").number == another_champion
    assert find_version(settings, "champion").number == another_champion
    assert find_version(settings, "1").number == "1"
    assert find_version(settings, validation.info.run_id).run_id == validation.info.run_id
    for unknown in ("99", "f" * 32, "nobody"):
        with pytest.raises(InputError, match="is neither study"):
            find_version(settings, unknown)
    assert studied.command("test") == 1
    assert "Say which is to be tested" in capsys.readouterr().err


def test_main_with_skip_train_tests_the_version_that_is_there_whatever_becomes_champion_meanwhile(
    studied, another_champion: str, monkeypatch: pytest.MonkeyPatch, few_figures
) -> None:
    def validated_meanwhile(*_: object) -> None:
        studied.client.set_registered_model_alias(MODEL_NAME, CHAMPION, another_champion)

    def counts() -> tuple[int, int]:
        versions = studied.client.search_model_versions(f"name = '{MODEL_NAME}'")
        return len(versions), len(studied.runs(**STUDY, step="train_fold"))

    before = counts()
    monkeypatch.setattr(main_step, "_explained", validated_meanwhile)
    given = {"skip_train": "true", "skip_ablation": "true", "explained_patients": "median"}
    assert studied.command("main", **given) == 0
    assert counts() == before
    for step in ("validate", "test"):
        assert studied.runs(**STUDY, step=step)[-1].data.tags["model_version"] == "1"
    assert str(studied.client.get_model_version_by_alias(MODEL_NAME, CHAMPION).version) == another_champion
