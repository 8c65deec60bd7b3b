"""What the screen and the file say of the scale is true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from cardio_mlflow.synthetic.acquisition import draw_acquisition
from cardio_mlflow.synthetic.clip import clip_truth, patient_rows, plan_clip, write_clip
from cardio_mlflow.synthetic.layouts import LAYOUTS, Layout
from cardio_mlflow.synthetic.screen import Screen, Words

OUTSIDE = 6
"""Pixels from the marked edge at which every mark is crossed: they reach from 4 to 8 at least."""


def lit(layout: Layout, depth: float, half_angle: float) -> np.ndarray:
    """Distances from the apex, pixels, where something is drawn along the line of depth marks."""
    acquisition = draw_acquisition("FC", 70.0, np.random.default_rng(0))
    acquisition = replace(acquisition, depth=depth, half_angle=np.deg2rad(half_angle))
    base = Screen(layout, acquisition, Words((), ()), 0.0)._base.max(axis=2)
    drawn = cv2.dilate((base > 100).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    distance = np.arange(0.03 * layout.radius, layout.radius + 2, 0.25)
    if layout.ticks == 0:
        x = np.full_like(distance, layout.apex[0] + 0.735 * layout.radius + OUTSIDE)
        y = layout.apex[1] + distance
    else:
        c, s = np.cos(np.deg2rad(half_angle)), np.sin(np.deg2rad(half_angle))
        x = layout.apex[0] + layout.ticks * (s * distance + c * OUTSIDE)
        y = layout.apex[1] + c * distance - s * OUTSIDE
    rows, columns = np.round(y).astype(int), np.round(x).astype(int)
    on_screen = (columns < layout.shape[1]) & (rows < layout.shape[0])
    return distance[on_screen][drawn[rows[on_screen], columns[on_screen]]]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize(("depth", "half_angle"), [(10.0, 48.0), (13.5, 41.0), (17.0, 36.0), (24.0, 30.0)])
def test_depth_marks_stand_at_whole_centimetres(layout: Layout, depth: float, half_angle: float) -> None:
    found = lit(layout, depth, half_angle)
    found = found[np.abs(found - 0.55 * layout.radius) > 12]  # without the focus mark
    centimetre = layout.radius / depth
    off = found - np.round(found / centimetre) * centimetre
    assert np.abs(off).max() < 3.5  # a mark is a pixel wide, here three
    whole = np.arange(1, int(depth) + 1)
    seen = np.abs(found[:, None] - whole * centimetre).min(axis=0) < 2
    assert seen[np.abs(whole * centimetre - 0.55 * layout.radius) > 14].all()


def test_regions_tell_the_true_scale(tmp_path: Path) -> None:
    hemodynamics, anatomy = patient_rows(7, 40)
    seen: set[str] = set()
    for patient in range(40):
        clip = plan_clip(7, patient, "SA", hemodynamics.iloc[patient])
        if clip.layout.regions in seen:
            continue
        seen.add(clip.layout.regions)
        path = tmp_path / "clip.dcm"
        write_clip(path, 7, patient, "SA", hemodynamics.iloc[patient], anatomy.iloc[patient])
        data = pydicom.dcmread(path, stop_before_pixels=True)
        assert ("SequenceOfUltrasoundRegions" in data) == (clip.layout.regions != "absent")
        truth = clip_truth(7, patient, "SA")
        rows = np.flatnonzero(truth.sector_mask.any(axis=1))
        deepest = rows[-1] - clip.layout.apex[1]
        assert deepest * truth.mm_per_pixel == pytest.approx(10 * clip.acquisition.depth, rel=0.02)
        for region in data.get("SequenceOfUltrasoundRegions", ()):
            assert region.PhysicalUnitsXDirection == region.PhysicalUnitsYDirection == 3
            assert region.PhysicalDeltaX == region.PhysicalDeltaY
            assert 10 * region.PhysicalDeltaY == pytest.approx(truth.mm_per_pixel)
    assert seen == {"sector", "screen", "stale", "absent"}


def test_the_widest_fan_is_whole_on_every_screen() -> None:
    for layout in LAYOUTS:
        acquisition = draw_acquisition("FC", 70.0, np.random.default_rng(0))
        acquisition = replace(acquisition, half_angle=np.deg2rad(48.0), depth=24.0)
        screen = Screen(layout, acquisition, Words((), ()), 0.0)
        columns = np.flatnonzero(screen.sector.mask().any(axis=0))
        across = 2 * layout.radius * np.sin(np.deg2rad(48.0))
        assert columns[-1] - columns[0] == pytest.approx(across, abs=4), layout.name
