"""The list of figures: every parameter's own, each name once, every caption on a figure."""

from __future__ import annotations

import pandas as pd

from cardio_mlflow.analysis.results import Evidence, analyse, notes
from cardio_mlflow.figures.catalogue import CAPTIONS, drawings
from cardio_mlflow.parameters import KEYS


def test_every_figure_once_and_every_caption_has_its_figure(table) -> None:
    evidence = Evidence(table(12))
    tables = dict(analyse(evidence, 20, 0))
    history = pd.DataFrame({"epoch": [1], "fold": [1]})
    with_clusters = tables | {"embedding": pd.DataFrame(), "clusters": pd.DataFrame()}
    found = drawings(evidence.predictions, with_clusters, "Cohort I", None, history, "", synthetic=True)
    names = [drawing.name for drawing in found]
    assert len(set(names)) == len(names)
    kinds = ("scatter", "bland_altman", "roc")
    assert set(names) >= {f"{kind}_{key}" for kind in kinds for key in KEYS}
    assert set(CAPTIONS) <= set(names)
    assert all(drawing.options["synthetic"] for drawing in found)


def test_what_is_left_out_is_told(table) -> None:
    evidence = Evidence(table(12))
    tables = dict(analyse(evidence, 20, 0))
    names = {d.name for d in drawings(table(12), tables, "Cohort I", None, None, "", synthetic=False)}
    assert not {name for name in names if name.startswith(("embedding", "training", "learning"))}
    assert any("no embedding" in note for note in notes(evidence, tables))
