from __future__ import annotations

import itertools
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.model.network import Heads, build_network, unit_range
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.variants import VARIANTS, Variant

POOL = {"query", *(f"{n}.{p}" for n in ("norm", "key", "value", "output") for p in ("weight", "bias"))}
TEMPORAL = {f"temporal.{name}" for name in POOL}
FUSION = {f"fusion.{name}" for name in POOL} | {"fusion.view_embedding"}
MOTION = {"motion.linear.weight", "motion.linear.bias", "motion.gate"}
OWN = {
    "full": TEMPORAL | FUSION | MOTION | {"temporal.gate", "fusion.gate"},
    "no_temporal": FUSION | MOTION | {"fusion.gate"},
    "no_fusion": TEMPORAL | MOTION | {"temporal.gate"},
    "no_attention": MOTION,
    "temporal_only": TEMPORAL | MOTION,
    "fusion_only": FUSION | MOTION,
    "no_motion": TEMPORAL | FUSION | {"temporal.gate", "fusion.gate"},
}


@pytest.fixture(scope="module")
def network_of(tiny_vit):
    def build(variant="full", seed=0, motion=True, **changes):
        network = build_network(tiny_vit(**changes), variant, 2, 0.1, seed, motion=motion)
        return network.eval().requires_grad_(False)

    return build


@pytest.fixture
def batch(tiny_clips):
    data = tiny_clips(patients=4, frames=3)
    return data.clips, data.present


def test_every_variant_is_another_one():
    assert tuple(VARIANTS) == get_args(Variant)
    assert len(set(VARIANTS.values())) == len(VARIANTS)


def test_every_variant_gives_another_output(network_of, batch):
    outputs = {variant: network_of(variant)(*batch).predictions for variant in VARIANTS}
    for one, two in itertools.combinations(VARIANTS, 2):
        assert (outputs[one] - outputs[two]).abs().max() > 1e-3, (one, two)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_has_the_parameters_it_needs_and_no_others(network_of, variant):
    names = {
        n for n, _ in network_of(variant).named_parameters() if n.startswith(("temporal", "fusion", "motion"))
    }
    assert names == OWN[variant]


@pytest.mark.parametrize("variant", VARIANTS)
def test_shared_parts_start_from_the_same_numbers(network_of, variant):
    full, other = network_of().state_dict(), network_of(variant).state_dict()
    assert set(other) <= set(full)
    assert all(torch.equal(full[name], tensor) for name, tensor in other.items())


def test_the_seed_decides_the_new_parts_only(network_of):
    one, two = network_of(seed=0).state_dict(), network_of(seed=5).state_dict()
    assert not torch.equal(one["heads.heads.0.linear.weight"], two["heads.heads.0.linear.weight"])
    assert not torch.equal(one["temporal.query"], two["temporal.query"])
    assert not torch.equal(one["temporal.query"], one["fusion.query"])
    assert all(torch.equal(one[name], two[name]) for name in one if name.startswith("encoder"))


def test_building_leaves_the_global_random_stream_alone(network_of):
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    network_of()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("one", "two"), list(itertools.permutations(VARIANTS, 2)))
def test_another_variants_weights_are_refused(network_of, one, two):
    with pytest.raises(RuntimeError, match="state_dict"):
        network_of(one).load_state_dict(network_of(two).state_dict(), strict=True)


def test_uint8_and_float_agree(network_of, batch):
    clips, present = batch
    network = network_of()
    out = network(clips, present)
    again = network(clips.float() / 255, present)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(out, again, strict=True))
    assert unit_range(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [0, 1]


def test_shapes_and_weights(network_of, batch):
    clips, present = batch
    out = network_of()(clips, present)
    assert out.predictions.shape == (4, len(KEYS))
    assert out.features.shape == (4, 16)
    assert torch.allclose(out.frame_weights.sum(2), present.float(), atol=1e-5)
    assert torch.allclose(out.view_weights.sum(1), torch.ones(4), atol=1e-5)
    assert not out.view_weights[~present].any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_missing_views_pixels_change_nothing(network_of, batch, variant):
    clips, present = batch
    network = network_of(variant)
    noisy = clips.clone()
    noisy[~present] = 200
    for one, two in zip(network(clips, present), network(noisy, present), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_patient_is_predicted_alone_as_in_a_batch(network_of, batch, variant):
    clips, present = batch
    network = network_of(variant)
    whole = network(clips, present).predictions
    alone = torch.cat([network(clips[i : i + 1], present[i : i + 1]).predictions for i in range(4)])
    assert torch.allclose(whole, alone, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(frames=st.integers(1, 5), views=st.lists(st.booleans(), min_size=4, max_size=4).filter(any))
def test_any_number_of_frames_and_any_views(network_of, frames, views):
    network = network_of()
    clips = torch.full((1, 4, frames, 32, 32), 90, dtype=torch.uint8)
    out = network(clips, torch.tensor([views]))
    assert out.predictions.isfinite().all()
    assert (out.frame_weights.sum(2) > 0.99).tolist() == [views]
    assert torch.allclose(out.view_weights.sum(), torch.tensor(1.0), atol=1e-5)


def test_full_frames_reach_the_prediction(network_of, batch):
    clips, present = batch
    network, changed = network_of(), clips.clone()
    changed[0, 2, 1] = 255 - changed[0, 2, 1]
    difference = (network(changed, present).predictions - network(clips, present).predictions).abs()
    assert difference[0].min() > 1e-6
    assert difference[1:].max() == 0


def test_alphas(network_of):
    assert network_of().alphas() == {"temporal": 0.5, "fusion": 0.5, "motion": 0.5}
    assert network_of("no_motion").alphas() == {"temporal": 0.5, "fusion": 0.5}
    assert network_of("temporal_only").alphas() == {"temporal": 1.0, "fusion": 0.0, "motion": 0.5}
    assert network_of("no_fusion", motion=False).alphas() == {"temporal": 0.5, "fusion": 0.0}


def test_each_parameter_has_a_head_of_its_own_with_a_linear_path():
    heads, features = Heads(8, 9, 0.5).requires_grad_(False), torch.randn(4, 8)
    assert not torch.equal(heads.train()(features), heads(features)), "dropout acts in training"
    before = heads.eval()(features)
    assert before.shape == (4, 9)
    heads.heads[3].linear.bias += 1
    assert torch.allclose((heads(features) - before).abs().max(0).values, torch.eye(9)[3], atol=1e-6)
    widths = [layer.out_features for layer in heads.heads[0].layers if isinstance(layer, torch.nn.Linear)]
    assert widths == [256, 128, 1]


def scattered(count, start):
    """Numbers in 0-1 that look random and are the same everywhere."""
    return (torch.sin(torch.arange(start, start + count, dtype=torch.float64)) * 1e4) % 1


def test_golden_values(network_of):
    """The numbers of a fixed network on a fixed clip: they move when the architecture does."""
    network = network_of(motion=False)
    for number, parameter in enumerate(network.parameters()):
        values = scattered(parameter.numel(), 1000 * number) - 0.5
        parameter.copy_(values.reshape(parameter.shape))
    clips = scattered(4 * 2 * 32 * 32, 7).float().reshape(1, 4, 2, 32, 32)
    clips = clips * torch.linspace(0.1, 1, 4).view(1, 4, 1, 1, 1)
    out = network(clips, torch.tensor([[True, True, False, True]]))
    predictions = [4.4441, 6.3162, -0.8635, -0.8419, -3.4388, -5.8880, 0.9621, -1.6227, 1.1844]
    assert out.predictions[0].tolist() == pytest.approx(predictions, abs=1e-3)
    assert out.view_weights[0].tolist() == pytest.approx([0.33814, 0.3296, 0, 0.33226], abs=1e-4)
