"""R waves, the picture and the heart rate checked against each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.cycle.gating import gate
from cardio_mlflow.data.cycle.rhythm import Rhythm

TIMES = np.arange(75) / 25
REGULAR = 0.3 + 0.8 * np.arange(-4, 6)
FIBRILLATING = np.array([-1.6, -0.7, 0.2, 0.75, 1.75, 2.35, 3.3])
TRUE = REGULAR[(REGULAR >= 0) & (REGULAR < 3)]


def _beating(r_waves, times=TIMES, seed=0):
    """Small frames of a wall that moves in after each R wave, comes back, and drifts on until the next."""
    before = r_waves[np.searchsorted(r_waves, times, side="right") - 1]
    since = times - before
    systole = 0.22 * min(1.0, np.median(np.diff(r_waves)) / 0.6)
    inward = np.sin(np.pi / 2 * np.minimum(since / systole, 1)) ** 2
    back = np.exp(-np.maximum(since - systole, 0) / (0.5 * systole))
    place = 10 + 20 * inward * back + 3 * np.minimum(since, 0.6)
    rows = np.arange(48)
    wall = 180 * np.exp(-(((rows[None, :] - place[:, None]) / 4) ** 2))
    noise = np.random.default_rng(seed).uniform(0, 25, (len(times), 48, 40))
    return (wall[:, :, None] + noise).astype(np.uint8)


def _gate(tags=(), waveform=(), trace=(), rate=None, heart=REGULAR, times=TIMES):
    thumbnails = np.zeros((len(times), 8, 8), np.uint8) if heart is None else _beating(heart, times)
    known = [np.asarray(waves, float) for waves in (tags, waveform, trace)]
    return gate(Rhythm(times, known[0], rate, thumbnails, known[1], known[2]))


@pytest.mark.parametrize("source", ["tags", "waveform", "trace"])
@pytest.mark.parametrize("heart", [REGULAR, FIBRILLATING], ids=["regular", "fibrillating"])
def test_r_waves_that_fit_the_picture_are_verified_without_a_word(source, heart):
    found = _gate(**{source: heart[(heart >= 0) & (heart < 3)]}, heart=heart)
    assert (found.method, found.phase_verified, found.notes) == (source, True, ())


@pytest.mark.parametrize(
    "misread",
    [
        0.3 + 1.15 * np.arange(3),  # 1.44 periods
        0.3 + 0.55 * np.arange(5),
        np.sort(np.append(TRUE, TRUE + 0.28)),  # T waves counted
        0.3 + 0.4 * np.arange(7),  # T waves counted, half-way
        np.array([0.3, 1.45, 1.9]),  # one beat missed, another imagined
    ],
)
def test_a_misread_trace_gives_way_to_the_pictures_own_period(misread):
    found = _gate(trace=misread)
    assert (found.method, found.phase_verified, found.r_waves) == ("periodicity", False, 0)
    assert found.rr_ms == pytest.approx(800, rel=0.03)
    assert len(found.notes) == 1
    assert "of the drawn ECG does not fit the picture's period of 8" in found.notes[0]


@pytest.mark.parametrize("missed", [TRUE[::2], np.array([-1.3, 0.3, 1.9])])
def test_an_interval_of_two_beats_on_the_trace_is_cut_to_one(missed):
    found = _gate(trace=missed)
    assert (found.method, found.phase_verified) == ("periodicity", True)
    assert (found.start_s, found.rr_ms) == (pytest.approx(0.3), pytest.approx(800, rel=0.03))
    assert found.notes == (
        f"R-R 1600 ms of the drawn ECG is a multiple of the picture's {found.rr_ms:.0f} ms",
    )


WRONG, HALVES = 0.25 + 1.15 * np.arange(3), 0.02 + 0.5 * np.arange(-3, 5)


@pytest.mark.parametrize(
    ("known", "method", "start", "stop"),
    [
        ({"trace": [-2.1, -1.3, 0.3], "times": TIMES[:29]}, "trace", 0.3, 1.1),  # lost beats before the clip
        ({"trace": [0.3, 1.9, 2.7]}, "trace", 1.9, 2.7),  # of intervals of two beats and one, the one
        ({"tags": TRUE[::2]}, "tags", 0.3, 1.9),  # two beats that a tag spans: the machine's own word
        ({"tags": TRUE, "waveform": TRUE + 0.01, "trace": WRONG, "heart": None}, "tags", 0.3, 1.1),
        ({"tags": [40.0, 41.1, 42.2], "trace": TRUE, "heart": None}, "trace", 0.3, 1.1),  # of another time
        # A clip of one beat cannot contradict its R waves: what comes back half-way looks like a period.
        ({"tags": [0.02, 0.82], "times": TIMES[:23], "heart": HALVES}, "tags", 0.02, 0.82),
    ],
)  # fmt: skip
def test_what_is_believed(known, method, start, stop):
    found = _gate(**known)
    assert (found.method, found.phase_verified) == (method, True)
    assert (found.start_s, found.stop_s) == pytest.approx((start, stop))
    assert found.notes == () or "waveform" in known or start == 1.9


@pytest.mark.parametrize(("right", "wrong"), [("tags", "trace"), ("trace", "tags"), ("trace", "waveform")])
def test_of_two_sources_the_picture_knows_the_right_one(right, wrong):
    found = _gate(**{right: TRUE, wrong: WRONG})
    assert (found.method, found.phase_verified) == (right, True)
    assert found.start_s in TRUE
    assert any("R-R 800 ms" in note and "R-R 1150 ms" in note for note in found.notes)


def test_two_sources_that_nothing_decides_between_are_not_verified():
    found = _gate(tags=TRUE, trace=WRONG, heart=None)
    assert (found.method, found.phase_verified, found.start_s) == ("tags", False, pytest.approx(0.3))
    assert found.notes == ("R-R 800 ms of the R-wave tags does not fit R-R 1150 ms of the drawn ECG",)


@pytest.mark.parametrize(("late", "verified"), [(0.05, True), (0.3, False)])
def test_r_waves_of_two_sources_stand_at_the_same_times(late, verified):
    found = _gate(tags=TRUE, trace=TRUE + late, heart=None)
    assert (found.phase_verified, not found.notes) == (verified, verified)


def test_tags_outside_the_clip_longer_than_it_leave_it_to_the_next_rung():
    assert _gate(tags=[40.0, 42.2], times=TIMES[:40], heart=None).method == "clip"


@pytest.mark.parametrize(
    ("rate", "fits"), [(75, True), (60, True), (150, True), (37, True), (110, False), (52, False)]
)
def test_the_heart_rate_in_the_header_may_be_a_mean_or_count_wrongly_but_no_more(rate, fits):
    alone, seen = (_gate(trace=TRUE, rate=rate, heart=heart) for heart in (None, REGULAR))
    assert (alone.method, alone.phase_verified) == ("trace", fits)
    assert (seen.method, seen.phase_verified) == ("trace", True)  # the picture decides
    note = () if fits else (f"Heart Rate {rate}/min does not fit R-R 800 ms of the drawn ECG",)
    assert alone.notes == seen.notes == note


def test_a_stale_heart_rate_beside_a_clear_picture_is_noted():
    found = _gate(rate=50.0)
    assert (found.method, found.rr_ms) == ("periodicity", pytest.approx(800, rel=0.03))
    assert found.notes == (f"Heart Rate 50/min does not fit the picture's period of {found.rr_ms:.0f} ms",)


def test_r_waves_that_make_no_intervals_are_no_anchor():
    found = _gate(trace=[0.1, 0.2, 0.3])
    assert (found.method, found.phase_verified) == ("periodicity", False)


@settings(max_examples=25, deadline=None)
@given(st.floats(35, 220), st.sampled_from([15.0, 25.0, 50.0, 80.0]), st.floats(0.0, 0.3), st.integers(0, 99))
def test_hearts_of_any_rate_at_any_frame_rate(rate, frame_rate, uneven, seed):
    rng, interval = np.random.default_rng(seed), 60.0 / rate
    count = int(max(2.2, 2.6 * interval) * frame_rate)
    times = np.cumsum(rng.uniform(1 - uneven, 1 + uneven, count)) / frame_rate
    times -= times[0]
    heart = interval * (np.arange(-6, 40) + rng.uniform())
    inside = heart[(heart >= 0) & (heart <= times[-1])]
    found = _gate(trace=inside, heart=heart, times=times)
    assert found.notes == ()
    assert found.phase_verified
    assert found.rr_ms == pytest.approx(1000 * interval, rel=1e-6)
    alone = _gate(heart=heart, times=times)
    if alone.method == "periodicity" and interval * frame_rate >= 8:
        beats = alone.rr_ms / (1000 * interval)
        assert abs(beats / round(beats) - 1) <= 0.06
