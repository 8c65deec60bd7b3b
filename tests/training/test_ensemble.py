from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cardio_mlflow.data.picture.physical_scale import PhysicalScale
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import PARAMETERS
from cardio_mlflow.training import ensemble as ensembles
from cardio_mlflow.training.bundle import Bundle, predict, save_bundle
from cardio_mlflow.training.ensemble import HALF, Ensemble, evaluate, load_ensemble, save_ensemble
from cardio_mlflow.training.scaling import fit_scaler
from cardio_mlflow.training.shared_weights import NOTHING, as_stored

FACTS_OF_THREE = np.array([[80.0, 2.0, 90.0], [60.0, np.nan, 90.0], [np.nan, 2.0, 90.0]])


@pytest.fixture(scope="module")
def ensemble_of(tiny_settings, tiny_network):
    """Three networks whose weights from the ``trained``-th block on differ, and all the rest."""

    def build(trained=2, **changes):
        settings, bundles = tiny_settings(**changes), {}
        for fold in (1, 2, 3):
            network, rng = tiny_network(settings).eval(), np.random.default_rng(fold)
            with torch.no_grad(), torch.random.fork_rng():
                torch.manual_seed(fold)
                layers = network.encoder.layer_groups()
                top = [layers[trained:], network.encoder.final_norm] if trained < len(layers) else []
                modules = [*network.task_modules, *(m for part in top for m in _each(part))]
                for parameter in (p for module in modules for p in module.parameters()):
                    parameter.add_(0.1 * torch.randn_like(parameter))
            references = np.stack([p.cutoff * rng.lognormal(0, 0.3, 30) for p in PARAMETERS], 1)
            facts = np.tile([75.0, 1.9, 90.0], (30, 1)) if settings.identities else None
            scale = PhysicalScale((0.7, 0.8, 0.9, 1.0 + fold)) if settings.scale == "physical" else None
            bundles[f"fold-{fold}"] = Bundle(network, settings, fit_scaler(references, facts), scale)
        return Ensemble(bundles)

    return build


def _each(part):
    return part if isinstance(part, list) else [part]


def same(one, two):
    """Whether two evaluations are equal to the last bit."""
    return all(
        np.array_equal(one.predicted[n].predictions, two.predicted[n].predictions, equal_nan=True)
        and np.array_equal(one.features[n], two.features[n])
        and torch.equal(one.frames[n], two.frames[n])
        for n in one.predicted
    )


@pytest.mark.parametrize("trained", [0, 2, 3])
def test_each_network_says_what_it_says_alone(ensemble_of, tiny_clips, trained):
    """With everything it has: identities, motion and a scale of its own, where a clip's is not known."""
    ensemble = ensemble_of(trained, scale="physical", motion="true", identities="true", training_frames=4)
    assert ensemble.shared_depth == trained
    data = tiny_clips(3, frames=8)
    placement = torch.tensor([0.7, 16.0, 0.0], dtype=torch.float64).repeat(3, 4, 1)
    placement[0, 3, 0] = torch.nan
    placed = replace(data, placement=placement, phased=data.present)
    found = evaluate(ensemble, placed, FACTS_OF_THREE)
    for name, bundle in ensemble.bundles.items():
        for patient in range(3):
            own = [patient]
            one = replace(
                placed, patient_ids=("x",), clips=placed.clips[own], present=placed.present[own],
                placement=placement[own], phased=placed.phased[own], rr_ms=placed.rr_ms[own],
            )  # fmt: skip
            alone = predict(bundle, one, FACTS_OF_THREE[own])
            assert np.array_equal(found.predicted[name].predictions[own], alone.predicted.predictions)
            assert np.array_equal(found.predicted[name].derived[own], alone.predicted.derived)
            assert np.array_equal(found.features[name][own], alone.features)
    assert found.frames["fold-1"].shape == (3, 4, 4, 16)
    assert not found.frames["fold-1"][~found.present].any()


def test_the_lowest_blocks_are_run_once_for_all_networks(ensemble_of, tiny_clips, monkeypatch):
    runs = []
    compute = ensembles.Sources.compute

    def counted(self, patient, copy, depths, start=None):
        runs.append((start[0] if start else 0, *depths))
        return compute(self, patient, copy, depths, start)

    monkeypatch.setattr(ensembles.Sources, "compute", counted)
    evaluate(ensemble_of(2), tiny_clips(1))
    assert runs == [(0, 2), (2, 3), (2, 3), (2, 3)]
    runs.clear()
    evaluate(ensemble_of(3), tiny_clips(1))
    assert runs == [(0, 3)]


def test_company_changes_nothing(ensemble_of, tiny_clips):
    ensemble, data = ensemble_of(), tiny_clips(5)
    together = evaluate(ensemble, data)
    for patient in range(5):
        own = slice(patient, patient + 1)
        one = replace(
            data, patient_ids=("x",), clips=data.clips[own], present=data.present[own],
            placement=data.placement[own], phased=data.phased[own], rr_ms=data.rr_ms[own],
        )  # fmt: skip
        alone = evaluate(ensemble, one)
        for name in ensemble.bundles:
            assert np.array_equal(alone.targets[name], together.targets[name][own])
            assert torch.equal(alone.frames[name], together.frames[name][own])


def test_nobody_is_an_answer_too(ensemble_of, tiny_clips):
    found = evaluate(ensemble_of(), tiny_clips(0))
    assert [found.predicted[name].predictions.shape for name in sorted(found.predicted)] == [(0, 9)] * 3
    assert found.frames["fold-2"].shape == (0, 4, 2, 16)


def test_a_patient_with_no_view_that_is_used_is_refused(ensemble_of, tiny_clips):
    data = tiny_clips(4)
    with pytest.raises(InputError, match="1 of 4 patients have none of the views that are used: A4C, A2C"):
        evaluate(ensemble_of(views="A4C,A2C"), data)


@pytest.mark.parametrize("trained", [0, 2, 3])
def test_round_trip_with_what_is_shared_stored_and_held_once(ensemble_of, tiny_clips, tmp_path, trained):
    ensemble = ensemble_of(trained, motion="true", identities="true", scale="physical")
    save_ensemble(ensemble, tmp_path)
    loaded, data = load_ensemble(tmp_path), tiny_clips(3)
    assert same(evaluate(loaded, data, FACTS_OF_THREE), evaluate(ensemble, data, FACTS_OF_THREE))
    assert loaded.shared_depth == trained
    assert [b.scale for b in loaded.bundles.values()] == [b.scale for b in ensemble.bundles.values()]
    encoders = [bundle.network.encoder.state_dict() for bundle in loaded.bundles.values()]
    at = [encoder["vit.embeddings.patch_embeddings.projection.weight"].data_ptr() for encoder in encoders]
    assert len(set(at)) == 1
    names = {path.stem: set(load_file(path)) for path in tmp_path.glob("*.safetensors")}
    blocks = {name.split(".")[3] for name in names["shared"] if name.startswith("encoder.vit.layers.")}
    assert blocks == {str(block) for block in range(trained)}
    assert not any(names["shared"] & names[fold] for fold in loaded.bundles)


def test_a_folder_of_one_plain_bundle_is_an_ensemble(ensemble_of, tiny_clips, tmp_path):
    ensemble, data = ensemble_of(), tiny_clips(2)
    save_bundle(ensemble.bundles["fold-2"], tmp_path / "artifacts" / "fold-2")
    for folder in (tmp_path / "artifacts", tmp_path / "artifacts" / "fold-2"):
        loaded = load_ensemble(folder)
        assert list(loaded.bundles) == ["fold-2"]
        found = evaluate(loaded, data).predicted["fold-2"].predictions
        assert found == pytest.approx(evaluate(ensemble, data).predicted["fold-2"].predictions)


def test_networks_with_nothing_in_common_are_kept_whole(ensemble_of, tiny_clips, tmp_path):
    ensemble, data = ensemble_of(0), tiny_clips(2)
    for number, bundle in enumerate(ensemble.bundles.values()):
        with torch.no_grad():
            bundle.network.encoder.vit.embeddings.cls_token.add_(number)
    assert replace(ensemble).shared_depth == NOTHING
    save_ensemble(ensemble, tmp_path)
    assert same(evaluate(load_ensemble(tmp_path), data), evaluate(replace(ensemble), data))


def sizes(folder):
    return {path.name: path.stat().st_size for path in folder.glob("*.safetensors")}


def test_half_precision_where_it_changes_nothing_that_counts(ensemble_of, tiny_clips, tmp_path, monkeypatch):
    ensemble, data = ensemble_of(), tiny_clips(4)
    save_ensemble(ensemble, tmp_path / "whole")
    save_ensemble(ensemble, tmp_path / "half", half=data)
    whole, half = sizes(tmp_path / "whole"), sizes(tmp_path / "half")
    assert all(half[name] < 0.8 * whole[name] for name in whole)
    wanted, found = evaluate(ensemble, data), evaluate(load_ensemble(tmp_path / "half"), data)
    off = max(np.abs(found.targets[n] - wanted.targets[n]).max() for n in wanted.targets)
    assert 0 < off < HALF
    monkeypatch.setattr(ensembles, "HALF", 0.0)
    save_ensemble(ensemble, tmp_path / "none", half=data)
    assert sizes(tmp_path / "none") == whole


def test_matrices_that_are_multiplied_in_bfloat16_are_kept_in_it_to_the_same_numbers(
    ensemble_of, tiny_clips, tmp_path, monkeypatch
):
    ensemble, data = ensemble_of(precision="bf16"), tiny_clips(4)
    monkeypatch.setattr(
        ensembles, "as_stored", lambda weights, block, _: as_stored(weights, block, torch.float32)
    )
    save_ensemble(ensemble, tmp_path, half=data)
    assert (
        load_file(tmp_path / "shared.safetensors")["encoder.vit.layers.0.mlp.fc1.weight"].dtype
        == torch.bfloat16
    )
    wanted, found = evaluate(ensemble, data), evaluate(load_ensemble(tmp_path), data)
    assert all(np.array_equal(found.targets[n], wanted.targets[n]) for n in wanted.targets)


def test_only_the_blocks_are_halved_where_the_heads_are_delicate(ensemble_of, tiny_clips, tmp_path):
    ensemble, data = ensemble_of(3), tiny_clips(2)
    for bundle in ensemble.bundles.values():
        with torch.no_grad():
            for weight in bundle.network.encoder.parameters():  # which half precision has exactly
                weight.copy_(weight.half())
            bundle.network.heads.heads[0].linear.weight.normal_(0, 300)
    save_ensemble(ensemble, tmp_path, half=data)
    shared, own = (load_file(tmp_path / f"{name}.safetensors") for name in ("shared", "fold-1"))
    assert shared["encoder.vit.layers.0.mlp.fc1.weight"].dtype == torch.float16
    assert own["heads.heads.0.linear.weight"].dtype == torch.float32


def test_no_path_and_no_pickle_is_in_the_folder(ensemble_of, tmp_path):
    ensemble = ensemble_of(
        data="/home/someone/cohort one", backbone="/home/someone/my_vit", cache="/home/someone/cache"
    )
    save_ensemble(ensemble, tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert not any(
        b"someone" in content or content.startswith((b"\x80", b"PK")) for content in files.values()
    )
    loaded = load_ensemble(tmp_path)
    assert (loaded.settings.cohort_name, loaded.settings.backbone) == ("cohort one", "my_vit")


def test_weights_that_do_not_fill_the_networks_are_refused(ensemble_of, tmp_path):
    save_ensemble(ensemble_of(), tmp_path)
    weights = load_file(tmp_path / "shared.safetensors")
    weights.popitem()
    save_file(weights, tmp_path / "shared.safetensors")
    with pytest.raises(RuntimeError, match="Missing key"):
        load_ensemble(tmp_path)
