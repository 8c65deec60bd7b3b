"""A model of an earlier day, kept as a file: it loads, by its own code and by this, and says what it said."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.old_model import clips
from cardio_mlflow.prediction.answers import answer
from cardio_mlflow.tracking.registry import load_folder
from cardio_mlflow.training.ensemble import load_ensemble

FACTS = np.array([[70.0, 1.8, 90.0], [np.nan] * 3])


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    with zipfile.ZipFile(Path(__file__).with_name("old_model.zip")) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def said(old: Path) -> np.ndarray:
    """(2, 9) predictions."""
    return np.array(json.loads((old / "answers.json").read_text(encoding="utf-8")))


def test_it_says_what_it_said_with_its_own_code(old, said, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = load_folder(old / "model")
    assert model.has_own_code
    assert model.about["study"] == "old"
    found = model.evaluate(clips(), FACTS).predicted.predictions
    np.testing.assert_allclose(found, said, rtol=1e-4)


def test_its_networks_say_the_same_with_this_code(old, said) -> None:
    found = answer(load_ensemble(old / "model/artifacts/ensemble"), clips(), FACTS)
    np.testing.assert_allclose(found["predictions"], said, rtol=1e-4)


def test_what_it_needs_is_pinned(old) -> None:
    needs = (old / "model/requirements.txt").read_text(encoding="utf-8").split()
    assert all(line.count("==") == 1 for line in needs)
    assert {line.partition("==")[0] for line in needs} >= {"mlflow", "torch", "transformers", "pydicom"}
