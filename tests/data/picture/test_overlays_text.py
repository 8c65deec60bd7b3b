"""Letters in a row are told from speckle, ticks, calipers and walls."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.picture.overlays import stands_in_a_row, text_in_sector
from cardio_mlflow.data.picture.sector import Sector, collect

ROWS, COLUMNS, FRAMES = 240, 320, 12
SECTOR = Sector(160.0, 8.0, -42.0, 42.0, 4.0, 215.0).mask(ROWS, COLUMNS)


def _boxes(*boxes):
    return np.array(boxes, np.int64).reshape(-1, 4)


WORD = _boxes((50, 100, 8, 12), (61, 100, 9, 12), (73, 101, 3, 11))


def test_three_letters_stand_in_a_row():
    assert stands_in_a_row(WORD)


def test_letters_that_touch_and_small_letters_count_too():
    assert stands_in_a_row(_boxes((50, 100, 12, 12), (64, 104, 22, 8)))  # a capital and two small ones
    assert stands_in_a_row(_boxes((50, 100, 26, 12), (78, 100, 8, 12)))
    assert not stands_in_a_row(_boxes((50, 100, 26, 12), (78, 100, 26, 12)))  # two dashes


@pytest.mark.parametrize(
    "boxes",
    [
        [], [(50, 100, 8, 12)], [(50, 100, 8, 12), (61, 100, 9, 12)],
        [(50, 100, 8, 12), (61, 120, 8, 12), (72, 140, 8, 12)],
        [(50, 100, 8, 12), (90, 100, 8, 12), (130, 100, 8, 12)],
        [(50, 100, 8, 12), (61, 100, 8, 26), (72, 100, 8, 12)],
        [(50, 100, 4, 4), (58, 100, 4, 4), (66, 100, 4, 4), (74, 100, 4, 4)],
        [(50, 100, 30, 60), (82, 100, 30, 60), (114, 100, 30, 60)],
        [(50, 100, 30, 12), (82, 100, 30, 12), (114, 100, 30, 12)],
        [(50, 100, 8, 12), (50, 114, 8, 12), (50, 128, 8, 12)],
        [(50, 100, 8, 12), (61, 100, 90, 12)],
    ],
    ids=["none", "one", "two", "stairs", "apart", "unlike", "dots", "tall", "dashes", "column", "line"],
)  # fmt: skip
def test_what_is_no_word(boxes):
    assert not stands_in_a_row(_boxes(*boxes))


letters = st.lists(st.tuples(st.floats(0.15, 1.25), st.floats(0.0, 0.9)), min_size=3, max_size=8)


@settings(max_examples=200, deadline=None)
@given(
    letters, st.integers(6, 36), st.integers(0, 400), st.integers(0, 300), st.randoms(use_true_random=False)
)
def test_any_row_of_letters_of_one_height_is_one(shapes, height, left, top, random):
    """Whatever their widths and gaps below their height, in whatever order, with other pieces around."""
    boxes, x = [], left
    for wide, gap in shapes:
        width = max(1, int(wide * height))
        boxes.append((x, top, width, height))
        x += width + int(gap * height)
    boxes += [(left, top + 5 * height, 3, 3), (max(0, left - 200), top, 100, 90)]
    random.shuffle(boxes)
    assert stands_in_a_row(_boxes(*boxes))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 400)] * 2, *[st.integers(1, 60)] * 2), max_size=12),
    st.integers(1, 500),
)
def test_the_answer_does_not_depend_on_place_or_order(boxes, shift):
    there = stands_in_a_row(_boxes(*boxes))
    assert stands_in_a_row(_boxes(*reversed(boxes))) == there or len({b[0] for b in boxes}) < len(boxes)
    assert stands_in_a_row(_boxes(*[(x + shift, y + shift, w, h) for x, y, w, h in boxes])) == there


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 400)] * 2, *[st.integers(1, 60)] * 2), max_size=1))
def test_one_piece_is_never_a_row(boxes):
    assert not stands_in_a_row(_boxes(*boxes))


def _seen(draw=None, frames=FRAMES, gain=40):
    """Whether text is seen in moving speckle on which something stands still."""
    rng = np.random.default_rng(2)
    clip = [rng.rayleigh(gain, (ROWS, COLUMNS)).clip(0, 230).astype(np.uint8) & SECTOR for _ in range(frames)]
    for frame in clip:
        if draw is not None:
            draw(frame)
    return text_in_sector(collect(clip), SECTOR)


@pytest.mark.parametrize("words", ["DOE, J 1951", "LVIDd", "12345", "HR 72"])
@pytest.mark.parametrize(("size", "luma"), [(0.4, 255), (0.7, 255), (0.5, 170)])
def test_words_over_the_tissue_are_seen(words, size, luma):
    at = (120, 130)
    assert _seen(lambda frame: cv2.putText(frame, words, at, 0, size, luma, 1, cv2.LINE_AA))


def _ticks(frame):
    for row in range(40, 200, 14):
        cv2.line(frame, (160, row), (168 if row % 5 else 174, row), 255, 1)


def _calipers(frame):
    for x, y in ((130, 100), (180, 150)):
        cv2.line(frame, (x - 6, y), (x + 6, y), 255, 1)
        cv2.line(frame, (x, y - 6), (x, y + 6), 255, 1)
    for share in np.linspace(0.1, 0.9, 9):
        cv2.circle(frame, (round(130 + 50 * share), round(100 + 50 * share)), 1, 255, -1)


def _lines(frame):
    cv2.line(frame, (160, 10), (120, 200), 255, 1)
    for row in range(20, 210, 8):
        cv2.line(frame, (175, row), (175, row + 3), 255, 1)


def _focus(frame):
    cv2.fillPoly(frame, [np.array([[90, 120], [98, 115], [98, 125]])], 255)
    cv2.fillPoly(frame, [np.array([[230, 120], [222, 115], [222, 125]])], 255)


@pytest.mark.parametrize("draw", [None, _ticks, _calipers, _lines, _focus])
def test_other_marks_are_no_words(draw):
    assert not _seen(draw)


def test_words_outside_the_sector_do_not_count():
    assert not _seen(lambda frame: cv2.putText(frame, "DOE, J 1951", (4, 20), 0, 0.4, 255, 1, cv2.LINE_AA))


def test_words_that_come_and_go_do_not_count():
    """What does not stand still over the clip is for the search frame by frame, not for this one."""
    clip = iter(range(FRAMES))

    def draw(frame):
        if next(clip) % 2:
            cv2.putText(frame, "DOE, J 1951", (120, 130), 0, 0.5, 255, 1, cv2.LINE_AA)

    assert not _seen(draw)
