"""The ECG of a clip, in the file, on the screen, in both, or nowhere; and R waves that are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import chirp, find_peaks

from benchmarks.challenges import write_challenge
from cardio_mlflow.data.cycle import ecg
from cardio_mlflow.data.cycle.ecg import find_r_waves, read_ecg
from cardio_mlflow.data.files.frames import LumaFrames
from cardio_mlflow.data.files.header import read_header
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
    assert all(
        len(part) == 0
        for part in (found.waveform_r_waves_s, found.trace_r_waves_s, found.times_s, found.level)
    )


@pytest.mark.parametrize("kind", ["ecg_gray_sweep", "ecg_green_sweep", "ecg_cyan_sweep"])
def test_r_waves_that_reach_over_the_tissue_are_found(tmp_path, kind):
    truth = write_challenge(tmp_path / "a.dcm", kind, 1)
    header = read_header(tmp_path / "a.dcm")
    frames, times = list(LumaFrames(header)), np.asarray(truth.frame_times)
    mask = np.where(truth.sector_mask, np.uint8(255), np.uint8(0))
    found = read_ecg(header, times, frames, mask, collect(frames)).trace_r_waves_s
    true = np.asarray(truth.r_wave_times)
    true = true[(true >= 0.05) & (true <= times[-1] - 0.05)]
    assert len(true) >= 2
    assert np.abs(true[:, None] - found).min(axis=1).max() <= 0.025


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


def _worst_s(found, true):
    assert len(found) == len(true), (found, true)
    return np.abs(found - true).max()


@pytest.mark.parametrize("rate", [60, 125, 250, 500, 1000, 2000])
@pytest.mark.parametrize("polarity", [1.0, -1.0, 0.002, -3000.0])
def test_any_sampling_and_unit(rate, polarity):
    true = beats(0.2, 5.8)
    times = np.arange(0, 6, 1 / rate)
    assert _worst_s(find_r_waves(times, voltage(times, true, polarity)), true) <= 0.004


def test_it_agrees_with_the_plain_peaks_of_a_clean_record():
    times = np.arange(0, 8, 1 / 500)
    signal = voltage(times, beats(0.2, 7.8, 0.93))
    peaks, _ = find_peaks(signal, height=0.6)
    assert _worst_s(find_r_waves(times, signal), times[peaks]) <= 0.002


@pytest.mark.parametrize("seed", range(4))
def test_irregular_rhythm(seed):
    true = np.cumsum(np.random.default_rng(seed).uniform(0.4, 1.3, 9))
    times = np.arange(0, true[-1] + 0.5, 1 / 250)
    assert _worst_s(find_r_waves(times, voltage(times, true)), true) <= 0.004


@pytest.mark.parametrize("interval", [0.3, 0.5, 1.0, 2.0])
def test_slow_and_fast_hearts(interval):
    true = beats(0.2, 9.8, interval)
    times = np.arange(0, 10, 1 / 250)
    assert (
        _worst_s(find_r_waves(times, voltage(times, true, tall_t=0.0 if interval < 0.4 else 0.25)), true)
        <= 0.004
    )


@pytest.mark.parametrize(("tall_t", "wide_t"), [(0.6, 0.045), (1.1, 0.045), (0.8, 0.02)])
def test_tall_and_peaked_t_waves_are_no_r_waves(tall_t, wide_t):
    true = beats(0.2, 7.8)
    times = np.arange(0, 8, 1 / 250)
    found = find_r_waves(times, voltage(times, true, tall_t=tall_t, wide_t=wide_t))
    assert _worst_s(found, true) <= 0.004


def test_a_small_beat_is_searched_for_where_one_is_missing():
    true = beats(0.2, 7.8)
    times = np.arange(0, 8, 1 / 250)
    signal = voltage(times, np.delete(true, 4)) + 0.28 * voltage(times, true[4:5])
    assert _worst_s(find_r_waves(times, signal), true) <= 0.006


def test_two_complexes_never_share_a_top():
    values = np.zeros(400)
    values[200:330] = 36581.0
    found = find_r_waves(np.arange(400) / 100, values)
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_noise_mains_hum_and_wander(seed):
    rng = np.random.default_rng(seed)
    true, times = beats(0.2, 7.8, 0.87), np.arange(0, 8, 1 / 500)
    signal = voltage(times, true) + rng.normal(0, 0.04, len(times))
    signal += 0.05 * np.sin(2 * np.pi * 50 * times) + 0.6 * np.sin(2 * np.pi * 0.25 * times)
    assert _worst_s(find_r_waves(times, signal), true) <= 0.008


def test_uneven_steps_and_gaps_of_the_record():
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.001, 0.007, 1500))
    true = beats(0.2, times[-1] - 0.2)
    signal = voltage(times, true)
    signal[rng.integers(0, len(times), 60)] = np.nan
    assert _worst_s(find_r_waves(times, signal), true) <= 0.006


def test_an_r_wave_cut_off_by_the_end_is_left_out():
    true = beats(0.2, 3.4)
    times = np.arange(0, true[-1] - 0.004, 1 / 500)
    assert _worst_s(find_r_waves(times, voltage(times, true)), true[:-1]) <= 0.004


def test_an_r_wave_just_within_the_end_counts():
    true = beats(0.2, 3.4)
    times = np.arange(0, true[-1] + 0.015, 1 / 500)
    assert _worst_s(find_r_waves(times, voltage(times, true)), true) <= 0.006


@pytest.mark.parametrize(
    "signal",
    [
        np.zeros(2000),
        np.linspace(0, 5, 2000),
        np.sin(np.arange(2000) * 2 * np.pi / 300),
        chirp(np.arange(2000) / 250, 1, 8, 20),
        np.random.default_rng(0).normal(size=2000),
    ],
    ids=["flat", "ramp", "sine", "chirp", "noise"],
)
def test_what_is_no_ecg_has_none(signal):
    assert len(find_r_waves(np.arange(2000) / 250, signal)) == 0


@pytest.mark.parametrize("samples", [0, 1, 7, 50])
def test_a_record_too_short_has_none(samples):
    times = np.arange(samples) / 250
    assert len(find_r_waves(times, voltage(times, np.array([0.1])))) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(0, 2**32 - 1), st.data())
def test_any_numbers_give_rising_times_within_the_record(samples, seed, data):
    times = np.cumsum(np.random.default_rng(seed).uniform(0, 0.02, samples))
    values = data.draw(arrays(np.float64, samples, elements=st.floats(width=32, allow_nan=True)))
    found = find_r_waves(times, values)
    assert (np.diff(found) > 0).all()
    assert len(found) == 0 or (found.min() >= times[0] and found.max() <= times[-1])
