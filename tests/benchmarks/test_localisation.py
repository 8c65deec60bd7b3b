"""How much of an attribution falls on a region, on maps whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.localisation import area_of, share_on, strongest_on


def test_shares_of_a_map_by_hand() -> None:
    sector = np.zeros((10, 20), np.bool_)
    sector[:, :10] = True
    region = np.zeros_like(sector)
    region[:2, :5] = True
    attribution = np.where(sector, 0.5, 0.0)
    attribution[region] = [-8, 8] * 5
    assert area_of(region, sector) == pytest.approx(0.1)
    assert share_on(attribution, region) == pytest.approx(80 / (80 + 45))
    assert strongest_on(attribution, region, sector) == 1
    attribution[5:7, :5] = 100
    assert strongest_on(attribution, region, sector) == 0


def test_an_attribution_without_preference_is_at_chance() -> None:
    attribution = np.random.default_rng(0).normal(size=(4, 60, 60))
    sector = np.ones(attribution.shape, np.bool_)
    region = np.random.default_rng(1).random(attribution.shape) < 0.3
    for share in (share_on(attribution, region), strongest_on(attribution, region, sector)):
        assert share == pytest.approx(area_of(region, sector), abs=0.03)


def test_where_there_is_nothing_there_is_no_share() -> None:
    nothing, region = np.zeros((3, 3)), np.ones((3, 3), np.bool_)
    assert np.isnan(share_on(nothing, region))
    assert np.isnan(strongest_on(nothing, region, region))
    assert np.isnan(strongest_on(np.ones((3, 3)), region, ~region))
    assert np.isnan(area_of(region, ~region))
