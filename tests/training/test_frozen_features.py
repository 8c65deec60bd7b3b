from __future__ import annotations

import dataclasses
import logging
import resource
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch

from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.training import frozen_features
from cardio_mlflow.training.activation_store import ActivationSet, ActivationStore
from cardio_mlflow.training.augmentation import Augmentation
from cardio_mlflow.training.devices import backbone_autocast
from cardio_mlflow.training.frozen_features import HEADER, FrozenFeatures, Sources, frozen
from tests.waiting import PATIENCE

MOVING = Augmentation(10.0, 0.05, 0.1, 0.2, 0.1, 3)
SIZES = {depth: 12 * (4 * 2 * (16 * 4 * (1 if depth == 3 else 17) + 8) + HEADER) for depth in range(4)}
"""Bytes, at most, of four patients and three copies of each, in float32."""


@pytest.fixture
def features_of(tiny_vit, tiny_clips, tmp_path):
    def build(disk=1e9, copies=2, dtype=torch.float32, data=None, augmentation=MOVING, folder="features"):
        encoder = frozen(FrameEncoder(tiny_vit()), dtype)
        sources = Sources(encoder, data or tiny_clips(4), augmentation, copies, dtype)
        return FrozenFeatures(sources, ActivationStore(tmp_path / folder, disk))

    return build


def by_view(activations):
    """(B, V, T, …) activations of every frame; 0 for a missing view."""
    zero = torch.zeros(1, *activations.rows.shape[1:], dtype=activations.rows.dtype)
    return torch.cat([activations.rows, zero])[activations.frame_of]


@pytest.fixture
def passes(monkeypatch):
    """The depths between which blocks were run, once a call."""
    run, calls = frozen_features.run_blocks, []

    def noted(encoder, tokens, start, stop, *, pool):
        calls.append((start, stop))
        return run(encoder, tokens, start, stop, pool=pool)

    monkeypatch.setattr(frozen_features, "run_blocks", noted)
    return calls


@pytest.mark.parametrize("depth", [0, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kept_equals_computed_anew(features_of, depth, dtype):
    kept, anew = features_of(dtype=dtype), features_of(disk=0, dtype=dtype)
    kept.prepare(depth)
    anew.prepare(depth)
    assert kept.is_kept(depth)
    assert not anew.is_kept(depth)
    patients, copies = [3, 0, 1, 0], [1, 2, 0, 0]
    one, two = kept.batch(patients, copies, depth), anew.batch(patients, copies, depth)
    assert one.rows.dtype == two.rows.dtype == dtype
    assert torch.equal(one.rows, two.rows)
    assert torch.equal(one.frame_of, two.frame_of)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frames_that_stand_twice_are_encoded_once(features_of, tiny_clips, dtype, passes):
    """A heart cycle of fewer frames than the clip has some of them twice."""
    twice, once = tiny_clips(4, frames=5), tiny_clips(4, frames=5)
    for data in (twice, once):
        data.clips[:, :, 1] = data.clips[:, :, 0]
        data.clips[:, 2, 4] = data.clips[:, 2, 3]
    moved = Augmentation(10.0, 0.05, 0.1, 0.2, 0.0, 3)
    features = features_of(data=twice, augmentation=moved, dtype=dtype)
    features.prepare(1)
    found = features.batch([0, 3], [0, 1], 1)
    assert len(found.rows) == (4 * 4 - 1) + 3
    noisy = features_of(data=once, augmentation=MOVING, dtype=dtype, folder="noisy")
    noisy.prepare(1)
    assert len(noisy.batch([0], [1], 1).rows) == 20, "noise differs from frame to frame"
    assert found.frame_of[0, 0].tolist() == [0, 0, 1, 2, 3]
    assert found.frame_of[1, :, 0].tolist() == [-1, -1, 15, -1]
    for patient, row in ((0, 0), (3, 1)):
        present = twice.present[patient]
        images = features.sources.images(patient, row, present)
        with torch.no_grad(), backbone_autocast(dtype, torch.device("cpu")):
            expected = features.encoder.tokens(images, 1)
        # not to the last bit: a matrix product of fewer rows may be summed in another order
        near = {"rtol": 0.0, "atol": 1e-5 if dtype == torch.float32 else 0.02}
        torch.testing.assert_close(by_view(found)[row][present].flatten(0, 1), expected, **near)


def test_augmented_frames_do_not_depend_on_the_precision(features_of):
    images = [
        features_of(dtype=dtype, folder=str(dtype)).sources.compute(0, 1, [0])[0].rows.float()
        for dtype in (torch.float32, torch.bfloat16)
    ]
    assert (images[0] - images[1]).abs().max() < 0.02 * images[0].abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_makes_no_difference_where_a_pass_starts(features_of, dtype, passes):
    straight, stepwise = features_of(dtype=dtype, folder="a"), features_of(dtype=dtype, folder="b")
    straight.prepare(3)
    straight.prepare(2)
    assert passes == [(0, 3)] * 12 + [(0, 2)] * 12
    passes.clear()
    for depth in (0, 2, 3):
        stepwise.prepare(depth)
    assert passes == [(0, 0)] * 12 + [(0, 2)] * 12 + [(2, 3)] * 12
    for depth in (2, 3):
        straight.prepare(depth)
        stepwise.prepare(depth)
        chosen = ([0, 1, 2, 3], [0, 1, 2, 0], depth)
        assert torch.equal(straight.batch(*chosen).rows, stepwise.batch(*chosen).rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_network_goes_on_from_kept_tokens_as_from_pixels(features_of, tiny_vit, dtype):
    """What validation and training see is what the model bundle gives."""
    features, encoder = features_of(dtype=dtype), FrameEncoder(tiny_vit())
    features.prepare(1)
    kept = by_view(features.batch([0], [0], 1))[0].flatten(0, 1)
    frames = features.clips.clips[0].flatten(0, 1).float() / 255
    with torch.no_grad(), backbone_autocast(dtype, torch.device("cpu")):
        assert torch.equal(
            encoder.pool(encoder.blocks(kept, 1)), encoder.pool(encoder.blocks(encoder.tokens(frames, 0), 0))
        )


def test_later_depths_come_from_the_same_pass(features_of, passes):
    features = features_of()
    features.prepare(3, [2, 2, 1])
    assert passes == [(0, 1), (1, 2), (2, 3)] * 12
    features.prepare(2, [1])
    features.prepare(1)
    assert len(passes) == 36


def test_with_room_for_two_depths_every_second_stage_needs_a_pass(tiny_vit, tiny_clips, tmp_path, passes):
    encoder = frozen(FrameEncoder(tiny_vit(num_hidden_layers=6)), torch.float32)
    sources = Sources(encoder, tiny_clips(2), MOVING, 0, torch.float32)
    tokens = 2 * (4 * 2 * (17 * 16 * 4 + 8) + HEADER)
    features = FrozenFeatures(sources, ActivationStore(tmp_path / "two", 2.5 * tokens))
    for depth in range(6, -1, -1):
        for _ in range(3):
            features.prepare(depth, range(depth - 1, -1, -1))
            assert features.is_kept(depth)
    firsts = [(start, stop) for start, stop in passes if start == 0]
    assert firsts == [(0, 4)] * 2 + [(0, 2)] * 2 + [(0, 0), (0, 1)] * 2


def test_what_all_share_is_in_the_set_and_what_a_patient_is_in_the_row(features_of, tiny_clips):
    first, other = features_of(), features_of()
    other.encoder.vit.layers[0].mlp.fc1.bias.data += 1e-3
    still = Augmentation(10.0, 0.05, 0.1, 0.2, 0.2, 3)
    other_sets = [
        other, features_of(augmentation=still), features_of(dtype=torch.bfloat16), features_of(copies=0),
        features_of(data=tiny_clips(4, frames=3)),
    ]  # fmt: skip
    digests = {features.sources.digest() for features in [first, *other_sets]}
    assert len(digests) == 6
    same = [features_of(), features_of(copies=1), features_of(data=tiny_clips(3))]
    assert {features.sources.digest() for features in same} == {first.sources.digest()}


def test_a_row_is_named_by_what_the_clips_show(tiny_clips):
    data, changed, fewer = tiny_clips(4), tiny_clips(4), tiny_clips(4)
    changed.clips[2, 0, 0, 0, 0] += 1
    fewer.present[0, 0] = False
    renamed = dataclasses.replace(data, patient_ids=("a", "b", "c", "d"))
    names = [data.content_of(p) for p in range(4)]
    assert len(set(names)) == 4
    assert [renamed.content_of(p) for p in range(4)] == names
    assert [changed.content_of(p) == names[p] for p in range(4)] == [True, True, False, True]
    assert [fewer.content_of(p) == names[p] for p in range(4)] == [False, True, True, True]


def chosen(data, patients):
    """The clips of some patients, in this order and under other ids."""
    ids = tuple(f"X{p}" for p in patients)
    return type(data)(ids, data.clips[patients], data.present[patients])


@pytest.mark.parametrize("depth", [1, 3])
def test_one_more_patient_leaves_the_features_of_the_others_valid(features_of, tiny_clips, passes, depth):
    data = tiny_clips(5)
    before = features_of(data=chosen(data, [0, 1, 2, 3]))
    before.prepare(depth)
    old = before.batch([0, 1, 2, 3], [0, 1, 2, 0], depth)
    before.close()
    files = {path: path.stat().st_ino for path in before._store.folder.rglob("*.safetensors")}
    passes.clear()
    after = features_of(data=chosen(data, [3, 4, 2, 1, 0]))
    after.prepare(depth)
    assert passes == [(0, depth)] * 3, "the new patient's three copies"
    new = after.batch([4, 3, 2, 0], [0, 1, 2, 0], depth)
    assert torch.equal(new.rows, old.rows)
    assert torch.equal(new.frame_of, old.frame_of)
    assert {path: path.stat().st_ino for path in files} == files
    passes.clear()
    features_of(data=chosen(data, [2, 4])).prepare(depth)
    assert not passes, "a cohort whose patients are all in another one computes nothing"


def test_one_more_patient_is_taken_from_the_nearest_depth_that_has_it(features_of, tiny_clips, passes):
    data = tiny_clips(5)
    features_of(data=chosen(data, [0, 1, 2, 3])).prepare(3)
    features_of(data=chosen(data, [0, 4])).prepare(2)
    passes.clear()
    features_of(data=data).prepare(3)
    assert passes == [(2, 3)] * 3


def test_two_patients_with_the_same_clips_are_computed_once(features_of, tiny_clips, passes):
    data = tiny_clips(5)
    features = features_of(data=chosen(data, [0, 2, 2]))
    features.prepare(2)
    assert len(passes) == 2 * 3
    one, two = (features.batch([p], [1], 2).rows for p in (1, 2))
    assert torch.equal(one, two)


def test_missing_views_are_zero_in_every_copy(features_of):
    features = features_of()
    features.prepare(2)
    for copy in range(3):
        found = features.batch([1, 3], [copy, copy], 2)
        assert len(found.rows) == (3 + 1) * 2, "missing views take no room"
        batch = by_view(found)
        assert not batch[0, 1].any()
        assert not batch[1, [0, 1, 3]].any()
        assert batch[1, 2].any()


def test_copies_differ_and_do_not_depend_on_order_or_company(features_of, tiny_clips):
    features, data = features_of(disk=0), tiny_clips(4)
    copies = by_view(features.batch([2, 2, 2], [0, 1, 2], 3))
    assert (copies[0] - copies[1]).abs().max() > 1e-3
    assert (copies[1] - copies[2]).abs().max() > 1e-3
    chosen = [2, 0]
    fewer = type(data)(tuple(data.patient_ids[i] for i in chosen), data.clips[chosen], data.present[chosen])
    other = features_of(data=fewer)
    other.prepare(3)
    assert torch.allclose(by_view(other.batch([1, 0], [1, 2], 3))[1], copies[2], atol=1e-6)


def test_the_budget_is_kept_to_and_told_once(features_of, caplog, passes):
    features = features_of(disk=SIZES[3] + SIZES[2])
    with caplog.at_level(logging.WARNING):
        for depth, later in ((3, [2, 1, 0]), (2, [1, 0]), (1, [0]), (0, [])):
            features.prepare(depth, later)
            assert features.is_kept(depth)
            assert features._store.used() <= features._store.budget
    assert not caplog.records
    assert {stop for _, stop in passes} == {0, 1, 2, 3}
    small = features_of(disk=SIZES[2] - 1, folder="small")
    with caplog.at_level(logging.WARNING):
        for depth in (3, 2, 2, 1):
            small.prepare(depth)
    assert len(caplog.records) == 2
    assert "feature_disk" in caplog.text
    assert small.batch([0], [0], 1).rows.shape == (8, 17, 16)


@contextmanager
def no_file_larger_than(size):
    """The system refuses larger files, as a full disk or quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_reported_and_training_goes_on_without_the_store(features_of, caplog, tiny_clips):
    """There is room for the patient of one view, not for the one of four."""
    features = features_of(data=chosen(tiny_clips(4), [3, 0]))
    with caplog.at_level(logging.WARNING), no_file_larger_than(5000):
        features.prepare(2, [1])
        features.prepare(1)
    assert caplog.text.count("The disk is full") == 1
    left = [path for path in features._store.folder.iterdir() if path.is_dir()]
    assert not left, "what it took is free again"
    assert not features.is_kept(2)
    anew = features_of(disk=0, folder="other")
    assert torch.equal(features.batch([1], [0], 2).rows, anew.batch([0], [0], 2).rows)


def test_where_the_disk_has_room_for_one_depth_only_that_one_is_kept(features_of, caplog):
    features = features_of()
    with no_file_larger_than(5000):
        features.prepare(3, [2])
    assert features.is_kept(3)
    assert features._kept[3].is_complete()
    assert not features.is_kept(2)
    assert not caplog.records


def test_what_a_dead_process_left_half_done_is_finished(features_of, passes, monkeypatch):
    features, write = features_of(), ActivationSet.write

    def stopped(self, row, activations):
        if row.startswith(features.clips.content_of(2)):
            raise KeyboardInterrupt
        write(self, row, activations)

    monkeypatch.setattr(ActivationSet, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        features.prepare(2)
    monkeypatch.setattr(ActivationSet, "write", write)
    passes.clear()
    again = features_of()
    again.prepare(2)
    assert passes == [(0, 2)] * 6, "two of four patients were left, three copies each"
    assert again._kept[2].is_complete()


TESTS = Path(__file__).resolve().parents[1]
TWO = """
import sys, torch
from pathlib import Path
sys.path.insert(0, TESTS)
from conftest import make_clips, make_vit
from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.training import frozen_features as f
from cardio_mlflow.training.activation_store import ActivationStore
from cardio_mlflow.training.augmentation import Augmentation
from cardio_mlflow.training.frozen_features import Sources, frozen
torch.set_num_threads(1)
run, calls = f.run_blocks, []
def noted(encoder, tokens, start, stop, *, pool):
    calls.append(start)
    return run(encoder, tokens, start, stop, pool=pool)
f.run_blocks = noted
still = Augmentation(0, 0, 0, 0, 0, 0)
encoder = frozen(FrameEncoder(make_vit()), torch.float32)
sources = Sources(encoder, make_clips(40), still, 0, torch.float32)
features = f.FrozenFeatures(sources, ActivationStore(Path(sys.argv[1]), 1e9))
print("ready", flush=True)
sys.stdin.readline()
features.prepare(2)
print(len(calls), float(features.batch(range(40), [0] * 40, 2).rows.double().sum()), flush=True)
"""


def test_processes_share_the_work(tmp_path):
    """Two at once compute each patient once between them, and both have all."""
    command = [sys.executable, "-c", TWO.replace("TESTS", repr(str(TESTS))), str(tmp_path / "shared")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as ending:
        both = [ending.enter_context(subprocess.Popen(command, **pipes)) for _ in range(2)]
        for process in both:
            ending.callback(process.kill)
        for process in both:
            assert process.stdout.readline() == "ready\n"
        for process in both:
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [process.communicate(timeout=PATIENCE)[0].split() for process in both]
    assert sum(int(count) for count, _ in told) == 40
    assert told[0][1] == told[1][1]


def test_the_encoder_is_frozen_and_in_evaluation_mode(features_of):
    features = features_of()
    assert not features.encoder.training
    assert not any(p.requires_grad for p in features.encoder.parameters())
    assert not features.batch([0], [0], 1).rows.requires_grad


SCHEDULES = {
    "stages": {"epochs": 8, "stages": 3, "gradient_clip": 0.3},
    "augmented": {"epochs": 4, "stages": 1, "augmented_copies": 2, "rotation": 8, "gain": 0.2, "speckle": 0.1,
                  "view_dropout": 0.3},
    "fusion_only": {"epochs": 4, "stages": 3, "variant": "fusion_only", "layer_decay": 0.5, "dropout": 0},
    "frames that stand twice": {"epochs": 8, "stages": 3, "view_dropout": 0.3},
}  # fmt: skip


@pytest.mark.parametrize(
    ("side", "disk", "step_memory"),
    [(32, 1e9, 1.0), (48, 0.0, 1.0), (32, 0.0, 1e-6), (48, 1e9, 1e-6)],
    ids=["kept", "resized, computed anew", "computed anew, recomputed", "resized, kept, recomputed"],
)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_training_equals_the_plain_loop(
    tiny_settings, tiny_fold, tiny_network, records_of, plain_loop, schedule, step_memory, disk, side
):
    """A whole staged schedule, in fp32, against all pixels through the whole network in every step."""
    rates = {"task_lr": 1e-3, "vit_lr": 1e-3, "weight_decay": 0.01}
    settings = tiny_settings(step_memory=step_memory, **rates, **SCHEDULES[schedule])
    data = tiny_fold(settings, disk, side)
    if schedule == "frames that stand twice":
        data.features.clips.clips[::2, :, 1] = data.features.clips.clips[::2, :, 0]
        assert len(data.features.batch([0], [0], 1).rows) == 4, "one of two frames in each of four views"
    fast, plain = tiny_network(settings), tiny_network(settings)
    records = records_of(fast, data, settings, 5)
    assert records[-1].stage == settings.stages
    expected = plain_loop(plain, data, settings, seed=5)
    for record, (train_loss, val_loss, predictions) in zip(records, expected, strict=True):
        assert record.train_loss == pytest.approx(train_loss, rel=2e-4)
        assert record.val_loss == pytest.approx(val_loss, rel=2e-4)
        assert record.predictions == pytest.approx(predictions, abs=2e-3)
    start, end = tiny_network(settings).state_dict(), fast.state_dict()
    moved = [name for name, weight in start.items() if not torch.equal(weight, end[name])]
    blocks = {name.split(".")[3] for name in moved if ".layers." in name and name.startswith("encoder")}
    assert blocks == {str(i) for i in range(3 - settings.stages, 3)}
    assert not any("embeddings." in name for name in moved)


def test_bf16_training_is_close_to_fp32(tiny_settings, tiny_fold, tiny_network, records_of):
    losses = {}
    for precision in ("fp32", "bf16"):
        settings = tiny_settings(epochs=4, stages=3, precision=precision)
        records = records_of(tiny_network(settings), tiny_fold(settings), settings, 1)
        losses[precision] = [r.val_loss for r in records]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.03)
    assert losses["bf16"] != losses["fp32"]
