"""The gating ladder and the choice of frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.cycle.gating import gate
from cardio_mlflow.data.cycle.period import Period
from cardio_mlflow.data.cycle.rhythm import Rhythm
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

WRAPS = "the cycle's last part is taken from before its R wave"


def _swinging(frames, step, cycle):
    """A bar that moves up and down, with a little noise that never repeats."""
    rng, rows = np.random.default_rng(3), np.arange(40)[:, None]
    middles = 20 + 10 * np.sin(2 * np.pi * np.arange(frames) * step / cycle)
    bars = [200 * np.exp(-(((rows - middle) / 4) ** 2)) * np.ones((1, 50)) for middle in middles]
    return np.stack([(bar + rng.uniform(0, 12, bar.shape)).clip(0, 255).astype(np.uint8) for bar in bars])


def _rhythm(frames=50, step=0.04, tags=(), rate=None, swing=None, waveform=(), trace=()):
    """Frames that stand still, or swing in a cycle of so many seconds."""
    picture = np.zeros((frames, 8, 8), np.uint8) if swing is None else _swinging(frames, step, swing)
    r_waves = [np.asarray(waves, float) for waves in (tags, waveform, trace)]
    return Rhythm(np.arange(frames) * step, r_waves[0], rate, picture, *r_waves[1:])


def _period(thumbnails, times, hint=None):
    found = Rhythm(times, np.empty(0), None if hint is None else 60 / hint, thumbnails).period
    return None if found is None else found.length_s


@pytest.mark.parametrize(
    ("known", "method", "start", "stop", "more"),
    [
        ({"tags": [0.1, 0.9, 1.7], "rate": 60.0}, "tags", 0.1, 0.9, {"beats": 2}),
        # The most typical interval; of equals the one after a typical one; none beyond the clip.
        ({"frames": 120, "tags": [0.1, 0.6, 1.4, 2.9]}, "tags", 0.6, 1.4, {}),
        ({"frames": 120, "tags": [0.1, 0.6, 1.4, 2.2, 3.5]}, "tags", 1.4, 2.2, {}),
        ({"frames": 40, "tags": [-0.5, 0.2, 1.0, 1.9]}, "tags", 0.2, 1.0, {}),
        ({"frames": 20, "tags": [-0.015, 0.79]}, "tags", -0.015, 0.79, {"beats": 1}),  # half a frame beyond
        # Rung by rung.
        ({"tags": [0.1, 0.9], "waveform": [0.15, 0.95], "trace": [0.2, 1.0]}, "tags", 0.1, 0.9, {}),
        ({"waveform": [0.15, 0.95], "trace": [0.2, 1.0], "rate": 72.0}, "waveform", 0.15, 0.95, {}),
        ({"trace": [0.2, 1.0, 1.8], "rate": 72.0, "swing": 0.83}, "trace", 0.2, 1.0, {}),
        ({"tags": [0.3], "rate": 75.0}, "heart_rate", 0.3, 1.1, {}),
        # A trace is not hidden by tags of another time, by a single tag, or by an implausible waveform.
        ({"trace": [0.2, 1.0, 1.8], "tags": [10.0, 10.8]}, "trace", 0.2, 1.0, {}),
        ({"trace": [0.2, 1.0, 1.8], "tags": [10.0, 12.4]}, "trace", 0.2, 1.0, {}),
        ({"trace": [0.2, 1.0, 1.8], "tags": [0.21]}, "trace", 0.2, 1.0, {}),
        ({"trace": [0.2, 1.0, 1.8], "waveform": [0.1, 0.12, 0.2, 0.25]}, "trace", 0.2, 1.0, {}),
        # R waves before the clip give the interval, from the R wave in it or to the only one.
        ({"frames": 40, "trace": [-1.5, -0.7, 0.1]}, "trace", 0.1, 0.9, {"r_waves": 1}),
        ({"frames": 40, "trace": [-0.6, 0.2, 1.0]}, "trace", 0.2, 1.0, {"r_waves": 2}),
        ({"frames": 40, "trace": [-1.0, -0.2, 0.6, 2.9]}, "trace", 0.6, 1.4, {"r_waves": 1}),
        ({"frames": 25, "trace": [-2.9, -2.1, -1.3, -0.5, 0.9]}, "trace", 0.1, 0.9, {}),
        # A whole cycle in the clip is taken whole.
        ({"frames": 33, "trace": [-0.4, 0.4, 1.2]}, "trace", 0.4, 1.2, {}),
        ({"frames": 28, "trace": [-0.5, 0.3]}, "trace", 0.3, 1.1, {}),
    ],
)  # fmt: skip
def test_a_cycle_from_an_r_wave(known, method, start, stop, more):
    rhythm = _rhythm(**known)
    found = gate(rhythm)
    assert (found.method, found.phase_verified, found.wraps, found.notes) == (method, True, False, ())
    assert (found.start_s, found.stop_s) == pytest.approx((start, stop))
    assert {name: getattr(found, name) for name in more} == more
    assert (np.diff(found.frames(rhythm.times_s, 32)) >= 0).all()


@pytest.mark.parametrize(
    ("known", "method", "length"),
    [
        ({"rate": 75.0}, "heart_rate", 0.8),
        ({"frames": 30, "tags": [0.6], "rate": 70.0}, "heart_rate", 60 / 70),  # puts no cycle together
        ({"frames": 12, "rate": 60.0}, "clip", 0.48),  # a stale heart rate, longer than the clip
        ({"frames": 22, "rate": 60.0}, "clip", 0.88),
        *(({"swing": cycle}, "periodicity", cycle) for cycle in (0.6, 0.83, 1.1)),
        ({"frames": 30, "trace": [-2.5, -1.7, -0.9]}, "trace", 0.8),  # all before the clip
        # The R wave of a trace that the picture denies is no phase; nor is one that another source denies.
        ({"frames": 35, "trace": [-1.1, -0.5, 0.1], "swing": 0.83}, "periodicity", 0.83),
        ({"frames": 32, "trace": [-1.5, -0.5, 0.5], "rate": 85.0}, "trace", 1.0),
    ],
)  # fmt: skip
def test_a_cycle_of_unknown_phase(known, method, length):
    found = gate(_rhythm(**known))
    assert (found.method, found.phase_verified, found.r_waves, found.wraps) == (method, False, 0, False)
    assert (found.start_s, found.rr_ms) == (0.0, pytest.approx(1000 * length, rel=0.03))
    stale = "Heart Rate 60/min means a cycle longer than the clip"
    assert method != "clip" or found.notes == (stale,)


@pytest.mark.parametrize("known", [{"frames": 6}, {"frames": 15, "trace": [-1.5, -0.6, 0.3]}])
def test_a_clip_shorter_than_a_cycle_is_refused(known):
    with pytest.raises(ClipRefused) as refused:
        gate(_rhythm(**known))
    assert refused.value.outcome is Outcome.NO_FULL_CYCLE


@pytest.mark.parametrize(
    ("known", "method", "start", "stop"),
    [({"frames": 25, "trace": [-2.0, -1.2, -0.4, 0.4]}, "trace", 0.4, 1.2),
     ({"frames": 30, "trace": [0.5], "swing": 0.83}, "periodicity", 0.5, 1.33)],
)  # fmt: skip
def test_a_cycle_around_the_only_r_wave_in_the_middle_is_put_together(known, method, start, stop):
    rhythm = _rhythm(**known)
    found = gate(rhythm)
    assert (found.method, found.phase_verified, found.beats, found.r_waves) == (method, True, 1, 1)
    assert (found.start_s, found.stop_s) == pytest.approx((start, stop), rel=0.03)
    assert (found.wraps, found.notes) == (True, (WRAPS,))
    if method == "trace":
        assert found.frames(rhythm.times_s, 20).tolist() == [*range(10, 25), *range(5, 10)]


def test_a_drawn_r_wave_fixes_the_phase_of_a_period():
    found = gate(_rhythm(trace=[0.5], swing=0.83))
    assert (found.method, found.phase_verified, found.start_s) == ("periodicity", True, pytest.approx(0.5))


@pytest.mark.parametrize(("rate", "verified"), [(None, False), (72.0, True), (55.0, False)])
def test_an_unclear_period_needs_the_heart_rate_beside_a_single_r_wave(monkeypatch, rate, verified):
    monkeypatch.setattr(Rhythm, "period", Period(0.83, 0.25))
    found = gate(_rhythm(trace=[0.5], rate=rate))
    assert (found.method, found.phase_verified) == ("periodicity", verified)


@given(
    st.integers(4, 200), st.floats(0.005, 0.1), st.floats(0.05, 0.5), st.floats(0.3, 1.5), st.integers(1, 64)
)
def test_frames_lie_in_the_clip_in_order_and_near_their_phase(frames, step, start, length, count):
    rhythm = _rhythm(frames=frames, step=step, tags=[start, start + length])
    if start + length > rhythm.duration_s:
        return
    chosen = gate(rhythm).frames(rhythm.times_s, count)
    wanted = start + length * np.arange(count) / count
    assert chosen.shape == (count,)
    assert (np.diff(chosen) >= 0).all()
    assert 0 <= chosen.min() <= chosen.max() < frames
    inside = wanted <= rhythm.times_s[-1]
    assert (np.abs(rhythm.times_s[chosen] - wanted)[inside] <= step / 2 + 1e-9).all()


@given(
    st.floats(0.3, 1.5), st.floats(0.01, 0.12), st.floats(1.0, 1.9), st.floats(0.0, 1.0), st.floats(0.0, 0.3),
    st.integers(1, 64), st.integers(0, 99),
)  # fmt: skip
def test_every_phase_of_a_known_cycle_has_a_frame_near_it(length, step, lasts, at, uneven, count, seed):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(1 - uneven, 1 + uneven, max(4, int(np.ceil(lasts * length / step))))) * step
    times -= times[0]
    r_wave, still = at * min(length, times[-1]), np.zeros((len(times), 8, 8), np.uint8)
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


def test_noise_has_no_period():
    noise = np.random.default_rng(0).integers(0, 255, (50, 30, 40)).astype(np.uint8)
    assert _period(noise, np.arange(50) * 0.04) is None


@pytest.mark.parametrize("hint", [0.8, 0.84])
def test_the_hint_of_the_heart_rate_finds_the_period_among_multiples(hint):
    step, cycle = 0.04, 0.82
    swing = _swinging(60, step, cycle)
    swing[:, :, :25] = np.roll(_swinging(60, step, 2 * cycle), 3, axis=0)[:, :, :25]  # alternating beats
    assert _period(swing, np.arange(60) * step, hint) == pytest.approx(cycle, rel=0.05)


def test_a_stale_heart_rate_does_not_move_the_period():
    swing, times = _swinging(60, 0.04, 0.7), np.arange(60) * 0.04
    assert _period(swing, times, 1.1) == pytest.approx(_period(swing, times), abs=1e-9)


def test_uneven_frame_times_keep_the_period():
    times = np.cumsum(np.random.default_rng(5).uniform(0.02, 0.06, 70))
    times -= times[0]
    apart = np.arange(40)[None, :] - 20 - 10 * np.sin(2 * np.pi * times[:, None] / 0.8)
    bar = (200 * np.exp(-((apart / 4) ** 2))).astype(np.uint8)
    assert _period(np.repeat(bar[:, :, None], 50, axis=2), times) == pytest.approx(0.8, rel=0.04)
