"""The ECG of a clip: in the file, on the screen, in both, or nowhere."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from cardio_mlflow.data.cycle.ecg import read_ecg
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
