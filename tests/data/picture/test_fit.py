"""The sector fit on made-up fans, on square crops as public sets have them, and on real clips."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom import examples
from pydicom.data import get_testdata_file

from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.files.frames import LumaFrames
from cardio_mlflow.data.files.header import read_header
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.fit import fit_sector
from cardio_mlflow.data.picture.sector import Sector, collect, overlap
from tests.data.small_clips import write_clip

# The sectors of pydicom's and pydicom-data's clips as drawn by hand on the picture of their brightest values:
# the curved top, the right edge, the curved bottom from right to left, the left edge. Column and row of each
# point. The second clip's picture was cut off at columns 84 and 596 before it was compressed.
YBR_COLOR = [
    (157, 22), (163, 20), (170, 19), (177, 20), (182, 22),
    (190, 30), (199, 40), (208, 50), (217, 60), (297, 149),
    (290, 157), (280, 166), (270, 173), (260, 179), (248, 185), (232, 191), (215, 196), (200, 199),
    (185, 200), (170, 201), (155, 200), (140, 199), (125, 196), (112, 192), (96, 187), (80, 180), (64, 171),
    (52, 162), (41, 150),
    (122, 60), (131, 50), (141, 40), (150, 30),
]  # fmt: skip
COLOR3D = [
    (313, 44), (363, 44), (434, 121), (520, 211), (596, 290),
    (596, 302), (559, 328), (479, 374), (398, 397), (340, 402), (280, 397), (202, 375), (121, 333), (84, 305),
    (84, 294), (202, 164), (280, 83),
]  # fmt: skip


def _speckle(mask, frames=10, seed=0, low=5):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.integers(low, 200, mask.shape).astype(np.uint8) & mask) for _ in range(frames)]


FAN, UPRIGHT = Sector(320.0, 20.0, -42.0, 42.0, 8.0, 400.0), Sector(160.0, 10.0, -40.0, 40.0, 8.0, 200.0)
LARGE, SMALL = 448, 112


def _speckle(mask, frames=10, seed=0):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.integers(5, 200, mask.shape).astype(np.uint8) & mask) for _ in range(frames)]


def _fitted(frames, aspect=1.0, bound=None):
    """The mask of the fit."""
    return fit_sector(collect(frames), aspect, bound).mask(*frames[0].shape, aspect)


def _fitted_or_refused(frames):
    """The mask of the fit, empty where there is none."""
    try:
        return _fitted(frames)
    except ClipRefused:
        return np.zeros_like(frames[0])


sectors = st.builds(
    lambda x, y, half, lean, inner, outer: Sector(x, y, -half + lean, half + lean, inner, outer),
    st.floats(300, 340), st.floats(-20, 40), st.floats(28, 46), st.floats(-1.5, 1.5), st.floats(0, 60),
    st.floats(330, 430),
)  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(sectors)
def test_a_drawn_sector_is_found_again(sector):
    mask = sector.mask(480, 640)
    assert overlap(_fitted(_speckle(mask)), mask) >= 0.98


def test_pixels_that_are_not_square():
    mask = replace(FAN, left=-38.0, right=38.0).mask(480, 534, aspect=1.2)
    assert overlap(_fitted(_speckle(mask), aspect=1.2), mask) >= 0.98


def test_words_ticks_and_a_scrolling_trace_do_not_pull_the_fit():
    mask = UPRIGHT.mask(240, 320)
    frames = _speckle(mask, frames=16)
    for i, frame in enumerate(frames):
        cv2.putText(frame, f"HR {60 + i}", (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
        frame[60:180, 310:316] = np.linspace(255, 0, 120)[:, None]
        trace = 228 + 6 * np.sin((np.arange(320) + 7 * i) / 9)
        frame[trace.astype(int), np.arange(320)] = 255
    assert overlap(_fitted(frames), mask) >= 0.98


@pytest.mark.parametrize("bound", [(0, 0, 100, 100), (10, 5, 310, 225)])
def test_a_region_tag_is_a_bound_only_when_it_fits(bound):
    mask = UPRIGHT.mask(240, 320)
    assert overlap(_fitted(_speckle(mask), bound=bound), mask) >= 0.98


def _no_sector(kind, noise, sector):
    """A frame of something else, of noise that is new in each frame."""
    frame = np.zeros_like(noise)
    if kind == "still":
        return sector
    if kind == "rectangle":
        frame[40:200, 60:260] = noise[40:200, 60:260]
    elif kind == "two fans":
        pair = Sector(80.0, 20.0, -25.0, 25.0, 5.0, 160.0).mask(240, 320)
        frame[:] = noise & (pair | np.roll(pair, 160, axis=1))
    elif kind == "disc":
        frame[:] = noise & cv2.circle(frame.copy(), (160, 120), 90, 255, cv2.FILLED)
    elif kind == "text":
        cv2.putText(frame, str(int(noise.sum())), (20, 120), cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 2)
    return noise if kind == "noise" else frame


@pytest.mark.parametrize("kind", ["black", "still", "noise", "rectangle", "two fans", "disc", "text"])
def test_what_is_no_sector_is_refused(kind):
    mask = UPRIGHT.mask(240, 320)
    frames = [_no_sector(kind, frame, mask) for frame in _speckle(np.full_like(mask, 255), 8, seed=1)]
    with pytest.raises(ClipRefused) as refused:
        fit_sector(collect(frames))
    assert refused.value.outcome is Outcome.NO_SECTOR


def _loss(sector, shape, start, width, most):
    """Gray levels that are lost towards the right edge, from ``start`` degrees before it over ``width``."""
    y, x = np.indices(shape)
    beyond = np.rad2deg(np.arctan2(x - sector.apex_x, y - sector.apex_y)) - sector.right
    return np.clip((beyond + start) / width, 0.0, 1.0) * most


def test_an_edge_in_the_dark_is_found_by_symmetry_but_never_over_words():
    mask = FAN.mask(480, 640)
    loss = _loss(FAN, mask.shape, 20.0, 12.0, 75)
    frames = [np.clip(0.35 * frame - loss, 0, None).astype(np.uint8) for frame in _speckle(mask, 12)]
    assert overlap(_fitted(frames), mask) >= 0.95
    words = cv2.putText(np.zeros_like(mask), "NOBODY", (505, 245), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    assert not (words & frames[0]).any()
    assert not (_fitted([frame | words for frame in frames]) & words).any()


@pytest.mark.parametrize("shadowed", [(0, 0), (100, 180)], ids=["all lit", "a shadow at the wider edge"])
def test_a_fan_that_leans_with_two_sharp_edges_is_not_made_upright(shadowed):
    sector = replace(FAN, left=-26.0, right=46.0)
    mask, lit = sector.mask(480, 640), replace(sector, right=40.0).mask(480, 640)
    frames, rows = _speckle(mask), slice(*shadowed)
    for frame in frames:
        frame[rows] &= lit[rows]
    assert overlap(_fitted(frames), mask) >= 0.98


@pytest.mark.parametrize(
    ("path", "polygon"),
    [(examples.get_path("ybr_color"), YBR_COLOR),
     (Path(get_testdata_file("color3d_jpeg_baseline.dcm")), COLOR3D)],
    ids=["ybr_color", "color3d_jpeg_baseline"],
)  # fmt: skip
def test_the_real_clips_against_polygons_drawn_by_hand(path, polygon):
    header = read_header(path)
    reference = np.zeros((header.rows, header.columns), np.uint8)
    cv2.fillPoly(reference, [np.array(polygon, np.int32)], 255)
    assert overlap(_fitted(list(LumaFrames(header)), header.aspect, header.bound), reference) >= 0.97


def test_the_mean_is_of_all_frames_and_an_empty_overlap_is_zero():
    frames = [np.full((90, 120), value, np.uint8) for value in (0, 0, 5, 200)]
    assert (collect(frames).mean == 51).all()
    assert overlap(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)) == 0.0


PLAIN = Sector(244.0, 26.0, -44.0, 44.0, 8.0, 450.0)
"""A fan that the sides of a square crop cut."""


def _tissue(mask, seed=0):
    """Frames of speckle with bright walls and dark chambers."""
    rng = np.random.default_rng(seed)
    slow = cv2.resize(rng.uniform(-60, 60, (7, 7)), mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        speckle = cv2.GaussianBlur(rng.normal(70, 160, mask.shape), (0, 0), 2.0)
        yield np.clip(speckle + slow, 4, 255).astype(np.uint8) & mask


def _public(sector, words=(), loss=0.0, seed=0):
    """A clip of 112 × 112, small and blurred, and where fan and drawn things are: uint8, 0 or 255."""
    mask = sector.mask(LARGE, LARGE)
    drawn = np.zeros_like(mask)
    for text, at in words:
        cv2.putText(drawn, text, at, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 2)
    slope = np.tan(np.deg2rad(sector.right))
    for y in range(120, 240, 16):  # a ruler beside the right edge
        cv2.circle(drawn, (round(sector.apex_x + 44 + slope * (y - sector.apex_y)), y), 3, 255, cv2.FILLED)

    def shrunk(picture):
        return cv2.resize(picture, (SMALL, SMALL), interpolation=cv2.INTER_AREA)

    frames = []
    for frame in _tissue(mask, seed):
        tissue = np.clip(frame - loss, 0, None).astype(np.uint8) | drawn
        code = cv2.imencode(
            ".jpg", shrunk(cv2.GaussianBlur(tissue, (0, 0), 1.5)), [cv2.IMWRITE_JPEG_QUALITY, 75]
        )
        frames.append(cv2.imdecode(code[1], 0))
    return frames, *(np.where(shrunk(m) >= 128, 255, 0).astype(np.uint8) for m in (mask, drawn))


crops = st.builds(
    lambda x, y, half, lean, outer, inner: Sector(x, y, lean - half, lean + half, inner, outer),
    st.floats(190, 260), st.floats(12, 40), st.floats(36, 47), st.floats(-1, 1), st.floats(400, 520),
    st.floats(0, 30),
)  # fmt: skip


@settings(max_examples=8, deadline=None)
@given(crops, st.integers(0, 5))
@example(PLAIN, 0)
def test_a_cut_fan_is_found_and_what_stands_beside_it_stays_out(sector, seed):
    frames, mask, drawn = _public(sector, [("DOE", (4, 40)), ("1970", (360, 60))], seed=seed)
    found = _fitted(frames)
    assert overlap(found, mask) >= 0.95
    assert not (cv2.erode(drawn, np.ones((3, 3))) & found & ~cv2.dilate(mask, np.ones((3, 3)))).any()


def test_a_dark_edge_of_a_cut_fan_leans_as_the_other_one_does_and_no_words_are_tissue():
    dark = _loss(PLAIN, (LARGE, LARGE), 22, 12, 260)
    frames, mask, _ = _public(PLAIN, loss=dark)
    assert overlap(_fitted(frames), mask) >= 0.93
    frames, mask, drawn = _public(PLAIN, [("DOE JOHN", (330, 190))], dark)
    assert (mask & drawn).any()
    assert not (_fitted_or_refused(frames) & cv2.erode(drawn, np.ones((3, 3)))).any()


@pytest.mark.parametrize("turned", ["upside down", "sideways", "filled"])
def test_what_is_no_upright_fan_is_refused(turned):
    frames = np.stack(_public(replace(PLAIN, left=-36.0, right=36.0, outer=330.0))[0])
    if turned == "upside down":
        frames = frames[:, ::-1]
    elif turned == "sideways":
        frames = np.ascontiguousarray(frames.swapaxes(1, 2))
    else:
        frames = np.stack(list(_tissue(np.full((SMALL, SMALL), 255, np.uint8))))
    with pytest.raises(ClipRefused) as refused:
        fit_sector(collect(list(frames)))
    assert refused.value.outcome is Outcome.NO_SECTOR


def test_an_apex_at_the_bottom_is_named():
    mask = Sector(160.0, 10.0, -38.0, 38.0, 5.0, 210.0).mask(240, 320)[::-1].copy()
    with pytest.raises(ClipRefused, match="upside down"):
        fit_sector(collect(list(_tissue(mask))))


@pytest.mark.parametrize("shape", [(420, 150), (120, 400), (40, 60)])
def test_odd_shapes_are_fitted_or_refused(shape):
    rows, columns = shape
    mask = Sector(columns / 2, 4.0, -40.0, 40.0, 2.0, 0.9 * rows).mask(rows, columns)
    found = _fitted_or_refused(list(_tissue(mask)))
    assert not found.any() or overlap(found, mask) >= 0.95


def _dark_near_the_probe(brightest, words, cut):
    """Speckle that begins 55 pixels from the apex, few moving pixels before that, and words over these."""
    whole, (y, x) = Sector(160.0, 10.0, -40.0, 40.0, 3.0, 215.0), np.indices((240, 320))
    level = brightest * np.clip((np.hypot(x - whole.apex_x, y - whole.apex_y) - 55) / 100, 0, 1) ** 2
    rng, mask, frames = np.random.default_rng(0), whole.mask(240, 320), []
    for _ in range(24):
        flashes = np.where(rng.random(mask.shape) < 0.003, 3, 0)
        frame = np.rint(np.maximum(rng.random(mask.shape) * level, flashes)).astype(np.uint8) & mask
        cv2.putText(frame, "DOE", (144, 42), cv2.FONT_HERSHEY_SIMPLEX, 0.4, words, 1, cv2.LINE_AA)
        frames.append(frame[:, 85:] if cut else frame)
    return np.stack(frames)


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize("luma", [40, 70, 105])
def test_words_in_a_dark_near_field_are_in_no_prepared_frame(tmp_path, luma, cut):
    """Brighter words are painted over anyway; these are too dim for that, and all tissue is dimmer."""
    clean, frames = (_dark_near_the_probe(0.6 * luma, words, cut) for words in (0, luma))
    kept = fit_sector(collect(list(clean)))
    assert kept.apex_y + kept.inner < 20  # without words the near field is kept
    assert prepare_clip(write_clip(tmp_path / "a.dcm", frames)).frames.max() < 0.75 * luma
