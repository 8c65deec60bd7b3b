"""The list of figures: every parameter's own, each name once, and drawn again from a run's tables."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest

from cardio_mlflow.analysis.results import Evidence, analyse, notes
from cardio_mlflow.figures.catalogue import CAPTIONS, Drawing, drawings, read_tables
from cardio_mlflow.parameters import KEYS
from tests.figures.hand_tables import embedding, history, view_subset_accuracy, with_intervals


@pytest.fixture(scope="module")
def tables(table) -> dict[str, pd.DataFrame]:
    """Every table of an evaluation of 12 patients, the maps made by hand."""
    found = dict(analyse(Evidence(with_intervals(table(12))), 20, 0))
    found["embedding"], found["clusters"] = embedding(table(12))
    found["history"] = pd.concat([history(fold=fold) for fold in (1, 2)])
    found["view_subset_accuracy"] = view_subset_accuracy()
    found["ceiling"] = pd.DataFrame({"parameter": KEYS, "r": 0.9 - 0.01 * len(KEYS)})
    return found


def test_every_figure_once_and_every_caption_has_its_figure(table, tables) -> None:
    found = drawings(with_intervals(table(12)), tables, "Cohort I", synthetic=True)
    names = [drawing.name for drawing in found]
    assert len(set(names)) == len(names)
    kinds = ("scatter", "bland_altman", "roc")
    assert set(names) >= {f"{kind}_{key}" for kind in kinds for key in KEYS}
    assert set(CAPTIONS) <= set(names)
    assert all(drawing.options["synthetic"] for drawing in found)


def test_what_is_left_out_is_told(table) -> None:
    evidence = Evidence(table(12))
    tables = dict(analyse(evidence, 20, 0))
    names = {d.name for d in drawings(table(12), tables, "Cohort I", synthetic=False)}
    assert not {name for name in names if name.startswith(("embedding", "training", "learning"))}
    assert any("no embedding" in note for note in notes(evidence, tables))


def test_the_tables_of_a_run_give_its_figures_again(table, tables, tmp_path: Path) -> None:
    one = with_intervals(table(12))
    one["patient_id"] = one["patient_id"].str.replace("P0", "00")  # a text, though it reads as a number
    found = tables | dict(analyse(Evidence(one), 20, 0))
    found["embedding"], found["clusters"] = embedding(one)
    one.to_csv(tmp_path / "predictions.csv", index=False)
    (tmp_path / "tables").mkdir()
    for name, values in found.items():
        values.to_csv(tmp_path / "tables" / f"{name}.csv", index=False)
    first = drawings(one, found, "Cohort I", synthetic=True)
    again = drawings(*read_tables(tmp_path), "Cohort I", synthetic=True)
    assert [drawing.name for drawing in first] == [drawing.name for drawing in again]
    others = tuple(f"_{key}{end}" for key in KEYS[1:] for end in ("", "_plain"))
    for before, after in zip(first, again, strict=True):
        if not before.name.endswith(others):
            assert _pixels(before) == _pixels(after), before.name


def _pixels(drawing: Drawing) -> bytes:
    buffer = BytesIO()
    drawing.figure().savefig(buffer, format="rgba", dpi=60)
    return buffer.getvalue()
