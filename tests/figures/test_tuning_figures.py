from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from cardio_mlflow.figures import style
from cardio_mlflow.figures.style import SYNTHETIC_MARK, save_figure
from cardio_mlflow.figures.tuning import (
    tuning_history,
    tuning_importance,
    tuning_parallel,
    tuning_slices,
)

# Whatever an earlier test left unclosed is collected at any time, also in these.
pytestmark = pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")

SETTINGS = ("task_lr", "vit_lr", "layer_decay", "weight_decay", "dropout")
OF_TRIALS: dict[str, Callable[..., Figure]] = {
    "history": tuning_history, "slices": tuning_slices, "parallel": tuning_parallel,
}  # fmt: skip


def trials_table(count: int, seed: int = 0) -> pd.DataFrame:
    """Trials of which each third is pruned and each seventh fails; the last still runs if there are many."""
    rng = np.random.default_rng(seed)
    number = np.arange(count)
    state = np.where(number % 7 == 6, "FAIL", np.where(number % 3 == 2, "PRUNED", "COMPLETE")).astype(object)
    if count > 15:
        state[-1] = "RUNNING"
    loss = 0.5 + rng.uniform(0, 0.2, count)
    return pd.DataFrame({
        "number": number, "state": state, "is_default": number == 0,
        "value": np.where(state == "COMPLETE", loss, np.nan),
        "last_loss": np.where(np.isin(state, ["COMPLETE", "PRUNED"]), loss + 0.01, np.nan), "epochs": 3,
        "task_lr": 10 ** rng.uniform(-5, -2, count), "vit_lr": 10 ** rng.uniform(-6, -4, count),
        "layer_decay": rng.choice([0.7, 0.8, 1.0], count), "weight_decay": 10 ** rng.uniform(-6, -2, count),
        "dropout": rng.uniform(0, 0.5, count), "seconds": 60.0,
    })  # fmt: skip


def degenerate_tables() -> dict[str, pd.DataFrame]:
    table = trials_table(12)
    return {
        "fixed": table.assign(dropout=0.15, task_lr=1e-4, vit_lr=0.0),
        "zero": table.assign(weight_decay=table["weight_decay"].where(table.index % 4 > 0, 0.0)),
        "equal": table.assign(value=table["value"].where(table["value"].isna(), 0.5)),
        "settings": table.assign(dropout=np.nan, task_lr=table["task_lr"].where(table.index % 2 > 0)),
        "infinite": table.assign(value=table["value"].where(table.index != 3, np.inf)),
        "no losses": table.assign(last_loss=np.nan),
        "no default": table.iloc[1:],
        "shuffled": table.sample(frac=1, random_state=0),
    }


def words(figure: Figure) -> str:
    shown = [t for t in figure.findobj(mpl.text.Text) if t.get_text() and t.get_visible()]
    assert min(text.get_fontsize() for text in shown) >= 6.5
    return " ".join(text.get_text() for text in shown)


def points(axes: Axes, label: str) -> np.ndarray:
    """Offsets of the marks whose label starts so, NaN where they are masked."""
    for marks in axes.collections:
        if marks.get_label().startswith(label):
            return np.ma.filled(marks.get_offsets().astype(float), np.nan)
    for line in axes.lines:
        if line.get_label().startswith(label):
            return np.column_stack([np.ravel(line.get_xdata()), np.ravel(line.get_ydata())])
    raise AssertionError(label)


def check_saved(figure: Figure, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DPI", 100)
    monkeypatch.setitem(style._STYLE, "ps.fonttype", 3)  # quicker to write
    png, eps = save_figure(figure, path, ("png", "eps"))
    pixels = np.asarray(Image.open(png).convert("L"))
    assert all(edge.min() > 250 for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    assert eps.read_bytes().startswith(b"%!PS-Adobe-3.0 EPSF")
    assert SYNTHETIC_MARK in words(figure)


@pytest.mark.parametrize("count", [1, 2, 20, 200])
@pytest.mark.parametrize("name", OF_TRIALS)
def test_figures_of_trials_are_marked_legible_and_saved_whole(
    name: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_saved(OF_TRIALS[name](trials_table(count), synthetic=True), tmp_path / name, monkeypatch)
    assert SYNTHETIC_MARK not in words(OF_TRIALS[name](trials_table(count), synthetic=False))


@pytest.mark.parametrize("kind", degenerate_tables())
@pytest.mark.parametrize("name", OF_TRIALS)
def test_degenerate_trials_are_drawn(name: str, kind: str) -> None:
    figure = OF_TRIALS[name](degenerate_tables()[kind], synthetic=False)
    figure.canvas.draw()
    assert "none of" not in words(figure)


@pytest.mark.parametrize("name", OF_TRIALS)
def test_trials_without_an_objective_say_so(name: str) -> None:
    table = trials_table(20)
    reason = "has a loss" if name == "history" else "is complete"
    none = table.assign(state="FAIL", value=np.nan, last_loss=np.nan)
    for empty, count in (
        (none, 20),
        (none.assign(state="PRUNED"), 20),
        (table.iloc[:0], 0),
        (pd.DataFrame(), 0),
    ):
        figure = OF_TRIALS[name](empty, synthetic=False)
        figure.canvas.draw()
        assert f"none of {count} trials {reason}" in words(figure)


def test_the_history_holds_every_trial_and_the_best_so_far() -> None:
    table = trials_table(20)
    figure = tuning_history(table, synthetic=False)
    (axes,) = figure.axes
    complete, pruned = (table[table["state"] == state] for state in ("COMPLETE", "PRUNED"))
    np.testing.assert_allclose(points(axes, "complete"), complete[["number", "value"]])
    np.testing.assert_allclose(points(axes, "pruned"), pruned[["number", "last_loss"]])
    top = table[["value"]].max().max()
    for label, state in (("failed", "FAIL"), ("running", "RUNNING")):
        drawn = points(axes, label)
        np.testing.assert_array_equal(drawn[:, 0], table.loc[table["state"] == state, "number"])
        assert (drawn[:, 1] > top).all()
        assert (drawn[:, 1] < axes.get_ylim()[1]).all()
    steps = points(axes, "best so far")
    np.testing.assert_allclose(steps[:-1], np.c_[complete["number"], complete["value"].cummin()])
    np.testing.assert_allclose(steps[-1], [19, complete["value"].min()])
    best = complete.loc[complete["value"].idxmin()]
    np.testing.assert_allclose(points(axes, "best: trial"), [best[["number", "value"]].astype(float)])
    assert f"best: trial {best['number']}, {best['value']:.4g}" in words(figure)
    assert f"default settings, {table['value'][0]:.4g}" in words(figure)
    assert points(axes, "default")[:, 1].tolist() == [table["value"][0]] * 2
    assert "above the line" not in words(figure)


def test_losses_far_above_the_others_are_drawn_at_the_edge_and_counted() -> None:
    table = trials_table(20)
    table.loc[2, "last_loss"], table.loc[5, "last_loss"], table.loc[3, "value"] = 30, np.nan, 9
    figure = tuning_history(table, synthetic=False)
    (axes,) = figure.axes
    edges = {*points(axes, "pruned")[:2, 1], points(axes, "complete")[2, 1], *points(axes, "failed")[:, 1]}
    assert len(edges) == 1
    assert 0.7 < edges.pop() < axes.get_ylim()[1] < 0.8
    assert "above the line: 3 off the scale" in words(figure)
    assert "at the top: 1 with an objective off the scale" in words(tuning_parallel(table, synthetic=False))


def test_a_poor_default_stays_on_the_scale() -> None:
    table = trials_table(20)
    table.loc[0, "value"] = 3.0
    (axes,) = tuning_history(table, synthetic=False).axes
    assert points(axes, "complete")[0].tolist() == [0, 3]
    assert axes.get_ylim()[1] > 3


def test_without_a_complete_default_there_is_no_line_and_no_mark() -> None:
    table = trials_table(20)
    table.loc[0, ["state", "value"]] = ["PRUNED", np.nan]
    assert "default" not in words(tuning_history(table, synthetic=False))
    assert "default" not in words(tuning_parallel(table, synthetic=False))
    assert not len(points(tuning_slices(table, synthetic=False).axes[0], "default"))


def test_importance_is_a_bar_a_setting_the_largest_on_top() -> None:
    table = pd.DataFrame({"setting": SETTINGS, "importance": [0.2, 0.5, 0.05, 0.15, 0.1]})
    figure = tuning_importance(table, synthetic=False)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [0.05, 0.1, 0.15, 0.2, 0.5]
    assert axes.get_yticklabels()[-1].get_text() == "vit_lr"
    assert "0.50" in words(figure)


def test_importance_of_too_few_trials_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame({"setting": SETTINGS, "importance": [1.0, 0, 0, 0, 0]})
    check_saved(tuning_importance(table, synthetic=True), tmp_path / "importance", monkeypatch)
    for empty in (table.iloc[:0], pd.DataFrame(), table.assign(importance=np.nan)):
        figure = tuning_importance(empty, synthetic=False)
        figure.canvas.draw()
        assert "too few trials" in words(figure)


def test_slices_set_each_setting_against_the_objective() -> None:
    table = trials_table(20)
    figure = tuning_slices(table, synthetic=False)
    complete, pruned = (table[table["state"] == state] for state in ("COMPLETE", "PRUNED"))
    best = complete.loc[complete["value"].idxmin()]
    for axes, name in zip(figure.axes, SETTINGS, strict=False):
        np.testing.assert_allclose(points(axes, "complete"), complete[[name, "value"]])
        np.testing.assert_allclose(points(axes, "pruned"), pruned[[name, "last_loss"]])
        np.testing.assert_allclose(points(axes, "best"), [best[[name, "value"]].astype(float)])
        np.testing.assert_allclose(points(axes, "default"), [table.loc[0, [name, "value"]].astype(float)])
        assert axes.get_xlabel() == f"{name} (no unit)"
        logarithmic = name in ("task_lr", "vit_lr", "weight_decay")
        assert axes.get_xscale() == ("log" if logarithmic else "linear")
        assert 2 <= len(axes.get_xticks()) <= 5


def test_a_zero_has_its_place_on_a_logarithmic_axis() -> None:
    table = degenerate_tables()["zero"]
    axes = tuning_slices(table, synthetic=False).axes[3]
    assert axes.get_xscale() == "symlog"
    assert axes.get_xlim()[0] < 0
    assert axes.get_xticklabels()[0].get_text() == "0"
    (parallel, _) = tuning_parallel(table, synthetic=False).axes
    heights = np.array(parallel.collections[0].get_segments())[:, 3, 1]
    worst_first = table[table["state"] == "COMPLETE"].sort_values("value", ascending=False)
    np.testing.assert_array_equal(heights == 0, worst_first["weight_decay"] == 0)


def test_parallel_lines_run_through_every_setting_and_the_objective() -> None:
    table = trials_table(20)
    axes = tuning_parallel(table, synthetic=False).axes[0]
    worst_first = table[table["state"] == "COMPLETE"].sort_values("value", ascending=False)
    lines = np.array(axes.collections[0].get_segments())
    assert lines.shape == (len(worst_first), 6, 2)
    for place, name in enumerate((*SETTINGS, "value")):
        values = worst_first[name].to_numpy()
        values = np.log10(values) if name in ("task_lr", "vit_lr", "weight_decay") else values
        expected = (values - values.min()) / (values.max() - values.min())
        np.testing.assert_allclose(lines[:, place, 1], expected, atol=1e-12)
    np.testing.assert_allclose(points(axes, "best")[:, 1], lines[-1, :, 1])
    default = list(worst_first["number"]).index(0)
    np.testing.assert_allclose(points(axes, "default")[:, 1], lines[default, :, 1])
    ticks = {text.get_text(): text.get_position() for text in axes.texts}
    assert ticks["1e−4"][0] == pytest.approx(3 - 0.05)
    assert "0.8" in ticks


def test_a_single_trial_runs_through_the_middle() -> None:
    axes = tuning_parallel(trials_table(1), synthetic=False).axes[0]
    assert set(points(axes, "best")[:, 1]) == {0.5}
    assert len(axes.texts) == 6
