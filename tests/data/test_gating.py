"""The gating ladder and the choice of frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.gating import Evidence, gate
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.periodicity import period


def _evidence(frames=50, step=0.04, r_waves=(), rate=None, thumbnails=None):
    still = np.zeros((frames, 8, 8), np.uint8)
    return Evidence(
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


def test_tags_come_first_and_are_verified():
    found = gate(_evidence(r_waves=[0.1, 0.9, 1.7], rate=60.0))
    assert (found.method, found.phase_verified, found.beats) == ("tags", True, 2)
    assert found.rr_ms == pytest.approx(800)
    assert found.start_s == pytest.approx(0.1)


def test_the_most_typical_of_irregular_cycles_is_taken():
    found = gate(_evidence(frames=120, r_waves=[0.1, 0.6, 1.4, 2.9]))
    assert (found.start_s, found.stop_s) == pytest.approx((0.6, 1.4))


def test_of_equal_cycles_the_one_after_a_typical_cycle_is_taken():
    found = gate(_evidence(frames=120, r_waves=[0.1, 0.6, 1.4, 2.2, 3.5]))
    assert (found.start_s, found.stop_s) == pytest.approx((1.4, 2.2))


def test_cycles_beyond_the_clip_are_not_used():
    found = gate(_evidence(frames=40, r_waves=[-0.5, 0.2, 1.0, 1.9]))
    assert (found.start_s, found.stop_s) == pytest.approx((0.2, 1.0))


def test_one_tagged_r_wave_fixes_the_phase_of_the_heart_rate():
    found = gate(_evidence(r_waves=[0.3], rate=75.0))
    assert (found.method, found.phase_verified, found.start_s) == ("heart_rate", True, pytest.approx(0.3))


def test_heart_rate_alone_is_not_verified():
    found = gate(_evidence(rate=75.0))
    assert (found.method, found.phase_verified, found.beats) == ("heart_rate", False, 2)


def test_a_clip_shorter_than_a_cycle_is_refused():
    with pytest.raises(ClipRefused) as refused:
        gate(_evidence(frames=12, rate=60.0))
    assert refused.value.outcome is Outcome.NO_FULL_CYCLE


def test_a_flash_without_any_hint_is_refused():
    with pytest.raises(ClipRefused) as refused:
        gate(_evidence(frames=6))
    assert refused.value.outcome is Outcome.NO_FULL_CYCLE


@pytest.mark.parametrize("cycle", [0.6, 0.83, 1.1])
def test_the_period_of_the_picture_is_found(cycle):
    found = gate(_evidence(thumbnails=_swinging(50, 0.04, cycle)))
    assert (found.method, found.phase_verified) == ("periodicity", False)
    assert found.rr_ms == pytest.approx(1000 * cycle, rel=0.03)


def test_noise_has_no_period():
    noise = np.random.default_rng(0).integers(0, 255, (50, 30, 40)).astype(np.uint8)
    assert period(noise, np.arange(50) * 0.04) is None
    assert gate(_evidence(thumbnails=noise)).method == "clip"


@given(
    st.integers(4, 200), st.floats(0.005, 0.1), st.floats(0.05, 0.5), st.floats(0.3, 1.5), st.integers(1, 64)
)
def test_frames_lie_in_the_clip_in_order_and_near_their_phase(frames, step, start, length, count):
    evidence = _evidence(frames=frames, step=step, r_waves=[start, start + length])
    if start + length > evidence.duration_s:
        return
    found = gate(evidence)
    chosen = found.frames(evidence.times_s, count)
    wanted = start + length * np.arange(count) / count
    assert chosen.shape == (count,)
    assert (np.diff(chosen) >= 0).all()
    assert chosen.min() >= 0
    assert chosen.max() < frames
    inside = wanted <= evidence.times_s[-1]
    assert (np.abs(evidence.times_s[chosen] - wanted)[inside] <= step / 2 + 1e-9).all()
