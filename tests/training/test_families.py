"""Training on a backbone of each family: unfreezing, kept activations, memory, bundles."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.model.network import build_network
from cardio_mlflow.parameters import PARAMETERS
from cardio_mlflow.training.activation_store import ActivationStore
from cardio_mlflow.training.augmentation import Augmentation
from cardio_mlflow.training.backbone_pass import PassPlan, frame_features, saved_bytes
from cardio_mlflow.training.bundle import BACKBONE, Bundle, load_bundle, predict, save_bundle
from cardio_mlflow.training.devices import backbone_autocast
from cardio_mlflow.training.frozen_features import FrozenFeatures, Sources, frozen
from cardio_mlflow.training.scaling import fit_scaler
from cardio_mlflow.training.state import build_optimizer
from cardio_mlflow.training.unfreezing import prepare_stage
from tests.families import FAMILIES, gray_family

STILL = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0)


@pytest.fixture(params=FAMILIES)
def name(request):
    return request.param


@pytest.fixture
def network(name, tmp_path):
    return build_network(gray_family(name, tmp_path / "vit"), "full", 2, 0.1, 0)


@pytest.mark.parametrize("blocks", range(4))
def test_only_the_topmost_blocks_get_gradients_and_move(network, tiny_clips, tiny_settings, blocks):
    encoder, data = network.encoder, tiny_clips(2)
    prepare_stage(network, blocks)
    optimizer = build_optimizer(network, tiny_settings())
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    network(data.clips, data.present).predictions.square().sum().backward()
    optimizer.step()
    trained = {id(p) for layer in encoder.layer_groups()[3 - blocks :] for p in layer.parameters()}
    trained |= {id(p) for p in encoder.final_norm.parameters()} if blocks else set()
    assert not any(m.training for layer in encoder.layer_groups()[: 3 - blocks] for m in layer.modules())
    for name, parameter in encoder.named_parameters(prefix="encoder"):
        assert (parameter.grad is not None) == (id(parameter) in trained), name
        if "k_proj.bias" not in name:  # the softmax does not see it: its gradient is nought
            assert torch.equal(parameter, before[name]) == (id(parameter) not in trained), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kept_activations_are_what_the_blocks_give(name, tiny_clips, tmp_path, dtype):
    encoder = frozen(FrameEncoder(gray_family(name, tmp_path / "vit")), dtype)
    sources = Sources(encoder, tiny_clips(2, missing=False), STILL, 0, dtype)
    features = FrozenFeatures(sources, ActivationStore(tmp_path / "kept", 1e9))
    frames = torch.as_tensor(sources.clips.clips_of(1)).flatten(0, 1).float() / 255
    for depth in range(4):
        features.prepare(depth)
        assert features.is_kept(depth)
        kept = features.batch([1], [0], depth)
        with torch.no_grad(), backbone_autocast(dtype, torch.device("cpu")):
            fresh = encoder.tokens(frames, depth)
            fresh = encoder.pool(fresh) if depth == encoder.depth else fresh
        assert kept.rows.dtype == dtype
        torch.testing.assert_close(kept.rows[kept.frame_of.flatten()], fresh, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_estimate_of_memory_is_what_autograd_saves(name, tmp_path, dtype):
    encoder = FrameEncoder(gray_family(name, tmp_path))

    def saved(count):
        tokens = torch.randn(count, encoder.token_count, encoder.width, dtype=dtype)
        kept = {}

        def note(tensor):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            backbone_autocast(dtype, torch.device("cpu")),
        ):
            frame_features(encoder, tokens, 1, PassPlan(count, recompute=False))
        return sum(storage.nbytes() for storage in kept.values())

    assert (saved(24) - saved(12)) / 12 == pytest.approx(saved_bytes(encoder, 2, dtype), rel=0.2)


def test_a_bundle_gives_the_same_predictions_again(network, tiny_clips, tiny_settings, tmp_path):
    references = np.stack([p.cutoff * np.geomspace(0.5, 2, 9) for p in PARAMETERS], 1)
    bundle, data = Bundle(network.eval(), tiny_settings(), fit_scaler(references)), tiny_clips(3)
    save_bundle(bundle, tmp_path / "bundle")
    assert json.loads((tmp_path / "bundle" / BACKBONE).read_text())["model_type"]
    assert np.array_equal(
        predict(load_bundle(tmp_path / "bundle"), data).predicted.predictions,
        predict(bundle, data).predicted.predictions,
    )
