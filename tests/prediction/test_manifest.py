from __future__ import annotations

import json
import shutil

import pytest
import yaml

from cardio_mlflow.errors import InputError
from cardio_mlflow.prediction.manifest import (
    MANIFEST,
    check_files,
    is_code_of,
    own_version,
    write_manifest,
)

FLAVORS = {"python_function": {"loader_module": "mlflow.pyfunc.loaders.code_model", "code": "code"}}


@pytest.fixture
def model(tmp_path):
    files = {
        "MLmodel": yaml.safe_dump({"flavors": FLAVORS, "model_id": None}), "requirements.txt": "mlflow",
        "code/cardio_mlflow/__init__.py": "", "code/cardio_mlflow/errors.py": "one = 1\n",
        "artifacts/ensemble/shared.safetensors": "weights",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def rewritten(model, name, text):
    (model / name).write_text(text)


def ids_added(model):
    fields = yaml.safe_load((model / "MLmodel").read_text())
    rewritten(model, "MLmodel", yaml.safe_dump(fields | {"model_id": "m-1", "run_id": "2"}))
    rewritten(model, "registered_model_meta", "model_name: cardio\n")
    (model / "code/cardio_mlflow/__pycache__").mkdir()
    rewritten(model, "code/cardio_mlflow/__pycache__/errors.pyc", "compiled")


def test_what_mlflow_and_python_add_is_no_change(model):
    digest = write_manifest(model)
    check_files(model, digest)
    ids_added(model)
    check_files(model, digest)
    check_files(model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: rewritten(m, "code/cardio_mlflow/errors.py", "one = 2\n"), "errors.py is not as it was"),
        (lambda m: rewritten(m, "artifacts/ensemble/shared.safetensors", "others!"), "tensors is not as"),
        (lambda m: rewritten(m, "requirements.txt", "mlflow\nevil"), "requirements.txt is not as it was"),
        (lambda m: (m / "code/cardio_mlflow/errors.py").unlink(), "errors.py is missing"),
        (lambda m: rewritten(m, "code/json.py", "evil"), "code/json.py does not belong"),
        (lambda m: rewritten(m, "artifacts/more", "evil"), "artifacts/more does not belong"),
        (lambda m: rewritten(m, "MLmodel", yaml.safe_dump({"flavors": {"sklearn": {}}})), "in another way"),
        (lambda m: rewritten(m, "MLmodel", "flavors: ["), "MLmodel is damaged"),
        (lambda m: (m / "MLmodel").unlink(), "no MLmodel"),
        (lambda m: (m / MANIFEST).unlink(), "no model of this project"),
        (lambda m: rewritten(m, MANIFEST, "[1"), "is damaged"),
        (lambda m: rewritten(m, MANIFEST, "[]"), "is damaged"),
    ],
)  # fmt: skip
def test_every_change_is_refused_in_a_sentence_that_names_the_file(model, change, said):
    write_manifest(model)
    change(model)
    with pytest.raises(InputError, match=said) as error:
        check_files(model)
    assert str(model) not in str(error.value)


def test_a_model_that_was_exchanged_with_its_list_is_refused_by_the_lists_digest(model):
    digest = write_manifest(model)
    rewritten(model, "artifacts/ensemble/shared.safetensors", "others")
    write_manifest(model)
    check_files(model)
    with pytest.raises(InputError, match="was exchanged"):
        check_files(model, digest)


def test_code_is_the_models_own_by_its_files(model, tmp_path_factory):
    write_manifest(model)
    package = tmp_path_factory.mktemp("installed") / "cardio_mlflow"
    shutil.copytree(model / "code/cardio_mlflow", package)
    (package / "more.py").write_text("")
    assert is_code_of(model, package)
    (package / "errors.py").write_text("one = 3\n")
    assert not is_code_of(model, package)
    (package / "errors.py").unlink()
    assert not is_code_of(model, package)
    assert own_version(model) == json.loads((model / MANIFEST).read_text())["cardio_mlflow"]
