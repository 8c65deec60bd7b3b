"""The ablation with variants of one's own and several seeds."""

from __future__ import annotations

import re
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch

from cardio_mlflow.data.dataset import ClipTensor
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.pipelines.ablation import alpha_table
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.study_runs import latest_folds
from cardio_mlflow.pipelines.train_fold import FoldJob
from cardio_mlflow.pipelines.training_set import load_training_set, with_used_views
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.tracking.finished import FinishedRun
from cardio_mlflow.training.bundle import load_bundle, predict
from tests.pipelines.conftest import SMALL, Workplace

GIVEN = {
    "variants": "full,no_attention", "repeats": "2", "ablation_folds": "1",
    "more_variants": "frozen: stages=0; apical: views=A4C,A2C; at_once: unfreezing=at_once vit_lr=1e-5",
}  # fmt: skip
NAMES = ["full", "no_attention", "frozen", "apical", "at_once"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, cache: Path):
    """A store with an ablation of five variants, one fold and two seeds; the run of it."""
    place = Workplace(tmp_path_factory.mktemp("compared"), cache)
    assert place.command("ablation", **GIVEN) == 0
    return place, place.runs(step="ablation")[-1]


def read(place, run, path: str) -> pd.DataFrame:
    return pd.read_csv(place.artifact(run, path), dtype={"patient_id": str})


def test_each_variant_fold_and_seed_is_a_run(compared) -> None:
    place, _ = compared
    runs = place.runs(step="train_fold", study="demo-synthetic")
    of = {name: [r for r in runs if r.data.tags["variant"] == name] for name in NAMES}
    assert {name: len(found) for name, found in of.items()} == dict.fromkeys(NAMES, 2)
    assert [run.info.run_name for run in of["frozen"]] == ["frozen/fold-1", "frozen/fold-1/seed-2"]
    assert {run.data.params["cfg/seed"] for run in of["full"]} == {"0", "1000"}
    changed = {name: of[name][0].data.params for name in NAMES}
    assert (changed["frozen"]["cfg/stages"], changed["full"]["cfg/stages"]) == ("0", "1")
    assert changed["apical"]["cfg/views"] == "FC,TC"
    assert changed["at_once"]["cfg/vit_lr"] == "1e-05"
    stages = {
        name: [m.value for m in place.client.get_metric_history(of[name][0].info.run_id, "stage")]
        for name in NAMES
    }
    assert stages["full"] == [0, 1]
    assert stages["frozen"] == [0, 0]
    assert stages["at_once"] == [1, 1]


def test_other_seeds_are_no_folds_of_the_study(compared) -> None:
    place, _ = compared
    mlflow.set_tracking_uri(f"sqlite:///{place.folder}/mlflow.db")
    assert [run.name for run in latest_folds("demo-synthetic", "full").values()] == ["fold-1"]
    assert [run.name for run in latest_folds("demo-synthetic", "full", repeat=2).values()] == [
        "full/fold-1/seed-2"
    ]


def test_the_comparison_is_logged_with_intervals(compared) -> None:
    place, run = compared
    table = read(place, run, "tables/ablation.csv")
    assert list(table["variant"].unique()) == NAMES
    assert list(table["parameter"][:10]) == [*KEYS, "mean"]
    assert table["r_seed_sd"].notna().all()
    apart = read(place, run, "tables/ablation_differences.csv")
    assert set(apart["against"]) == {"full", "no_attention"}
    assert len(apart) == 2 * 4 * 10
    alphas = read(place, run, "tables/alphas.csv")
    assert len(alphas) == 5 * 2
    assert alphas.loc[alphas["variant"] == "no_attention", "alpha_temporal"].eq(0).all()
    assert alphas.loc[alphas["variant"] == "full", "alpha_temporal"].between(0.01, 0.99).all()
    means = table[table["parameter"] == "mean"].set_index("variant")
    for name in NAMES:
        assert run.data.metrics[f"ablation/r_mean_{name}"] == pytest.approx(means.loc[name, "r"])
    said = place.artifact(run, "ablation.txt").read_text()
    assert "Against full, on 3 patients" in said
    assert "mean over 2 seeds" in said
    assert "The gates of full started at α = 0.50 and stand at" in said
    assert "alpha_motion" in alphas.columns
    first, second = (read(place, run, path) for path in ("predictions.csv", "tables/predictions_seed-2.csv"))
    assert set(first["variant"]) == set(second["variant"]) == set(NAMES)
    figures = {path.name for path in place.artifact(run, "figures").iterdir()}
    names = ("ablation", "ablation_means", "ablation_improvement", "ablation_contributions")
    assert figures == {f"{n}.png" for n in (*names, "ablation_losses", "ablation_alphas")}


def test_only_what_is_missing_is_trained(compared) -> None:
    place, run = compared
    before = len(place.runs(step="train_fold"))
    assert place.command("ablation", **GIVEN) == 0
    assert len(place.runs(step="train_fold")) == before
    assert place.runs(step="ablation")[-1].data.metrics == run.data.metrics
    more = GIVEN | {"more_variants": GIVEN["more_variants"] + "; linear: task_lr=1e-4"}
    assert place.command("ablation", **more) == 0
    assert len(place.runs(step="train_fold")) == before + 2


def test_a_variant_sees_only_its_views(compared) -> None:
    """A model that was trained on two views gives the same whatever the others show."""
    place, _ = compared
    run = next(r for r in place.runs(step="train_fold") if r.info.run_name == "apical/fold-1")
    bundle = load_bundle(place.artifact(run, "model/artifacts/fold-1"))
    clips = torch.randint(0, 256, (2, 4, 1, 224, 224), dtype=torch.uint8)
    other = clips.clone()
    other[:, 2:] = 255 - other[:, 2:]
    present = torch.ones(2, 4, dtype=torch.bool)
    one, two = (predict(bundle, ClipTensor(("a", "b"), shown, present)) for shown in (clips, other))
    assert np.array_equal(one.predicted.predictions, two.predicted.predictions)


def test_runs_without_a_gate_of_motion_have_none_in_the_table() -> None:
    settings = load_settings({"motion": "true"}, {})
    gates = {"alpha/temporal": 0.6, "alpha/fusion": 0.4}
    runs = {
        FoldJob(fold, variant, 1): FinishedRun(f"{fold}", variant, {}, {}, gates | motion)
        for fold, variant, motion in (
            (1, "full", {"alpha/motion": 0.7}),
            (2, "full", {}),
            (1, "no_motion", {}),
        )
    }
    table = alpha_table(settings, runs)
    np.testing.assert_array_equal(table["alpha_motion"], [0.7, np.nan, np.nan])
    assert table["alpha_fusion"].eq(0.4).all()


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ("frozen", "write|written as name"),
        ("frozen: seed=1", "cannot change seed"),
        ("frozen: stages=99", "stages=99"),
        ("full: stages=0", "already"),
        ("x: views=RVOT", "no such view"),
        ("wide: attention_heads=5", "The variant wide cannot be trained: attention_heads=5 does not divide"),
        ("other: backbone=/no/such/folder", "The variant other cannot be trained"),
    ],
)
def test_variants_that_cannot_be_trained_are_refused(workplace, capsys, described: str, said: str) -> None:
    assert workplace.command("ablation", more_variants=described) == 1
    assert re.search(said, capsys.readouterr().err)
    assert not workplace.runs(step="train_fold"), "refused before anything is trained"


def test_a_variant_described_anew_is_trained_anew(compared) -> None:
    place, _ = compared
    asked = {"variants": "full", "ablation_folds": "1"}
    trained: list[int] = []
    for network in ("full", "no_attention", "full"):
        before = len(place.runs(step="train_fold"))
        assert place.command("ablation", **asked, more_variants=f"mine: variant={network} stages=0") == 0
        latest = [run for run in place.runs(step="train_fold") if run.data.tags["variant"] == "mine"][-1]
        trained.append(len(place.runs(step="train_fold")) - before)
    assert trained == [1, 1, 0], "the third time the first one's fold is taken"
    assert latest.data.params["cfg/variant"] == "no_attention"
    assert place.command("ablation", **asked, variant="no_fusion") == 1


def test_patients_without_a_used_view_are_left_out_of_either_cohort(compared, caplog) -> None:
    """P0007, of Cohort II, has no A2C clip."""
    settings = load_settings(SMALL | {"cache": str(compared[0].cache), "views": "A2C"}, {})
    inputs = load_inputs(settings)
    patients = inputs.patients("II")
    assert with_used_views(settings, inputs, patients) == tuple(p for p in patients if p != "P0007")
    assert "1 of 4 patients are left out" in caplog.text
    with pytest.raises(InputError, match="No patient has one of the views"):
        with_used_views(settings, inputs, ("P0007",))
    assert load_training_set(settings, inputs).features.clips.present.sum(1).eq(1).all()
