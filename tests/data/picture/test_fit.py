"""The sector fit on made-up fans, on the synthetic layouts and on a real clip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import examples
from pydicom.data import get_testdata_file

from benchmarks.challenges import write_challenge
from cardio_mlflow.data.files.frames import LumaFrames
from cardio_mlflow.data.files.header import read_header
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.fit import fit_sector
from cardio_mlflow.data.picture.sector import Sector, collect, overlap

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


sectors = st.builds(
    lambda x, y, half, lean, inner, outer: Sector(x, y, -half + lean, half + lean, inner, outer),
    st.floats(300, 340), st.floats(-20, 40), st.floats(28, 46), st.floats(-1.5, 1.5), st.floats(0, 60),
    st.floats(330, 430),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(sectors)
def test_a_drawn_sector_is_found_again(sector):
    mask = sector.mask(480, 640)
    found = fit_sector(collect(_speckle(mask)))
    assert overlap(found.mask(480, 640), mask) >= 0.98


def test_pixels_that_are_not_square(tmp_path):
    sector = Sector(320.0, 20.0, -38.0, 38.0, 10.0, 400.0)
    mask = sector.mask(480, 534, aspect=1.2)
    found = fit_sector(collect(_speckle(mask)), aspect=1.2)
    assert overlap(found.mask(480, 534, aspect=1.2), mask) >= 0.98


def test_words_ticks_and_a_scrolling_trace_do_not_pull_the_fit(fan_sector):
    mask = fan_sector.mask(240, 320)
    frames = _speckle(mask, frames=16)
    for i, frame in enumerate(frames):
        cv2.putText(frame, f"HR {60 + i}", (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
        frame[60:180, 310:316] = np.linspace(255, 0, 120)[:, None]
        trace = 228 + 6 * np.sin((np.arange(320) + 7 * i) / 9)
        frame[trace.astype(int), np.arange(320)] = 255
    assert overlap(fit_sector(collect(frames)).mask(240, 320), mask) >= 0.98


def test_a_region_tag_is_a_bound_only_when_it_fits(fan_sector):
    mask = fan_sector.mask(240, 320)
    statistics = collect(_speckle(mask))
    for bound in (None, (0, 0, 100, 100), (10, 5, 310, 225)):
        assert overlap(fit_sector(statistics, bound=bound).mask(240, 320), mask) >= 0.98


@pytest.mark.parametrize("kind", ["black", "still", "noise", "rectangle", "two fans", "disc", "text"])
def test_what_is_no_sector_is_refused(kind, fan_sector):
    rng = np.random.default_rng(1)
    frames = [np.zeros((240, 320), np.uint8) for _ in range(8)]
    disc = cv2.circle(np.zeros((240, 320), np.uint8), (160, 120), 90, 255, cv2.FILLED)
    pair = Sector(80.0, 20.0, -25.0, 25.0, 5.0, 160.0).mask(240, 320)
    for frame in frames:
        noise = rng.integers(5, 200, frame.shape).astype(np.uint8)
        if kind == "still":
            frame[:] = fan_sector.mask(240, 320)
        elif kind == "noise":
            frame[:] = noise
        elif kind == "rectangle":
            frame[40:200, 60:260] = noise[40:200, 60:260]
        elif kind == "two fans":
            frame[:] = noise & (pair | np.roll(pair, 160, axis=1))
        elif kind == "disc":
            frame[:] = noise & disc
        elif kind == "text":
            cv2.putText(frame, str(rng.integers(10**9)), (20, 120), cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 2)
    with pytest.raises(ClipRefused) as refused:
        fit_sector(collect(frames))
    assert refused.value.outcome is Outcome.NO_SECTOR


def _faded(mask, sector):
    """Dim speckle that fades to black between 20 and 8 degrees before the right edge."""
    y, x = np.indices(mask.shape)
    beyond = np.rad2deg(np.arctan2(x - sector.apex_x, y - sector.apex_y)) - sector.right
    loss = np.clip((beyond + 20.0) / 12.0, 0.0, 1.0) * 75
    return [np.clip(0.35 * frame - loss, 0, None).astype(np.uint8) for frame in _speckle(mask, 12)]


def test_an_edge_in_the_dark_is_found_by_symmetry_but_never_over_words():
    sector = Sector(320.0, 20.0, -42.0, 42.0, 8.0, 400.0)
    mask = sector.mask(480, 640)
    frames = _faded(mask, sector)
    assert overlap(fit_sector(collect(frames)).mask(480, 640), mask) >= 0.95
    words = cv2.putText(np.zeros_like(mask), "NOBODY", (505, 245), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    assert not (words & frames[0]).any()
    found = fit_sector(collect([frame | words for frame in frames])).mask(480, 640)
    assert not (found & words).any()


@pytest.mark.parametrize("shadowed", [(0, 0), (100, 180)], ids=["all lit", "a shadow at the wider edge"])
def test_a_fan_that_leans_with_two_sharp_edges_is_not_made_upright(shadowed):
    sector = Sector(320.0, 20.0, -26.0, 46.0, 8.0, 400.0)
    mask = sector.mask(480, 640)
    frames = _speckle(mask)
    lit = replace(sector, right=40.0).mask(480, 640)
    rows = slice(*shadowed)
    for frame in frames:
        frame[rows] &= lit[rows]
    assert overlap(fit_sector(collect(frames)).mask(480, 640), mask) >= 0.98


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
    found = fit_sector(collect(LumaFrames(header)), header.aspect, header.bound)
    assert overlap(found.mask(header.rows, header.columns), reference) >= 0.97


@pytest.mark.parametrize(
    ("kind", "seed"),
    [("ecg_gray_scroll", 1), ("inverted_qrs", 2), ("jpeg_60", 2), ("low_gain", 3), ("ecg_white_cursor", 3),
     ("convex", 1), ("apex_above", 1), ("dark_near_field", 2), ("steered", 1)],
)  # fmt: skip
def test_hard_clips_against_their_truth(tmp_path, kind, seed):
    truth = write_challenge(tmp_path / "a.dcm", kind, seed)
    header = read_header(tmp_path / "a.dcm")
    found = fit_sector(collect(LumaFrames(header)), header.aspect, header.bound)
    reference = np.where(truth.sector_mask, np.uint8(255), np.uint8(0))
    mask = found.mask(*reference.shape, header.aspect)
    assert overlap(mask, reference) >= 0.985
    assert (mask & reference).sum() >= 0.99 * reference.sum()


def test_the_mean_is_of_all_frames():
    frames = [np.full((90, 120), value, np.uint8) for value in (0, 0, 5, 200)]
    assert (collect(frames).mean == 51).all()


def test_an_empty_overlap_is_zero():
    assert overlap(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)) == 0.0
