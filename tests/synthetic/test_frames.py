from __future__ import annotations

import numpy as np
import pytest

from benchmarks.chambers import chamber_masks
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.synthetic.clip import frame_acquisition, magnification, patient_rows, view_frames
from cardio_mlflow.synthetic.sector import FIELD_CM, square_sector

PHASES = np.array([0.0])
SEEDS = range(12)


@pytest.fixture(scope="module")
def row():
    return patient_rows(4, 1)[1].iloc[0]


@pytest.mark.parametrize("view", VIEW_CODES)
def test_a_frame_at_physical_scale_shows_its_depth(row, view: str) -> None:
    for seed in SEEDS:
        depth = frame_acquisition(view, PHASES, seed)[0].depth
        tissue = view_frames(row, view, PHASES, seed, 224, "physical")[1][0]
        shown = np.flatnonzero(tissue[:, 110:114].any(axis=1))[-1] + 1
        assert shown == pytest.approx(min(depth, FIELD_CM) * 224 / FIELD_CM, abs=1.5)
        assert tissue[2, 112] > 0


def test_a_chamber_is_as_large_as_the_magnification_says(row) -> None:
    ratios, seen = [], []
    for seed in SEEDS:
        acquisition = frame_acquisition("TC", PHASES, seed)[0]
        areas = [chamber_masks(row, "TC", PHASES, seed, 224, s)["LV"].sum() for s in ("physical", "sector")]
        expected = [magnification(acquisition, 224, s) ** 2 for s in ("physical", "sector")]
        ratios.append(areas[1] / areas[0] / (expected[1] / expected[0]))
        seen.append((*areas, *expected))
    assert np.median(ratios) == pytest.approx(1, abs=0.05)
    physical, sector, *_ = np.std(np.log(seen), axis=0)
    assert physical < 0.6 * sector  # the depth is gone


def test_magnification_at_physical_scale_is_that_of_the_plane_alone() -> None:
    acquisition = frame_acquisition("SA", PHASES, 3)[0]
    expected = np.sqrt(np.linalg.det(acquisition.turn))
    assert magnification(acquisition, 112, "physical") == pytest.approx(expected)
    assert magnification(acquisition, 224, "sector") == pytest.approx(
        magnification(acquisition, 112, "sector"), rel=0.01
    )


def test_the_fan_fills_the_square_at_sector_scale() -> None:
    for half_angle in np.deg2rad([30.0, 40.0, 48.0]):
        rows, columns = square_sector(half_angle, 17.0, 224, "sector").box()
        assert max(rows.stop - rows.start, columns.stop - columns.start) >= 222
