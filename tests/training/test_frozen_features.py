from __future__ import annotations

import logging

import pytest
import torch

from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.training.augmentation import Augmentation
from cardio_mlflow.training.fit import fit
from cardio_mlflow.training.frozen_features import FrozenFeatures

GIB = 2**30
MOVING = Augmentation(10.0, 0.05, 0.1, 0.2, 0.1, 3)


@pytest.fixture(scope="module")
def features_of(tiny_vit, tiny_clips):
    def build(memory=1.0, copies=2, dtype=torch.float32, data=None, augmentation=MOVING):
        return FrozenFeatures(
            FrameEncoder(tiny_vit()), data or tiny_clips(4), augmentation, copies, dtype, memory
        )

    return build


@pytest.mark.parametrize("depth", range(4))
def test_kept_is_what_the_encoder_gives(features_of, depth):
    features = features_of()
    features.prepare(depth)
    kept = features.batch([2, 1], [0, 0], depth)
    assert kept.shape == ((2, 4, 2, 16) if depth == 3 else (2, 4, 2, 17, 16))
    for row, patient in enumerate([2, 1]):
        frames = features.data.clips[patient].flatten(0, 1).float() / 255
        with torch.no_grad():
            tokens = features.encoder.tokens(frames, depth)
            expected = (features.encoder.pool(tokens) if depth == 3 else tokens).view(kept.shape[1:])
        present = features.data.present[patient]
        assert torch.allclose(kept[row][present], expected[present], atol=1e-5)


@pytest.mark.parametrize("depth", [0, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kept_equals_computed_anew(features_of, depth, dtype):
    kept, anew = features_of(dtype=dtype), features_of(memory=0, dtype=dtype)
    kept.prepare(depth)
    anew.prepare(depth)
    patients, copies = [3, 0, 1, 0], [1, 2, 0, 0]
    one, two = kept.batch(patients, copies, depth), anew.batch(patients, copies, depth)
    assert one.dtype == two.dtype == dtype
    assert torch.equal(one, two)


def test_missing_views_are_zero_in_every_copy(features_of):
    features = features_of()
    features.prepare(2)
    for copy in range(3):
        batch = features.batch([1, 3], [copy, copy], 2)
        assert not batch[0, 1].any()
        assert not batch[1, [0, 1, 3]].any()
        assert batch[1, 2].any()


def test_copies_differ_and_do_not_depend_on_order_or_company(features_of, tiny_clips):
    features, data = features_of(memory=0), tiny_clips(4)
    copies = features.batch([2, 2, 2], [0, 1, 2], 3)
    assert (copies[0] - copies[1]).abs().max() > 1e-3
    assert (copies[1] - copies[2]).abs().max() > 1e-3
    chosen = [2, 0]
    fewer = type(data)(tuple(data.patient_ids[i] for i in chosen), data.clips[chosen], data.present[chosen])
    other = features_of(data=fewer)
    other.prepare(3)
    assert torch.allclose(other.batch([1, 0], [1, 2], 3)[1], copies[2], atol=1e-6)


def test_the_budget_is_kept_to_and_told_once(features_of, caplog):
    sizes = {depth: 4 * 3 * 4 * 2 * 16 * 4 * (1 if depth == 3 else 17) for depth in range(4)}
    features = features_of(memory=(sizes[3] + sizes[2] - 1) / GIB)
    with caplog.at_level(logging.WARNING):
        for depth in (3, 2, 1, 0, 2):
            features.prepare(depth)
            assert features._used() <= features._memory
    assert features.batch([0], [0], 0).shape == (1, 4, 2, 17, 16)
    assert not caplog.records
    small = features_of(memory=(sizes[2] - 1) / GIB)
    with caplog.at_level(logging.WARNING):
        for depth in (3, 2, 2, 1):
            small.prepare(depth)
    assert len(caplog.records) == 2
    assert "feature_memory" in caplog.text


def test_what_cannot_be_kept_does_not_push_out_what_is(features_of, monkeypatch):
    size = 4 * 3 * 4 * 2 * 16 * 4
    features = features_of(memory=2 * size / GIB)
    features.prepare(3)
    features.prepare(2)
    monkeypatch.setattr(features.encoder, "tokens", None)
    assert features.batch([0], [0], 3).shape == (1, 4, 2, 16)


def test_the_encoder_is_frozen_and_in_evaluation_mode(features_of):
    features = features_of()
    assert not features.encoder.training
    assert not any(p.requires_grad for p in features.encoder.parameters())
    assert not features.batch([0], [0], 1).requires_grad


SCHEDULES = [
    {"epochs": 8, "stages": 3, "gradient_clip": 0.3},
    {
        "epochs": 4,
        "stages": 1,
        "augmented_copies": 2,
        "rotation": 8,
        "gain": 0.2,
        "speckle": 0.1,
        "view_dropout": 0.3,
    },
    {"epochs": 4, "stages": 3, "variant": "fusion_only", "layer_decay": 0.5, "dropout": 0},
]


@pytest.mark.parametrize("side", [32, 48])
@pytest.mark.parametrize("memory", [1.0, 0.0])
@pytest.mark.parametrize("changes", SCHEDULES, ids=["stages", "augmented", "fusion_only"])
def test_training_equals_the_plain_loop(
    tiny_settings, tiny_fold, tiny_network, plain_loop, changes, memory, side
):
    """A whole staged schedule, in fp32, against all pixels through the whole network in every step."""
    settings = tiny_settings(task_lr=1e-3, vit_lr=1e-3, weight_decay=0.01, **changes)
    data = tiny_fold(settings, memory, side)
    fast, plain = tiny_network(settings), tiny_network(settings)
    expected = plain_loop(plain, data, settings, seed=5)
    records = list(fit(fast, data, settings, seed=5))
    assert [r.stage for r in records][-1] == settings.stages
    for record, (train_loss, val_loss, predictions) in zip(records, expected, strict=True):
        assert record.train_loss == pytest.approx(train_loss, rel=2e-4)
        assert record.val_loss == pytest.approx(val_loss, rel=2e-4)
        assert record.predictions == pytest.approx(predictions, abs=2e-3)
    moved = [
        name
        for name, p in tiny_network(settings).state_dict().items()
        if not torch.equal(p, fast.state_dict()[name])
    ]
    assert {name.split(".")[3] for name in moved if ".layers." in name and name.startswith("encoder")} == {
        str(i) for i in range(3 - settings.stages, 3)
    }
    assert not any("embeddings." in name for name in moved)


def test_bf16_training_is_close_to_fp32(tiny_settings, tiny_fold, tiny_network):
    losses = {}
    for precision in ("fp32", "bf16"):
        settings = tiny_settings(epochs=4, stages=3, precision=precision)
        records = fit(tiny_network(settings), tiny_fold(settings), settings, seed=1)
        losses[precision] = [r.val_loss for r in records]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.03)
    assert losses["bf16"] != losses["fp32"]
