from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from cardio_mlflow.data.dataset import ClipTensor
from cardio_mlflow.data.picture.physical_scale import PhysicalScale
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import PARAMETERS
from cardio_mlflow.training.bundle import Bundle, load_bundle, predict, save_bundle
from cardio_mlflow.training.fit import fit
from cardio_mlflow.training.scaling import fit_scaler
from cardio_mlflow.training.state import new_state, put_weights
from cardio_mlflow.variants import VARIANTS

NOTHING_KNOWN = np.full((3, 3), np.nan)


@pytest.fixture(scope="module")
def bundle_of(tiny_settings, tiny_network):
    def build(**changes):
        settings = tiny_settings(**changes)
        rng = np.random.default_rng(0)
        references = np.stack([p.cutoff * rng.lognormal(0, 0.3, 30) for p in PARAMETERS], 1)
        facts = np.tile([75.0, 1.9, 90.0], (30, 1)) if settings.identities else None
        scale = PhysicalScale((0.7, 0.8, 0.9, 1.0)) if settings.scale == "physical" else None
        return Bundle(tiny_network(settings).eval(), settings, fit_scaler(references, facts), scale)

    return build


def values(bundle, data):
    """(N, 9) predictions in their units."""
    return predict(bundle, data).predicted.predictions


@pytest.mark.parametrize("variant", VARIANTS)
def test_round_trip_gives_identical_predictions(bundle_of, tiny_clips, tmp_path, variant):
    motion = str(variant == "no_motion").lower()
    bundle, data = bundle_of(variant=variant, motion=motion, seed=3), tiny_clips(4)
    with torch.no_grad():
        for parameter in bundle.network.parameters():
            parameter.add_(0.1)  # so that the weights come from the file, not from the seed
    save_bundle(bundle, tmp_path / "new" / "folder")
    loaded = load_bundle(tmp_path / "new" / "folder")
    assert loaded.settings == bundle.settings
    assert loaded.scaler == bundle.scaler
    assert np.array_equal(values(loaded, data), values(bundle, data))
    assert not loaded.network.training


def test_a_bundle_keeps_scale_motion_and_stroke_volume(bundle_of, tiny_clips, tmp_path):
    bundle = bundle_of(scale="physical", motion="true", identities="true", training_frames=4)
    data = tiny_clips(3, frames=8)
    placement = torch.tensor([0.7, 16.0, 0.0], dtype=torch.float64).expand(3, 4, 3)
    placed = replace(data, placement=placement, phased=data.present)
    facts = np.array([[80.0, 2.0, 90.0], [60.0, np.nan, 90.0], [np.nan, 2.0, 90.0]])
    save_bundle(bundle, tmp_path)
    loaded = load_bundle(tmp_path)
    assert loaded.scale == bundle.scale
    found, again = predict(bundle, placed, facts).predicted, predict(loaded, placed, facts).predicted
    assert all(np.array_equal(one, two) for one, two in zip(found, again, strict=True))
    assert found.derived.any(1).tolist() == [True, True, False]
    for changed in (data, replace(placed, placement=data.placement), replace(placed, phased=~data.present)):
        assert not np.array_equal(predict(bundle, changed, facts).predicted.direct, found.direct)


def test_the_files_are_these_four_and_none_is_a_pickle(bundle_of, tmp_path):
    save_bundle(bundle_of(), tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    stems = ("scaler", "backbone", "version")
    assert set(files) == {"weights.safetensors", "settings.yaml", *(f"{stem}.json" for stem in stems)}
    assert not any(content.startswith((b"\x80", b"PK")) for content in files.values())
    assert set(json.loads(files["scaler.json"])) == {p.key for p in PARAMETERS}


def test_loading_works_where_pickle_does_not(bundle_of, tmp_path, monkeypatch):
    bundle = bundle_of()
    save_bundle(bundle, tmp_path)

    def refuse(*_, **__):
        raise AssertionError("pickle was used")

    monkeypatch.setattr("pickle.load", refuse)
    monkeypatch.setattr("pickle.loads", refuse)
    monkeypatch.setattr("torch.load", refuse)
    loaded = load_bundle(tmp_path)
    assert loaded.scaler == bundle.scaler
    assert all(
        torch.equal(a, b)
        for a, b in zip(loaded.network.parameters(), bundle.network.parameters(), strict=True)
    )


def test_another_variants_weights_are_refused(bundle_of, tmp_path):
    save_bundle(bundle_of(variant="full"), tmp_path)
    text = (tmp_path / "settings.yaml").read_text()
    (tmp_path / "settings.yaml").write_text(text.replace("variant: full", "variant: no_fusion"))
    with pytest.raises(RuntimeError, match="fusion"):
        load_bundle(tmp_path)


def test_settings_of_another_version_are_refused(bundle_of, tmp_path):
    save_bundle(bundle_of(), tmp_path)
    with (tmp_path / "settings.yaml").open("a") as file:
        file.write("momentum: 1\n")
    with pytest.raises(InputError, match="version"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("stages", [0, 3])
def test_it_predicts_what_validation_saw(
    bundle_of, tiny_settings, tiny_fold, tiny_network, stages, monkeypatch
):
    """The same way through the network: equal where nothing is trained in it, to rounding elsewhere."""
    settings = tiny_settings(epochs=8, stages=stages, task_lr=0.01)
    data, state = tiny_fold(settings), new_state(tiny_network(settings), settings)
    list(fit(state, data, settings, 0))
    network = put_weights(tiny_network(settings), state.best_weights)
    bundle = Bundle(network, settings, bundle_of().scaler)
    clips, held_out = data.features.clips, list(data.validation)
    shown = ClipTensor(("a", "b", "c"), clips.clips[held_out], clips.present[held_out])
    expected = bundle.scaler.predicted(state.best_predictions, NOTHING_KNOWN).predictions
    found = values(bundle, shown)
    assert found == pytest.approx(expected, rel=1e-5)
    assert stages or np.array_equal(found, expected)
    monkeypatch.setattr("cardio_mlflow.training.forward.VALIDATION_BATCH", 2)
    assert values(bundle, shown) == pytest.approx(expected, rel=1e-5), "batches change nothing"


def test_predictions_are_in_units(bundle_of, tiny_clips):
    bundle, data = bundle_of(), tiny_clips(3)
    with torch.no_grad():
        scaled = bundle.network(data.clips, data.present).predictions.double().numpy()
    assert values(bundle, data) == pytest.approx(
        bundle.scaler.predicted(scaled, NOTHING_KNOWN).predictions, rel=1e-5
    )
    assert (values(bundle, data)[:, -2:] > 0).all()


def test_takes_the_frames_it_was_trained_on(bundle_of, tiny_clips):
    """Of 32 prepared frames, those that training took: every eighth for four."""
    bundle, data = bundle_of(training_frames=4), tiny_clips(2, frames=32)
    chosen = replace(data, clips=data.clips[:, :, [0, 8, 16, 24]])
    all_frames, some_frames = (predict(bundle, clips) for clips in (data, chosen))
    assert np.array_equal(all_frames.predicted.predictions, some_frames.predicted.predictions)
    assert np.array_equal(all_frames.features, some_frames.features)


def test_dropout_is_off(bundle_of, tiny_clips):
    bundle, data = bundle_of(dropout=0.8), tiny_clips(2)
    bundle.network.train()
    assert np.array_equal(values(bundle, data), values(bundle, data))
