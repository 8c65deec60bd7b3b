"""Who says which view a clip shows: a person before the tags, the tags before a suggestion."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cardio_mlflow.data.cohort.export_files import ExportFile
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.sorting.collecting import FoundFile, worth_preparing
from cardio_mlflow.data.sorting.eye_labels import EyeLabel, with_later
from cardio_mlflow.data.sorting.facts import HeaderFacts
from cardio_mlflow.data.sorting.known_views import (
    KnownView,
    labelled_views,
    latest_choices,
    with_suggestions,
)
from cardio_mlflow.data.sorting.suggestions import CLASSES, Suggestions
from cardio_mlflow.data.sorting.view_tags import ViewFound


def found(place, tagged=None, why_not=""):
    facts = HeaderFacts(Outcome.OK, "", "cine", 40)
    return FoundFile(ExportFile(place, Path(place)), facts, "R0002", None, tagged, why_not)


TAGGED = ViewFound("FC", "View Name")
FILES = [found("a", TAGGED), found("b", TAGGED), found("c"), found("d"), found("e")]
CLIPS = {place: place * 16 for place in "abcde"}
SEEN = {"b" * 16: EyeLabel("other"), "c" * 16: EyeLabel("LA", chosen=True)}
CONFUSION = pd.DataFrame(0, index=CLASSES, columns=CLASSES)
SUGGESTED = Suggestions(
    {clip * 16: "SA" for clip in "acde"}, {"a" * 16: 1.0, "c" * 16: 1.0, "d" * 16: 0.95, "e" * 16: 0.6},
    0.9, CONFUSION, 1.0, 1.0, 0.5, {}, (),
)  # fmt: skip


def test_a_person_counts_before_the_tags_and_these_before_a_suggestion():
    known = labelled_views(FILES, CLIPS, SEEN)
    views = with_suggestions(known, SUGGESTED, CLIPS.values())
    assert views == {
        "a" * 16: KnownView("FC", "tags", "View Name"),
        "b" * 16: KnownView("other", "eye"),
        "c" * 16: KnownView("LA", "eye", chosen=True),
        "d" * 16: KnownView("SA", "suggested", "", 0.95),
        "e" * 16: KnownView("SA", "", "", 0.6),
    }
    assert with_suggestions(known, None, ["d" * 16]) == {"d" * 16: KnownView()}


def test_where_tags_name_every_view_only_the_four_are_prepared():
    other, refused = found("f", ViewFound("other", "Series Description")), found("g", None, "a still")
    tagged = [*FILES[:2], other, refused]
    assert worth_preparing(tagged) == FILES[:2]
    assert worth_preparing([*tagged, FILES[2]]) == [*FILES[:2], other, FILES[2]]


def test_of_two_choices_for_one_patient_and_view_the_later_one_counts():
    owners = {"a": "R0002", "b": "R0002", "c": "R0003"}
    earlier = {"a": EyeLabel("FC", chosen=True), "c": EyeLabel("FC", chosen=True), "x": EyeLabel("SA", True)}
    later = {"b": EyeLabel("FC", chosen=True), "c": EyeLabel("", chosen=True)}
    seen = with_later(earlier, later)
    assert seen["c"] == EyeLabel("FC", chosen=True), "a choice alone leaves the view as it was"
    settled = latest_choices(seen, owners)
    assert [clip for clip, label in settled.items() if label.chosen] == ["x", "b", "c"]
    assert (
        latest_choices(with_later(later | earlier, {"a": EyeLabel("FC", True)}), owners)["b"].chosen is False
    )
