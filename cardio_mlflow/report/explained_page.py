"""The page of what pushed a patient's predicted values: which frames and regions, by Integrated Gradients."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cardio_mlflow.report.page import small_png
from cardio_mlflow.report.patient_page import ModelShown
from cardio_mlflow.report.table_views import table_view
from cardio_mlflow.report.templates import write_page


@dataclass(frozen=True)
class ExplainedPage:
    """What stands on the page.

    Attributes:
        name: the patient's id or pseudonym.
        model: what has predicted.
        how: sentences: which network is explained, how exactly, and how to read it.
        shares: by parameter, how far each view has pushed the prediction, in SDs.
        figures: PNG files with their captions, in order.
        back: the address of the patient's own page.
    """

    name: str
    model: ModelShown
    how: Sequence[str]
    shares: pd.DataFrame
    figures: Sequence[tuple[Path, str]]
    back: str


def write_explained_page(path: Path, page: ExplainedPage) -> None:
    """Write the page, whole or not at all; it needs no other file."""
    figures = []
    for file, caption in page.figures:
        data, width, height = small_png(file)
        source = f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
        figures.append({"source": source, "width": width, "height": height, "caption": caption})
    write_page(
        path,
        "explained.html.j2",
        ["report.css", "patient.css"],
        page=page,
        model=page.model,
        shares=table_view("shares", "view_shares", page.shares),
        figures=figures,
    )
