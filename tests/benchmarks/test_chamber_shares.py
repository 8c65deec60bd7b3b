"""The figure of the known chambers shows its table."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.chamber_shares import chamber_shares
from cardio_mlflow.figures.style import SYNTHETIC_MARK
from cardio_mlflow.parameters import KEYS

CHAMBERS = ["RA", "RV", "RV", "RV", "LA", "LV", "LV", "LV", "RV"]


def chambers_table() -> pd.DataFrame:
    rows = [(key, chamber, 0.3, 0.12) for key, chamber in zip(KEYS, CHAMBERS, strict=True)]
    table = pd.DataFrame(rows, columns=["parameter", "chamber", "share", "area"])
    ratio = np.linspace(0.5, 4, 9)
    table = table.assign(ratio=ratio, ratio_low=0.8 * ratio, ratio_high=1.3 * ratio)
    return table.assign(ratio_strongest=1.5 * ratio, ratio_randomised=1.1)


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def test_chambers_show_ratio_interval_and_the_randomised_network() -> None:
    table = chambers_table()
    table.loc[4, ["ratio", "ratio_low", "ratio_high"]] = np.nan
    table.loc[5, "ratio_low"], table.loc[6, "ratio_randomised"], table.loc[7, "area"] = np.nan, np.nan, np.nan
    figure = chamber_shares(table, synthetic=False)
    figure.canvas.draw()
    (axes,) = figure.axes
    randomised, strongest, ours = [
        c for c in axes.collections if isinstance(c, mpl.collections.PathCollection)
    ]
    np.testing.assert_allclose(np.ma.filled(ours.get_offsets()[:, 0], np.nan), table["ratio"])
    np.testing.assert_allclose(
        np.ma.filled(randomised.get_offsets()[:, 0], np.nan), table["ratio_randomised"]
    )
    np.testing.assert_allclose(np.ma.filled(strongest.get_offsets()[:, 0], np.nan), table["ratio_strongest"])
    spans = [c for c in axes.collections if isinstance(c, mpl.collections.LineCollection)][-1]
    ends = np.array(spans.get_segments())[:, :, 0]
    np.testing.assert_allclose(ends, table[["ratio_low", "ratio_high"]].dropna())
    assert [line.get_xdata()[0] for line in axes.lines] == [1, 3]
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["RAP, RA", "SPAP, RV"]
    shown = [text.get_text() for text in axes.texts]
    assert shown[0] == "0.50 (0.40 to 0.65): 30 % on 12 % of the sector"
    assert shown[4] == "n/a"
    assert "(no interval)" in shown[5]
    assert "sector" not in shown[7]
    for empty in (table.iloc[:0], pd.DataFrame(), table.iloc[4:5].assign(ratio_randomised=np.nan)):
        assert "no chamber has" in words(chamber_shares(empty, synthetic=False))
    one = chamber_shares(table.iloc[:1], synthetic=True, note="their own heads")
    one.canvas.draw()
    assert SYNTHETIC_MARK in words(one)
    assert "their own heads" in words(one)
    assert SYNTHETIC_MARK not in words(figure)
