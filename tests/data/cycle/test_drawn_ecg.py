"""ECGs drawn on small screens, read back; and nothing read where there is none."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.cycle.ecg import read_drawn_ecg
from cardio_mlflow.data.picture.sector import collect
from tests.data.cycle.hearts import (
    BOTTOM,
    COLUMNS,
    LEFT,
    RIGHT,
    ROWS,
    TOP,
    beats,
    clip,
    downward,
    scrolling,
    speckle,
    sweeping,
    under_cursor,
)

FRAMES, SECONDS = 80, 2.6
TIMES = np.arange(FRAMES) * SECONDS / (FRAMES - 1)
BEATS = beats(-4.0, SECONDS + 1, 0.8, 0.33)
SHOWS = {
    "scroll": scrolling(BEATS, 2.4), "sweep": sweeping(BEATS, 2.9), "cursor": under_cursor(BEATS, SECONDS),
}  # fmt: skip


def _sector(bottom):
    """A rectangle as wide as a sector is near its lower border."""
    mask = np.zeros((ROWS, COLUMNS), np.uint8)
    mask[10:bottom, 15:385] = 255
    return mask


ABOVE, BEHIND = _sector(130), _sector(225)
"""Sectors above the strip, and behind it."""


def _read(frames, mask, times=TIMES):
    return read_drawn_ecg(list(frames), mask, collect(frames), times)


def _show(style, mask, seed=0):
    return clip(np.where(mask > 0, speckle(FRAMES, seed), np.uint8(0)), TIMES, SHOWS[style])


PLACES = pytest.mark.parametrize("mask", [ABOVE, BEHIND], ids=["below the sector", "over the tissue"])
TRUE = BEATS[(BEATS >= 0) & (BEATS <= SECONDS)]


def _check(found, true=TRUE, within=0.012, start=0.0, stop=SECONDS):
    """The R waves in a stretch of time are the true ones."""
    assert found is not None
    r_waves = found.trace_r_waves_s[(found.trace_r_waves_s >= start) & (found.trace_r_waves_s <= stop)]
    assert len(r_waves) == len(true)
    assert np.abs(r_waves - true).max() <= within


@PLACES
@pytest.mark.parametrize("style", SHOWS)
def test_r_waves_are_read_off_every_style_of_trace(style, mask):
    found = _read(_show(style, mask), mask)
    _check(found)
    assert found.style == style
    assert (np.diff(found.times_s) > 0).all()
    assert (found.level.min(), found.level.max()) == (0, 1)
    if style == "scroll":  # which shows the beats before the clip, too
        _check(found, BEATS[(BEATS > -2.35) & (BEATS < 0)], 0.015, -9.0, 0.0)


def test_a_mark_beside_a_still_trace_does_not_hide_its_first_beat():
    early = beats(-4.0, SECONDS + 1, 0.8, 0.06)
    frames = clip(np.where(BEHIND > 0, speckle(FRAMES), np.uint8(0)), TIMES, under_cursor(early, SECONDS))
    frames[:, TOP + 5 : TOP + 8, LEFT - 6 : LEFT] = 255
    _check(_read(frames, BEHIND), early[(early >= 0) & (early <= SECONDS)])


@pytest.mark.parametrize(("luma", "drift"), [(210, 0), (250, 0), (250, 2)])
def test_a_scroll_is_read_over_bright_tissue_that_drifts(luma, drift):
    tissue = np.stack([np.roll(f, -drift * i, axis=1) for i, f in enumerate(speckle(FRAMES, bright=1.3))])
    frames = clip(np.where(BEHIND > 0, tissue, np.uint8(0)), TIMES, scrolling(BEATS, 2.4, luma))
    found = _read(frames, BEHIND)
    _check(found, within=0.015)
    assert found.style == "scroll"


@PLACES
@pytest.mark.parametrize("beside", [(60, 160), (20, 70)])
def test_a_scroll_may_be_much_narrower_than_the_screen(mask, beside):
    frames, sector = np.pad(_show("scroll", mask), ((0, 0), (0, 0), beside)), np.pad(mask, ((0, 0), beside))
    found = _read(frames, sector)
    _check(found, BEATS[(BEATS > -2.35) & (BEATS <= SECONDS)], 0.015, -9.0, 9.0)
    assert found.style == "scroll"


@pytest.mark.parametrize("style", SHOWS)
def test_uneven_frame_times_are_followed(style):
    times = np.cumsum(np.random.default_rng(4).uniform(0.5, 1.5, FRAMES))
    times = (times - times[0]) / (times[-1] - times[0]) * SECONDS
    frames = clip(np.zeros((FRAMES, ROWS, COLUMNS), np.uint8), times, SHOWS[style])
    _check(_read(frames, ABOVE, times), within=0.02)


def _encoded(frames, quality):
    codes = [cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for frame in frames]
    return np.stack([cv2.imdecode(code, cv2.IMREAD_GRAYSCALE) for code in codes])


@PLACES
def test_jpeg_noise_does_not_disturb(mask):
    _check(_read(_encoded(_show("scroll", mask), 60), mask), within=0.015)


DOWN = {
    "scroll": scrolling(BEATS, 2.4, of=downward), "sweep": sweeping(BEATS, 2.9, of=downward),
    "cursor": under_cursor(BEATS, SECONDS, of=downward),
}  # fmt: skip


def _fan(bottom):
    """A sector whose curved lower border comes down to a row in the middle."""
    mask = np.zeros((ROWS, COLUMNS), np.uint8)
    cv2.ellipse(mask, (COLUMNS // 2, -20), (bottom + 20, bottom + 20), 90, -42, 42, 255, -1)
    return mask


def _cut(style, fan, bright=1.0, border=188):
    """A trace with its main deflection down, cut off by the picture's lower border."""
    tissue = np.where(fan > 0, speckle(FRAMES, bright=bright), np.uint8(0))
    return clip(tissue, TIMES, DOWN[style])[:, :border], fan[:border]


@pytest.mark.parametrize("style", DOWN)
@pytest.mark.parametrize("bottom", [130, 165, 175])
def test_a_deflection_that_the_lower_border_cuts_off_is_still_an_r_wave(style, bottom):
    _check(_read(*_cut(style, _fan(bottom))))


def test_the_path_of_a_sweep_does_not_lead_into_bright_tissue_above_it():
    _check(_read(*_cut("sweep", _fan(175), bright=2.0)))


@settings(max_examples=5, deadline=None)
@given(
    st.sampled_from(sorted(DOWN)), st.sampled_from([1.0, 2.0]), st.integers(55, 95), st.integers(0, 16),
    st.integers(187, 190), st.floats(0.8, 1.5),
)  # fmt: skip
def test_a_clip_in_another_encoding_crop_or_size_has_the_same_r_waves(
    style, bright, quality, side, border, scale
):
    if style == "cursor":
        bright = 1.0  # a cursor's trace may be lost in tissue so bright: the picture's period has to tell
    frames, fan = _cut(style, _fan(165), bright, border)
    frames, fan = frames[:, :, side : COLUMNS - side], fan[:, side : COLUMNS - side]
    size = (round(frames.shape[2] * scale), round(frames.shape[1] * scale))
    mask = cv2.resize(fan, size, interpolation=cv2.INTER_NEAREST)
    resized = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]
    true = BEATS[(BEATS >= 0.1) & (BEATS <= SECONDS - 0.1)]
    _check(_read(_encoded(resized, quality), mask), true, 0.025, 0.1, SECONDS - 0.1)


def _moving_line(frame, now):
    column = round(LEFT + (RIGHT - LEFT) * now / SECONDS)
    cv2.line(frame, (column, TOP), (column, BOTTOM), 230, 1)


def _level_line(frame, now):
    cv2.line(frame, (LEFT, 180), (RIGHT, 180), 230, 1)


def _both(frame, now):
    _level_line(frame, now)
    _moving_line(frame, now)


def _digits(frame, now):
    cv2.putText(frame, f"{now:.3f} s  HR 60", (40, 210), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 1)


def _bar(frame, now):
    frame[TOP:BOTTOM, LEFT : LEFT + round((RIGHT - LEFT) * now / SECONDS)] = 200


def _sine(frame, now):
    x = np.arange(LEFT, RIGHT + 1)
    rows = 175 + 12 * np.sin(2 * np.pi * (now - x / 150))
    cv2.polylines(frame, [np.stack([x, rows], axis=1).round().astype(np.int32)], False, 230, 1)


NO_ECG = {
    "nothing": lambda frame, now: None, "line": _moving_line, "level": _level_line, "both": _both,
    "digits": _digits, "bar": _bar, "sine": _sine, "no heart": scrolling(np.array([]), 2.4),
}  # fmt: skip


@PLACES
@pytest.mark.parametrize("thing", NO_ECG)
def test_what_is_no_ecg_is_not_read(thing, mask):
    frames = clip(np.where(mask > 0, speckle(FRAMES), np.uint8(0)), TIMES, NO_ECG[thing])
    assert _read(frames, mask) is None


@pytest.mark.parametrize(("bright", "drift"), [(1.0, 0), (2.6, 0), (1.0, 3), (1.8, 3), (2.6, -3)])
def test_tissue_that_drifts_is_no_ecg(drift, bright):
    tissue = speckle(FRAMES, bright=bright)
    moved = np.stack([np.roll(frame, drift * i, axis=1) for i, frame in enumerate(tissue)])
    assert _read(np.where(BEHIND > 0, moved, np.uint8(0)), BEHIND) is None


def test_a_clip_of_few_frames_is_not_read_and_no_frames_are_asked_for_without_a_candidate():
    assert _read(_show("cursor", ABOVE)[:7], ABOVE, TIMES[:7]) is None
    frames = np.where(ABOVE > 0, speckle(FRAMES), np.uint8(0))

    def unreadable():
        raise AssertionError
        yield

    assert read_drawn_ecg(unreadable(), ABOVE, collect(frames), TIMES) is None
