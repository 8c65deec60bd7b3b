"""Other pictures than one gray sector, and colour Doppler, are refused by name; ordinary screens pass."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.challenges import write_challenge
from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.files.header import read_header
from cardio_mlflow.data.files.regions import ClaimedRegion, RegionKind
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.refused_pictures import (
    doppler_shares,
    refuse_colour_doppler,
    refuse_other_pictures,
    why_no_sector,
)
from cardio_mlflow.data.picture.sector import Sector, collect
from tests.data.small_clips import write_clip

ROWS, COLUMNS, FRAMES = 360, 480, 10
FAN, SMALL, LEFT, RIGHT, BESIDE, UNLIKE = (
    sector.mask(ROWS, COLUMNS) for sector in (
        Sector(240.0, 12.0, -40.0, 40.0, 6.0, 270.0), Sector(240.0, 8.0, -40.0, 40.0, 4.0, 130.0),
        Sector(118.0, 30.0, -40.0, 40.0, 4.0, 165.0), Sector(362.0, 30.0, -40.0, 40.0, 4.0, 165.0),
        Sector(150.0, 20.0, -35.0, 35.0, 4.0, 240.0), Sector(430.0, 30.0, -35.0, 35.0, 4.0, 90.0),
    )
)  # fmt: skip


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


def _text(frame, lines, start, step, luma, left=4):
    for number, line in enumerate(lines):
        cv2.putText(frame, line, (left, start + step * number), cv2.FONT_HERSHEY_SIMPLEX, 0.4, luma, 1)


def _with_screen(frames):
    """Words, a bar, an ECG that scrolls and the upright line of its cursor, as on any screen."""
    out = frames.copy()
    for i, frame in enumerate(out):
        _text(frame, [f"WORDS {line} 12.3" for line in range(5)], 14, 15, 255)
        frame[60:180, 468:475] = np.linspace(255, 5, 120)[:, None]
        trace = 330 + 22 * np.sin((np.arange(COLUMNS) + 9 * i) / 15.0)
        frame[trace.astype(int), np.arange(COLUMNS)] = 255
        frame[304:358, 40 * i + 20 : 40 * i + 22] = 255
    return out


def _outcome(frames, sector_mask, *regions, scale=1.0):
    """Outcome of a clip whose sector was found, None when it is accepted."""
    try:
        refuse_other_pictures(regions, collect(frames), scale, sector_mask)
    except ClipRefused as refusal:
        return refusal.outcome
    return None


def _reason(frames, *regions):
    """Outcome of a clip that has no sector, None when it is not plain why."""
    refusal = why_no_sector(regions, collect(frames), 1.0)
    return None if refusal is None else refusal.outcome


@pytest.mark.parametrize("rows", [120, 360, 720])
def test_the_size_of_the_screen_does_not_matter(rows):
    def resized(picture, way=cv2.INTER_AREA):
        return cv2.resize(picture, (rows * COLUMNS // ROWS, rows), interpolation=way)

    one = [resized(frame) for frame in _with_screen(_speckle(FAN))]
    two = [resized(frame) for frame in _speckle(LEFT) | _speckle(RIGHT, 5)]
    assert _outcome(one, resized(FAN, cv2.INTER_NEAREST)) is None
    assert _outcome(two, resized(LEFT, cv2.INTER_NEAREST)) is Outcome.MULTI_2D


@settings(max_examples=10, deadline=None)
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
    panel = np.full((ROWS, 90), gray, np.uint8)
    _text(panel, ["Gain  Depth"] * 20, 15, 17, 255 - gray)
    frames = _speckle(FAN)
    frames[:, :, :90] = panel
    assert _outcome(np.where(FAN, _speckle(FAN), frames), FAN) is None


def test_a_page_of_words_has_no_picture():
    page = np.full((FRAMES, ROWS, COLUMNS), 30, np.uint8)
    for frame in page:
        _text(frame, [f"LVIDd  {n}.23 cm   mean 4.{n}   PW  {n}.1 cm" for n in range(22)], 15, 16, 255)
    assert _reason(page) is None


@pytest.mark.parametrize("other", [_speckle(RIGHT, 5), _frozen(RIGHT)], ids=["live", "frozen"])
def test_a_second_fan_beside_the_sector(other):
    assert _outcome(_with_screen(_speckle(LEFT) | other), LEFT) is Outcome.MULTI_2D


@pytest.mark.parametrize(("box", "sector"), [((10, 170, 470, 320), SMALL), ((330, 20, 470, 300), BESIDE)])
def test_a_strip_by_the_sector_is_no_second_fan(box, sector):
    assert _outcome(_with_screen(_speckle(sector) | _strip(*box)), sector) is Outcome.NOT_2D


def test_what_is_low_or_small_is_no_picture():
    low = _speckle(FAN) | _strip(0, 316, 480, 360)
    assert _outcome(low, cv2.dilate(FAN, np.ones((21, 21), np.uint8))) is None
    small = np.zeros_like(FAN)
    small[10:80, 5:65] = 255
    assert _outcome(_speckle(FAN | small), FAN) is None


def test_why_there_is_no_sector_and_that_it_is_not_guessed():
    assert _reason(_with_screen(_speckle(LEFT) | _speckle(RIGHT, 5))) is Outcome.MULTI_2D
    assert _reason(_with_screen(_frozen(LEFT) | _frozen(RIGHT))) is Outcome.MULTI_2D
    assert _reason(_with_screen(_speckle(SMALL) | _strip(10, 170, 470, 310))) is Outcome.NOT_2D
    assert _reason(_strip(10, 30, 470, 310)) is Outcome.NOT_2D
    linear = np.zeros_like(FAN)
    linear[30:320, 130:350] = 255
    for plain in (_with_screen(_speckle(linear)), _with_screen(_frozen(FAN)), _speckle(LEFT | UNLIKE),
                  np.zeros((2, ROWS, COLUMNS), np.uint8)):  # fmt: skip
        assert _reason(plain) is None


def _region(kind, *rectangle, tissue=True):
    return ClaimedRegion(kind, tissue, rectangle)


M_MODE, SPECTRAL, TWO_D = RegionKind.M_MODE, RegionKind.SPECTRAL, RegionKind.TWO_D


def test_tags_that_the_pixels_bear_out():
    spectrum = np.zeros((FRAMES, ROWS, COLUMNS), np.uint8)
    for x in range(30, 460, 70):  # sparse: too little to be seen as a strip
        spectrum |= _speckle(cv2.rectangle(np.zeros_like(FAN), (x, 215), (x + 22, 290), 255, -1), x)
    frames = _speckle(SMALL) | spectrum
    claim = _region(SPECTRAL, 10, 170, 470, 320, tissue=False)
    assert _outcome(frames, SMALL) is None
    assert _outcome(frames, SMALL, claim) is _reason(frames, claim) is Outcome.NOT_2D
    faint = _speckle(LEFT) | _speckle(cv2.erode(RIGHT, np.ones((55, 55), np.uint8)))
    planes = [_region(TWO_D, *box) for box in ((0, 10, 239, 240), (240, 10, 479, 240))]
    assert _outcome(faint, LEFT) is None
    assert _outcome(faint, LEFT, *planes) is Outcome.MULTI_2D
    assert _outcome(faint, LEFT, planes[0], _region(TWO_D, 240, 10, 479, 240, tissue=False)) is None


@pytest.mark.parametrize(
    "claims",
    [
        [_region(M_MODE, 0, 0, 479, 359)], [_region(SPECTRAL, 0, 180, 479, 300)],
        [_region(TWO_D, 0, 0, 239, 359), _region(TWO_D, 240, 0, 479, 359)],
        [_region(TWO_D, 0, 0, 479, 359), _region(TWO_D, 10, 0, 470, 350)],
        [_region(TWO_D, 0, 0, 479, 359), _region(M_MODE, 460, 0, 479, 40)],
        [_region(RegionKind.OTHER, 0, 300, 479, 359)],
    ],
    ids=["m-mode", "spectral", "halves", "twice", "tiny", "other"],
)  # fmt: skip
def test_tags_left_over_from_another_screen_refuse_nothing(claims):
    assert _outcome(_with_screen(_speckle(FAN)), FAN, *claims) is None


def test_tags_are_read_in_pixels_of_the_file():
    frames = _speckle(SMALL) | _strip(10, 250, 470, 310)
    assert _outcome(frames, SMALL, _region(M_MODE, 20, 500, 940, 620), scale=0.5) is Outcome.NOT_2D
    assert _outcome(_speckle(SMALL), SMALL, _region(M_MODE, 20, 0, 940, 40), scale=0.5) is None


@pytest.mark.parametrize(
    ("kind", "seed", "outcome"),
    [("biplane", 1, "MULTI_2D"), ("m_mode_with_2d", 1, "NOT_2D"), ("spectral_with_2d", 3, "NOT_2D"),
     ("color_doppler", 3, "COLOR_DOPPLER"), ("sepia", 5, "OK")],
)  # fmt: skip
def test_rendered_screens(kind, seed, outcome, tmp_path):
    write_challenge(tmp_path / "a.dcm", kind, seed)
    try:
        found = prepare_clip(tmp_path / "a.dcm").quality.outcome
    except ClipRefused as refusal:
        found = refusal.outcome
    assert found == outcome


TISSUE = Sector(64.0, 3.0, -42.0, 42.0, 2.0, 88.0).mask(96, 128) > 0
REFUSED = 0.008  # share of the sector
TINTS = {
    "gray": (1.0, 1.0, 1.0), "sepia": (1.0, 0.89, 0.7), "strong sepia": (1.0, 0.8, 0.45),
    "blue": (0.75, 0.86, 1.0),
}  # fmt: skip
CURVES = {"candle": (0.5, 1.0, 2.5), "magenta": (0.7, 1.4, 0.7), "ice": (2.0, 1.0, 0.6)}
"""Maps whose white is white and whose middle is coloured, as exponents of red, green and blue."""


def _gray(seed):
    """Tissue of all levels, bright here and dark there."""
    rng = np.random.default_rng(seed)
    wide = cv2.resize(rng.uniform(0, 1, (7, 9)), TISSUE.shape[::-1], interpolation=cv2.INTER_CUBIC).clip(0, 1)
    return (rng.rayleigh(70, TISSUE.shape) * wide**2 + 8).clip(0, 255) * TISSUE


def _tinted(tint="gray", frames=4):
    out = []
    for seed in range(frames):
        gray = _gray(seed)[..., None] / 255
        coloured = gray * np.array(TINTS[tint]) if tint in TINTS else gray ** np.array(CURVES[tint])
        out.append(cv2.GaussianBlur(np.rint(255 * coloured).astype(np.uint8), (3, 3), 0))
    return out


def _flow(frame, place, red, seed=0):
    """Lay a velocity map, towards the probe (red) or away from it (blue), over a place."""
    speed = np.random.default_rng(seed).uniform(0.4, 1.0, TISSUE.shape)
    dark, bright, middle = 20 + 0 * speed, 255 * speed, 170 * (speed - 0.5).clip(0, 1)
    colour = np.stack([bright, middle, dark] if red else [dark, middle, bright], axis=-1).astype(np.uint8)
    return np.where(place[..., None], colour, frame)


def _ellipse(x, y, across, down):
    return cv2.ellipse(np.zeros(TISSUE.shape, np.uint8), (x, y), (across, down), 0, 0, 360, 1, -1) > 0


JET = _ellipse(64, 45, 9, 14)


@pytest.mark.parametrize("tint", [*TINTS, *CURVES])
def test_a_tinted_picture_has_no_velocity_map_and_a_jet_in_it_is_one(tint):
    frames = _tinted(tint)
    assert max(doppler_shares(frames, TISSUE)) == 0.0
    for red in (False,) if tint == "candle" else (True, False):  # a red jet in an orange picture is not seen
        shares = doppler_shares([_flow(frame, JET, red, i) for i, frame in enumerate(frames)], TISSUE)
        assert min(shares) >= 0.8 * np.count_nonzero(JET) / np.count_nonzero(TISSUE)


def test_a_map_from_black_over_red_and_yellow_to_white_is_a_tint():
    frames = [np.stack([3.0 * _gray(i) - 255 * k for k in range(3)], axis=-1) for i in range(4)]
    frames = [cv2.GaussianBlur(frame.clip(0, 255).astype(np.uint8), (3, 3), 0) for frame in frames]
    assert max(doppler_shares(frames, TISSUE)) == 0.0


def test_a_small_jet_in_two_colours_and_tissue_doppler_over_the_whole_sector():
    """All walls are red in systole and blue in diastole: in no single frame is that more than a tint."""
    near, far = _ellipse(60, 40, 4, 6), _ellipse(68, 48, 4, 6)
    jets = [_flow(_flow(frame, near, True), far, False) for frame in _tinted()]
    assert min(doppler_shares(jets, TISSUE)) > 2 * REFUSED
    walls = [_flow(frame, _gray(9) > 14, i % 2 == 0, i) for i, frame in enumerate(_tinted())]
    assert min(doppler_shares(walls, TISSUE)) > 0.2


def test_coloured_lines_words_and_colour_outside_are_no_map_and_an_empty_sector_has_none():
    frames, bar = _tinted(), np.zeros_like(TISSUE)
    bar[5:60, 118:127] = True
    trace = np.array([[20, 60], [50, 58], [60, 30], [66, 62], [110, 60]])
    for frame in frames:
        cv2.polylines(frame, [trace], False, (40, 255, 90), 2)
        cv2.putText(frame, "LV 4.5", (45, 80), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 230, 60), 1)
        cv2.line(frame, (64, 4), (64, 90), (255, 60, 60), 1)
    assert max(doppler_shares([_flow(frame, bar, True) for frame in frames], TISSUE)) == 0.0
    assert doppler_shares(_tinted(), np.zeros_like(TISSUE)) == [0.0] * 4


@pytest.mark.parametrize(("jet_in", "refused"), [(range(8, 16), True), ((10,), False), ((), False)])
def test_flow_in_two_of_the_frames_that_are_looked_at(jet_in, refused, tmp_path):
    gray, large = _tinted("gray", 1)[0], np.ones((4, 4, 1), np.uint8)
    frames = [np.kron(_flow(gray, JET & (i in jet_in), True, i), large) for i in range(24)]
    header = read_header(write_clip(tmp_path / "a.dcm", np.stack(frames)))
    mask = np.kron(TISSUE, np.ones((4, 4), bool)).astype(np.uint8) * 255
    if not refused:
        refuse_colour_doppler(header, mask)
        return
    with pytest.raises(ClipRefused, match="of 8 frames") as refusal:
        refuse_colour_doppler(header, mask)
    assert refusal.value.outcome is Outcome.COLOR_DOPPLER
