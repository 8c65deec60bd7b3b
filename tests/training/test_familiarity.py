from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from cardio_mlflow.data.dataset import ClipTensor
from cardio_mlflow.parameters import VIEWS
from cardio_mlflow.training.clip_summaries import pixel_summaries, summarise
from cardio_mlflow.training.familiarity import FAR, Familiarity, Reference, Seen, threshold

SIDE, FRAMES = 48, 6
RNG = np.random.default_rng(0)
PROJECTION = torch.from_numpy(RNG.normal(size=(144, 10)))


def beating(patients, seed):
    """Grainy clips with a bright disc that beats, elsewhere in each view; patient 0 lacks the second view."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    radius = 0.15 * (1 + 0.4 * np.sin(2 * np.pi * np.arange(FRAMES) / FRAMES))
    clips = np.zeros((patients, len(VIEWS), FRAMES, SIDE, SIDE))
    for patient in range(patients):
        for view in range(len(VIEWS)):
            middle = np.array([0.3 + 0.4 * (view % 2), 0.3 + 0.4 * (view // 2)]) + rng.normal(0, 0.02, 2)
            disc = np.hypot(x - middle[0], y - middle[1]) < radius[:, None, None] * rng.uniform(0.9, 1.1)
            tissue = rng.uniform(50, 70) + 6 * np.sin(20 * x + rng.uniform(0, 6))
            clips[patient, view] = tissue + 90 * disc + rng.normal(0, 4, (FRAMES, SIDE, SIDE))
    present = torch.ones(patients, len(VIEWS), dtype=torch.bool)
    present[0, 1] = False
    clips[0, 1] = 0
    pixels = torch.from_numpy(np.clip(clips, 0, 255).astype(np.uint8))
    return ClipTensor(tuple(map(str, range(patients))), pixels, present)


def frames_of(clips):
    """(N, V, T, 10) what a network might make of them."""
    pooled = torch.nn.functional.adaptive_avg_pool2d(clips.clips.flatten(0, 2)[:, None].double() / 255, 12)
    return (pooled.flatten(1) @ PROJECTION).reshape(*clips.clips.shape[:3], -1)


def seen_of(clips):
    frames = frames_of(clips)
    pixels = pixel_summaries(clips, range(len(clips)), clips.present, FRAMES)
    return Seen(summarise(frames, clips.present), pixels, frames.mean((1, 2)).numpy())


def judged(familiarity, clips):
    frames = frames_of(clips)
    names = list(familiarity.references)
    return familiarity.judge(
        dict.fromkeys(names, frames), dict.fromkeys(names, frames.mean((1, 2)).numpy()), clips, clips.present
    )


@pytest.fixture(scope="module")
def reference():
    return Reference.fit(seen_of(beating(60, 1)), seen_of(beating(30, 2)), FRAMES)


@pytest.fixture(scope="module")
def familiarity(reference):
    other = Reference.fit(seen_of(beating(60, 3)), seen_of(beating(30, 4)), FRAMES)
    return Familiarity.of({"fold-1": reference, "fold-2": other, "fold-3": None})


def changed(change, view=0):
    """Patient 1 with another clip in a view."""
    clips = beating(2, 7)
    pixels = clips.clips.clone()
    pixels[1, view] = change(pixels[1])
    return replace(clips, clips=pixels)


def noise(_):
    return torch.randint(0, 256, (FRAMES, SIDE, SIDE), generator=torch.Generator().manual_seed(0)).byte()


def test_ordinary_patients_are_familiar(familiarity):
    found = judged(familiarity, beating(40, 5))
    assert sum(bool(reasons) for reasons in found) <= 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda views: torch.zeros_like(views[0]), "A4C: black"),
        (lambda views: views[0] // 60, "A4C: black"),
        (noise, "A4C: noise"),
        (lambda views: views[0][:1].expand(FRAMES, -1, -1), "A4C: does not move"),
        (lambda views: views[3], "A4C: looks like PLAX"),
        (lambda views: views[2], "A4C: looks like PSAX"),
        (lambda views: views[0].roll((10, 10), (1, 2)), "A4C: unlike the clips of training"),
    ],
)
def test_what_is_wrong_with_a_clip_is_said(familiarity, change, reason):
    ordinary, strange = judged(familiarity, changed(change))
    assert ordinary == ()
    assert reason in strange
    assert all(text in (reason, "unlike the patients of training") for text in strange)


def test_each_view_is_named(familiarity):
    strange = judged(familiarity, changed(lambda views: torch.zeros_like(views[0]), view=2))[1]
    assert "PSAX: black" in strange


def test_a_view_that_is_not_used_is_not_judged(familiarity):
    clips = changed(lambda views: torch.zeros_like(views[0]))
    present = clips.present.clone()
    present[:, 0] = False
    frames = frames_of(beating(2, 7))
    found = familiarity.judge(
        dict.fromkeys(familiarity.references, frames),
        dict.fromkeys(familiarity.references, frames.mean((1, 2)).numpy()),
        clips, present,
    )  # fmt: skip
    assert found == [(), ()]


def test_nobody_gets_no_judgement(familiarity):
    clips = beating(1, 0)
    none = ClipTensor((), clips.clips[:0], clips.present[:0])
    frames = torch.zeros(0, len(VIEWS), FRAMES, 10)
    names = familiarity.references
    assert (
        familiarity.judge(
            dict.fromkeys(names, frames), dict.fromkeys(names, np.zeros((0, 10))), none, none.present
        )
        == []
    )


def test_a_file_gives_the_same_judgement(familiarity, tmp_path):
    save_file(familiarity.to_arrays(), tmp_path / "familiarity.safetensors")
    again = Familiarity.from_arrays(load_file(tmp_path / "familiarity.safetensors"))
    assert again.thresholds == pytest.approx(dict(familiarity.thresholds))
    for clips in (beating(20, 8), changed(noise)):
        assert judged(again, clips) == judged(familiarity, clips)


def test_a_batch_is_judged_as_its_patients_are(familiarity):
    clips = beating(5, 9)
    one_by_one = [
        judged(familiarity, ClipTensor(("a",), clips.clips[i : i + 1], clips.present[i : i + 1]))[0]
        for i in range(5)
    ]
    assert judged(familiarity, clips) == one_by_one


@pytest.mark.parametrize("patients", [1, 5, 10])
def test_too_few_patients_give_no_reference(patients):
    assert Reference.fit(seen_of(beating(patients, 1)), seen_of(beating(2, 2)), FRAMES) is None
    assert Familiarity.of({"fold-1": None}) is None


def test_few_patients_are_enough_for_a_reference():
    """With 16 the largest difference from them is still told."""
    reference = Reference.fit(seen_of(beating(16, 1)), seen_of(beating(4, 2)), FRAMES)
    found = judged(Familiarity.of({"fold-1": reference}), changed(noise))[1]
    assert "A4C: noise" in found


def test_a_view_with_few_clips_is_not_judged_and_named():
    training = seen_of(beating(60, 1))
    training.clips[5:, 1] = np.nan
    training.pixels[5:, 1] = np.nan
    reference = Reference.fit(training, seen_of(beating(30, 2)), FRAMES)
    familiarity = Familiarity.of({"fold-1": reference})
    assert familiarity.not_judged == ("A2C",)
    assert not any("A2C" in text for text in judged(familiarity, changed(noise, view=1))[1])


def test_a_reference_is_small(reference):
    """Kilobytes, and nothing in it that is longer than what was asked of it: no list of training patients."""
    arrays = reference.to_arrays()
    assert sum(array.nbytes for array in arrays.values()) < 20_000
    assert all(60 not in array.shape for array in arrays.values())


def test_one_in_a_hundred_patients_lies_above_a_threshold():
    scores = np.random.default_rng(0).normal(size=(1000, 4))
    assert (scores.max(1) > threshold(scores, 3.0)).mean() == pytest.approx(0.01, abs=0.002)


def test_of_few_patients_the_largest_score_is_the_threshold_unless_it_is_near():
    scores = np.random.default_rng(0).normal(size=(20, 4))
    assert threshold(scores, 0.0) == scores.max()
    robust = 1.4826 * np.median(np.abs(scores - np.median(scores)))
    assert threshold(scores, 4.0) == pytest.approx(np.median(scores) + 4 * robust)


def test_few_patients_do_not_flag_many_new_ones():
    """With 15 patients one new one in 16 lies above the largest of theirs, by each score."""
    rng = np.random.default_rng(0)
    new = rng.normal(size=(2000, 4)).max(1)
    flagged = [np.mean(new > threshold(rng.normal(size=(15, 4)), 3.0)) for _ in range(200)]
    assert np.mean(flagged) < 0.02


def test_one_patient_out_of_fold_who_is_far_off_does_not_raise_a_threshold():
    scores = np.random.default_rng(0).normal(size=(60, 4))
    scores[7, 2] = 50.0
    assert threshold(scores, 3.0) < FAR + 1.5
    assert threshold(scores, 3.0) >= np.sort(scores.max(1))[-4]


def test_where_nothing_is_known_nothing_is_flagged():
    assert threshold(np.full((3, 4), np.nan), 3.0) == float("inf")
