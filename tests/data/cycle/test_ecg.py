"""The ECG of a clip, in the file, on the screen, in both, or nowhere; and R waves that are known."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import chirp, find_peaks

from cardio_mlflow.data.cycle import ecg
from cardio_mlflow.data.cycle.ecg import find_r_waves, read_ecg
from cardio_mlflow.data.picture.sector import collect
from tests.data.cycle.hearts import COLUMNS, ROWS, beats, clip, under_cursor, voltage

TIMES = np.arange(70) / 30
SCREEN, FILE = beats(0.2, 2.2, 0.8, 0.33), beats(-11.5, 13.5, 0.8, 0.35)
MASK = np.zeros((ROWS, COLUMNS), np.uint8)
MASK[10:130, 60:340] = 255
BLACK = np.zeros((len(TIMES), ROWS, COLUMNS), np.uint8)
DRAWN = clip(BLACK, TIMES, under_cursor(SCREEN, TIMES[-1]))
LONG = np.arange(-12, 14, 1 / 250)


def _read(frames, waveform=None):
    return read_ecg(SimpleNamespace(waveform=waveform), TIMES, list(frames), MASK, collect(frames))


def test_nothing_is_read_where_there_is_none():
    found = _read(BLACK)
    assert found.style == ""
    assert not any(map(len, (found.waveform_r_waves_s, found.trace_r_waves_s, found.times_s, found.level)))


def _better(monkeypatch, readings, period=None):
    """R waves of the better of two readings of a drawn trace that has R waves at such times."""
    times = np.arange(-2.0, 2.3, 1 / 150)
    drawn = tuple((times, voltage(times, np.asarray(r_waves))) for r_waves in readings)
    monkeypatch.setattr(ecg, "read_traces", lambda *_: iter([("sweep", drawn)]))
    return ecg.read_drawn_ecg([], MASK, collect(BLACK), TIMES, period).trace_r_waves_s


RIGHT = np.array([-1.6, -0.59, 0.43, 1.45])


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("wrong", "period"),
    [
        ([-1.6, -1.25, -0.59, 0.43, 1.34], None),  # one false R wave
        ([-1.6, -0.59, 0.43, 0.95, 1.45], None),  # one half-way
        ([-1.6, -0.59, 1.45], None),  # one lost
        ([-0.59, 0.43, 1.45], None),  # the first lost
        ([-1.6, 0.43], None),  # every other lost: of equals more R waves
        ([-1.6, -1.1, -0.59, -0.08, 0.43, 0.94, 1.45], 1.02),  # as regular: the picture decides
        ([0.43], 1.02),
    ],
)
def test_of_two_readings_the_regular_one_counts(monkeypatch, order, wrong, period):
    found = _better(monkeypatch, (RIGHT, wrong)[::order], period)
    assert len(found) == len(RIGHT)
    assert np.abs(found - RIGHT).max() <= 0.01


@settings(max_examples=40, deadline=None)
@given(st.floats(0.55, 1.1), st.floats(0.0, 1.0), st.floats(0.3, 0.7), st.booleans(), st.data())
def test_a_reading_with_a_false_r_wave_or_a_lost_one_is_worse(interval, shift, between, false, data):
    true = beats(-3.0, 2.0, interval, shift * interval)
    inner = data.draw(st.integers(1, len(true) - 2))
    wrong = np.append(true, true[inner] + between * interval) if false else np.delete(true, inner)
    for period in (None, interval):
        assert ecg._rank(true, period) < ecg._rank(np.sort(wrong), period)


def test_the_screen_alone():
    found = _read(DRAWN)
    assert (found.style, len(found.waveform_r_waves_s)) == ("cursor", 0)
    assert np.abs(found.trace_r_waves_s - SCREEN).max() < 0.01
    assert (found.level.min(), found.level.max()) == (0.0, 1.0)


def test_the_file_goes_before_the_screen_and_both_are_told():
    found = _read(DRAWN, (LONG, 5 * voltage(LONG, FILE)))
    near = FILE[np.abs(FILE - TIMES[-1] / 2) <= 10 + TIMES[-1] / 2]
    assert found.style == "cursor"
    assert np.abs(found.waveform_r_waves_s - near).max() < 0.004
    assert len(found.trace_r_waves_s) == len(SCREEN)
    assert found.times_s[0] == pytest.approx(-10, abs=0.01)


def test_a_waveform_far_from_the_clip_tells_nothing():
    found = _read(BLACK, (LONG + 300, voltage(LONG, FILE)))
    assert len(found.waveform_r_waves_s) == 0


def test_a_long_waveform_is_thinned_for_the_pictures_only():
    times = np.arange(-10, 12, 1 / 2000)
    found = _read(BLACK, (times, voltage(times, FILE)))
    assert len(found.times_s) == len(found.level) <= 4000
    assert np.abs(found.waveform_r_waves_s - FILE[(FILE > -10) & (FILE < 12)]).max() < 0.004


def _check(signal_of, true, rate=250, stop=None, within=0.004, expected=None):
    """R waves of the ECG that a function makes of sample times are the true (or expected) ones."""
    times = np.arange(0, (true[-1] + 0.5) if stop is None else stop, 1 / rate)
    found, expected = find_r_waves(times, signal_of(times)), true if expected is None else expected
    assert len(found) == len(expected), (found, expected)
    assert np.abs(found - expected).max() <= within


LONG_BEATS = beats(0.2, 7.8)


@pytest.mark.parametrize("rate", [60, 125, 500, 2000])
@pytest.mark.parametrize("polarity", [1.0, -1.0, 0.002, -3000.0])
def test_any_sampling_and_unit(rate, polarity):
    _check(lambda times: voltage(times, LONG_BEATS, polarity), LONG_BEATS, rate, 8)


def test_it_agrees_with_the_plain_peaks_of_a_clean_record():
    times = np.arange(0, 8, 1 / 500)
    signal = voltage(times, beats(0.2, 7.8, 0.93))
    peaks, _ = find_peaks(signal, height=0.6)
    _check(lambda _: signal, times[peaks], 500, 8, 0.002)


@pytest.mark.parametrize("seed", range(3))
def test_irregular_rhythm_noise_mains_hum_and_wander(seed):
    rng = np.random.default_rng(seed)
    irregular = np.cumsum(rng.uniform(0.4, 1.3, 9))
    _check(lambda times: voltage(times, irregular), irregular)
    true = beats(0.2, 7.8, 0.87)

    def noisy(times):
        hum, wander = 0.05 * np.sin(2 * np.pi * 50 * times), 0.6 * np.sin(2 * np.pi * 0.25 * times)
        return voltage(times, true) + rng.normal(0, 0.04, len(times)) + hum + wander

    _check(noisy, true, 500, 8, 0.008)


@pytest.mark.parametrize("interval", [0.3, 0.5, 1.0, 2.0])
def test_slow_and_fast_hearts(interval):
    true, tall_t = beats(0.2, 9.8, interval), 0.0 if interval < 0.4 else 0.25
    _check(lambda times: voltage(times, true, tall_t=tall_t), true, stop=10)


@pytest.mark.parametrize(("tall_t", "wide_t"), [(0.6, 0.045), (1.1, 0.045), (0.8, 0.02)])
def test_tall_and_peaked_t_waves_are_no_r_waves(tall_t, wide_t):
    _check(lambda times: voltage(times, LONG_BEATS, tall_t=tall_t, wide_t=wide_t), LONG_BEATS, stop=8)


def test_a_small_beat_is_searched_for_where_one_is_missing():
    def small(times):
        return voltage(times, np.delete(LONG_BEATS, 4)) + 0.28 * voltage(times, LONG_BEATS[4:5])

    _check(small, LONG_BEATS, stop=8, within=0.006)


def test_two_complexes_never_share_a_top():
    values = np.zeros(400)
    values[200:330] = 36581.0
    assert (np.diff(find_r_waves(np.arange(400) / 100, values)) > 0).all()


def test_uneven_steps_and_gaps_of_the_record():
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.001, 0.007, 1500))
    true = beats(0.2, times[-1] - 0.2)
    signal = voltage(times, true)
    signal[rng.integers(0, len(times), 60)] = np.nan
    assert np.abs(find_r_waves(times, signal) - true).max() <= 0.006


@pytest.mark.parametrize(("after", "lost"), [(-0.004, 1), (0.015, 0)])
def test_an_r_wave_that_the_end_cuts_off_is_left_out_and_one_just_within_counts(after, lost):
    true = beats(0.2, 3.4)
    _check(lambda times: voltage(times, true), true, 500, true[-1] + after, 0.006, true[: len(true) - lost])


@pytest.mark.parametrize(
    "signal",
    [
        np.zeros(2000), np.linspace(0, 5, 2000), np.sin(np.arange(2000) * 2 * np.pi / 300),
        chirp(np.arange(2000) / 250, 1, 8, 20), np.random.default_rng(0).normal(size=2000),
        *(voltage(np.arange(samples) / 250, np.array([0.1])) for samples in (0, 1, 7, 50)),  # too short
    ],
    ids=["flat", "ramp", "sine", "chirp", "noise", "0", "1", "7", "50"],
)  # fmt: skip
def test_what_is_no_ecg_has_none(signal):
    assert len(find_r_waves(np.arange(len(signal)) / 250, signal)) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 400), st.integers(0, 2**32 - 1), st.data())
def test_any_numbers_give_rising_times_within_the_record(samples, seed, data):
    times = np.cumsum(np.random.default_rng(seed).uniform(0, 0.02, samples))
    values = data.draw(arrays(np.float64, samples, elements=st.floats(width=32, allow_nan=True)))
    found = find_r_waves(times, values)
    assert (np.diff(found) > 0).all()
    assert len(found) == 0 or (found.min() >= times[0] and found.max() <= times[-1])
