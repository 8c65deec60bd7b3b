"""Overlays in single frames or on the edge; words and other marks. All kinds: `test_hard_clips`."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.picture.overlays import (
    find_overlays,
    rising_overlays,
    stands_in_a_row,
    steady_overlays,
    text_in_sector,
)
from cardio_mlflow.data.picture.sector import Sector, collect

ROWS, COLUMNS = 240, 320
SECTOR = Sector(160.0, 8.0, -42.0, 42.0, 4.0, 205.0).mask(ROWS, COLUMNS)


class _Frames(list):
    """Frames in memory."""

    def pick(self, indices):
        return (self[i] for i in indices)


def _ticks(coverage, _):
    for k, row in enumerate(range(40, 190, 12)):
        x = round(160 + (row - 8) * np.tan(np.deg2rad(42))) - 6
        cv2.line(coverage, (x, row), (x - (9 if k % 5 == 0 else 5), row), 255, 1, cv2.LINE_AA)


def _focus(coverage, _):
    for x, side in ((75, 1), (245, -1)):
        points = np.array([[x, 130], [x + 8 * side, 125], [x + 8 * side, 135]])
        cv2.fillPoly(coverage, [points], 255, cv2.LINE_AA)


def _line(coverage, _):
    cv2.line(coverage, (158, 12), (128, 205), 255, 1, cv2.LINE_AA)


def _dots(coverage, _):
    for share in np.arange(0.03, 0.97, 0.035):
        at = round(16 * (158 - 34 * share)), round(16 * (12 + 192 * share))
        cv2.circle(coverage, at, 20, 255, -1, cv2.LINE_AA, 4)


def _calipers(coverage, _):
    for x, y in ((120, 110), (195, 150)):
        cv2.line(coverage, (x - 6, y), (x + 6, y), 255, 1, cv2.LINE_AA)
        cv2.line(coverage, (x, y - 6), (x, y + 6), 255, 1, cv2.LINE_AA)


def _words(coverage, _):
    cv2.putText(coverage, "DOE, J 1951", (110, 150), cv2.FONT_HERSHEY_SIMPLEX, 0.42, 255, 1, cv2.LINE_AA)


def test_tissue_without_overlays_is_not_touched():
    rng = np.random.default_rng(1)
    frames = [cv2.GaussianBlur(rng.rayleigh(60, SECTOR.shape), (0, 0), 1.3) for _ in range(24)]
    frames = _Frames(frame.clip(0, 255).astype(np.uint8) & SECTOR for frame in frames)
    found = find_overlays(frames, collect(frames), SECTOR, range(0, 24, 3))
    assert not any(found.mask(i).any() for i in range(0, 24, 3))


def test_a_single_pixel_that_stands_still_on_the_edge_is_a_depth_mark():
    small, rng = Sector(56.0, 4.0, -42.0, 42.0, 2.0, 100.0).mask(112, 112), np.random.default_rng(0)
    frames = [rng.integers(5, 60, small.shape).astype(np.uint8) & small for _ in range(8)]
    column = int(np.flatnonzero(small[40])[-1]) - 1
    for frame in frames:
        frame[40, column] = frame[60, 56] = 230  # the second in the middle: no depth mark
    found = steady_overlays(collect(frames), small)
    assert found[40, column]
    assert not found[60, 56]


WIDE = Sector(160.0, 10.0, -40.0, 40.0, 4.0, 190.0).mask(ROWS, COLUMNS)


def _rising(lines, change=lambda frames: None):
    """What rises in dim speckle; in frame i a two pixels wide line at column lines[i], rows 170 to 230."""
    rng = np.random.default_rng(5)
    frames = [np.where(WIDE > 0, rng.integers(10, 60, WIDE.shape), 0).astype(np.uint8) for _ in lines]
    for frame, column in zip(frames, lines, strict=True):
        if column is not None:
            frame[170:230, column : column + 2] = 220
    change(frames)
    return rising_overlays(enumerate(frames), collect(frames), WIDE)


SOME = [None, 150, 170, None, 190, None]


def test_a_line_that_rises_into_the_sector_is_found_in_its_frame_only():
    found = _rising(SOME)
    assert sorted(found) == [1, 2, 4]
    for index, mask in found.items():
        drawn = np.zeros_like(WIDE, dtype=bool)
        drawn[170:230, SOME[index] : SOME[index] + 2] = True
        drawn &= WIDE > 0
        assert (mask[drawn] == 255).all()
        assert np.count_nonzero(mask) <= 2.5 * np.count_nonzero(drawn)
        assert not mask[WIDE == 0].any()


def test_lines_that_stay_outside_or_inside_are_none_of_them():
    def staying(frames):
        for i, frame in enumerate(frames):
            frame[210:235, 40 * i + 20 : 40 * i + 22] = 220  # a trace below
            frame[100:150, 150:152] = 220  # a structure within

    assert _rising([None] * 6) == _rising([None] * 6, staying) == {}


def test_a_line_that_crosses_a_still_trace_or_is_short_below_on_a_small_screen_is_found():
    def crossed(frames):
        for frame in frames:
            frame[206:208] = np.maximum(frame[206:208], 160)

    def short(frames):
        for frame in frames:
            frame[209:] = 0

    assert sorted(_rising(SOME, crossed)) == sorted(_rising(SOME, short)) == [1, 2, 4]


def test_a_cursor_is_as_high_over_bright_tissue_as_elsewhere():
    def bright(frames):
        frames[2][175:185, 130:150] = 200

    assert (_rising([120, 130, 140, 150, 160, 170], bright)[2][170:190, 140:142] == 255).all()


def _boxes(*boxes):
    return np.array(boxes, np.int64).reshape(-1, 4)


def test_three_letters_stand_in_a_row_that_touch_or_small_ones_too():
    assert stands_in_a_row(_boxes((50, 100, 8, 12), (61, 100, 9, 12), (73, 101, 3, 11)))
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


ANY_BOXES = st.lists(st.tuples(*[st.integers(0, 400)] * 2, *[st.integers(1, 60)] * 2), max_size=12)


@settings(max_examples=100, deadline=None)
@given(ANY_BOXES, st.integers(1, 500))
def test_the_answer_does_not_depend_on_place_or_order_and_one_piece_is_no_row(boxes, shift):
    there = stands_in_a_row(_boxes(*boxes))
    assert stands_in_a_row(_boxes(*reversed(boxes))) == there or len({b[0] for b in boxes}) < len(boxes)
    assert stands_in_a_row(_boxes(*[(x + shift, y + shift, w, h) for x, y, w, h in boxes])) == there
    assert not stands_in_a_row(_boxes(*boxes[:1]))


def _text_seen(draw=None, luma=255.0):
    """Whether text is seen in moving speckle on which something is drawn."""
    rng = np.random.default_rng(2)
    frames = [rng.rayleigh(40, (ROWS, COLUMNS)).clip(0, 230).astype(np.uint8) & SECTOR for _ in range(12)]
    for i, frame in enumerate(frames if draw is not None else ()):
        coverage = np.zeros_like(frame)
        draw(coverage, i)
        frame[:] = np.rint(frame + (luma - frame) * (coverage / 255.0)).astype(np.uint8)
    return text_in_sector(collect(frames), SECTOR)


def _put(words, size, at=(120, 130), every=1):
    return lambda coverage, i: i % every or cv2.putText(coverage, words, at, 0, size, 255, 1, cv2.LINE_AA)


@pytest.mark.parametrize("words", ["DOE, J 1951", "LVIDd", "12345", "HR 72"])
@pytest.mark.parametrize(("size", "luma"), [(0.4, 255), (0.7, 255), (0.5, 170)])
def test_words_over_the_tissue_are_seen(words, size, luma):
    assert _text_seen(_put(words, size), luma)


@pytest.mark.parametrize("draw", [None, _ticks, _focus, _line, _dots, _calipers])
def test_other_marks_are_no_words(draw):
    assert not _text_seen(draw)


def test_words_outside_the_sector_or_that_come_and_go_do_not_count():
    """What does not stand still over the clip is for the search frame by frame, not for this one."""
    assert not _text_seen(_put("DOE, J 1951", 0.4, at=(4, 20)))
    assert not _text_seen(_put("DOE, J 1951", 0.5, every=2))
