"""Views suggested from features made up so that the truth is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.sorting.page_order import chained, nearest_chain, page_order, varied_sample
from cardio_mlflow.data.sorting.suggestions import (
    CLASSES,
    LEAST_THRESHOLD,
    NOTHING,
    WANTED,
    chosen_threshold,
    suggest,
)
from cardio_mlflow.data.sorting.view_regression import temperature, tempered

PATIENTS = 12


def made_up(per_class: int = 3, spread: float = 0.4, seed: int = 0, names=CLASSES):
    """Features (2, 40) of clips around a centre a class, with an offset a patient; labels; patients."""
    rng = np.random.default_rng(seed)
    centres = dict(zip(CLASSES, rng.normal(0, 1.5, size=(len(CLASSES), 40)), strict=True))
    features, labels, patients = {}, {}, {}
    for patient in range(PATIENTS):
        offset = rng.normal(0, spread, 40)
        for name in names:
            for i in range(per_class):
                clip = f"{patient:02d}{name}{i}"
                features[clip] = (centres[name] + offset + rng.normal(0, spread, (2, 40))).astype(np.float32)
                labels[clip], patients[clip] = name, f"X{patient:04d}"
    return features, labels, patients


def some_of(labels, count, seed=1):
    chosen = np.random.default_rng(seed).choice(sorted(labels), count, replace=False)
    return {str(clip): labels[str(clip)] for clip in chosen}


def test_what_is_easy_is_taken_and_right():
    features, truth, patients = made_up()
    known = some_of(truth, 80)
    found = suggest(features, known, patients)
    assert set(found.views) == set(truth) - set(known)
    assert found.accuracy >= 0.95
    assert found.coverage >= 0.9
    assert np.mean([truth[clip] == view for clip, view in found.taken.items()]) >= WANTED
    assert found.confusion.to_numpy().sum() == len(known)
    assert list(found.confusion.index) == list(found.confusion.columns) == list(CLASSES)
    assert not found.doubts
    assert not found.notes


def test_a_patients_clips_say_nothing_of_his_own():
    """Labels that go with the patient alone cannot be told for another one, however alike his clips are."""
    rng = np.random.default_rng(3)
    features, labels, patients = {}, {}, {}
    for patient in range(20):
        centre = rng.normal(0, 3, 30)
        for i in range(6):
            clip = f"{patient:02d}-{i}"
            features[clip] = (centre + rng.normal(0, 0.1, (1, 30))).astype(np.float32)
            labels[clip], patients[clip] = CLASSES[rng.permutation(5)[patient % 5]], f"X{patient}"
    found = suggest(features, labels, patients)
    assert found.accuracy < 0.5
    assert found.threshold == NOTHING
    assert any("too few, or too hard" in note for note in found.notes)


def test_a_wrong_tag_is_doubted():
    features, truth, patients = made_up(spread=0.2)
    wrong = next(clip for clip, view in truth.items() if view == "FC")
    found = suggest(features, truth | {wrong: "LA"}, patients)
    assert found.doubts == {wrong: "FC"}
    assert found.coverage == 0.0
    assert not found.views


@pytest.mark.parametrize(
    ("known", "said"),
    [(lambda t: some_of(t, 19), "19 clips"),
     (lambda t: {c: v for c, v in t.items() if c[:2] == "00"}, "1 patients"),
     (lambda t: {c: v for c, v in t.items() if v == "SA"}, "same label"), (lambda t: {}, "0 clips")],
)  # fmt: skip
def test_why_nothing_is_suggested(known, said):
    features, truth, patients = made_up(per_class=5)
    assert said in suggest(features, known(truth), patients)


def test_without_any_other_view_labelled_the_four_are_taken_and_what_is_unlike_them_is_asked():
    features, truth, patients = made_up()
    known = {clip: view for clip, view in some_of(truth, 100).items() if view not in ("other", "TC")}
    found = suggest(features, known, patients)
    assert any("No clip is labelled TC" in note for note in found.notes)
    assert any("is another view (0)" in note for note in found.notes)
    assert not {"other", "TC"} & set(found.views.values())
    asked = {kind: np.mean([clip not in found.taken for clip in found.views if truth[clip] == kind])
             for kind in CLASSES}  # fmt: skip
    assert min(asked["other"], asked["TC"]) == 1.0
    assert max(asked["FC"], asked["SA"], asked["LA"]) <= 0.15


def test_four_views_only_are_taken():
    features, truth, patients = made_up(spread=0.2, names=CLASSES[:4])
    found = suggest(features, some_of(truth, 60), patients)
    assert found.coverage >= 0.9
    assert all(truth[clip] == view for clip, view in found.taken.items())


@given(
    st.lists(st.floats(0.2, 0.9999), max_size=60),
    st.lists(st.tuples(st.floats(0.2, 1), st.booleans()), max_size=60),
)
def test_a_threshold_is_the_lowest_by_which_enough_is_expected(probability, pairs):
    p = np.array(probability)
    highest, right = np.array([h for h, _ in pairs]), np.array([r for _, r in pairs], dtype=bool)
    chosen = chosen_threshold(p, highest, right)
    if chosen < NOTHING:
        assert chosen >= LEAST_THRESHOLD
        assert p[p >= chosen].mean() >= WANTED - 1e-9
    if right.all():
        assert not any(p[p >= at].mean() > WANTED + 1e-9 for at in p if LEAST_THRESHOLD <= at < chosen)


def test_wrong_ones_among_the_labelled_raise_the_threshold():
    p = np.repeat([0.999, 0.95], [95, 5])
    highest, right = np.repeat([0.999, 0.95], 30), np.ones(60, dtype=bool)
    assert chosen_threshold(p, highest, right) == 0.95
    right[-6:] = False
    assert chosen_threshold(p, highest, right) == 0.999
    assert chosen_threshold(p, highest, np.zeros(60, dtype=bool)) == NOTHING


def test_probabilities_that_are_too_sure_are_softened():
    rng = np.random.default_rng(0)
    seen = np.full((400, 5), 0.0025)
    seen[:, 0] = 0.99
    y = np.where(rng.uniform(size=400) < 0.8, 0, 1)
    softened = tempered(seen, temperature(seen, y))
    assert softened[0, 0] == pytest.approx(0.8, abs=0.05)
    unsure = np.tile([0.6, 0.1, 0.1, 0.1, 0.1], (60, 1))
    right = np.zeros(60, dtype=np.int64)
    assert temperature(unsure[:40], right[:40]) == pytest.approx(1.0, abs=0.01)
    assert temperature(unsure, right) < 0.5
    right[0] = 1
    assert temperature(unsure, right) == pytest.approx(1.0, abs=0.01)


def test_a_page_has_every_clip_once_and_like_beside_like():
    features, truth, patients = made_up(per_class=4)
    first = page_order(features, {}, None, patients)
    assert sorted(first) == sorted(features)
    sample = first[:60]
    assert {truth[clip] for clip in sample} == set(CLASSES)
    assert len({patients[clip] for clip in sample}) == PATIENTS
    known = {clip: truth[clip] for clip in sample}
    rest = first[60:]
    changes = sum(truth[a] != truth[b] for a, b in itertools.pairwise(rest))
    assert changes < len(rest) / 4
    found = suggest(features, known, patients)
    order = page_order(features, known, found, patients)
    assert sorted(order) == sorted(features)
    assert set(order[-60:]) == set(known)
    asked = [clip not in found.taken for clip in order[:-60]]
    assert asked == sorted(asked, reverse=True)
    least = min(found.probability, key=found.probability.__getitem__)
    assert least in found.taken or order[0] == least


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 70), st.integers(-2, 80), st.integers(1, 5))
def test_samples_and_chains_of_any_size(count, size, kinds):
    rng = np.random.default_rng(count)
    x = {f"c{i}": rng.normal(size=3).round(1) for i in range(count)}
    patients = {clip: f"p{i % kinds}" for i, clip in enumerate(x)}
    sample = varied_sample(x, patients, size)
    assert len(set(sample)) == len(sample) == min(max(size, 0), count)
    assert sorted(chained(x)) == sorted(x)


def test_a_chain_goes_to_the_nearest():
    assert nearest_chain(np.array([[0.0], [5], [1], [3], [1.5]]), 0) == [0, 2, 4, 3, 1]
