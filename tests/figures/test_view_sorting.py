from __future__ import annotations

import numpy as np
import pandas as pd

from cardio_mlflow.figures.style import transparent_artists
from cardio_mlflow.figures.view_sorting import view_confusion
from cardio_mlflow.parameters import VIEW_CODES

CLASSES = (*VIEW_CODES, "other")


def test_labels_against_suggestions():
    counts = pd.DataFrame(np.diag([12, 10, 9, 11, 6]), CLASSES, CLASSES)
    counts.loc["TC", "FC"] = 2
    figure = view_confusion(counts, synthetic=True)
    (axes,) = figure.axes
    assert axes.get_title() == "50 clips, 96.0 % suggested as labelled"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["A4C", "A2C", "PSAX", "PLAX", "other"]
    assert {text.get_text() for text in axes.texts} >= {"12\n100 %", "2\n17 %", "10\n83 %"}
    assert not transparent_artists(figure)


def test_no_clips_at_all():
    empty = pd.DataFrame(0, CLASSES, CLASSES)
    assert view_confusion(empty, synthetic=False).axes[0].get_title() == "0 clips"
