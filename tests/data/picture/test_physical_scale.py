"""Prepared frames at one physical scale."""

import logging

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cardio_mlflow.data.picture.physical_scale import (
    FIELD_MM,
    NOMINAL_MM,
    PhysicalScale,
    at_physical_scale,
    median_scale,
)
from cardio_mlflow.data.picture.sector import PREPARED_SIZE, Sector, crop_to

MM = FIELD_MM / PREPARED_SIZE


def _prepared(depth, half_angle, radius, shift, disc=None):
    """A prepared frame of a fan filled with gray, a white disc in it, and its placement.

    The fan is so many mm deep, and its outer radius so many pixels; the disc is given as mm across from the
    middle, mm below the apex and its radius in mm.
    """
    mm, apex = depth / radius, (1.2 * radius + shift, 12.0 + shift)
    sector = Sector(*apex, -half_angle, half_angle, 3.0, radius)
    shape = (int(radius) + 30, int(2.4 * radius))
    frame = np.full(shape, 60, np.uint8)
    if disc is not None:
        x, y, size = (value / mm for value in disc)
        rows, columns = np.indices(shape)
        away = np.hypot(columns - apex[0] - x, rows - apex[1] - y)
        frame = np.rint(60 + 195 * np.clip(size - away + 0.5, 0, 1)).astype(np.uint8)
    crop = crop_to(sector, *shape, 1.0)
    place = crop.place(np.array([apex]), 1.0)[0]
    return crop.apply(frame), (mm * crop.rows / PREPARED_SIZE, *place)


def _shown(frame, placement, fallback=1.0):
    return at_physical_scale(frame[None, None], np.array([placement]), [fallback])[0, 0]


DEPTHS, ANGLES, RADII = st.floats(100.0, 240.0), st.floats(30.0, 45.0), st.floats(250.0, 560.0)


@given(DEPTHS, ANGLES, RADII, st.floats(0, 1))
@hypothesis_settings(max_examples=30)
def test_a_disc_of_one_size_lands_at_one_place_with_one_size(depth, half_angle, radius, shift):
    across, below, size = 12.0, 60.0, 15.0
    shown = _shown(*_prepared(depth, half_angle, radius, shift, (across, below, size)))
    share = np.clip((shown.astype(float) - 60) / 195, 0, 1)
    y, x = (np.indices(shown.shape) * share).sum(axis=(1, 2)) / share.sum()
    assert share.sum() == pytest.approx(np.pi * (size / MM) ** 2, rel=0.03)
    assert (x + 0.5 - PREPARED_SIZE / 2) * MM == pytest.approx(across, abs=0.6)
    assert (y + 0.5) * MM == pytest.approx(below, abs=0.6)


@given(DEPTHS, ANGLES, RADII, st.floats(0, 1))
@hypothesis_settings(max_examples=30)
def test_the_fan_hangs_from_the_middle_of_the_upper_border_and_all_else_is_black(
    depth, half_angle, radius, shift
):
    shown = _shown(*_prepared(depth, half_angle, radius, shift))
    middle, inner, outer = PREPARED_SIZE / 2 - 0.5, 3.0 * depth / radius / MM, depth / MM
    truth = Sector(middle, -0.5, -half_angle, half_angle, inner, outer)
    inside = truth.mask(PREPARED_SIZE, PREPARED_SIZE)
    margin = np.ones((5, 5), np.uint8)
    assert not shown[cv2.dilate(inside, margin) == 0].any()
    assert (shown[cv2.erode(inside, margin, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0] >= 50).all()


def test_a_frame_is_unchanged_at_its_own_scale_and_an_absurd_scale_takes_no_time():
    frame = np.random.default_rng(0).integers(0, 256, (224, 224)).astype(np.uint8)
    assert np.array_equal(_shown(frame, (MM, 112.0, 0.0)), frame)
    assert all(_shown(frame, (mm, 112.0, 0.0)).shape == (224, 224) for mm in (1e-6, 1e6))


def test_nothing_finer_than_a_pixel_is_left_to_alias():
    """Lines one pixel apart become gray, where every second pixel alone would be black or white."""
    lines = np.zeros((224, 224), np.uint8)
    lines[:, ::2] = 200
    gray = _shown(lines, (MM / 2, 112.0, 0.0))[2:108, 60:164]
    assert (gray.min() >= 90, gray.max() <= 110) == (True, True)


def test_an_unknown_scale_takes_the_fallback_and_an_unknown_apex_the_middle():
    frame = _prepared(150.0, 40.0, 400.0, 0.0, (0.0, 60.0, 15.0))[0]
    known = _shown(frame, (0.9, 112.0, 0.0))
    assert np.array_equal(_shown(frame, (np.nan, 112.0, 0.0), fallback=0.9), known)
    assert np.array_equal(_shown(frame, (np.nan, np.nan, np.nan), fallback=0.9), known)
    assert not np.array_equal(_shown(frame, (np.nan, 112.0, 0.0), fallback=0.8), known)


def test_a_missing_view_stays_black_and_views_have_scales_of_their_own():
    frame = np.full((224, 224), 90, np.uint8)
    clips = np.stack([[frame] * 3, [frame] * 3, [0 * frame] * 3])
    placement = np.array([[0.5, 112, 0], [np.nan] * 3, [np.nan] * 3])
    shown = at_physical_scale(clips, placement, [1.0, 0.7, 1.0])
    assert shown.shape == clips.shape
    assert shown.dtype == np.uint8
    widths = [(one[0, 50] > 45).sum() for one in shown]
    assert widths == [pytest.approx(0.5 * 224 / MM, abs=1), pytest.approx(0.7 * 224 / MM, abs=1), 0]
    assert np.array_equal(shown[0, 0], shown[0, 2])


def test_smaller_frames_show_the_same_field():
    small = np.full((1, 1, 32, 32), 90, np.uint8)
    shown = at_physical_scale(small, np.array([[FIELD_MM / 64, 16.0, 0.0]]), [1.0])[0, 0]
    assert (shown > 45).sum() == 16 * 16


def test_the_median_is_of_each_view_and_of_all_where_one_has_none():
    placement = torch.full((3, 3, 3), torch.nan, dtype=torch.float64)
    present = torch.ones(3, 3, dtype=torch.bool)
    placement[:, 0, 0] = torch.tensor([0.7, 0.8, 1.2], dtype=torch.float64)
    placement[0, 1, 0] = 0.6
    assert median_scale(placement, present) == PhysicalScale((0.8, 0.6, 0.75))
    present[0, 1] = False
    assert median_scale(placement, present) == PhysicalScale((0.8, 0.8, 0.8))


def test_without_any_scale_all_are_nominal_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        found = median_scale(torch.full((2, 4, 3), torch.nan), torch.ones(2, 4, dtype=torch.bool))
    assert found == PhysicalScale((NOMINAL_MM,) * 4)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
