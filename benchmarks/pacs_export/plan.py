"""Which files a person's examinations have: the four views twice, and all else that an export holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from benchmarks.pacs_export.persons import Person
from benchmarks.pacs_export.view_words import OTHER_VIEWS
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.synthetic.clip import has_view

Kind = Literal["cine", "still", "colour", "m-mode", "spectral", "two panels", "report", "key object"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Flaw = Literal["", "short", "no ECG", "zoomed"]
FLAWS: tuple[Flaw, ...] = ("short", "no ECG", "zoomed")
"""What is wrong with the worse clip of a pair: less than a cycle, no R waves at all, a small depth."""
MOST_FILES = 20
_Row = tuple[Kind, str, Flaw, int]


@dataclass(frozen=True)
class PlannedFile:
    """One file of an export before it is written.

    Attributes:
        view: a view's code, one of OTHER_VIEWS, or empty where there is no picture of a view.
        study: number of the person's examination, 0 is the one next to the catheterisation.
        stream: number of its random stream, in the person's files.
    """

    kind: Kind
    view: str
    study: int
    stream: int
    flaw: Flaw = ""

    @property
    def right(self) -> bool:
        """Whether it is the clip of its view that should be chosen."""
        return self.kind == "cine" and self.view in VIEW_CODES and self.study == 0 and not self.flaw


def plan_files(person: Person, seed: int) -> tuple[PlannedFile, ...]:
    """Draw a person's files, 12 to 20, those of each examination in the order in which they were taken."""
    rng = np.random.default_rng([seed, 73, person.number])
    views = [view for view in VIEW_CODES if has_view(seed, person.number, view)]
    wanted: list[tuple[Kind, str, Flaw]] = []
    for i, view in enumerate(views):
        wanted += [("cine", view, ""), ("cine", view, FLAWS[(person.number + i) % len(FLAWS)])]
    wanted += [("cine", str(kind), "") for kind in rng.choice(OTHER_VIEWS, rng.integers(1, 3), replace=False)]
    wanted += [("colour", _any(views, rng), "")]
    wanted += [("spectral", "", "") for _ in range(rng.integers(1, 3))]
    wanted += [("m-mode", "", "")]
    wanted += [("still", _any(views, rng), "") for _ in range(rng.integers(0, 3))]
    wanted += [("two panels", "", "")] if rng.uniform() < 0.5 else []
    order = rng.permutation(len(wanted))
    first: list[_Row] = [(*wanted[i], 0) for i in order]
    first += [("report", "", "", 0)]
    first += [("key object", "", "", 0)] if rng.uniform() < 0.5 else []
    files = [*first, *_later(person, views, rng)]
    return tuple(
        PlannedFile(kind, view, study, i, flaw)
        for i, (kind, view, flaw, study) in enumerate(files[-MOST_FILES:])
    )


def _later(person: Person, views: list[str], rng: np.random.Generator) -> list[_Row]:
    """A second examination: two good clips, which are months away from the catheterisation, and a still."""
    if len(person.studies) < 2:
        return []
    chosen = rng.choice(views, size=2, replace=False)
    clips: list[_Row] = [("cine", str(view), "", 1) for view in chosen]
    return [*clips, ("still", str(chosen[0]), "", 1)]


def _any(views: list[str], rng: np.random.Generator) -> str:
    return str(rng.choice(views))
