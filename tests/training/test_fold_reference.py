from __future__ import annotations

import numpy as np
import pytest
import torch

from cardio_mlflow.training.bundle import Bundle, load_bundle, save_bundle
from cardio_mlflow.training.fold_reference import fit_reference
from cardio_mlflow.training.scaling import fit_scaler


@pytest.fixture(scope="module")
def fitted(tiny_settings, tiny_fold, tiny_network):
    """A network, its fold of 20 patients and what it has seen."""
    settings = tiny_settings(stages=1)
    network, data = tiny_network(settings), tiny_fold(settings, patients=20)
    return network, data, settings, fit_reference(network, data, settings)


def test_it_describes_the_training_patients_and_scores_the_others(fitted):
    network, data, _, reference = fitted
    assert reference.scores.view.shape == (3, 4)
    assert reference.scores.patient.shape == (3, 1)
    assert np.isfinite(reference.scores.picture).all()
    clips = data.features.clips
    chosen = list(data.training)
    with torch.no_grad():
        frames = network(clips.clips[chosen], clips.present[chosen]).frames.mean(2)
    seen = frames[clips.present[chosen]].double().numpy()
    assert reference.clips.centre == pytest.approx(seen.mean(0), rel=1e-4, abs=1e-5)
    assert reference.frames == 2


def test_it_leaves_the_features_closed(fitted):
    assert not fitted[1].features.is_kept(2)


def test_a_fold_of_few_patients_has_none(tiny_settings, tiny_fold, tiny_network):
    settings = tiny_settings()
    for patients in (4, 10):
        assert fit_reference(tiny_network(settings), tiny_fold(settings, patients=patients), settings) is None


def test_a_bundle_keeps_it(fitted, tmp_path):
    network, _, settings, reference = fitted
    scaler = fit_scaler(np.random.default_rng(0).lognormal(1, 0.3, (30, 9)))
    save_bundle(Bundle(network.eval(), settings, scaler, reference=reference), tmp_path)
    again = load_bundle(tmp_path).reference.to_arrays()
    assert all(np.array_equal(values, again[name]) for name, values in reference.to_arrays().items())
