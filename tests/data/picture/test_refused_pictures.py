"""What stands beside or instead of the sector is told by name, and an ordinary screen is left alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.challenges import write_challenge
from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.files.regions import ClaimedRegion, RegionKind
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.refused_pictures import diagnose, refuse_other_pictures
from cardio_mlflow.data.picture.sector import Sector, collect

ROWS, COLUMNS, FRAMES = 360, 480, 10
FAN = Sector(240.0, 12.0, -40.0, 40.0, 6.0, 270.0).mask(ROWS, COLUMNS)
SMALL = Sector(240.0, 8.0, -40.0, 40.0, 4.0, 130.0).mask(ROWS, COLUMNS)
LEFT = Sector(118.0, 30.0, -40.0, 40.0, 4.0, 165.0).mask(ROWS, COLUMNS)
RIGHT = Sector(362.0, 30.0, -40.0, 40.0, 4.0, 165.0).mask(ROWS, COLUMNS)
NOWHERE = np.zeros_like(FAN)


def _speckle(mask, seed=0, frames=FRAMES, background=0):
    rng = np.random.default_rng(seed)
    noise = rng.rayleigh(45, (frames, *mask.shape)).clip(0, 255).astype(np.uint8)
    return np.where(mask > 0, noise, np.uint8(background))


def _frozen(mask, seed=1):
    return np.repeat(_speckle(mask, seed, 1), FRAMES, axis=0)


def _strip(left, top, right, bottom, seed=2):
    """A strip that is written from left to right over an older one, half of it in the clip."""
    old, new = _speckle(np.full((bottom - top, right - left), 255, np.uint8), seed, 2)
    out = np.zeros((FRAMES, ROWS, COLUMNS), np.uint8)
    for i, picture in enumerate(out):
        written = (right - left) * (i + 1) // (2 * FRAMES)
        picture[top:bottom, left:right] = old
        picture[top:bottom, left : left + written] = new[:, :written]
    return out


def _with_screen(frames):
    """Words, a bar, an ECG that scrolls and the upright line of its cursor, as on any screen."""
    out = frames.copy()
    for i, frame in enumerate(out):
        for line in range(5):
            cv2.putText(
                frame, f"WORDS {line} 12.3", (3, 14 + 15 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1
            )
        frame[60:180, 468:475] = np.linspace(255, 5, 120)[:, None]
        trace = 330 + 22 * np.sin((np.arange(COLUMNS) + 9 * i) / 15.0)
        frame[trace.astype(int), np.arange(COLUMNS)] = 255
        frame[304:358, 40 * i + 20 : 40 * i + 22] = 255
    return out


def _outcome(frames, sector_mask, *regions):
    """Outcome of a clip whose sector was found, None when it is accepted."""
    try:
        refuse_other_pictures(regions, collect(frames), 1.0, sector_mask)
    except ClipRefused as refusal:
        return refusal.outcome
    return None


def _reason(frames, *regions):
    """Outcome of a clip that has no sector, None when it is not plain why."""
    refusal = diagnose(regions, collect(frames), 1.0)
    return None if refusal is None else refusal.outcome


def test_an_ordinary_screen_is_accepted():
    assert _outcome(_with_screen(_speckle(FAN)), FAN) is None


@pytest.mark.parametrize("rows", [120, 240, 720])
def test_the_size_of_the_screen_does_not_matter(rows):
    size = (rows * COLUMNS // ROWS, rows)
    one = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in _with_screen(_speckle(FAN))]
    two = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in _speckle(LEFT) | _speckle(RIGHT, 5)]
    assert _outcome(one, cv2.resize(FAN, size, interpolation=cv2.INTER_NEAREST)) is None
    assert _outcome(two, cv2.resize(LEFT, size, interpolation=cv2.INTER_NEAREST)) is Outcome.MULTI_2D


@settings(max_examples=15, deadline=None)
@given(
    st.floats(200, 280), st.floats(-10, 30), st.floats(18, 45), st.floats(170, 290), st.integers(0, 9),
    st.integers(0, 60),
)  # fmt: skip
def test_one_fan_alone_is_accepted_wherever_it_is(x, y, half, outer, seed, background):
    mask = Sector(x, y, -half, half, 5.0, outer).mask(ROWS, COLUMNS)
    assert _outcome(_speckle(mask, seed, background=background), mask) is None


def test_a_tall_cursor_that_passes_is_no_picture():
    """Over the clip its line is everywhere, and everywhere hardly ever."""
    frames = _speckle(FAN, frames=40)
    for i, frame in enumerate(frames):
        frame[40:355, 12 * i : 12 * (i + 1)] = 255
    assert (frames.max(axis=0)[40:355] == 255).all()
    assert _outcome(frames, FAN) is None


def test_noise_of_a_recorder_is_no_picture():
    noise = np.random.default_rng(3).normal(4, 6, (60, ROWS, COLUMNS)).clip(0, 255).astype(np.uint8)
    assert (noise.max(axis=0) >= 14).mean() > 0.9  # each pixel is bright in some frame
    assert _outcome(cv2.add(_speckle(FAN, frames=60), noise), FAN) is None


@pytest.mark.parametrize("gray", [70, 190])
def test_a_panel_of_the_scanner_is_no_picture(gray):
    frames = _speckle(FAN)
    frames[:, :, :90] = gray
    for line in range(20):
        cv2.putText(
            frames[0], "Gain  Depth", (4, 15 + 17 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.38, 255 - gray, 1
        )
    frames[:, :, :90] = frames[0, :, :90]
    assert _outcome(np.where(FAN, _speckle(FAN), frames), FAN) is None


def test_a_page_of_words_has_no_picture():
    page = np.full((FRAMES, ROWS, COLUMNS), 30, np.uint8)
    for frame in page:
        for line in range(22):
            words = f"LVIDd  {line}.23 cm   mean 4.{line}   PW  {line}.1 cm"
            cv2.putText(frame, words, (6, 15 + 16 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
    assert _reason(page) is None


@pytest.mark.parametrize("other", [_speckle(RIGHT, 5), _frozen(RIGHT)], ids=["live", "frozen"])
def test_a_second_fan_beside_the_sector(other):
    frames = _with_screen(_speckle(LEFT) | other)
    assert _outcome(frames, LEFT) is Outcome.MULTI_2D


@pytest.mark.parametrize("box", [(10, 170, 470, 320), (330, 20, 470, 300)], ids=["below", "beside"])
def test_a_strip_by_the_sector_is_no_second_fan(box):
    sector = SMALL if box[0] == 10 else Sector(150.0, 20.0, -35.0, 35.0, 4.0, 240.0).mask(ROWS, COLUMNS)
    assert _outcome(_with_screen(_speckle(sector) | _strip(*box)), sector) is Outcome.NOT_2D


def test_what_is_low_or_small_is_no_picture():
    low = _speckle(FAN) | _strip(0, 316, 480, 360)
    assert _outcome(low, cv2.dilate(FAN, np.ones((21, 21), np.uint8))) is None
    small = np.zeros_like(FAN)
    small[10:80, 5:65] = 255
    assert _outcome(_speckle(FAN | small), FAN) is None


def test_why_there_is_no_sector():
    assert _reason(_with_screen(_speckle(LEFT) | _speckle(RIGHT, 5))) is Outcome.MULTI_2D
    assert _reason(_with_screen(_frozen(LEFT) | _frozen(RIGHT))) is Outcome.MULTI_2D
    assert _reason(_with_screen(_speckle(SMALL) | _strip(10, 170, 470, 310))) is Outcome.NOT_2D
    assert _reason(_strip(10, 30, 470, 310)) is Outcome.NOT_2D


def test_why_there_is_no_sector_is_not_guessed():
    linear = np.zeros_like(FAN)
    linear[30:320, 130:350] = 255
    assert _reason(_with_screen(_speckle(linear))) is None
    assert _reason(_with_screen(_frozen(FAN))) is None
    unlike = Sector(430.0, 30.0, -35.0, 35.0, 4.0, 90.0).mask(ROWS, COLUMNS)
    assert _reason(_speckle(LEFT | unlike)) is None
    assert _reason(np.zeros((2, ROWS, COLUMNS), np.uint8)) is None


def _region(kind, *rectangle, tissue=True):
    return ClaimedRegion(kind, tissue, rectangle)


def test_tags_that_the_pixels_bear_out():
    spectrum = np.zeros((FRAMES, ROWS, COLUMNS), np.uint8)
    for x in range(30, 460, 70):  # sparse: too little to be seen as a strip
        spectrum |= _speckle(cv2.rectangle(np.zeros_like(FAN), (x, 215), (x + 22, 290), 255, -1), x)
    frames = _speckle(SMALL) | spectrum
    assert _outcome(frames, SMALL) is None
    claim = _region(RegionKind.SPECTRAL, 10, 170, 470, 320, tissue=False)
    assert _outcome(frames, SMALL, claim) is Outcome.NOT_2D
    assert _reason(frames, claim) is Outcome.NOT_2D
    faint = _speckle(LEFT) | _speckle(cv2.erode(RIGHT, np.ones((55, 55), np.uint8)))
    planes = [_region(RegionKind.TWO_D, *box) for box in ((0, 10, 239, 240), (240, 10, 479, 240))]
    assert _outcome(faint, LEFT) is None
    assert _outcome(faint, LEFT, *planes) is Outcome.MULTI_2D
    assert (
        _outcome(faint, LEFT, planes[0], _region(RegionKind.TWO_D, 240, 10, 479, 240, tissue=False)) is None
    )


@pytest.mark.parametrize(
    "claims",
    [
        [_region(RegionKind.M_MODE, 0, 0, 479, 359)],
        [_region(RegionKind.SPECTRAL, 0, 180, 479, 300)],
        [_region(RegionKind.TWO_D, 0, 0, 239, 359), _region(RegionKind.TWO_D, 240, 0, 479, 359)],
        [_region(RegionKind.TWO_D, 0, 0, 479, 359), _region(RegionKind.TWO_D, 10, 0, 470, 350)],
        [_region(RegionKind.TWO_D, 0, 0, 479, 359), _region(RegionKind.M_MODE, 460, 0, 479, 40)],
        [_region(RegionKind.OTHER, 0, 300, 479, 359)],
    ],
    ids=["m-mode", "spectral", "halves", "twice", "tiny", "other"],
)
def test_tags_left_over_from_another_screen_refuse_nothing(claims):
    assert _outcome(_with_screen(_speckle(FAN)), FAN, *claims) is None


def test_tags_are_read_in_pixels_of_the_file():
    frames = _speckle(SMALL) | _strip(10, 250, 470, 310)
    claim = _region(RegionKind.M_MODE, 20, 500, 940, 620)
    with pytest.raises(ClipRefused) as refused:
        refuse_other_pictures([claim], collect(frames), 0.5, SMALL)
    assert refused.value.outcome is Outcome.NOT_2D
    refuse_other_pictures([_region(RegionKind.M_MODE, 20, 0, 940, 40)], collect(_speckle(SMALL)), 0.5, SMALL)


@pytest.mark.parametrize(
    ("kind", "seed", "outcome"),
    [
        ("biplane", 1, "MULTI_2D"), ("frozen_beside_live", 3, "MULTI_2D"), ("m_mode_with_2d", 1, "NOT_2D"),
        ("m_mode", 1, "NOT_2D"), ("spectral_with_2d", 3, "NOT_2D"), ("small_screen", 1, "OK"),
        ("moving_line", 1, "OK"),
    ],
)  # fmt: skip
def test_rendered_screens(kind, seed, outcome, tmp_path):
    write_challenge(tmp_path / "a.dcm", kind, seed)
    if outcome == "OK":
        assert prepare_clip(tmp_path / "a.dcm").quality.outcome is Outcome.OK
        return
    with pytest.raises(ClipRefused) as refused:
        prepare_clip(tmp_path / "a.dcm")
    assert refused.value.outcome == outcome
