from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cardio_mlflow.analysis.comparison import comparison_table
from cardio_mlflow.analysis.summary import performance_table
from cardio_mlflow.figures.ablation import ablation_heat_map
from cardio_mlflow.figures.bland_altman import bland_altman, bland_altman_page
from cardio_mlflow.figures.correlation_bars import correlation_bars
from cardio_mlflow.figures.scatter import scatter, scatter_page
from cardio_mlflow.figures.style import PARAMETER_COLOURS, SYNTHETIC_MARK, r_with_interval, save_figure
from cardio_mlflow.figures.training_curves import training_curves
from cardio_mlflow.parameters import KEYS


def history(epochs: int = 6, **columns: object) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    base = {"epoch": epoch, "stage": epoch // 3, "train_loss": 1 / epoch, "val_loss": 1.1 / epoch,
            "val_r_mean": 1 - 1 / epoch, "lr_task": 1e-4, "lr_backbone": 3e-5}  # fmt: skip
    return pd.DataFrame(base | columns)


def every_figure(one: pd.DataFrame, *, synthetic: bool) -> dict[str, Figure]:
    performance = performance_table(one, 50, 0)
    both = pd.concat([one, one.assign(variant="no_fusion", prediction=one["prediction"] * 2)])
    return {
        "scatter": scatter(one, performance, "meanPAP", synthetic=synthetic),
        "scatter_page": scatter_page(one, performance, synthetic=synthetic),
        "bland_altman": bland_altman(one, "CO", synthetic=synthetic),
        "bland_altman_page": bland_altman_page(one, synthetic=synthetic),
        "training_curves": training_curves(history(), synthetic=synthetic),
        "correlation_bars": correlation_bars({"Cohort I": performance}, {"CO": 0.9}, synthetic=synthetic),
        "ablation": ablation_heat_map(comparison_table(both), synthetic=synthetic),
    }


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


@pytest.mark.parametrize("synthetic", [True, False])
def test_the_synthetic_mark_is_on_every_figure_and_only_when_it_should_be(table, synthetic: bool) -> None:
    for name, figure in every_figure(table(), synthetic=synthetic).items():
        assert (SYNTHETIC_MARK in words(figure)) == synthetic, name


def test_no_text_is_cut_at_the_edge(table, tmp_path: Path) -> None:
    for name, figure in every_figure(table(), synthetic=True).items():
        (path,) = save_figure(figure, tmp_path / name)
        pixels = np.asarray(Image.open(path).convert("L"))
        edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
        assert all(edge.min() > 250 for edge in edges), name


def test_degenerate_tables_are_drawn_and_say_so(table) -> None:
    one = table(12)
    one.loc[one["parameter"] == "RAP", "reference"] = np.nan
    one.loc[one["parameter"] == "CO", "prediction"] = 5.0
    one.loc[one["parameter"] == "CI", ["reference", "prediction"]] = 2.0
    for synthetic in (True, False):
        figures = every_figure(one, synthetic=synthetic)
        for figure in figures.values():
            figure.canvas.draw()
        assert "no reference" in words(figures["scatter_page"])
        assert "r not defined" in words(figures["scatter_page"])
        assert "n/a" in words(figures["correlation_bars"])


def test_one_patient_is_drawn(table) -> None:
    for name, figure in every_figure(table(1), synthetic=False).items():
        figure.canvas.draw()
        assert figure.axes, name


def test_points_are_patients_with_a_reference_split_by_hypertension(table) -> None:
    one = table()
    one.loc[(one["patient_id"] == "P003"), "reference"] = np.nan
    figure = scatter(one, performance_table(one, 20, 0), "PCWP", synthetic=False)
    drawn = [len(points.get_offsets()) for points in figure.axes[0].collections]
    pressure = one[(one["parameter"] == "meanPAP")]["reference"].dropna()
    assert drawn == [(pressure <= 20).sum(), (pressure > 20).sum(), 0]


def test_the_title_shows_the_tables_numbers(table) -> None:
    one = table()
    performance = performance_table(one, 50, 0)
    row = performance.set_index("parameter").loc["CO"]
    assert (
        r_with_interval(performance, "CO") == f"r {row['r']:.2f} ({row['r_low']:.2f} to {row['r_high']:.2f})"
    )


def test_bland_altman_draws_bias_and_limits_with_n_minus_one(table) -> None:
    one = table()
    rows = one[one["parameter"] == "CO"]
    difference = (rows["prediction"] - rows["reference"]).to_numpy()
    expected = difference.mean() + np.array([-1, 0, 0, 1]) * 1.959964 * difference.std(ddof=1)
    expected[1] = 0
    expected[2] = difference.mean()
    drawn = [line.get_ydata()[0] for line in bland_altman(one, "CO", synthetic=False).axes[0].lines]
    np.testing.assert_allclose(sorted(drawn), sorted(expected), rtol=1e-5, atol=1e-9)


def test_training_curves_mark_the_best_epoch_of_each_fold() -> None:
    val_loss = [1.0, 0.5, 0.7, 0.8, 0.9, 1.0]
    folds = pd.concat([history(fold=1, val_loss=val_loss), history(fold=2)])
    marks = [
        line for line in training_curves(folds, synthetic=False).axes[0].lines if line.get_marker() == "D"
    ]
    assert [float(np.ravel(mark.get_xdata())[0]) for mark in marks] == [2.0, 6.0]


def test_training_curves_of_one_epoch_and_without_validation_loss() -> None:
    figure = training_curves(history(1, val_loss=np.nan, val_r_mean=np.nan), synthetic=False)
    figure.canvas.draw()
    marked = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert not [line for line in marked if np.isfinite(np.asarray(line.get_ydata(), dtype=float)).any()]


def test_drawing_leaves_matplotlibs_settings_alone(table) -> None:
    before = dict(mpl.rcParams)
    every_figure(table(5), synthetic=True)
    assert dict(mpl.rcParams) == before


def test_saving_writes_each_format_and_leaves_nothing_else(table, tmp_path: Path) -> None:
    figure = scatter(table(8), performance_table(table(8), 10, 0), "CO", synthetic=True)
    paths = save_figure(figure, tmp_path / "new" / "scatter.CO", ("png", "svg"))
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["scatter.CO.png", "scatter.CO.svg"]
    assert Image.open(paths[0]).info["dpi"] == pytest.approx((300, 300), abs=0.1)
    again = save_figure(figure, tmp_path / "again")
    assert again[0].read_bytes() == paths[0].read_bytes()


def test_every_parameter_has_its_own_colour() -> None:
    assert tuple(PARAMETER_COLOURS) == KEYS
    assert len(set(PARAMETER_COLOURS.values())) == len(KEYS)
