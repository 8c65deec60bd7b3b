"""`visualize` on a study: who is chosen, what is logged, what is refused."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cardio_mlflow.errors import InputError
from cardio_mlflow.explain import patient as explained
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.pipelines import main
from cardio_mlflow.pipelines.study_runs import FoldNetworks, find_networks
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.training.bundle import load_bundle
from tests.pipelines.conftest import SMALL, Workplace


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, cache: Path):
    """A store with two trained folds in which a patient has been explained; the run of it."""
    place = Workplace(tmp_path_factory.mktemp("seen"), cache)
    assert place.command("train") == 0
    folds = (
        pd.read_csv(place.artifact(run, "predictions.csv"), dtype=str)
        for run in place.runs(step="train_fold")
    )
    asked = ",".join(table["patient_id"].iloc[0] for table in folds)
    assert place.command("visualize", patients=asked, ig_tolerance="0.05", ig_steps="8") == 0
    return place, place.runs(step="visualize")[-1]


def names(place, run, folder: str) -> set[str]:
    return {path.name for path in place.artifact(run, folder).iterdir()}


def test_each_patient_has_a_folder_of_pages(seen) -> None:
    place, run = seen
    assert run.info.status == "FINISHED"
    for number in ("01", "02"):
        found = names(place, run, f"patients/{number}")
        assert {"overlays.png", "gradient_rollout.png", "frame_attention.png", "frame_importance.png",
                "view_fusion.png", "cycle_meanPAP.webp", "rollout_A4C.png"} <= found  # fmt: skip
        with Image.open(place.artifact(run, f"patients/{number}/cycle_meanPAP.webp")) as cycle:
            assert cycle.format == "WEBP"
    figures = {"frame_attention.png", "view_fusion.png", "deletion_insertion.png", "map_checks.png"}
    assert figures <= names(place, run, "figures")
    assert any(
        path.path.startswith("images/overlays")
        for path in place.client.list_artifacts(run.info.run_id, "images")
    )


def test_attributions_are_complete_and_by_the_network_of_the_patients_own_fold(seen) -> None:
    place, run = seen
    table = pd.read_csv(place.artifact(run, "tables/convergence.csv"), dtype={"patient_id": str})
    assert list(table["parameter"][:9]) == list(KEYS)
    assert (table["relative_delta"] <= 0.05).all()
    assert run.data.metrics["explain/largest_relative_delta"] == pytest.approx(table["relative_delta"].max())
    assert set(table["fold"]) == {1, 2}
    for number, rows in table.groupby("fold"):
        fold = place.runs(step="train_fold", fold=str(number))[-1]
        told = pd.read_csv(place.artifact(fold, "predictions.csv"), dtype={"patient_id": str})
        told = told[told["patient_id"] == rows["patient_id"].iloc[0]].set_index("parameter")
        bundle = load_bundle(place.artifact(fold, f"model/artifacts/fold-{number}"))
        scaled = zip(bundle.scaler.scales, rows["prediction"].to_numpy(), strict=True)
        again = [scale.unscale(value) for scale, value in scaled]
        np.testing.assert_allclose(again, told.loc[list(KEYS), "direct"], rtol=0.01)


def test_the_checks_are_tables_and_metrics(seen) -> None:
    place, run = seen
    checks = pd.read_csv(place.artifact(run, "tables/map_checks.csv"))
    assert set(checks["check"]) == {"randomised weights", "small noise"}
    mean = checks.loc[checks["check"] == "small noise", "correlation"].mean()
    assert run.data.metrics["explain/r_small_noise"] == pytest.approx(mean)


def networks(place: Workplace, model: str, folder: Path) -> FoldNetworks:
    mlflow.set_tracking_uri(f"sqlite:///{place.folder}/mlflow.db")
    settings = load_settings(SMALL | {"cache": str(place.cache)}, {})
    return find_networks(settings, model, folder)


def test_networks_are_those_of_the_study_of_the_registered_model_or_of_a_run(
    seen, tmp_path: Path, few_figures
) -> None:
    place, _ = seen
    fold = place.runs(step="train_fold", fold="2")[-1]
    own = networks(place, fold.info.run_id, tmp_path / "run")
    assert own.run_ids == {2: fold.info.run_id}
    assert set(own.predictions["fold"]) == {2}
    study = networks(place, "study", tmp_path / "study")
    assert study.run_ids[2] == fold.info.run_id
    assert place.command("validate") == 0
    (validated,) = place.runs(step="validate")
    for number, model in enumerate(["champion", "1", validated.info.run_id, validated.info.run_name]):
        found = networks(place, model, tmp_path / str(number))
        assert found.run_ids == {1: validated.info.run_id, 2: validated.info.run_id}
        order = ["patient_id", "parameter"]
        ours, theirs = (n.predictions.sort_values(order, ignore_index=True) for n in (found, study))
        pd.testing.assert_frame_equal(ours, theirs)
    of_study, of_run, registered = (n.of_fold(2).network.state_dict() for n in (study, own, found))
    for name, values in of_study.items():
        assert torch.equal(values, of_run[name])
        torch.testing.assert_close(values, registered[name], rtol=2**-8, atol=1e-6)  # in half precision


@pytest.mark.parametrize("model", ["challenger", "7", "9" * 30, "a" * 32, "nothing", "it's", "../x"])
def test_a_model_that_is_not_there_is_told(seen, model: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither study, nor an alias or version"):
        networks(seen[0], model, tmp_path)


def test_what_cannot_be_explained_is_refused(seen, capsys: pytest.CaptureFixture[str]) -> None:
    place, _ = seen
    cases = {
        "worst=0": "give a number from 1", "worst=99": "give a number from 1", "nobody": "neither a patient",
        ",": "chooses nobody", "worst=" + "9" * 5000: "give a number from 1",
    }  # fmt: skip
    for asked, said in cases.items():
        assert place.command("visualize", patients=asked) == 1
        assert said in capsys.readouterr().err
    assert place.command("visualize", ig_tolerance="1e-9", ig_steps="2", patients="worst=1") == 1
    assert "not drawn" in capsys.readouterr().err
    (run,) = [r for r in place.runs(step="visualize") if "not drawn" in r.data.tags.get("failure", "")]
    assert not place.client.list_artifacts(run.info.run_id, "patients")
    assert "Patient 1 (worst 1): Integrated Gradients of" in run.data.tags["failure"]
    assert place.command("visualize", study="nothing") == 1
    assert "no trained fold" in capsys.readouterr().err


def test_a_check_that_fails_says_which_and_keeps_what_was_found(
    seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _ = seen
    attribute, calls = explained._attribute, []

    def second_fails(*given: object) -> object:
        calls.append(given)
        if len(calls) == 2:
            raise InputError("missed")
        return attribute(*given)

    monkeypatch.setattr(explained, "_attribute", second_fails)
    assert place.command("visualize", patients="best=1", ig_tolerance="0.05", ig_steps="8") == 1
    run = place.runs(step="visualize")[-1]
    assert run.data.tags["failure"] == "Patient 1 (best 1): The check with randomised weights failed. missed"
    assert len(pd.read_csv(place.artifact(run, "tables/convergence.csv"))) == len(KEYS)


def test_main_explains_and_goes_on_where_that_fails(seen, few_figures) -> None:
    place, _ = seen
    given = {"skip_train": "true", "variants": "full", "ablation_folds": "1", "cohort1_size": "6"}
    assert place.command("main", **given, explained_patients="nobody") == 0
    (main,) = place.runs(step="main")
    (failed,) = [
        run for run in place.runs(step="visualize") if run.data.tags.get("started_by") == main.info.run_id
    ]
    assert (main.info.status, failed.info.status) == ("FINISHED", "FAILED")
    assert "neither a patient" in failed.data.tags["failure"]
    assert place.runs(step="test")[-1].info.status == "FINISHED"


@pytest.mark.parametrize("error", [InputError("missed"), torch.OutOfMemoryError("CUDA out of memory")])
def test_what_cannot_be_shown_does_not_end_the_study(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(main, "step_run", lambda *_: nullcontext())
    monkeypatch.setattr(main, "visualize", Mock(side_effect=error))
    main._explained(load_settings({}, {}), None)
    assert f"the study goes on. {error}" in caplog.text
