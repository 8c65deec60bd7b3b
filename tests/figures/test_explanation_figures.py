from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from cardio_mlflow.figures import style
from cardio_mlflow.figures.explanation_checks import deletion_insertion, sanity_bars
from cardio_mlflow.figures.frame_attention import (
    closed,
    cohort_frame_attention,
    frame_attention,
    frame_importance,
    schematic_ecg,
)
from cardio_mlflow.figures.style import SYNTHETIC_MARK, save_figure, signed
from cardio_mlflow.figures.view_fusion import cohort_view_fusion, view_fusion
from cardio_mlflow.parameters import KEYS

# Whatever an earlier test left unclosed is collected at any time, also in these.
pytestmark = pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")

ALL, NO_PSAX = np.ones(4, np.bool_), np.array([True, True, False, True])
NONE = ~ALL
ALPHA = 0.58


def frame_weights(frames: int = 8, patients: int | None = None) -> np.ndarray:
    shape = (4, frames) if patients is None else (patients, 4, frames)
    attention = np.random.default_rng(1).dirichlet(np.ones(frames), shape[:-1])
    return ALPHA * attention + (1 - ALPHA) / frames


def view_weights(present: np.ndarray) -> np.ndarray:
    attention = np.random.default_rng(2).uniform(0.5, 1, present.shape) * present
    shares = attention / attention.sum(-1, keepdims=True).clip(1e-9)
    return ALPHA * shares + (1 - ALPHA) * present / present.sum(-1, keepdims=True).clip(1)


def presence(patients: int = 12) -> np.ndarray:
    present = np.ones((patients, 4), np.bool_)
    present[::3, 2] = False
    return present


def phases(frames: int = 8) -> np.ndarray:
    return np.arange(frames) / frames


def importance(frames: int = 8) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 0.1, (9, 4, frames))


def curves_table() -> pd.DataFrame:
    share, rows = np.linspace(0, 1, 6), []
    for key in KEYS:
        for kind, order in (("deletion", "random"), ("insertion", "attribution"),
                            ("deletion", "attribution"), ("insertion", "random")):  # fmt: skip
            value = 1 - share if kind == "deletion" else share
            value = value ** (1 if order == "random" else 2 if kind == "deletion" else 0.5)
            spread = 0.1 if order == "random" else np.nan
            columns = {"share": share, "value": value, "low": value - spread, "high": value + spread}
            rows.append(pd.DataFrame({"parameter": key, "order": order, "kind": kind, **columns}))
    return pd.concat(rows, ignore_index=True)


def checks_table() -> pd.DataFrame:
    rng, rows = np.random.default_rng(4), []
    for check, centre in (("randomised weights", 0.0), ("small noise", 0.9)):
        rows += [(check, key, centre + rng.normal(0, 0.05)) for key in KEYS]
    return pd.DataFrame(rows, columns=["check", "parameter", "correlation"])


DRAWN: dict[str, Callable[[bool], Figure]] = {
    "frames": lambda s: frame_attention(frame_weights(), ALPHA, phases(), NO_PSAX, NO_PSAX, synthetic=s),
    "frames_cohort": lambda s: cohort_frame_attention(
        frame_weights(patients=12), presence(), ALPHA, phases(), synthetic=s
    ),
    "importance": lambda s: frame_importance(importance(), phases(), ALL, synthetic=s, phase_known=NO_PSAX),
    "views": lambda s: view_fusion(view_weights(NO_PSAX), ALPHA, NO_PSAX, synthetic=s),
    "views_cohort": lambda s: cohort_view_fusion(view_weights(presence()), presence(), ALPHA, synthetic=s),
    "deletion": lambda s: deletion_insertion(curves_table(), synthetic=s),
    "sanity": lambda s: sanity_bars(checks_table(), synthetic=s),
}


def texts(figure: Figure) -> list[mpl.text.Text]:
    return [t for t in figure.findobj(mpl.text.Text) if t.get_text() and t.get_visible()]


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in texts(figure))


def line_in(axes: Axes, colour: str) -> mpl.lines.Line2D:
    (found,) = [line for line in axes.lines if mpl.colors.same_color(line.get_color(), colour)]
    return found


def bands(axes: Axes) -> list[np.ndarray]:
    """Corners of the filled areas that are not flat."""
    filled = [c for c in axes.collections if isinstance(c, mpl.collections.PolyCollection)]
    return [path.vertices for c in filled for path in c.get_paths()]


@pytest.mark.parametrize("name", DRAWN)
def test_figures_are_marked_legible_and_saved_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "DPI", 100)
    monkeypatch.setitem(style._STYLE, "ps.fonttype", 3)  # quicker to write
    figure = DRAWN[name](True)
    png, eps = save_figure(figure, tmp_path / name, ("png", "eps"))
    with Image.open(png) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert all(edge.min() > 250 for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    assert eps.read_bytes().startswith(b"%!PS-Adobe-3.0 EPSF")
    assert min(text.get_fontsize() for text in texts(figure)) >= 6.5
    assert SYNTHETIC_MARK in words(figure)
    assert SYNTHETIC_MARK not in words(DRAWN[name](False))


@settings(deadline=None)
@given(st.permutations(range(6)), st.floats(0, 0.15))
def test_a_closed_curve_runs_over_the_whole_cycle_in_order(order: list[int], shift: float) -> None:
    at, values = np.array(order) / 6 + shift, np.array(order, float)
    x, y = closed(at, values)
    assert (np.diff(x) > 0).all()
    assert x[0] <= 0
    assert x[-1] >= 1
    assert y.tolist() == [5, 0, 1, 2, 3, 4, 5, 0]
    np.testing.assert_allclose(np.interp(0, x, y), np.interp(1, x, y), atol=1e-9)


def test_the_ecg_is_periodic_with_its_waves_where_they_belong() -> None:
    at = np.linspace(0, 1, 1001)
    ecg = schematic_ecg(at)
    assert ecg[0] == pytest.approx(ecg[-1])
    assert ecg.max() == pytest.approx(ecg[0])
    middle = (at > 0.1) & (at < 0.7)
    assert at[middle][ecg[middle].argmax()] == pytest.approx(0.32, abs=0.01)
    late = (at > 0.7) & (at < 0.93)
    assert at[late][ecg[late].argmax()] == pytest.approx(0.84, abs=0.01)


def test_frame_weights_are_drawn_over_the_means_floor() -> None:
    weights = frame_weights()
    known = np.array([True, False, True, True])
    figure = frame_attention(weights, ALPHA, phases(), NO_PSAX, known, synthetic=False)
    for view, axes in enumerate(figure.axes):
        if view == 2:
            continue
        line = line_in(axes, style.SERIES[view])
        np.testing.assert_array_equal(line.get_xdata()[1:-1], phases())
        np.testing.assert_array_equal(line.get_ydata()[1:-1], weights[view])
        (floor,) = bands(axes)
        assert floor[:, 1].max() == pytest.approx((1 - ALPHA) / 8)
        assert axes.get_xticklabels()[0].get_text() == ("0" if view == 1 else "0\nR")
        assert any(len(line.get_xdata()) > 100 for line in axes.lines) is bool(known[view])
    assert [axes.get_title() for axes in figure.axes] == ["A4C", "A2C, phase unknown", "", "PLAX"]
    assert len({axes.get_ylim() for place, axes in enumerate(figure.axes) if place != 2}) == 1
    said = words(figure)
    assert said.count("schematic ECG") == 1
    for text in ("no PSAX", "mean, 1 − α = 0.42", "equal weights, 1 / 8"):
        assert text in said


@pytest.mark.parametrize("frames", [1, 2, 32])
@pytest.mark.parametrize("present", [ALL, np.array([False, False, True, False]), NONE], ids=["4", "1", "0"])
def test_few_frames_and_views_are_drawn_or_said(frames: int, present: np.ndarray) -> None:
    known = np.zeros(4, np.bool_)
    for figure in (
        frame_attention(frame_weights(frames), ALPHA, phases(frames), present, known, synthetic=False),
        frame_importance(importance(frames), phases(frames), present, synthetic=False),
        cohort_frame_attention(
            frame_weights(frames, 1), present[None], ALPHA, phases(frames), synthetic=False
        ),
    ):
        figure.canvas.draw()
        assert len(figure.axes) in (4, 9)
        said = words(figure)
        missing = "no importance" in said if len(figure.axes) == 9 else "no A4C" in said
        assert missing is (not present[0] if len(figure.axes) == 4 else not present.any())


def test_a_cohorts_frames_have_their_mean_and_band_of_the_patients_with_the_view() -> None:
    weights, present, known = frame_weights(patients=12), presence(), np.ones((12, 4), np.bool_)
    known[:2, 1] = False
    weights[5, 3, 0] = np.nan
    figure = cohort_frame_attention(weights, present, ALPHA, phases(), synthetic=False, phase_known=known)
    for view, rows in enumerate([weights[:, 0], weights[2:, 1], weights[present[:, 2], 2]]):
        axes = figure.axes[view]
        mean = line_in(axes, style.SERIES[view]).get_ydata()[1:-1]
        np.testing.assert_allclose(mean, rows.mean(axis=0))
        corners = bands(axes)[0][:, 1]
        low, high = np.quantile(rows, (0.1, 0.9), axis=0)
        assert corners.max() == pytest.approx(high.max())
        assert corners.min() == pytest.approx(low.min())
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["A4C, 12 patients", "A2C, 10 patients, phase unknown in 2 more", "PSAX, 8 patients"]
    assert titles[3] == "PLAX, 11 patients"
    one = cohort_frame_attention(weights[:1], present[:1], ALPHA, phases(), synthetic=False)
    assert one.axes[0].get_title() == "A4C, 1 patient"
    assert len(bands(one.axes[0])) == 1
    assert "no PSAX" in words(one)
    none = cohort_frame_attention(weights[:0], present[:0], ALPHA, phases(), synthetic=False)
    assert "no A4C" in words(none)
    unknown = cohort_frame_attention(
        weights, present, ALPHA, phases(), synthetic=False, phase_known=~known & False
    )
    assert "no A4C of known phase" in words(unknown)
    assert "ECG" not in words(none) + words(unknown)
    broken = frame_attention(weights[5], ALPHA, phases(), ALL, ALL, synthetic=False)
    assert "weights of PLAX are not finite" in words(broken)


def test_importance_is_drawn_on_one_scale_and_told_from_attention() -> None:
    values = importance()
    values[4, 0, 3], values[5] = np.nan, np.nan
    figure = frame_importance(values, phases(), NO_PSAX, synthetic=False, phase_known=ALL)
    figure.canvas.draw()
    for place, axes in enumerate(figure.axes):
        if place == 5:
            assert axes.texts[0].get_text() == "no importance of a frame"
            continue
        for view in (0, 1, 3):
            drawn = line_in(axes, style.SERIES[view]).get_ydata()[1:-1]
            np.testing.assert_array_equal(drawn, values[place, view])
        assert axes.get_ylabel() == "importance (SD)"
    assert len({axes.get_ylim() for axes in figure.axes[:5]}) == 1
    assert "the attention weights are the same for all nine" in words(figure)
    assert "PSAX" not in words(figure)
    assert "All are 0." in words(frame_importance(0 * importance(), phases(), ALL, synthetic=False))


def test_view_weights_are_bars_beside_equal_weights() -> None:
    weights = view_weights(NO_PSAX)
    figure = view_fusion(weights, ALPHA, NO_PSAX, synthetic=False)
    (axes,) = figure.axes
    bars = axes.containers[0]
    np.testing.assert_allclose([bar.get_height() for bar in bars], weights[NO_PSAX])
    shown = [text.get_text() for text in axes.texts]
    assert shown == [signed(w) if there else "no PSAX" for w, there in zip(weights, NO_PSAX, strict=True)]
    assert axes.lines[0].get_ydata()[0] == pytest.approx(1 / 3)
    assert "equal weights, 1 / 3" in words(figure)
    assert "mean, 1 − α = 0.42" in words(figure)
    assert "no view" in words(view_fusion(weights, ALPHA, NONE, synthetic=False))
    one = np.array([True, False, False, False])
    view_fusion(one.astype(float), 1.0, one, synthetic=True).canvas.draw()


def test_a_cohorts_views_are_dots_with_the_median_hollow_where_a_view_is_missing() -> None:
    present = presence()
    weights = view_weights(present)
    figure = cohort_view_fusion(weights, present, ALPHA, synthetic=False)
    (axes,) = figure.axes
    dots = [c for c in axes.collections if isinstance(c, mpl.collections.PathCollection)]
    medians = []
    for view, points in enumerate(dots):
        rows = weights[present[:, view], view]
        np.testing.assert_allclose(points.get_offsets()[:, 1], rows)
        assert np.abs(points.get_offsets()[:, 0] - view).max() < 0.3
        hollow = [np.allclose(face[:3], 1) for face in points.get_facecolors()]
        assert hollow == (~present.all(axis=1))[present[:, view]].tolist()
        medians.append(signed(float(np.median(rows))))
    assert [text.get_text() for text in axes.texts] == ["1 / 3", "1 / 4", *medians]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["A4C\nn = 12", "A2C\nn = 12", "PSAX\nn = 8", "PLAX\nn = 12"]
    assert "lacks a view" in words(figure)
    whole = cohort_view_fusion(weights[1:2], present[1:2], ALPHA, synthetic=False)
    whole.canvas.draw()
    assert "lacks a view" not in words(whole)
    assert "1 patient" in words(whole)
    for nobody in (0, 1):
        none = cohort_view_fusion(weights[:nobody], ~ALL[None][:nobody], ALPHA, synthetic=False)
        assert "no view" in words(none)


def test_deletion_and_insertion_are_the_tables_curves_in_order_of_share() -> None:
    table = curves_table()
    figure = deletion_insertion(table.sample(frac=1, random_state=0), synthetic=False)
    for key, axes in zip(KEYS, figure.axes, strict=True):
        for kind, colour in (("deletion", style.SERIES[0]), ("insertion", style.SERIES[1])):
            lines = [line for line in axes.lines if mpl.colors.same_color(line.get_color(), colour)]
            assert [line.get_linestyle() for line in lines] == ["--", "-"]
            for line, order in zip(lines, ("random", "attribution"), strict=True):
                rows = table[
                    (table["parameter"] == key) & (table["kind"] == kind) & (table["order"] == order)
                ]
                np.testing.assert_allclose(line.get_xdata(), rows["share"])
                np.testing.assert_allclose(line.get_ydata(), rows["value"])
        assert [(b[:, 1].min(), b[:, 1].max()) for b in bands(axes)] == [pytest.approx((-0.1, 1.1))] * 2


def test_curves_with_gaps_and_without_values() -> None:
    table = curves_table()
    table.loc[table["parameter"] == "CO", "value"] = np.nan
    table.loc[(table["parameter"] == "CI") & (table["share"] > 0), "value"] = np.nan
    table.loc[table["parameter"] == "PVR", ["low", "high"]] = np.nan
    table.loc[(table["parameter"] == "RAP") & (table["share"] == 0.4), ["value", "low"]] = np.nan
    figure = deletion_insertion(table[table["parameter"] != "SVRI"], synthetic=True)
    figure.canvas.draw()
    said = {key: [t.get_text() for t in axes.texts] for key, axes in zip(KEYS, figure.axes, strict=True)}
    assert {key for key, found in said.items() if found == ["no curve"]} == {"CO", "SVRI"}
    assert not bands(figure.axes[KEYS.index("PVR")])
    assert words(deletion_insertion(pd.DataFrame(), synthetic=False)).count("no curve") == 9


def test_sanity_bars_are_the_correlations_with_their_numbers() -> None:
    table = checks_table()
    table.loc[(table["check"] == "small noise") & (table["parameter"] == "CO"), "correlation"] = np.nan
    figure = sanity_bars(table, synthetic=False)
    (axes,) = figure.axes
    for bars, (_, rows) in zip(axes.containers, table.groupby("check", sort=False), strict=True):
        heights = [bar.get_height() for bar in bars]
        np.testing.assert_allclose(heights, rows["correlation"].fillna(0))
    shown = [text.get_text() for text in axes.texts]
    assert shown == ["n/a" if np.isnan(v) else signed(v) for v in table["correlation"]]
    assert "randomised weights: near 0 is good" in words(figure)
    assert "small noise: near 1 is good" in words(figure)
    negative = sanity_bars(table.assign(correlation=-0.8), synthetic=False)
    assert negative.axes[0].get_ylim()[0] < -1
    for empty in (table.iloc[:0], pd.DataFrame(), table.assign(correlation=np.nan)):
        assert "no check has" in words(sanity_bars(empty, synthetic=False))
