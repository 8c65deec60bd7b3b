"""How much of an attribution falls on a region, on maps whose answer is known, and the figure of it."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from benchmarks.chamber_shares import chamber_shares
from benchmarks.chambers import CARRIERS
from benchmarks.localisation import area_of, share_on, strongest_on
from cardio_mlflow.figures.style import SYNTHETIC_MARK
from cardio_mlflow.parameters import KEYS


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
    for share in (
        share_on(nothing, region), strongest_on(nothing, region, region),
        strongest_on(np.ones((3, 3)), region, ~region), area_of(region, ~region),
    ):  # fmt: skip
        assert np.isnan(share)


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def test_the_figure_shows_ratio_interval_and_the_randomised_network() -> None:
    ratio = np.linspace(0.5, 4, 9)
    table = pd.DataFrame(
        {"parameter": KEYS, "chamber": [CARRIERS[key][0] for key in KEYS], "share": 0.3, "area": 0.12,
         "ratio": ratio, "ratio_low": 0.8 * ratio, "ratio_high": 1.3 * ratio,
         "ratio_strongest": 1.5 * ratio, "ratio_randomised": 1.1}
    )  # fmt: skip
    table.loc[4, ["ratio", "ratio_low", "ratio_high"]] = np.nan
    table.loc[5, "ratio_low"], table.loc[6, "ratio_randomised"], table.loc[7, "area"] = np.nan, np.nan, np.nan
    figure = chamber_shares(table, synthetic=False)
    figure.canvas.draw()
    (axes,) = figure.axes
    points = [c for c in axes.collections if isinstance(c, mpl.collections.PathCollection)]
    columns = ("ratio_randomised", "ratio_strongest", "ratio")
    for drawn, name in zip(points, columns, strict=True):
        np.testing.assert_allclose(np.ma.filled(drawn.get_offsets()[:, 0], np.nan), table[name])
    spans = [c for c in axes.collections if isinstance(c, mpl.collections.LineCollection)][-1]
    ends = np.array(spans.get_segments())[:, :, 0]
    np.testing.assert_allclose(ends, table[["ratio_low", "ratio_high"]].dropna())
    shown = [text.get_text() for text in axes.texts]
    assert shown[0] == "0.50 (0.40 to 0.65): 30 % on 12 % of the sector"
    assert (shown[4], "(no interval)" in shown[5], "sector" in shown[7]) == ("n/a", True, False)
    assert SYNTHETIC_MARK not in words(figure)
    one = words(chamber_shares(table.iloc[:1], synthetic=True, note="their own heads"))
    assert SYNTHETIC_MARK in one
    assert "their own heads" in one
    for empty in (pd.DataFrame(), table.iloc[4:5].assign(ratio_randomised=np.nan)):
        assert "no chamber has" in words(chamber_shares(empty, synthetic=False))
