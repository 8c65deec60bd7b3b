"""The files of an export with what is known of them before a picture is decoded: whose, when, which view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cardio_mlflow.data.cohort.export_files import ExportFile
from cardio_mlflow.data.cohort.labels import LabelSheet
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.sorting.facts import HeaderFacts
from cardio_mlflow.data.sorting.matching import Matches, days_from_catheterisation
from cardio_mlflow.data.sorting.view_tags import ViewFound, ViewTable
from cardio_mlflow.parameters import OTHER_VIEW


@dataclass(frozen=True)
class FoundFile:
    """One file of an export.

    Attributes:
        patient: id in the cohort; X0001 and so on of patients who are not in the sheet, empty for nobody's.
        days: from the catheterisation to the study, negative before it; None where either is not known.
        tagged: the view that the tags name.
        why_not: why it cannot be a clip of the cohort, whatever it shows; empty where it can.
    """

    file: ExportFile
    facts: HeaderFacts
    patient: str = ""
    days: int | None = None
    tagged: ViewFound | None = None
    why_not: str = ""

    @property
    def is_candidate(self) -> bool:
        """Whether it can be a clip of the cohort."""
        return not self.why_not


def collect_files(
    headers: Sequence[tuple[ExportFile, HeaderFacts]], matches: Matches, sheet: LabelSheet,
    names: Mapping[str, str], views: ViewTable,
) -> list[FoundFile]:  # fmt: skip
    """One record per file, in the order given; ``names`` are the cohort's ids of the sheet's patients."""
    found = []
    for file, facts in headers:
        owner = matches.rows.get(file.place, "")
        date = sheet.dates.get(owner)
        days = days_from_catheterisation(facts.identity.moment, date) if date else None
        patient = names[owner] if owner else matches.unmatched.get(file.place, "")
        tagged = views.find(facts.tags)
        why_not = _why_not(file, facts, matches, owner)
        found.append(FoundFile(file, facts, patient, days, tagged, why_not))
    return found


def _why_not(file: ExportFile, facts: HeaderFacts, matches: Matches, owner: str) -> str:
    if file.fault or facts.outcome != Outcome.OK:
        return file.fault or facts.message or facts.outcome.words
    if facts.kind != "cine":
        return "a still" if facts.kind == "still" else "no picture"
    if file.place in matches.conflicts:
        return matches.conflicts[file.place]
    return "" if owner else "its patient is not in the sheet"


def worth_preparing(found: Sequence[FoundFile]) -> list[FoundFile]:
    """The files whose pictures are needed.

    Where every candidate has a view by its tags, those of the four views; else all, since others teach what
    another view looks like.
    """
    candidates = [one for one in found if one.is_candidate]
    if all(one.tagged for one in candidates):
        return [one for one in candidates if one.tagged and one.tagged.view != OTHER_VIEW]
    return candidates
