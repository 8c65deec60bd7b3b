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
from scipy import stats

from cardio_mlflow.figures import style
from cardio_mlflow.figures.ablation import ablation_heat_map, ablation_improvement, ablation_means
from cardio_mlflow.figures.ablation_curves import ablation_alphas, ablation_contributions, ablation_losses
from cardio_mlflow.figures.style import PARAMETER_COLOURS, SYNTHETIC_MARK, save_figure, signed
from cardio_mlflow.parameters import KEYS, PARAMETERS

# Whatever an earlier test left unclosed is collected at any time, also in these.
pytestmark = pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")

SIX = ["full", "no_temporal", "no_fusion", "no_attention", "temporal_only", "fusion_only"]
SEVEN = [*SIX, "no_motion"]
NINE = [*SIX, "frozen", "a4c_only", "four_frames_and_a_large_backbone"]
UNITS = {p.key: p.unit for p in PARAMETERS} | {"mean": "SD"}
Draw = Callable[..., Figure]


def variants_table(names: list[str], seeds: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame([(v, k, u, 235) for v in names for k, u in UNITS.items()])
    rows.columns = ["variant", "parameter", "unit", "n"]
    r, mae = rng.uniform(-0.2, 0.8, len(rows)), rng.uniform(0.4, 3, len(rows))
    ends = {"r_low": r - 0.05, "r_high": r + 0.04, "mae_low": mae - 0.1, "mae_high": mae + 0.2}
    return rows.assign(r=r, mae=mae, **ends, r_seed_sd=0.01 if seeds else np.nan)


def differences_table(names: list[str]) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    pairs = [(v, a) for a in ("full", "no_attention") if a in names for v in names if v != a]
    rows = pd.DataFrame([(*pair, k, u, 235) for pair in pairs for k, u in UNITS.items()])
    rows = rows.reindex(columns=range(5))
    rows.columns = ["variant", "against", "parameter", "unit", "n"]
    columns = {}
    for what in ("r", "mae"):
        d = rng.normal(0, 0.05, len(rows))
        p = rng.uniform(0, 0.1, len(rows))
        columns |= {f"{what}_difference": d, f"{what}_low": d - 0.03, f"{what}_high": d + 0.05}
        columns |= {f"{what}_p": p / 2, f"{what}_p_holm": p}
    return rows.assign(**columns)


def history_table(names: list[str], folds: int = 3, repeats: int = 2, epochs: int = 7) -> pd.DataFrame:
    rng, tables = np.random.default_rng(3), []
    for name in names:
        count = 4 if name == "frozen" else epochs
        epoch = np.arange(1, count + 1)
        for training in range(folds * repeats):
            tables.append(pd.DataFrame({
                "variant": name, "fold": training // repeats + 1, "repeat": training % repeats + 1,
                "epoch": epoch, "stage": 0 if name == "frozen" else epoch // 3, "train_loss": 1 / epoch,
                "val_loss": 0.5 + 1 / epoch + rng.normal(0, 0.05, count), "val_r_mean": 0.5,
            }))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def alphas_table(names: list[str]) -> pd.DataFrame:
    rows = []
    for name in names:
        temporal = {"no_temporal": 0, "no_attention": 0, "fusion_only": 0, "temporal_only": 1}.get(name)
        fusion = {"no_fusion": 0, "no_attention": 0, "temporal_only": 0, "fusion_only": 1}.get(name)
        for fold in (1, 2, 3):
            learned = (0.4 + 0.05 * fold, 0.6 - 0.02 * fold)
            fixed = (temporal, fusion)
            values = [a if b is None else float(b) for a, b in zip(learned, fixed, strict=True)]
            motion = 0.7 if "no_motion" in names and name != "no_motion" else np.nan
            rows.append((name, fold, 1, 7, *values, motion))
    gates = ["alpha_temporal", "alpha_fusion", "alpha_motion"]
    return pd.DataFrame(rows, columns=["variant", "fold", "repeat", "seed", *gates])


DRAWN: dict[str, tuple[Draw, Callable[[list[str]], pd.DataFrame]]] = {
    "means": (ablation_means, variants_table),
    "heat_map": (ablation_heat_map, variants_table),
    "improvement": (ablation_improvement, differences_table),
    "contributions": (ablation_contributions, differences_table),
    "losses": (ablation_losses, history_table),
    "alphas": (ablation_alphas, alphas_table),
}


def texts(figure: Figure) -> list[mpl.text.Text]:
    return [t for t in figure.findobj(mpl.text.Text) if t.get_text() and t.get_visible()]


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in texts(figure))


def dots(axes: Axes) -> list[mpl.collections.PathCollection]:
    return [c for c in axes.collections if isinstance(c, mpl.collections.PathCollection)]


def segments(axes: Axes) -> np.ndarray:
    lines = [c for c in axes.collections if isinstance(c, mpl.collections.LineCollection)]
    return np.concatenate([np.array(c.get_segments()).reshape(-1, 2, 2) for c in lines])


def is_filled(points: mpl.collections.PathCollection) -> list[bool]:
    return [not np.allclose(colour[:3], 1) for colour in points.get_facecolors()]


@pytest.mark.parametrize("names", [SIX, SEVEN, NINE, ["full"], ["full", "no_attention"]], ids=len)
@pytest.mark.parametrize("name", DRAWN)
def test_figures_are_marked_legible_and_saved_whole(
    name: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "DPI", 100)
    monkeypatch.setitem(style._STYLE, "ps.fonttype", 3)  # quicker to write
    draw, table = DRAWN[name]
    figure = draw(table(names), synthetic=True)
    png, eps = save_figure(figure, tmp_path / name, ("png", "eps"))
    pixels = np.asarray(Image.open(png).convert("L"))
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    assert all(edge.min() > 250 for edge in edges)
    assert eps.read_bytes().startswith(b"%!PS-Adobe-3.0 EPSF")
    assert min(text.get_fontsize() for text in texts(figure)) >= 6.5
    assert SYNTHETIC_MARK in words(figure)
    assert SYNTHETIC_MARK not in words(draw(table(names), synthetic=False))


@pytest.mark.parametrize("name", DRAWN)
def test_empty_tables_say_why(name: str) -> None:
    draw, table = DRAWN[name]
    reasons = {
        "means": "no variant has a mean", "heat_map": "no correlation is defined",
        "improvement": "no variant was set against no_attention", "losses": "no training has",
        "contributions": "no variant without a component", "alphas": "no variant learns a gate",
    }  # fmt: skip
    full = table(["full", "no_attention"])
    values = full.select_dtypes("float").columns
    for empty in (full.iloc[:0], pd.DataFrame(), full.assign(**dict.fromkeys(values, np.nan))):
        figure = draw(empty, synthetic=False)
        figure.canvas.draw()
        if name == "improvement" and len(empty):
            assert words(figure).count("not defined") == 11
        else:
            assert reasons[name] in words(figure)


@pytest.mark.parametrize("column", ["r", "mae", "r_low", "mae_high", "n"])
def test_missing_values_are_drawn_around(column: str) -> None:
    table = variants_table(SIX, seeds=False)
    table.loc[table["variant"] == "no_fusion", column] = np.nan
    means = ablation_means(table, synthetic=False)
    for figure in (means, ablation_heat_map(table, synthetic=False)):
        figure.canvas.draw()
    missing = {"r": "n/a", "mae": "n/a", "r_low": "no interval", "mae_high": "no interval", "n": "235"}
    assert missing[column] in words(means)
    assert "seeds" not in words(means)


def test_means_are_the_tables_in_its_order() -> None:
    table = variants_table(NINE)
    rows = table[table["parameter"] == "mean"]
    figure = ablation_means(table, synthetic=False)
    left, right = figure.axes
    for axes, column in ((left, "r"), (right, "mae")):
        (points,) = dots(axes)
        np.testing.assert_allclose(points.get_offsets()[:, 0], rows[column])
        np.testing.assert_array_equal(points.get_offsets()[:, 1], range(9))
        ends = segments(axes)[-9:, :, 0]
        np.testing.assert_allclose(ends, rows[[f"{column}_low", f"{column}_high"]])
    np.testing.assert_allclose(segments(left)[:9, :, 0].T, [rows["r"] - 0.01, rows["r"] + 0.01])
    row = rows.iloc[4]
    assert f"{signed(row['r'])} ({signed(row['r_low'])} to {signed(row['r_high'])})" in words(figure)
    assert [text.get_text().replace("\n", "") for text in left.get_yticklabels()] == NINE
    assert "n = 235 patients" in left.get_title()


def test_the_heat_map_shows_every_number_and_the_best_in_bold() -> None:
    table = variants_table(SIX)
    table.loc[(table["variant"] == "full") & (table["parameter"] == "CO"), ["r", "r_low", "r_high"]] = np.nan
    axes = ablation_heat_map(table, synthetic=False).axes[0]
    r = table.pivot_table(index="variant", columns="parameter", values="r", sort=False)
    r = r.reindex(index=SIX, columns=[*KEYS, "mean"])
    meshes = [c.get_array() for c in axes.collections]
    np.testing.assert_allclose(np.ma.hstack(meshes).filled(np.nan), r)
    numbers = [text for text in axes.texts if text.get_va() == "bottom"]
    found = [text.get_text() for text in numbers]
    assert found == ["n/a" if np.isnan(v) else signed(v) for v in r.to_numpy().ravel()]
    bold = [text.get_fontweight() == "bold" for text in numbers]
    np.testing.assert_array_equal(np.reshape(bold, r.shape), r == r.max())
    intervals = [text.get_text() for text in axes.texts if text.get_va() == "top"]
    first = table.iloc[0]
    assert len(intervals) == 59
    assert intervals[0].replace("\n", " ") == f"{signed(first['r_low'])}, {signed(first['r_high'])}"


def test_improvement_is_over_no_attention_alone_and_filled_when_significant() -> None:
    table = differences_table(SIX)
    table["r_p_holm"], table["mae_p_holm"] = [0.01, 0.2] * 50, [0.2, np.nan, 0.049, 0.05] * 25
    against = table[table["against"] == "no_attention"]
    axes = ablation_improvement(table, synthetic=False).axes
    for place, (key, what) in enumerate([("mean", "r"), ("mean", "mae"), *((key, "r") for key in KEYS)]):
        rows = against[against["parameter"] == key]
        (points,) = dots(axes[place])
        np.testing.assert_allclose(points.get_offsets()[:, 0], rows[f"{what}_difference"])
        np.testing.assert_allclose(segments(axes[place])[:, :, 0], rows[[f"{what}_low", f"{what}_high"]])
        assert is_filled(points) == list(rows[f"{what}_p_holm"] < 0.05)
        if place > 1:
            assert mpl.colors.same_color(points.get_edgecolors()[0], PARAMETER_COLOURS[key])
    assert len({panel.get_xlim() for panel in axes[2:]}) == 1


def test_contributions_are_full_minus_the_variant_without() -> None:
    table = differences_table([*SIX, "frozen"])
    figure = ablation_contributions(table, synthetic=False)
    (axes,) = figure.axes
    against = table[table["against"] == "full"]
    for points, variant in zip(dots(axes), ("no_temporal", "no_fusion", "no_attention"), strict=True):
        rows = against[against["variant"] == variant]
        np.testing.assert_allclose(points.get_offsets()[:, 1], -rows["r_difference"])
        assert is_filled(points) == list(rows["r_p_holm"] < 0.05)
    first = against[against["variant"] == "no_temporal"]
    np.testing.assert_allclose(segments(axes)[:10, :, 1], -first[["r_high", "r_low"]])
    mean = first.iloc[-1]
    low, high = signed(-mean["r_high"]), signed(-mean["r_low"])
    assert f"temporal attention, mean {signed(-mean['r_difference'])} ({low} to {high})" in words(figure)
    assert "motion" not in words(figure)
    without_one = ablation_contributions(table[table["variant"] != "no_fusion"], synthetic=False)
    assert "view fusion" not in words(without_one)


def test_motion_is_a_component_where_a_variant_is_without_it() -> None:
    table = differences_table(SEVEN)
    figure = ablation_contributions(table, synthetic=False)
    against = table[(table["against"] == "full") & (table["variant"] == "no_motion")]
    motion = dots(figure.axes[0])[2]
    np.testing.assert_allclose(motion.get_offsets()[:, 1], -against["r_difference"])
    places = np.sort(np.concatenate([points.get_offsets()[:, 0] for points in dots(figure.axes[0])]))
    assert np.diff(places).min() > 0.15, "no two marks lie on each other"
    assert f"motion, mean {signed(-against['r_difference'].iloc[-1])}" in words(figure)


def test_losses_show_every_training_their_mean_and_its_interval() -> None:
    table = history_table(["full", "frozen"])
    figure = ablation_losses(table, synthetic=False)
    full, frozen = figure.axes
    losses = table[table["variant"] == "full"].pivot_table(
        index="epoch", columns=["fold", "repeat"], values="val_loss"
    )
    *thin, mean = full.lines
    np.testing.assert_allclose(np.array([line.get_ydata() for line in thin]).T, losses)
    np.testing.assert_allclose(mean.get_ydata(), losses.mean(axis=1))
    half = stats.t.ppf(0.975, 5) * losses.std(axis=1) / np.sqrt(6)
    (band,) = full.collections
    corners = band.get_paths()[0].vertices[:, 1]
    assert corners.max() == pytest.approx((losses.mean(axis=1) + half).max())
    assert corners.min() == pytest.approx((losses.mean(axis=1) - half).min())
    assert full.get_ylim() == frozen.get_ylim()
    assert full.get_xlim() == (0.5, 7.5)
    assert frozen.get_xlim() == (0.5, 4.5)
    assert f"6 trainings, lowest mean {losses.mean(axis=1).min():.3f}" in full.get_title()


def test_losses_of_one_training_of_one_epoch_and_of_unequal_lengths() -> None:
    one = ablation_losses(history_table(["full"], folds=1, repeats=1, epochs=1), synthetic=False)
    one.canvas.draw()
    assert "1 training, lowest" in one.axes[0].get_title()
    table = history_table(["full"], folds=2, repeats=1)
    table = table[(table["fold"] == 1) | (table["epoch"] < 4)]
    *_, mean = ablation_losses(table, synthetic=False).axes[0].lines
    assert list(mean.get_xdata()) == [1, 2, 3]
    apart = table[(table["fold"] == 1) ^ (table["epoch"] < 4)]
    ablation_losses(apart.assign(stage=np.nan, repeat=np.nan), synthetic=False).canvas.draw()


def test_a_diverged_training_makes_the_loss_axis_logarithmic() -> None:
    table = history_table(["full", "no_fusion"])
    assert ablation_losses(table, synthetic=False).axes[1].get_yscale() == "linear"
    table.loc[table["variant"] == "no_fusion", "val_loss"] *= 100
    figure = ablation_losses(table, synthetic=False)
    figure.canvas.draw()
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log"]


def test_alphas_of_variants_that_learn_one_and_fixed_ones_hollow() -> None:
    figure = ablation_alphas(alphas_table(SIX), synthetic=False)
    temporal, fusion = figure.axes
    names = [text.get_text() for text in temporal.get_yticklabels()]
    assert names == ["full", "no_temporal", "no_fusion"]
    full, fixed, _ = dots(temporal)
    np.testing.assert_allclose(full.get_offsets()[:, 0], [0.45, 0.5, 0.55])
    assert is_filled(full) == [True]
    assert fixed.get_offsets().tolist() == [[0, 1]]
    assert is_filled(fixed) == [False]
    shown = [text.get_text() for text in temporal.texts]
    assert shown == ["0.50 ± 0.05", "fixed at 0", "0.50 ± 0.05"]
    assert [text.get_text() for text in fusion.texts][2] == "fixed at 0"


def test_one_alpha_that_is_missing_is_said() -> None:
    table = alphas_table(["full"]).iloc[:1].assign(alpha_fusion=np.nan)
    figure = ablation_alphas(table, synthetic=False)
    figure.canvas.draw()
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["0.45", "n/a"]


def test_motion_has_a_panel_where_a_variant_has_the_path() -> None:
    assert len(ablation_alphas(alphas_table(SIX), synthetic=False).axes) == 2
    figure = ablation_alphas(alphas_table(SEVEN), synthetic=False)
    *_, motion = figure.axes
    assert len(figure.axes) == 3
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == SEVEN, "all learn a gate, of attention or of motion"
    np.testing.assert_allclose(dots(motion)[0].get_offsets()[:, 0], [0.7] * 3)
    shown = [text.get_text() for text in motion.texts]
    assert shown == [*["0.70 ± 0.00"] * 6, "no path"]
    older = alphas_table(SIX).drop(columns="alpha_motion")
    assert len(ablation_alphas(older, synthetic=False).axes) == 2
