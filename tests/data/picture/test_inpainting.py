"""Painting over: only what is drawn changes, and it becomes what lies around it."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.picture.overlays import inpaint
from cardio_mlflow.data.picture.sector import Sector


def _image(rows, columns, seed):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns)).astype(np.uint8)


@st.composite
def pictures(draw):
    """A frame, a mask and a sector of one size."""
    rows, columns, seed = draw(st.integers(1, 24)), draw(st.integers(1, 24)), draw(st.integers(0, 2**16))
    drawn, tissue = draw(st.floats(0, 1)), draw(st.floats(0, 1))
    rng = np.random.default_rng(seed)
    mask = np.where(rng.uniform(size=(rows, columns)) < drawn, np.uint8(255), np.uint8(0))
    sector = np.where(rng.uniform(size=(rows, columns)) < tissue, np.uint8(255), np.uint8(0))
    return _image(rows, columns, seed), mask, sector


def test_small_pictures_worked_out_by_hand():
    """The two pixels beside have weight 1 each, those across corners 8 ** -0.5, those two away an eighth."""
    frame = np.array([[10, 20, 30], [40, 255, 60], [70, 80, 90]], np.uint8)
    mask, everywhere = np.zeros_like(frame), np.full_like(frame, 255)
    mask[1, 1] = 255
    expected = frame.copy()
    expected[1, 1] = 50
    assert np.array_equal(inpaint(frame, mask, everywhere), expected)
    line, mask = np.array([[80, 255, 20, 16]], np.uint8), np.array([[0, 1, 0, 0]], np.uint8)
    middle = round((80 + 20 + 16 / 8) / (1 + 1 + 1 / 8))
    assert inpaint(line, mask, np.full_like(line, 255)).tolist() == [[80, middle, 20, 16]]
    tissue = np.array([[0, 1, 1, 1]], np.uint8)  # what lies beyond the sector does not count
    assert inpaint(line, mask, tissue).tolist() == [[80, round((20 + 16 / 8) / (1 + 1 / 8)), 20, 16]]


def test_a_wide_hole_is_filled_from_its_border_inward():
    frame, mask = np.full((40, 40), 255, np.uint8), np.zeros((40, 40), np.uint8)
    frame[:, :2], frame[:, -2:], mask[:, 2:-2] = 40, 120, 255
    painted = inpaint(frame, mask, np.full_like(frame, 255))
    assert painted[:, 2:18].max() <= 60
    assert painted[:, 22:38].min() >= 100
    assert np.all(np.diff(painted[20].astype(int)) >= 0)


def test_what_is_drawn_is_black_where_no_tissue_is_near():
    frame, everywhere = _image(8, 20, 0), np.full((8, 20), 255, np.uint8)
    assert not inpaint(frame, everywhere, everywhere).any()
    mask, sector = np.zeros_like(frame), np.zeros_like(frame)
    mask[:, :2] = mask[:, 15:] = sector[:, 12:] = 255
    painted = inpaint(frame, mask, sector)
    assert not painted[:, :2].any()
    assert painted[:, 15:].all()


def test_a_line_across_speckle_vanishes_and_the_speckle_goes_on():
    rng = np.random.default_rng(4)
    sector = Sector(160.0, 10.0, -40.0, 40.0, 8.0, 200.0).mask(240, 320)
    speckle = cv2.GaussianBlur(rng.rayleigh(60, (240, 320)), (0, 0), 1.2)
    tissue, mask = speckle.clip(0, 255).astype(np.uint8) & sector, np.zeros_like(sector)
    mask[100:103, 60:260] = 255
    mask &= sector
    hole, painted = mask != 0, inpaint(np.where(mask, np.uint8(255), tissue), mask, sector)
    assert abs(painted[hole].mean() - tissue[hole].mean()) < 4
    assert painted[hole].std() > 0.5 * tissue[hole].std()


@settings(max_examples=100, deadline=None)
@given(pictures(), st.integers(1, 255))
def test_only_masked_pixels_change_and_to_values_between_those_of_the_known_tissue(picture, level):
    frame, mask, sector = picture
    before = frame.copy()
    painted = inpaint(frame, mask, sector)
    assert np.array_equal(frame, before)
    assert (painted.dtype, painted.shape) == (np.uint8, frame.shape)
    assert np.array_equal(painted[mask == 0], frame[mask == 0])
    assert mask.any() or painted is frame
    known = frame[(mask == 0) & (sector != 0)]
    values = painted[(mask != 0) & (painted > 0)]  # black is what no tissue is near
    assert known.min(initial=255) <= values.min(initial=255)
    assert values.max(initial=0) <= known.max(initial=0)
    for flip in ((slice(None), slice(None, None, -1)), (slice(None, None, -1), slice(None))):
        flipped = inpaint(
            frame[flip], mask[flip], sector[flip]
        )  # a level apart where the order of sums rounds
        assert np.abs(painted[flip].astype(int) - flipped).max() <= 1
    even = inpaint(np.where(mask, np.uint8(255), np.uint8(level)), mask, sector)
    assert set(np.unique(even)) <= {0, level}
