"""Which thin bright pieces are strokes, how wide, which are straight lines, and where a line goes on."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.picture.overlay_lines import (
    LineRule,
    find_lines,
    footprint,
    hidden_dashes,
    line_luma,
    straight_lines,
)
from cardio_mlflow.data.picture.sector import Sector

ROWS, COLUMNS = 160, 200
STILL = np.zeros((ROWS, COLUMNS), np.uint8)
LENIENT = LineRule(height=50.0, luma=80.0, steepness=0.5)


def _picture(level=20):
    return np.full((ROWS, COLUMNS), level, np.uint8)


def _line(picture, start=(60, 20), end=(90, 140), luma=230, thickness=1):
    cv2.line(picture, start, end, luma, thickness, cv2.LINE_AA)
    return picture


def test_a_thin_line_is_a_stroke_and_an_area_is_none():
    picture = _line(_picture())
    picture[30:70, 120:180] = 230
    core = find_lines(picture, STILL, LENIENT)
    assert np.count_nonzero(core[:, :110]) >= 110
    assert not core[32:68, 122:178].any()
    assert set(np.unique(core)) == {0, 255}


@pytest.mark.parametrize(
    "rule",
    [
        {"height": 230.0}, {"luma": 240.0}, {"extent": 150}, {"size": 4000}, {"most": 50}, {"bulk": 0.5},
        {"steepness": 0.99},
    ],
    ids=str,
)  # fmt: skip
def test_each_part_of_a_rule_can_reject(rule):
    picture = _line(_picture())
    assert find_lines(picture, STILL, LineRule()).any()
    assert not find_lines(picture, STILL, LineRule(**rule)).any()


def test_what_flickers_is_tissue_unless_that_is_not_known():
    picture = _line(_picture())
    assert not find_lines(picture, np.full_like(picture, 100), LineRule()).any()
    assert find_lines(picture, None, LineRule()).any()


def test_a_stroke_that_reaches_beyond_the_sector_may_be_fainter():
    picture, outside = _line(_picture(), luma=110), np.zeros_like(STILL)
    outside[110:] = 255
    assert not find_lines(picture, STILL, LineRule()).any()
    assert find_lines(picture, STILL, LineRule(), outside=outside, crossing=LENIENT).any()
    assert not find_lines(picture, STILL, LineRule(), outside=np.zeros_like(outside), crossing=LENIENT).any()


@pytest.mark.parametrize("thickness", [1, 2, 3])
def test_the_footprint_holds_the_soft_borders_and_little_more(thickness):
    coverage = _line(np.zeros_like(STILL), luma=255, thickness=thickness)
    rng = np.random.default_rng(0)
    tissue = cv2.GaussianBlur(rng.uniform(15, 45, STILL.shape), (3, 3), 0)
    picture = np.rint(tissue + (230 - tissue) * (coverage / 255.0)).astype(np.uint8)
    core = find_lines(picture, STILL, LineRule())
    assert abs(line_luma(picture, core) - 230) <= 20
    covered = footprint(core) > 0
    drawn = coverage >= 24
    assert np.count_nonzero(drawn & ~covered) <= 0.02 * np.count_nonzero(drawn)
    assert not covered[cv2.dilate(coverage, np.ones((5, 5), np.uint8)) == 0].any()


def test_straight_lines_solid_and_dotted():
    picture = _line(_picture())
    for row in range(20, 140, 7):
        picture[row : row + 4, 150] = 230
    straight = straight_lines(picture, STILL, 60)
    assert np.count_nonzero(straight[:, 40:110].any(axis=1)) >= 110
    assert np.count_nonzero(straight[:, 148:153].any(axis=1)) >= 60


def test_what_is_short_curved_flickering_or_an_edge_is_no_straight_line():
    short, edge, line = _line(_picture(), (60, 20), (70, 50)), _picture(), _line(_picture())
    edge[:, 100:] = 230
    circle = cv2.circle(_picture(), (100, 80), 35, 230, 1, cv2.LINE_AA)
    assert not any(straight_lines(one, STILL, 60).any() for one in (short, edge, circle, _picture(0)))
    assert straight_lines(line, STILL, 60).any()
    assert not straight_lines(line, np.full_like(line, 120), 60).any()


SECTOR = Sector(160.0, 8.0, -40.0, 40.0, 4.0, 220.0).mask(240, 320)


def _dotted(angle, period, length):
    """One mask of each dash of a line from the apex down."""
    along = np.array([np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))])
    for place in np.arange(20.0, 200.0, period):
        ends = np.rint(np.array([160.0, 8.0]) + np.outer([place, place + length], along)).astype(int)
        yield cv2.line(np.zeros_like(SECTOR), ends[0].tolist(), ends[1].tolist(), 255)


@settings(max_examples=20, deadline=None)
@example(0.0, 14, {1, 3, 5, 7}, 0)  # as many gaps as even steps
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


@settings(max_examples=20, deadline=None)
@example(40.0, 12, {2, 4, 6})
@example(45.0, 12, {0, 4})
@given(st.floats(30, 48), st.integers(10, 16), st.sets(st.integers(0, 6), min_size=1, max_size=3))
def test_hidden_depth_marks_lie_level_and_none_below_the_last_that_is_seen(angle, period, hidden):
    marks, field = [], np.zeros((240, 480), np.uint8)
    field[40 : 50 + 10 * period] = 255  # as deep as the marks go: they are most of the sector's height
    for i in range(10):
        row = 40 + period * i
        column = round(160 + (row - 8) * np.tan(np.deg2rad(angle))) - 8
        marks.append(np.zeros_like(field))
        marks[-1][row, column : column + 6] = 255
    seen = np.max([mark for i, mark in enumerate(marks) if i not in hidden], axis=0)
    missing = np.max([marks[i] for i in hidden], axis=0)
    found, near = hidden_dashes(seen, field), np.ones((3, 3), np.uint8)
    assert not (missing & ~cv2.dilate(found, near)).any()
    assert not (found & ~cv2.dilate(missing, near)).any()


def test_pieces_that_are_no_dotted_line_bring_nothing():
    rng = np.random.default_rng(0)
    core = np.zeros_like(SECTOR)
    for x, y in rng.integers((60, 40), (260, 200), (30, 2)).tolist():
        cv2.circle(core, (x, y), 2, 255, cv2.FILLED)
    assert not hidden_dashes(core, SECTOR).any()
    assert not hidden_dashes(np.zeros_like(SECTOR), SECTOR).any()
