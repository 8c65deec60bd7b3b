"""Dashes that tissue hides are put where the others say."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.picture.dashes import hidden_dashes
from cardio_mlflow.data.picture.sector import Sector

SECTOR = Sector(160.0, 8.0, -40.0, 40.0, 4.0, 220.0).mask(240, 320)


def _dotted(angle, period, length):
    """One mask of each dash of a line from the apex down."""
    along = np.array([np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))])
    for place in np.arange(20.0, 200.0, period):
        ends = np.rint(np.array([160.0, 8.0]) + np.outer([place, place + length], along)).astype(int)
        yield cv2.line(np.zeros_like(SECTOR), ends[0].tolist(), ends[1].tolist(), 255)


@settings(max_examples=20, deadline=None)
@given(st.floats(-25, 25), st.integers(11, 16), st.sets(st.integers(1, 8), max_size=4), st.integers(0, 3))
def test_hidden_dashes_are_found_again(angle, period, hidden, specks):
    dashes = list(_dotted(angle, period, 4))
    seen = [dash for i, dash in enumerate(dashes) if i not in hidden]
    core = np.max(seen, axis=0)
    for i in range(specks):
        cv2.circle(core, (120 + 20 * i, 190 - 13 * i), 1, 255, cv2.FILLED)
    found = cv2.dilate(hidden_dashes(core, SECTOR) | core, np.ones((3, 3), np.uint8))
    missed = np.count_nonzero(np.max(dashes, axis=0) & ~found)
    assert missed <= 0.05 * np.count_nonzero(np.max(dashes, axis=0))


def test_pieces_that_are_no_dotted_line_bring_nothing():
    rng = np.random.default_rng(0)
    core = np.zeros_like(SECTOR)
    for x, y in rng.integers((60, 40), (260, 200), (30, 2)).tolist():
        cv2.circle(core, (x, y), 2, 255, cv2.FILLED)
    assert not hidden_dashes(core, SECTOR).any()
    assert not hidden_dashes(np.zeros_like(SECTOR), SECTOR).any()
