"""README and docs: every link leads somewhere, every command and name in them is one of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cardio_mlflow.analysis.results import NOTED
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import QUALITY_COLUMNS
from cardio_mlflow.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
SOURCES = [
    *(entry.read_text(encoding="utf-8") for entry in (PROJECT / "entry_points").glob("*.py")),
    *(
        options
        for pipeline in (PROJECT / "cardio_mlflow" / "pipelines").glob("*.py")
        for options in re.findall(r"OPTIONS\b.*? = \{.*?\}", pipeline.read_text(encoding="utf-8"), re.DOTALL)
    ),
]
"""Where the own options of entry points are declared."""
OPTIONS = {name for source in SOURCES for name in re.findall(r'"(\w+)": "', source)}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def by_name(page: Path) -> str:
    return page.relative_to(PROJECT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if "://" not in link:
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_command_of_a_page_names_what_there_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"-P (\w+)=", text)) <= {*Settings.model_fields, *OPTIONS, "settings", "name"}
    modules = re.findall(r"python -m ((?:benchmarks|tests|cardio_mlflow|entry_points)[\w.]*\w)", text)
    modules += [f"entry_points.{name}" for name in re.findall(r"-e (\w+)", text)]
    for module in modules:
        place = PROJECT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module


def test_every_page_is_found_from_the_index() -> None:
    index = (PROJECT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [page.relative_to(PROJECT / "docs").as_posix() for page in PAGES[1:]]
    assert [page for page in pages if page != "index.md" and f"({page})" not in index] == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("outcomes", [str(code) for code in Outcome]),
        ("quality-table", QUALITY_COLUMNS),
        ("artifacts-and-metrics", [*NOTED]),
    ],
)
def test_a_reference_page_names_all_that_there_is(page: str, names: list[str]) -> None:
    text = (PROJECT / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_readme_is_short() -> None:
    assert (PROJECT / "README.md").stat().st_size <= 9000
