from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cardio_mlflow.analysis.classification import classification_table
from cardio_mlflow.analysis.discrimination import discrimination_table, roc_points
from cardio_mlflow.analysis.heteroscedasticity import heteroscedasticity_table, residual_quartiles
from cardio_mlflow.analysis.summary import performance_table
from cardio_mlflow.figures import style
from cardio_mlflow.figures.correlation import correlation_bars, correlation_bubbles, correlation_heat_maps
from cardio_mlflow.figures.embedding import embedding_overview, embedding_page
from cardio_mlflow.figures.folds import fold_summary
from cardio_mlflow.figures.roc import confusion_page, decision_curve_figure, roc_curves, roc_page
from cardio_mlflow.figures.scatter import (
    bland_altman,
    bland_altman_page,
    residual_page,
    scatter,
    scatter_page,
)
from cardio_mlflow.figures.style import (
    FORMATS,
    PARAMETER_COLOURS,
    SYNTHETIC_MARK,
    new_figure,
    r_with_interval,
    save_figure,
)
from cardio_mlflow.figures.subgroups import identity_page, phenotype_matrix, subgroup_forest
from cardio_mlflow.figures.training_curves import learning_rate_curves, parameter_curves, training_curves
from cardio_mlflow.parameters import KEYS
from tests.figures import hand_tables
from tests.figures.hand_tables import history


def every_figure(one: pd.DataFrame, *, synthetic: bool) -> dict[str, Figure]:
    performance = performance_table(one, 20, 0)
    flat = {"synthetic": synthetic, "stratified": False}
    figures = {
        "scatter": scatter(one, performance, "meanPAP", synthetic=synthetic),
        "scatter_all": scatter(one, performance, "CI", **flat),
        "scatter_page": scatter_page(one, performance, synthetic=synthetic),
        "scatter_page_all": scatter_page(one, performance, **flat),
        "bland_altman": bland_altman(one, "CO", synthetic=synthetic),
        "bland_altman_all": bland_altman(one, "CO", **flat),
        "bland_altman_page": bland_altman_page(one, synthetic=synthetic),
        "bland_altman_page_all": bland_altman_page(one, **flat),
        "training_curves": training_curves(history(), synthetic=synthetic),
        "correlation_bars": correlation_bars({"Cohort I": performance}, {"CO": 0.9}, synthetic=synthetic),
    }
    return figures | new_figures(one, synthetic=synthetic)


def new_figures(one: pd.DataFrame, *, synthetic: bool) -> dict[str, Figure]:
    n = one["patient_id"].nunique()
    roc, discrimination = hand_tables.roc(one)
    classes = hand_tables.classification(one)
    places, clusters = hand_tables.embedding(one)
    matrices = [hand_tables.correlations(one, column) for column in ("reference", "prediction")]
    folds = pd.concat([history(fold=1), history(8, fold=2)])
    mark = {"synthetic": synthetic}
    return {
        "roc": roc_curves(roc, discrimination, "SVRI", **mark),
        "roc_page": roc_page(roc, discrimination, **mark),
        "confusion_cutoff": confusion_page(classes, "cut-off", **mark),
        "confusion_median": confusion_page(classes, "median", **mark),
        "decision": decision_curve_figure(hand_tables.decision(n), "too few patients", **mark),
        "phenotype": phenotype_matrix(*hand_tables.phenotypes(n), **mark),
        "residuals": residual_page(one, *hand_tables.residuals(one), **mark),
        "identities": identity_page(*hand_tables.identities(one), **mark),
        "subgroups": subgroup_forest(hand_tables.subgroups(one), **mark),
        "embedding_overview": embedding_overview(places, one, clusters, **mark),
        "embedding_umap": embedding_page(places, one, method="umap", **mark),
        "embedding_tsne": embedding_page(places, one, method="tsne", **mark),
        "correlation_heat_maps": correlation_heat_maps(*matrices, **mark),
        "correlation_bubbles": correlation_bubbles(*matrices, **mark),
        "folds": fold_summary(hand_tables.folds(), **mark),
        "learning_rates": learning_rate_curves(folds, **mark),
        "parameter_curves": parameter_curves(folds, **mark),
    }


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


@pytest.fixture(scope="module")
def figures(table) -> dict[bool, dict[str, Figure]]:
    """Every figure of one cohort, by whether it is synthetic; drawn once."""
    return {synthetic: every_figure(table(), synthetic=synthetic) for synthetic in (True, False)}


@pytest.mark.parametrize("synthetic", [True, False])
def test_the_synthetic_mark_is_on_every_figure_and_only_when_it_should_be(figures, synthetic: bool) -> None:
    for name, figure in figures[synthetic].items():
        assert (SYNTHETIC_MARK in words(figure)) == synthetic, name


def test_no_text_is_cut_at_the_edge_and_eps_is_opaque(
    figures, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "DPI", 100)
    monkeypatch.setitem(style._STYLE, "ps.fonttype", 3)  # quicker to write
    for name, figure in figures[True].items():
        path, eps = save_figure(figure, tmp_path / name, ("png", "eps"))
        pixels = np.asarray(Image.open(path).convert("L"))
        edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
        assert all(edge.min() > 250 for edge in edges), name
        assert eps.read_bytes().startswith(b"%!PS-Adobe-3.0 EPSF"), name
    assert "transparen" not in caplog.text


def test_no_text_is_smaller_than_print_allows(figures) -> None:
    for name, figure in figures[True].items():
        shown = [t for t in figure.findobj(mpl.text.Text) if t.get_text() and t.get_visible()]
        assert min(text.get_fontsize() for text in shown) >= 6.5, name


def test_degenerate_tables_are_drawn_and_say_so(table) -> None:
    one = table(12)
    one.loc[one["parameter"] == "RAP", "reference"] = np.nan
    one.loc[one["parameter"] == "CO", "prediction"] = 5.0
    one.loc[one["parameter"] == "CI", ["reference", "prediction"]] = 2.0
    for synthetic in (True, False):
        figures = every_figure(one, synthetic=synthetic)
        for name in figures if synthetic else ():
            figures[name].canvas.draw()
        for name in (
            "scatter_page",
            "roc_page",
            "confusion_cutoff",
            "residuals",
            "embedding_umap",
            "subgroups",
        ):
            assert "no reference" in words(figures[name]), name
        assert "r not defined" in words(figures["scatter_page"])
        assert "n/a" in words(figures["correlation_bars"])
        assert "n/a" in words(figures["correlation_heat_maps"])


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
    paths = save_figure(figure, tmp_path / "new" / "scatter.CO", FORMATS)
    assert [path.name for path in paths] == [f"scatter.CO.{suffix}" for suffix in FORMATS]
    assert sorted((tmp_path / "new").iterdir()) == sorted(paths)
    pixels = {path.suffix: Image.open(path) for path in paths if path.suffix in (".png", ".tiff")}
    for image in pixels.values():
        assert image.mode == "RGB"
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert pixels[".tiff"].info["compression"] == "tiff_lzw"
    np.testing.assert_array_equal(np.asarray(pixels[".png"]), np.asarray(pixels[".tiff"]))
    again = save_figure(figure, tmp_path / "again", FORMATS)
    for first, second in zip(paths, again, strict=True):
        if first.suffix != ".eps":  # holds the time of writing
            assert first.read_bytes() == second.read_bytes(), first.suffix


def test_saving_refuses_unknown_formats_and_transparent_artists(tmp_path: Path) -> None:
    for look in ({"alpha": 0.5}, {"color": (0.0, 0.0, 1.0, 0.5)}):
        figure = new_figure(2, 2, synthetic=False)
        figure.subplots().plot([0, 1], [0, 1], label="pale line", **look)
        with pytest.raises(ValueError, match="pale line"):
            save_figure(figure, tmp_path / "figure", ("png", "eps"))
    with pytest.raises(ValueError, match="unknown figure format gif"):
        save_figure(new_figure(2, 2, synthetic=False), tmp_path / "figure", ("png", "gif"))
    assert not list(tmp_path.iterdir())


def test_unstratified_points_have_one_colour_and_no_legend_of_groups(table) -> None:
    one = table()
    performance = performance_table(one, 20, 0)
    single = scatter(one, performance, "PVR", synthetic=False, stratified=False)
    page = bland_altman_page(one, synthetic=False, stratified=False)
    for figure, colour in ((single, PARAMETER_COLOURS["PVR"]), (page, PARAMETER_COLOURS["RAP"])):
        (points,) = figure.axes[0].collections
        assert len(points.get_offsets()) == 40
        assert mpl.colors.to_hex(points.get_facecolor()[0]).upper() == colour.upper()
        assert not {"no PH", "PH"} & {text.get_text() for text in figure.legends[0].get_texts()}


def test_equal_learning_rates_of_folds_are_one_line() -> None:
    rows = [
        {"epoch": epoch, "fold": fold, "stage": 0, "lr_task": 1e-3 / epoch, "lr_backbone": 1e-4}
        for fold in (1, 2)
        for epoch in (1, 2, 3)
    ]
    same = learning_rate_curves(pd.DataFrame(rows), synthetic=False)
    assert "all folds" in words(same)
    assert [len(axes.lines) for axes in same.axes] == [1, 1]
    rows[0]["lr_task"] = 2e-3
    other = learning_rate_curves(pd.DataFrame(rows), synthetic=False)
    assert [len(axes.lines) for axes in other.axes] == [2, 2]


def test_empty_tables_say_why() -> None:
    none = hand_tables.folds().iloc[:0]
    assert "no fold has a correlation" in words(fold_summary(none, synthetic=False))
    empty = hand_tables.decision(3)
    assert "one class" in words(decision_curve_figure(empty, "one class", synthetic=False))
    subgroups = pd.DataFrame(columns=["subgroup", "level", "parameter"])
    assert "no subgroups" in words(subgroup_forest(subgroups, synthetic=False))
    frozen = history(lr_backbone=0.0)
    assert "no learning rate above zero" in words(learning_rate_curves(frozen, synthetic=False))
    unseen = history().drop(columns="val_r_CO")
    assert "no validation r" in words(parameter_curves(unseen, synthetic=False))


def test_a_median_split_says_that_it_is_no_clinical_cutoff(table) -> None:
    classes = hand_tables.classification(table())
    median = words(confusion_page(classes, "median", synthetic=False))
    assert "split at the references' median, not a clinical cut-off" in median
    assert "not a clinical" not in words(confusion_page(classes, "cut-off", synthetic=False))


def test_the_legend_of_a_roc_curve_shows_the_tables_area(table) -> None:
    roc, discrimination = hand_tables.roc(table())
    row = discrimination.set_index(["parameter", "outcome"]).loc[("CO", "PH")]
    shown = words(roc_curves(roc, discrimination, "CO", synthetic=False))
    assert f"meanPAP > 20 mmHg\nAUC {row['auc']:.2f} ({row['auc_low']:.2f} to {row['auc_high']:.2f})" in shown


def test_every_parameter_has_its_own_colour() -> None:
    assert tuple(PARAMETER_COLOURS) == KEYS
    assert len(set(PARAMETER_COLOURS.values())) == len(KEYS)


def test_the_place_of_a_parameter_that_is_not_predicted_stays_empty(table) -> None:
    one = table(12)
    one = one[one["parameter"] != "PVR"]
    pages = [
        scatter_page(one, performance_table(one, 50, 0), synthetic=False),
        bland_altman_page(one, synthetic=False),
        roc_page(roc_points(one), discrimination_table(one, 50, 0), synthetic=False),
        confusion_page(classification_table(one), "cut-off", synthetic=False),
        residual_page(one, residual_quartiles(one), heteroscedasticity_table(one), synthetic=False),
    ]
    for page in pages:
        assert "SVRI" in words(page)
        assert "PVR" not in words(page)
        assert [axes.axison for axes in page.axes].count(False) == 1
