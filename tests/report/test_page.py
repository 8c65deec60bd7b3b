"""The page: self-contained, without a script, safe against hostile text, and complete in a browser."""

from __future__ import annotations

import dataclasses
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cardio_mlflow.analysis.bland_altman import bland_altman_table
from cardio_mlflow.analysis.summary import performance_table
from cardio_mlflow.figures.scatter import scatter_page
from cardio_mlflow.figures.style import new_figure, save_figure, styled
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.report.checklists import checklist_rows
from cardio_mlflow.report.methods import MethodFacts, methods_paragraphs
from cardio_mlflow.report.page import WIDEST, ReportContent, small_png, write_report
from cardio_mlflow.report.participant_flow import flow_table
from cardio_mlflow.report.table_views import MOST_ROWS, headline_view
from cardio_mlflow.settings_reading import load_settings
from tests.browser import browse, images_and_excess, needs_browser

HOSTILE = "</style><script>document.title='x'</script><img src=x onerror=alert(1)>{{ 7*7 }}&\"'"


def _figures(folder, predictions, performance):
    page = scatter_page(predictions, performance, synthetic=True)
    with styled():
        curve = new_figure(3.4, 2.4, synthetic=True)
        axes = curve.subplots()
        axes.plot(np.linspace(0, 1, 20), np.linspace(0, 1, 20) ** 0.4)
        axes.set(xlabel="1 − specificity", ylabel="sensitivity")
    (first,) = save_figure(page, folder / "scatter")
    (second,) = save_figure(curve, folder / "roc")
    return {
        "scatter": (
            first,
            "Reference against prediction of all nine parameters; identity and regression line.",
        ),
        "roc": (second, f"ROC curve for PH. {HOSTILE}"),
    }


@pytest.fixture
def content(tmp_path, table):
    predictions = table()
    performance = performance_table(predictions, 100, 0)
    settings = load_settings({}, {})
    facts = MethodFacts("I", 40, 1000, 0, 5, {"torch": "2.13.0", "numpy": "2.4.6"}, True, "", None)
    return ReportContent(
        title="Right-heart catheterisation values from echocardiography",
        cohort_name="Cohort I, out-of-fold predictions of 40 patients",
        synthetic=True,
        performance=performance,
        mean_r="Mean signed r over 9 parameters: 0.71 (95 % CI 0.66 to 0.75)",
        tables={"predictions": predictions.assign(patient_id=HOSTILE), "performance": performance},
        figures=_figures(tmp_path, predictions, performance),
        methods=methods_paragraphs(settings, facts),
        flow=flow_table(None, predictions),
        checklists=checklist_rows(facts, settings, tables=("discrimination",)),
        notes=["The decision curve is left out: no folds.", HOSTILE],
        settings_text=settings.to_yaml(),
        bland_altman=bland_altman_table(predictions),
    )


def _written(path, content):
    write_report(path, content)
    return path.read_text("utf-8")


def test_the_page_holds_everything_and_needs_nothing(tmp_path, content):
    text = _written(tmp_path / "new" / "report.html", content)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]
    assert len(text) < 10e6
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert not re.search(r"<script|<link|<iframe|<object|@import|url\(|https?://", text)
    assert set(re.findall(r'<img src="(.{22})', text)) == {"data:image/png;base64,"}
    assert text.count("<img ") == len(re.findall(r'<img [^>]*alt="[^"]+"', text)) == 2
    assert '<html lang="en">' in text
    for words in (
        "Synthetic cohort.",
        "research only",
        "Not a medical device",
        content.mean_r,
        "backbone: demo",
    ):
        assert words in text
    assert all(f'<th scope="row">{key}</th>' in text for key in KEYS)


def test_every_entry_of_the_contents_leads_somewhere(tmp_path, content):
    text = _written(tmp_path / "r.html", content)
    anchors = re.findall(r'href="#([^"]+)"', text)
    identities = re.findall(r'\sid="([^"]+)"', text)
    assert len(identities) == len(set(identities))
    assert set(anchors) <= set(identities)
    assert {"performance", "flow", "figure-2", "table-2", "methods", "checklist-2", "settings"} <= set(
        anchors
    )


def test_nothing_given_is_taken_for_markup(tmp_path, content):
    hostile = dataclasses.replace(
        content, title=HOSTILE, cohort_name=HOSTILE, mean_r=HOSTILE, methods=[HOSTILE], settings_text=HOSTILE,
        tables={HOSTILE: pd.DataFrame({HOSTILE: [HOSTILE, "\ud800"]}, dtype=object)},
    )  # fmt: skip
    text = _written(tmp_path / "r.html", hostile)
    assert "<script" not in text
    assert "<img src=x" not in text
    assert text.count("</style>") == 1
    assert "{{ 7*7 }}" in text


def test_only_a_synthetic_cohort_is_called_so(tmp_path, content):
    assert "ynthetic cohort." not in _written(
        tmp_path / "r.html", dataclasses.replace(content, synthetic=False)
    )


def test_long_tables_are_cut_and_say_so(tmp_path, content):
    text = _written(tmp_path / "r.html", content)
    assert f"{360 - MOST_ROWS} further rows are in the workbook." in text


def test_a_page_of_almost_nothing(tmp_path, content, table):
    one = performance_table(table(patients=1), 100, 0)
    bare = dataclasses.replace(
        content, performance=one, tables={"roc": pd.DataFrame()}, figures={}, methods=[], checklists=[],
        notes=[],        settings_text="", bland_altman=None,
    )  # fmt: skip
    text = _written(tmp_path / "r.html", bare)
    assert "not defined" in text
    assert "predictions were given as a table" in text
    assert 'id="figures"' not in text


def test_the_headline(table):
    performance = performance_table(table(), 100, 0)
    limits = bland_altman_table(table())
    view = headline_view(performance, limits)
    names = [column.name for column in view.columns]
    assert names == [
        "Parameter", "n", "r", "CCC", "ICC", "MAE", "Bias", "Lower limit", "Upper limit", "AUC", "Unit",
    ]  # fmt: skip
    row, cells = (
        performance.iloc[0],
        dict(zip(names, (cell.replace("\u00a0", " ") for cell in view.rows[0]), strict=True)),
    )
    for title, name, of in (
        ("r", "r", row), ("CCC", "ccc", row), ("ICC", "icc", row), ("MAE", "mae", row), ("Bias", "bias", row),
        ("Lower limit", "lower", limits.iloc[0]), ("Upper limit", "upper", limits.iloc[0]),
        ("AUC", "auc", row),
    ):  # fmt: skip
        value, low, high = (f"{of[name + end]:.2f}".replace("-", "−") for end in ("", "_low", "_high"))
        assert cells[title] == f"{value}\n({low} to {high})", title
    alone = headline_view(performance_table(table(1), 100, 0), bland_altman_table(table(1)))
    assert alone.rows[0][7] == "not defined", "no limits of one patient"
    assert "no interval" in alone.rows[0][5], "a mean absolute error, without an interval"
    assert "Lower limit" not in [column.name for column in headline_view(performance, None).columns]


def test_a_figure_is_made_small(tmp_path):
    pixels = np.zeros((500, 4000, 4), np.uint8)
    pixels[:, :2000] = (200, 30, 30, 255)
    Image.fromarray(pixels).save(tmp_path / "f.png")
    data, width, height = small_png(tmp_path / "f.png")
    shown = Image.open(io.BytesIO(data))
    assert (shown.size, shown.mode, width, height) == ((WIDEST, 200), "P", 4000, 500)
    assert shown.convert("RGB").getpixel((1500, 100)) == (255, 255, 255)
    assert shown.convert("RGB").getpixel((100, 100)) == (200, 30, 30)
    Image.fromarray(pixels).save(tmp_path / "f.png", dpi=(300, 300))
    assert small_png(tmp_path / "f.png")[1:] == (1920, 240)


def test_a_missing_figure_is_a_fault(tmp_path, content):
    with pytest.raises(FileNotFoundError):
        write_report(
            tmp_path / "r.html", dataclasses.replace(content, figures={"a": (tmp_path / "no.png", "")})
        )
    assert not (tmp_path / "r.html").exists()


def test_the_same_content_gives_the_same_bytes(tmp_path, content):
    assert _written(tmp_path / "a.html", content) == _written(tmp_path / "b.html", content)


@needs_browser
def test_a_browser_shows_every_image_and_complains_of_nothing(tmp_path, content):
    _written(tmp_path / "r.html", content)
    plain = browse(tmp_path / "r.html", tmp_path)
    assert "CONSOLE" not in plain.stderr
    assert plain.stdout.count("<img ") == 2
    for width in (700, 1400):
        seen, excess = images_and_excess(tmp_path / "r.html", tmp_path, width)
        assert seen == 2
        assert excess <= 0
