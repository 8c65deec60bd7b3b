"""Which thin bright pieces are strokes, how wide they are, and which of them are straight lines."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cardio_mlflow.data.picture.lines import (
    Rule,
    find_strokes,
    footprint,
    steady_overlays,
    straight_strokes,
    stroke_luma,
)
from cardio_mlflow.data.picture.sector import Sector
from cardio_mlflow.data.picture.statistics import collect

ROWS, COLUMNS = 160, 200
STILL = np.zeros((ROWS, COLUMNS), np.uint8)
LENIENT = Rule(height=50.0, luma=80.0, steepness=0.5)


def _picture(level=20):
    return np.full((ROWS, COLUMNS), level, np.uint8)


def _line(picture, start=(60, 20), end=(90, 140), luma=230, thickness=1):
    cv2.line(picture, start, end, luma, thickness, cv2.LINE_AA)
    return picture


def test_a_thin_line_is_a_stroke_and_an_area_is_none():
    picture = _line(_picture())
    picture[30:70, 120:180] = 230
    core = find_strokes(picture, STILL, LENIENT)
    assert np.count_nonzero(core[:, :110]) >= 110
    assert not core[32:68, 122:178].any()
    assert set(np.unique(core)) == {0, 255}


@pytest.mark.parametrize(
    "rule",
    [
        Rule(height=230.0), Rule(luma=240.0), Rule(extent=150), Rule(size=4000), Rule(most=50),
        Rule(bulk=0.5), Rule(steepness=0.99),
    ],
    ids=["height", "luma", "extent", "size", "most", "bulk", "steepness"],
)  # fmt: skip
def test_each_part_of_a_rule_can_reject(rule):
    picture = _line(_picture())
    assert find_strokes(picture, STILL, Rule()).any()
    assert not find_strokes(picture, STILL, rule).any()


def test_what_flickers_is_tissue():
    picture = _line(_picture())
    assert not find_strokes(picture, np.full_like(picture, 100), Rule()).any()
    assert find_strokes(picture, None, Rule()).any()


def test_a_stroke_that_reaches_beyond_the_sector_may_be_fainter():
    picture, outside = _line(_picture(), luma=110), np.zeros_like(STILL)
    outside[110:] = 255
    assert not find_strokes(picture, STILL, Rule()).any()
    assert find_strokes(picture, STILL, Rule(), outside=outside, crossing=LENIENT).any()
    assert not find_strokes(picture, STILL, Rule(), outside=np.zeros_like(outside), crossing=LENIENT).any()


@pytest.mark.parametrize("thickness", [1, 2, 3])
def test_the_footprint_holds_the_soft_borders_and_little_more(thickness):
    coverage = _line(np.zeros_like(STILL), luma=255, thickness=thickness)
    rng = np.random.default_rng(0)
    tissue = cv2.GaussianBlur(rng.uniform(15, 45, STILL.shape), (3, 3), 0)
    picture = np.rint(tissue + (230 - tissue) * (coverage / 255.0)).astype(np.uint8)
    core = find_strokes(picture, STILL, Rule())
    assert abs(stroke_luma(picture, core) - 230) <= 20
    covered = footprint(core) > 0
    drawn = coverage >= 24
    assert np.count_nonzero(drawn & ~covered) <= 0.02 * np.count_nonzero(drawn)
    assert not covered[cv2.dilate(coverage, np.ones((5, 5), np.uint8)) == 0].any()


def test_straight_lines_solid_and_dotted():
    picture = _line(_picture())
    for row in range(20, 140, 7):
        picture[row : row + 4, 150] = 230
    straight = straight_strokes(picture, STILL, 60)
    assert np.count_nonzero(straight[:, 40:110].any(axis=1)) >= 110
    assert np.count_nonzero(straight[:, 148:153].any(axis=1)) >= 60


def test_what_is_short_curved_flickering_or_an_edge_is_no_straight_line():
    short = _line(_picture(), (60, 20), (70, 50))
    assert not straight_strokes(short, STILL, 60).any()
    circle = cv2.circle(_picture(), (100, 80), 35, 230, 1, cv2.LINE_AA)
    assert not straight_strokes(circle, STILL, 60).any()
    edge = _picture()
    edge[:, 100:] = 230
    assert not straight_strokes(edge, STILL, 60).any()
    line = _line(_picture())
    assert straight_strokes(line, STILL, 60).any()
    assert not straight_strokes(line, np.full_like(line, 120), 60).any()
    assert not straight_strokes(_picture(0), STILL, 60).any()


def test_steady_overlays_stay_inside_the_sector_and_leave_empty_clips_alone():
    sector = Sector(100.0, 5.0, -40.0, 40.0, 2.0, 140.0).mask(ROWS, COLUMNS)
    rng = np.random.default_rng(3)
    frames = [rng.integers(0, 60, sector.shape).astype(np.uint8) & sector for _ in range(6)]
    assert not steady_overlays(collect(frames), sector).any()
    for frame in frames:
        cv2.line(frame, (0, 100), (199, 100), 230, 1)
    found = steady_overlays(collect(frames), sector)
    assert found[100][sector[100] > 0].all()
    assert not found[sector == 0].any()
    assert np.count_nonzero(found) <= 4 * np.count_nonzero(sector[100])


def test_a_single_pixel_that_stands_still_on_the_edge_is_a_depth_mark():
    sector_mask = Sector(56.0, 4.0, -42.0, 42.0, 2.0, 100.0).mask(112, 112)
    rng = np.random.default_rng(0)
    frames = [rng.integers(5, 60, sector_mask.shape).astype(np.uint8) & sector_mask for _ in range(8)]
    row = 40
    column = int(np.flatnonzero(sector_mask[row])[-1]) - 1
    for frame in frames:
        frame[row, column] = 230
        frame[60, 56] = 230  # in the middle: no depth mark
    found = steady_overlays(collect(frames), sector_mask)
    assert found[row, column]
    assert not found[60, 56]
