"""The report as one self-contained page: no script, nothing from outside."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd
from PIL import Image

from cardio_mlflow.report.checklists import ChecklistRow
from cardio_mlflow.report.columns import title_and_meaning
from cardio_mlflow.report.table_views import TableView, headline_view, table_view
from cardio_mlflow.report.templates import write_page

PIXELS_AN_INCH: Final = 144
"""Size on the screen of a figure whose file says its size in print, in CSS pixels."""
WIDEST: Final = 1600
"""Width of an embedded figure in pixels, at most."""
COLOURS: Final = 256
"""Colours of an embedded figure."""


@dataclass(frozen=True)
class ReportContent:
    """Everything that stands in the page.

    Attributes:
        title: the page's heading.
        performance: the performance table, for the headline.
        mean_r: the mean correlation with its interval, in words.
        tables: further tables by name, each in a part that opens.
        figures: PNG file and caption of each figure by name, in order.
        methods: paragraphs of the methods section.
        flow: the participant flow.
        checklists: items of the reporting checklists; none leaves the section out.
        notes: what is undefined or left out, shown at the top.
        settings_text: the settings as text; empty when they are not known.
        bland_altman: limits of agreement for the headline; None leaves them out.
        sentences: what the intervals come to, and what following from stroke volume gained.
    """

    title: str
    cohort_name: str
    synthetic: bool
    performance: pd.DataFrame
    mean_r: str
    tables: Mapping[str, pd.DataFrame]
    figures: Mapping[str, tuple[Path, str]]
    methods: Sequence[str]
    flow: pd.DataFrame
    checklists: Sequence[ChecklistRow]
    notes: Sequence[str]
    settings_text: str
    bland_altman: pd.DataFrame | None = None
    sentences: Sequence[str] = ()


@dataclass(frozen=True)
class _Figure:
    anchor: str
    title: str
    caption: str
    alt: str
    source: str
    width: int
    height: int


@dataclass(frozen=True)
class _Section:
    """An entry of the contents; `entries` are the tables or figures below it."""

    anchor: str
    title: str
    entries: Sequence[TableView | _Figure] = field(default=())


def write_report(path: Path, content: ReportContent) -> None:
    """Write the page, whole or not at all.

    The same content makes the same bytes.

    Args:
        path: the .html file; its folder is made when it is missing.
        content: what stands in it.

    Raises:
        FileNotFoundError: a figure's file is not there.
    """
    figures = [
        _figure(f"figure-{number}", name, *given)
        for number, (name, given) in enumerate(content.figures.items(), 1)
    ]
    tables = [
        table_view(f"table-{number}", name, table)
        for number, (name, table) in enumerate(content.tables.items(), 1)
    ]
    checklists = _checklist_views(content.checklists)
    write_page(
        path,
        "report.html.j2",
        ["report.css"],
        title=content.title,
        cohort_name=content.cohort_name,
        synthetic=content.synthetic,
        notes=content.notes,
        mean_r=content.mean_r,
        sentences=content.sentences,
        headline=headline_view(content.performance, content.bland_altman),
        flow=table_view("flow-table", "participant_flow", content.flow),
        figures=figures,
        tables=tables,
        methods=content.methods,
        checklists=checklists,
        settings_text=content.settings_text,
        contents=_contents(figures, tables, checklists),
    )


def _contents(
    figures: Sequence[_Figure], tables: Sequence[TableView], checklists: Sequence[TableView]
) -> list[_Section]:
    sections = [_Section("performance", "Performance"), _Section("flow", "Participant flow")]
    if figures:
        sections.append(_Section("figures", "Figures", figures))
    if tables:
        sections.append(_Section("tables", "Tables", tables))
    sections.append(_Section("methods", "Methods"))
    if checklists:
        sections.append(_Section("checklists", "Reporting checklists", checklists))
    return [*sections, _Section("settings", "Settings")]


def _checklist_views(rows: Sequence[ChecklistRow]) -> list[TableView]:
    """One table for each checklist, with how many of its items are filled."""
    views = []
    for number, name in enumerate(dict.fromkeys(row.checklist for row in rows), 1):
        items = [row for row in rows if row.checklist == name]
        table = pd.DataFrame(
            [(row.number, row.item, row.status, row.where) for row in items],
            columns=["Number", "Item", "Status", "Where, or what is missing"],
        )
        filled = sum(row.status == "filled" for row in items)
        view = table_view(f"checklist-{number}", name, table)
        size = f"{filled} of {len(items)} items filled"
        views.append(TableView(view.anchor, name, "", size, view.columns, view.rows, view.cut))
    return views


def _figure(anchor: str, name: str, path: Path, caption: str) -> _Figure:
    title = title_and_meaning(name)[0]
    data, width, height = small_png(path)
    source = f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
    return _Figure(anchor, title, caption, f"{title}: {caption}" if caption else title, source, width, height)


def small_png(path: Path) -> tuple[bytes, int, int]:
    """A figure's file made small: on white, at most `WIDEST` pixels wide, in `COLOURS` colours.

    Args:
        path: any picture that Pillow reads.

    Returns:
        The PNG's bytes, and the width and height it is shown with, in CSS pixels.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with Image.open(path) as opened:
        layered = opened.convert("RGBA")
        density = float(opened.info.get("dpi", (PIXELS_AN_INCH,))[0])
    picture = Image.new("RGB", layered.size, "white")
    picture.paste(layered, mask=layered.getchannel("A"))
    if picture.width > WIDEST:
        height = max(1, round(picture.height * WIDEST / picture.width))
        picture = picture.resize((WIDEST, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    palette = picture.quantize(COLOURS, dither=Image.Dither.NONE)
    palette.save(buffer, "PNG", optimize=True)
    shown = max(1, round(layered.width * PIXELS_AN_INCH / density))
    return buffer.getvalue(), shown, max(1, round(shown * layered.height / layered.width))
