"""A model in the registry: whole, found by every name that MLflow has for it, and by nothing else's files."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.pipelines.registration import example_request
from cardio_mlflow.prediction.answers import answer
from cardio_mlflow.prediction.manifest import MANIFEST, write_manifest
from cardio_mlflow.tracking.registry import (
    BUNDLE_DIGEST,
    CHAMPION,
    MODEL_NAME,
    bundle_names,
    download_networks,
    load_folder,
    load_version,
    log_candidate,
    register,
    set_alias,
    version_called,
)
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tracking.store import prepare_store
from cardio_mlflow.training.ensemble import load_ensemble, save_ensemble

FRESH = """
import json, sys
import pandas as pd
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in str(getattr(f, "__module__", f))]
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
import cardio_mlflow
answer = model.predict(pd.read_json(sys.argv[2], orient="split", dtype=False))
print(json.dumps([cardio_mlflow.__file__, answer["prediction"].tolist(), sorted(sys.modules)]))
"""


@pytest.fixture(scope="module")
def place(tiny_ensemble, tmp_path_factory) -> SimpleNamespace:
    """A store in which an ensemble is champion."""
    folder = tmp_path_factory.mktemp("registry")
    ensemble = tiny_ensemble(motion="true", identities="true", training_frames=2)
    save_ensemble(ensemble, folder / "ensemble")
    with pytest.MonkeyPatch.context() as patching:
        patching.chdir(folder)
        patching.delenv("MLFLOW_RUN_ID", raising=False)
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        prepare_store()
        client = MlflowClient()
        run = Run(client.create_run("0").info.run_id)
        run.log_metrics({"cohort1/r_mean": 0.5})
        tags = {"study": "tiny", "weights_digest": "w"}
        logged = log_candidate(run, folder / "ensemble", tags, example_request())
        set_alias(register(run, logged, tags), CHAMPION)
        run.finish()
        yield SimpleNamespace(client=client, run=run, logged=logged, ensemble=ensemble, folder=folder)


@pytest.fixture
def stored(place, tmp_path, monkeypatch) -> Path:
    """The champion's folder in the store, and what becomes of it is undone."""
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{MODEL_NAME}@{CHAMPION}"))
    assert folder.is_relative_to(place.folder)
    shutil.copytree(folder, tmp_path / "before")
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "before", folder)


def arrays(clips) -> dict[str, np.ndarray]:
    return {"views": clips.clips.numpy(), "view_mask": clips.present.numpy()}


def test_every_name_leads_to_the_same_model(place, tiny_clips, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    clips = tiny_clips(3, side=224)
    wanted = answer(place.ensemble, clips, np.full((3, 3), np.nan))["predictions"].ravel()
    for uri in (
        f"models:/{MODEL_NAME}@{CHAMPION}", f"models:/{MODEL_NAME}/1", f"runs:/{place.run.run_id}/model",
        f"models:/{place.logged.model_id}",
    ):  # fmt: skip
        found = mlflow.pyfunc.load_model(uri).predict(arrays(clips))
        np.testing.assert_allclose(found["prediction"], wanted, rtol=1e-6)


def test_a_model_beside_the_package_stays_off_the_path(place) -> None:
    before = list(sys.path)
    mlflow.pyfunc.load_model(f"models:/{MODEL_NAME}/1")
    assert sys.path == before, "processes that are started later would import the model's part of the package"


def test_the_experiments_page_of_models_shows_it_with_the_runs_metrics(place) -> None:
    (model,) = place.client.search_logged_models(["0"])
    assert (model.model_id, str(model.status), model.source_run_id) == (
        place.logged.model_id, "READY", place.run.run_id,
    )  # fmt: skip
    assert {metric.key: metric.value for metric in model.metrics} == {"cohort1/r_mean": 0.5}
    assert model.tags["study"] == "tiny"
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": MODEL_NAME, "version": "1"}]
    version = place.client.get_model_version(MODEL_NAME, "1")
    assert version.tags[BUNDLE_DIGEST] == place.logged.digest
    history = place.client.get_metric_history(place.run.run_id, "cohort1/r_mean")
    assert [metric.value for metric in history] == [0.5], "the run has its metrics once"


def test_the_run_has_its_artifacts(place, tmp_path) -> None:
    assert bundle_names(place.run.run_id) == ["fold-1", "fold-2"]
    found = load_ensemble(download_networks(place.run.run_id, tmp_path / "found"))
    assert list(found.bundles) == ["fold-1", "fold-2"]


def test_a_version_answers_with_its_own_code_what_the_networks_say(place, tiny_clips) -> None:
    clips, facts = tiny_clips(3, side=224), np.full((3, 3), np.nan)
    model = load_version(version_called(CHAMPION))
    assert model.has_own_code
    found, wanted = model.evaluate(clips, facts), answer(place.ensemble, clips, facts)
    np.testing.assert_allclose(found.predicted.predictions, wanted["predictions"], rtol=1e-6)
    assert np.array_equal(found.unfamiliar, wanted["unfamiliar"])
    table = model.predict(arrays(clips))
    np.testing.assert_array_equal(table["prediction"], found.predicted.predictions.ravel())
    with pytest.raises(InputError, match=r"must be \(N, 4, T, H, W\)"):
        model.evaluate(clips.__class__(("a",), clips.clips[0], clips.present[:1]), facts[:1])
    with pytest.raises(InputError, match="level"):
        model.predict(arrays(clips), level=2.0)


def test_the_example_is_a_request_that_the_model_answers_in_a_fresh_process(place, stored, tmp_path) -> None:
    """With the model's folder alone: its code, no pickle, and nothing that prediction has no need of."""
    shutil.copytree(stored, tmp_path / "model")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    model = tmp_path / "model"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", FRESH, str(model), str(model / "input_example.json")],
        env=environment | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}, cwd=tmp_path, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    file, values, modules = json.loads(ran.stdout.splitlines()[-1])
    assert Path(file).is_relative_to(tmp_path / "model" / "code")
    assert len(values) == len(KEYS)
    assert not any(np.isnan(values))
    assert not {"matplotlib", "sklearn", "statsmodels"} & set(modules)
    parts = {path.name for path in (tmp_path / "model/code/cardio_mlflow").iterdir()}
    assert not parts & {"figures", "report", "synthetic", "pipelines", "tuning", "tracking", "explain"}


def test_no_path_of_the_machine_is_in_any_file(place, stored) -> None:
    for path in (path for path in stored.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        if path.name != "registered_model_meta":
            content = path.read_bytes()
            for own in (str(place.folder), str(Path.home()) + "/", str(Path(__file__).parents[2]), "/tmp/"):
                assert own.encode() not in content, path


def planted(stored: Path) -> Path:
    """Code that leaves a mark where it is run."""
    mark = stored.parent / "was_run"
    for file in (stored / "registered_model.py", stored / "code/cardio_mlflow/__init__.py"):
        file.write_text(f"open({str(mark)!r}, 'w')\n" + file.read_text())
    return mark


def test_nothing_of_a_changed_model_is_run(stored) -> None:
    mark = planted(stored)
    with pytest.raises(InputError, match=r"Version 1 of cardio-hemodynamics is not loaded. Its file .*\.py"):
        load_version(version_called(CHAMPION))
    with pytest.raises(InputError, match="is not loaded"):
        load_folder(stored)
    assert not mark.exists()


def test_nothing_of_an_exchanged_model_is_run(stored) -> None:
    mark = planted(stored)
    write_manifest(stored)
    with pytest.raises(InputError, match="the model was exchanged"):
        load_version(version_called(CHAMPION))
    assert not mark.exists()


def test_a_foreign_model_under_the_name_is_refused(place, stored, tmp_path) -> None:
    shutil.copytree(stored, tmp_path / "foreign")
    mark = planted(tmp_path / "foreign")
    (tmp_path / "foreign" / MANIFEST).unlink()
    place.client.create_model_version(MODEL_NAME, str(tmp_path / "foreign"), place.run.run_id)
    with pytest.raises(InputError, match="no model of this project"):
        load_version(version_called("2"))
    with pytest.raises(InputError, match="no model of this project"):
        load_folder(tmp_path / "foreign")
    with pytest.raises(InputError, match="no MLmodel"):
        load_folder(tmp_path)
    assert not mark.exists()
    place.client.delete_model_version(MODEL_NAME, "2")


def damaged(stored: Path) -> None:
    (stored / "artifacts/ensemble/shared.safetensors").write_bytes(b"damaged")


def test_plain_mlflow_finds_damaged_weights_before_it_reads_them(stored) -> None:
    damaged(stored)
    with pytest.raises(InputError, match=r"shared\.safetensors is not as"):
        mlflow.pyfunc.load_model(f"models:/{MODEL_NAME}@{CHAMPION}")


@pytest.mark.parametrize("same", [True, False])
def test_a_model_beside_an_imported_package_says_whose_code_answers(
    stored, tmp_path, caplog: pytest.LogCaptureFixture, same: bool
) -> None:
    shutil.copytree(stored, tmp_path / "model")
    if not same:
        with (tmp_path / "model/code/cardio_mlflow/parameters.py").open("a") as file:
            file.write("# another version\n")
        write_manifest(tmp_path / "model")
    with caplog.at_level(logging.WARNING):
        mlflow.pyfunc.load_model(str(tmp_path / "model"))
    said = [
        record.getMessage() for record in caplog.records if "installed cardio_mlflow" in record.getMessage()
    ]
    assert len(said) == (not same)
    assert load_folder(tmp_path / "model").has_own_code
    assert not list((tmp_path / "model/code").rglob("__pycache__")), "nothing is written into the model"


def test_what_python_has_compiled_beside_the_code_is_not_run(stored, tmp_path) -> None:
    """A forged one, which Python would take for that of the unchanged file."""
    import py_compile

    package, mark = stored / "code/cardio_mlflow", tmp_path / "was_run"
    honest, source = (package / "__init__.py").read_text(), package / "__init__.py"
    stat = source.stat()
    evil = f"open({str(mark)!r}, 'w')\n".ljust(len(honest) - 1, "#") + "\n"
    source.write_text(evil)
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    py_compile.compile(str(source))
    source.write_text(honest)
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    load_version(version_called(CHAMPION))
    assert not mark.exists()


def test_a_model_of_an_earlier_version_is_loaded_with_a_word_of_warning(
    place, stored, tmp_path, caplog: pytest.LogCaptureFixture, tiny_clips
) -> None:
    """Of an earlier version are a tag of its weights, no list of files, and fewer answers."""
    shutil.copytree(stored, tmp_path / "old")
    (tmp_path / "old" / MANIFEST).unlink()
    (tmp_path / "old" / "registered_model.py").write_text(OLD)
    tags = {"weights_digest": "w"}
    number = place.client.create_model_version(MODEL_NAME, str(tmp_path / "old"), place.run.run_id, tags=tags)
    model = load_version(version_called(str(number.version)))
    assert "earlier version" in caplog.text
    found = model.evaluate(tiny_clips(2, side=224), np.full((2, 3), np.nan))
    assert found.predicted.predictions.shape == (2, 9)
    assert (found.lower, found.flags) == (None, None)
    place.client.delete_model_version(MODEL_NAME, str(number.version))


OLD = """
from pathlib import Path
import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel
from cardio_mlflow import parameters

class Old(PythonModel):
    def load_context(self, context):
        pass

    def predict(self, context, model_input, params=None):
        raise NotImplementedError

    def answer(self, model_input):
        nine = np.ones((len(model_input["views"]), 9))
        return {"predictions": nine, "direct": nine, "derived": nine == 0, "features": {}}

    def code_folder(self):
        return Path(parameters.__file__).resolve().parent

mlflow.models.set_model(Old())
"""
