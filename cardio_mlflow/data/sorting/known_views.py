"""The view of each clip, and who says so: a person, the tags, or a suggestion; the first of them counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cardio_mlflow.data.sorting.collecting import FoundFile
from cardio_mlflow.data.sorting.eye_labels import EyeLabel
from cardio_mlflow.data.sorting.facts import Source
from cardio_mlflow.data.sorting.suggestions import Suggestions


@dataclass(frozen=True)
class KnownView:
    """What is known of a clip's view.

    Attributes:
        view: a code, "other", or empty.
        source: who says so; empty where a person is asked, also where ``view`` is a suggestion.
        tag: the tag that named it.
        probability: of the suggestion, where one counts or is asked about.
        chosen: whether a person said that this clip is to be taken.
    """

    view: str = ""
    source: Source = ""
    tag: str = ""
    probability: float | None = None
    chosen: bool = False


def latest_choices(seen: Mapping[str, EyeLabel], owners: Mapping[str, str]) -> dict[str, EyeLabel]:
    """The labels with one clip chosen for each patient and view: the last, as given.

    A page knows the choices of earlier pages only where it is opened in the same browser.

    Args:
        seen: by clip id, later labels behind earlier ones.
        owners: the patient of each clip of the export.
    """
    places = {clip: (owners[clip], label.view) for clip, label in seen.items()
              if label.chosen and label.view and clip in owners}  # fmt: skip
    last = {place: clip for clip, place in places.items()}
    return {
        clip: replace(label, chosen=False) if clip in places and last[places[clip]] != clip else label
        for clip, label in seen.items()
    }


def labelled_views(
    found: Iterable[FoundFile], clips: Mapping[str, str], seen: Mapping[str, EyeLabel]
) -> dict[str, KnownView]:
    """The views that persons and tags give, by clip.

    Args:
        found: the export's files.
        clips: of a file's place the clip's id.
        seen: by clip id.
    """
    known: dict[str, KnownView] = {}
    for one in found:
        if one.tagged and (clip := clips.get(one.file.place)):
            known.setdefault(clip, KnownView(one.tagged.view, "tags", one.tagged.tag))
    for clip, label in seen.items():
        before = known.get(clip, KnownView())
        if label.view:
            known[clip] = KnownView(label.view, "eye", chosen=label.chosen)
        else:
            known[clip] = KnownView(before.view, before.source, before.tag, chosen=label.chosen)
    return known


def with_suggestions(
    known: Mapping[str, KnownView], suggested: Suggestions | None, clips: Iterable[str]
) -> dict[str, KnownView]:
    """The views of these clips, with the suggestions where neither a person nor the tags give one."""
    views = {clip: known.get(clip, KnownView()) for clip in clips}
    for clip, one in views.items():
        if suggested and not one.view and clip in suggested.views:
            probability = suggested.probability[clip]
            source: Source = "suggested" if probability >= suggested.threshold else ""
            views[clip] = KnownView(suggested.views[clip], source, "", probability, one.chosen)
    return views
