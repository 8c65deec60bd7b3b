"""Strokes that rise from below into the sector."""

from __future__ import annotations

import numpy as np
import pytest

from cardio_mlflow.data.picture.overlays import rising_overlays
from cardio_mlflow.data.picture.sector import Sector, collect

ROWS, COLUMNS = 240, 320


@pytest.fixture
def mask():
    return Sector(160.0, 10.0, -40.0, 40.0, 4.0, 190.0).mask(ROWS, COLUMNS)


def _clip(mask, lines):
    """Dim speckle in the sector; in frame i a two pixels wide line at column lines[i], rows 170 to 230."""
    rng = np.random.default_rng(5)
    frames = [np.where(mask > 0, rng.integers(10, 60, mask.shape), 0).astype(np.uint8) for _ in lines]
    for frame, column in zip(frames, lines, strict=True):
        if column is not None:
            frame[170:230, column : column + 2] = 220
    return frames


def test_a_line_that_rises_into_the_sector_is_found_in_its_frame_only(mask):
    frames = _clip(mask, [None, 150, 170, None, 190, None])
    found = rising_overlays(enumerate(frames), collect(frames), mask)
    assert sorted(found) == [1, 2, 4]
    for index, column in ((1, 150), (2, 170), (4, 190)):
        drawn = np.zeros_like(mask, dtype=bool)
        drawn[170:230, column : column + 2] = True
        drawn &= mask > 0
        assert (found[index][drawn] == 255).all()
        assert np.count_nonzero(found[index]) <= 2.5 * np.count_nonzero(drawn)
        assert not found[index][mask == 0].any()


def test_lines_that_stay_outside_or_inside_are_none_of_them(mask):
    frames = _clip(mask, [None] * 6)
    for i, frame in enumerate(frames):
        frame[210:235, 40 * i + 20 : 40 * i + 22] = 220  # a trace below
        frame[100:150, 150:152] = 220  # a structure within
    assert rising_overlays(enumerate(frames), collect(frames), mask) == {}


def test_tissue_alone_has_none(mask):
    frames = _clip(mask, [None] * 6)
    assert rising_overlays(enumerate(frames), collect(frames), mask) == {}


def test_a_line_that_crosses_a_still_trace_is_found(mask):
    frames = _clip(mask, [None, 150, 160, None, 170, None])
    for frame in frames:
        frame[206:208] = np.maximum(frame[206:208], 160)
    assert sorted(rising_overlays(enumerate(frames), collect(frames), mask)) == [1, 2, 4]


def test_a_cursor_is_as_high_over_bright_tissue_as_elsewhere(mask):
    frames = _clip(mask, [120, 130, 140, 150, 160, 170])
    frames[2][175:185, 130:150] = 200
    found = rising_overlays(enumerate(frames), collect(frames), mask)
    assert (found[2][170:190, 140:142] == 255).all()


def test_on_a_small_screen_less_of_a_line_is_seen_below():
    small = Sector(160.0, 10.0, -40.0, 40.0, 4.0, 190.0).mask(ROWS, COLUMNS)
    frames = _clip(small, [None, 150, 170, None, 190, None])
    for frame in frames:
        frame[209:] = 0
    assert sorted(rising_overlays(enumerate(frames), collect(frames), small)) == [1, 2, 4]
