"""The gating ladder and the choice of frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.cycle.gating import Rhythm, gate
from cardio_mlflow.data.cycle.period import Period
from cardio_mlflow.data.outcomes import ClipRefused, Outcome


def _rhythm(frames=50, step=0.04, r_waves=(), rate=None, thumbnails=None):
    still = np.zeros((frames, 8, 8), np.uint8)
    return Rhythm(
        np.arange(frames) * step,
        np.asarray(r_waves, float),
        rate,
        still if thumbnails is None else thumbnails,
    )


def _swinging(frames, step, cycle):
    """A bar that moves up and down, with a little noise that never repeats."""
    rows = np.arange(40)[:, None]
    rng = np.random.default_rng(3)
    out = []
    for i in range(frames):
        middle = 20 + 10 * np.sin(2 * np.pi * i * step / cycle)
        picture = 200 * np.exp(-(((rows - middle) / 4) ** 2)) * np.ones((1, 50)) + rng.uniform(
            0, 12, (40, 50)
        )
        out.append(picture.clip(0, 255).astype(np.uint8))
    return np.stack(out)


def _period(thumbnails, times, hint=None):
    found = Rhythm(times, np.empty(0), None if hint is None else 60 / hint, thumbnails).period
    return None if found is None else found.length_s


def test_tags_come_first_and_are_verified():
    found = gate(_rhythm(r_waves=[0.1, 0.9, 1.7], rate=60.0))
    assert (found.method, found.phase_verified, found.beats) == ("tags", True, 2)
    assert found.rr_ms == pytest.approx(800)
    assert found.start_s == pytest.approx(0.1)


def test_the_most_typical_of_irregular_cycles_is_taken():
    found = gate(_rhythm(frames=120, r_waves=[0.1, 0.6, 1.4, 2.9]))
    assert (found.start_s, found.stop_s) == pytest.approx((0.6, 1.4))


def test_of_equal_cycles_the_one_after_a_typical_cycle_is_taken():
    found = gate(_rhythm(frames=120, r_waves=[0.1, 0.6, 1.4, 2.2, 3.5]))
    assert (found.start_s, found.stop_s) == pytest.approx((1.4, 2.2))


def test_cycles_beyond_the_clip_are_not_used():
    found = gate(_rhythm(frames=40, r_waves=[-0.5, 0.2, 1.0, 1.9]))
    assert (found.start_s, found.stop_s) == pytest.approx((0.2, 1.0))


def test_one_tagged_r_wave_fixes_the_phase_of_the_heart_rate():
    found = gate(_rhythm(r_waves=[0.3], rate=75.0))
    assert (found.method, found.phase_verified, found.start_s) == ("heart_rate", True, pytest.approx(0.3))


def test_heart_rate_alone_is_not_verified():
    found = gate(_rhythm(rate=75.0))
    assert (found.method, found.phase_verified, found.beats) == ("heart_rate", False, 2)


@pytest.mark.parametrize("frames", [12, 22])
def test_a_stale_heart_rate_that_is_longer_than_the_clip_leaves_it_to_the_next_rung(frames):
    found = gate(_rhythm(frames=frames, rate=60.0))
    assert (found.method, found.phase_verified, found.stop_s) == ("clip", False, pytest.approx(frames * 0.04))
    assert found.notes == ("Heart Rate 60/min means a cycle longer than the clip",)


def test_a_flash_without_any_hint_is_refused():
    with pytest.raises(ClipRefused) as refused:
        gate(_rhythm(frames=6))
    assert refused.value.outcome is Outcome.NO_FULL_CYCLE


@pytest.mark.parametrize("cycle", [0.6, 0.83, 1.1])
def test_the_period_of_the_picture_is_found(cycle):
    found = gate(_rhythm(thumbnails=_swinging(50, 0.04, cycle)))
    assert (found.method, found.phase_verified) == ("periodicity", False)
    assert found.rr_ms == pytest.approx(1000 * cycle, rel=0.03)


def test_noise_has_no_period():
    noise = np.random.default_rng(0).integers(0, 255, (50, 30, 40)).astype(np.uint8)
    assert _period(noise, np.arange(50) * 0.04) is None
    assert gate(_rhythm(thumbnails=noise)).method == "clip"


@given(
    st.integers(4, 200), st.floats(0.005, 0.1), st.floats(0.05, 0.5), st.floats(0.3, 1.5), st.integers(1, 64)
)
def test_frames_lie_in_the_clip_in_order_and_near_their_phase(frames, step, start, length, count):
    rhythm = _rhythm(frames=frames, step=step, r_waves=[start, start + length])
    if start + length > rhythm.duration_s:
        return
    found = gate(rhythm)
    chosen = found.frames(rhythm.times_s, count)
    wanted = start + length * np.arange(count) / count
    assert chosen.shape == (count,)
    assert (np.diff(chosen) >= 0).all()
    assert chosen.min() >= 0
    assert chosen.max() < frames
    inside = wanted <= rhythm.times_s[-1]
    assert (np.abs(rhythm.times_s[chosen] - wanted)[inside] <= step / 2 + 1e-9).all()


def _with_ecg(waveform=(), trace=(), **more):
    return replace(
        _rhythm(**more),
        waveform_r_waves_s=np.asarray(waveform, float),
        trace_r_waves_s=np.asarray(trace, float),
    )


def test_the_ladder_is_climbed_down_rung_by_rung():
    tags, waveform, trace = [0.1, 0.9, 1.7], [0.15, 0.95, 1.75], [0.2, 1.0, 1.8]
    thumbnails = _swinging(50, 0.04, 0.83)
    starts = []
    for known in ((tags, waveform, trace), ((), waveform, trace), ((), (), trace), ((), (), ())):
        r_waves, in_file, on_screen = known
        rhythm = _with_ecg(in_file, on_screen, r_waves=r_waves, rate=72.0, thumbnails=thumbnails)
        found = gate(rhythm)
        starts.append((found.method, found.phase_verified, round(found.start_s, 3)))
    assert starts == [
        ("tags", True, 0.1), ("waveform", True, 0.15), ("trace", True, 0.2), ("periodicity", False, 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize("stale", [[10.0, 10.8], [10.0, 12.4]])
def test_tags_of_another_time_do_not_hide_the_drawn_trace(stale):
    found = gate(_with_ecg(trace=[0.2, 1.0, 1.8], r_waves=stale))
    assert (found.method, found.phase_verified) == ("trace", True)


def test_one_r_wave_in_a_tag_does_not_hide_the_drawn_trace():
    found = gate(_with_ecg(trace=[0.2, 1.0, 1.8], r_waves=[0.21]))
    assert (found.method, found.start_s) == ("trace", pytest.approx(0.2))


def test_implausible_r_waves_are_passed_over():
    found = gate(_with_ecg(waveform=[0.1, 0.12, 0.2, 0.25], trace=[0.2, 1.0, 1.8]))
    assert found.method == "trace"


@pytest.mark.parametrize(
    ("trace", "start", "stop"),
    [
        ([-1.5, -0.7, 0.1], 0.1, 0.9),  # the interval before the clip, from the R wave in it
        ([-0.6, 0.2, 1.0], 0.2, 1.0),  # a whole interval is there
        ([-1.0, -0.2, 0.6, 2.9], 0.6, 1.4),  # the usual interval is not the one to the far R wave
    ],
)
def test_r_waves_before_the_clip_tell_the_interval(trace, start, stop):
    found = gate(_with_ecg(trace=trace, frames=40))
    assert (found.method, found.phase_verified) == ("trace", True)
    assert (found.start_s, found.stop_s) == pytest.approx((start, stop))
    assert found.r_waves == sum(0 <= r <= 1.6 for r in trace)


def test_a_cycle_may_end_at_the_only_r_wave():
    found = gate(_with_ecg(trace=[-2.9, -2.1, -1.3, -0.5, 0.9], frames=25))
    assert found.phase_verified
    assert (found.start_s, found.stop_s) == pytest.approx((0.1, 0.9))


def test_r_waves_all_before_the_clip_tell_only_the_length():
    found = gate(_with_ecg(trace=[-2.5, -1.7, -0.9], frames=30))
    assert (found.method, found.phase_verified, found.r_waves) == ("trace", False, 0)
    assert found.rr_ms == pytest.approx(800)


def test_a_clip_shorter_than_the_interval_on_its_trace_is_refused():
    with pytest.raises(ClipRefused) as refused:
        gate(_with_ecg(trace=[-1.5, -0.6, 0.3], frames=15))
    assert refused.value.outcome is Outcome.NO_FULL_CYCLE


def test_a_drawn_r_wave_fixes_the_phase_of_a_period():
    found = gate(_with_ecg(trace=[0.5], thumbnails=_swinging(50, 0.04, 0.83)))
    assert (found.method, found.phase_verified) == ("periodicity", True)
    assert found.start_s == pytest.approx(0.5)


def test_a_cycle_around_the_only_r_wave_in_the_middle_is_put_together():
    rhythm = _with_ecg(trace=[-2.0, -1.2, -0.4, 0.4], frames=25)
    found = gate(rhythm)
    assert (found.method, found.phase_verified, found.beats, found.r_waves) == ("trace", True, 1, 1)
    assert (found.start_s, found.stop_s, found.wraps) == (pytest.approx(0.4), pytest.approx(1.2), True)
    assert found.notes == ("the cycle's last part is taken from before its R wave",)
    assert found.frames(rhythm.times_s, 20).tolist() == [*range(10, 25), *range(5, 10)]


@pytest.mark.parametrize(
    ("trace", "frames"),
    [([-0.4, 0.4, 1.2], 33), ([-0.5, 0.3], 28), ([-2.9, -2.1, -1.3, -0.5, 0.9], 25)],
    ids=["two R waves", "after the R wave", "before the R wave"],
)
def test_a_cycle_that_the_clip_has_whole_is_taken_whole(trace, frames):
    rhythm = _with_ecg(trace=trace, frames=frames)
    found = gate(rhythm)
    assert (found.phase_verified, found.wraps, found.notes) == (True, False, ())
    assert (np.diff(found.frames(rhythm.times_s, 32)) >= 0).all()


@given(
    st.floats(0.3, 1.5), st.floats(0.01, 0.12), st.floats(1.0, 1.9), st.floats(0.0, 1.0), st.floats(0.0, 0.3),
    st.integers(1, 64), st.integers(0, 99),
)  # fmt: skip
def test_every_phase_of_a_known_cycle_has_a_frame_near_it(length, step, lasts, at, uneven, count, seed):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(1 - uneven, 1 + uneven, max(4, int(np.ceil(lasts * length / step))))) * step
    times -= times[0]
    r_wave = at * min(length, times[-1])
    still = np.zeros((len(times), 8, 8), np.uint8)
    rhythm = Rhythm(times, r_wave + length * np.arange(-3, 1), None, still)
    if rhythm.duration_s < length:
        return
    found = gate(rhythm)
    chosen = found.frames(times, count)
    off = (times[chosen] - r_wave) / length - np.arange(count) / count
    assert found.phase_verified
    assert found.rr_ms == pytest.approx(1000 * length)
    most = (1.0 if found.wraps else 1.5) * np.diff(times).max()  # a whole one may end half a frame late
    assert (np.abs(off - np.rint(off)) * length <= most + 1e-9).all()
    assert np.count_nonzero(np.diff(chosen) < 0) <= int(found.wraps)
    assert len(found.notes) == int(found.wraps)
    assert not (found.wraps and (rhythm.holds(r_wave, length) or rhythm.holds(r_wave - length, length)))


def test_a_single_r_wave_in_the_middle_has_the_pictures_clear_period():
    found = gate(_with_ecg(trace=[0.5], frames=30, thumbnails=_swinging(30, 0.04, 0.83)))
    assert (found.method, found.phase_verified, found.wraps) == ("periodicity", True, True)
    assert (found.start_s, found.stop_s) == pytest.approx((0.5, 1.33), rel=0.03)


def test_a_heart_rate_alone_puts_no_cycle_together():
    found = gate(_rhythm(frames=30, r_waves=[0.6], rate=70.0))
    assert (found.method, found.phase_verified, found.wraps) == ("heart_rate", False, False)


@pytest.mark.parametrize(("rate", "verified"), [(None, False), (72.0, True), (55.0, False)])
def test_an_unclear_period_needs_the_heart_rate_beside_a_single_r_wave(monkeypatch, rate, verified):
    monkeypatch.setattr(Rhythm, "period", Period(0.83, 0.25))
    found = gate(_with_ecg(trace=[0.5], rate=rate))
    assert (found.method, found.phase_verified) == ("periodicity", verified)


def test_the_r_wave_of_a_trace_that_the_picture_denies_tells_no_phase():
    found = gate(_with_ecg(trace=[-1.1, -0.5, 0.1], frames=35, thumbnails=_swinging(35, 0.04, 0.83)))
    assert (found.method, found.phase_verified) == ("periodicity", False)


def test_r_waves_that_another_source_denies_put_no_cycle_together():
    found = gate(_with_ecg(trace=[-1.5, -0.5, 0.5], frames=32, rate=85.0))
    assert (found.method, found.phase_verified, found.wraps, found.start_s) == ("trace", False, False, 0.0)


def test_a_cycle_may_reach_half_a_frame_beyond_the_clip():
    rhythm = _rhythm(frames=20, r_waves=[-0.015, 0.79])
    found = gate(rhythm)
    assert (found.start_s, found.beats) == (pytest.approx(-0.015), 1)
    assert found.frames(rhythm.times_s, 8).tolist() == [0, 2, 5, 7, 10, 12, 15, 17]


@pytest.mark.parametrize("hint", [0.8, 0.84])
def test_the_hint_of_the_heart_rate_finds_the_period_among_multiples(hint):
    step, cycle = 0.04, 0.82
    swing = _swinging(60, step, cycle)
    swing[:, :, :25] = np.roll(_swinging(60, step, 2 * cycle), 3, axis=0)[:, :, :25]  # alternating beats
    assert _period(swing, np.arange(60) * step, hint) == pytest.approx(cycle, rel=0.05)


def test_a_stale_heart_rate_does_not_move_the_period():
    swing = _swinging(60, 0.04, 0.7)
    times = np.arange(60) * 0.04
    assert _period(swing, times, 1.1) == pytest.approx(_period(swing, times), abs=1e-9)


def test_uneven_frame_times_keep_the_period():
    times = np.cumsum(np.random.default_rng(5).uniform(0.02, 0.06, 70))
    times -= times[0]
    apart = np.arange(40)[None, :] - 20 - 10 * np.sin(2 * np.pi * times[:, None] / 0.8)
    bar = (200 * np.exp(-((apart / 4) ** 2))).astype(np.uint8)
    frames = np.repeat(bar[:, :, None], 50, axis=2)
    assert _period(frames, times) == pytest.approx(0.8, rel=0.04)
