"""The clips of an export: prepared, their views known or suggested, and the one taken for each place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from tqdm import tqdm

from cardio_mlflow.data.batch.clip_store import ClipStore, Entry, Hold
from cardio_mlflow.data.batch.duplicates import read_contents
from cardio_mlflow.data.batch.parallel import prepared_entries
from cardio_mlflow.data.batch.sandbox import Limits
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import Quality
from cardio_mlflow.data.sorting.choice import TAKEN, Candidate, choose_clips
from cardio_mlflow.data.sorting.cohort_folder import SortedFile
from cardio_mlflow.data.sorting.collecting import FoundFile
from cardio_mlflow.data.sorting.eye_labels import EyeLabel
from cardio_mlflow.data.sorting.known_views import (
    KnownView,
    labelled_views,
    latest_choices,
    with_suggestions,
)
from cardio_mlflow.data.sorting.page import ShownClip, sort_film
from cardio_mlflow.data.sorting.page_order import page_order
from cardio_mlflow.data.sorting.suggestions import Suggestions, suggest
from cardio_mlflow.parameters import OTHER_VIEW, is_view, view
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.clip_features import Features, clip_features

_ID: Final = 16  # of a store's key, what is enough to tell the clips of an export apart


@dataclass(frozen=True)
class Pictures:
    """Prepared clips of an export.

    Attributes:
        clips: of a file's place the clip's id, the same for the same content; absent where it is not needed
            or cannot be read.
        entries: by clip; ``keys`` are those in the store.
        unread: by place, of files that could no longer be read.
        features: of each clip that could be prepared.
    """

    store: ClipStore
    clips: Mapping[str, str]
    entries: Mapping[str, Entry]
    unread: Mapping[str, Quality]
    keys: Mapping[str, str]
    features: Mapping[str, Features]
    hold: Hold = field(repr=False)

    def film(self, clip: str) -> bytes:
        """A clip as the page shows it."""
        return sort_film(self.store.frames(self.keys[clip]))


def prepare_pictures(files: Sequence[FoundFile], settings: Settings) -> Pictures:
    """Prepare the clips of these files, each content once, as `prepare` would, which then finds them done.

    Raises:
        InputError: the cache folder cannot be written, or the backbone cannot be loaded.
    """
    store = ClipStore(settings.cache / "prepared", settings.cache_disk * 2**30)
    contents = read_contents([one.file.path for one in files], store.folder, settings.workers)
    keys = {one.key[:_ID]: one.key for one in contents if one.key}
    hold = store.hold(keys.values(), "")
    limits = Limits(settings.clip_seconds, settings.clip_memory)
    found = prepared_entries(contents, store, settings.workers, limits)
    entries = {one.key[:_ID]: entry for one, entry in zip(contents, found, strict=True) if one.key}
    unread = {
        one.file.place: entry.quality
        for one, content, entry in zip(files, contents, found, strict=True)
        if not content.key
    }
    prepared = [clip for clip, entry in entries.items() if entry.quality.outcome == Outcome.OK]
    features = clip_features(
        prepared, lambda clip: store.frames(keys[clip]), settings.backbone,
        settings.cache / "view_features", settings.precision,
    ) if prepared else {}  # fmt: skip
    clips = {one.file.place: content.key[:_ID] for one, content in zip(files, contents, strict=True)}
    known = {place: clip for place, clip in clips.items() if clip}
    return Pictures(store, known, entries, unread, keys, features, hold)


@dataclass(frozen=True)
class SortedClips:
    """The files of an export with their pictures, the view of each clip, and the clip of each place.

    Attributes:
        found: every file, in order.
        seen: what persons decided, by clip, the latest last.
        threshold: probability from which on a suggestion counts; None: chosen by cross-validation.
        within_days: of the catheterisation; None: any.
    """

    found: Sequence[FoundFile]
    pictures: Pictures
    seen: Mapping[str, EyeLabel]
    threshold: float | None
    within_days: int | None

    @property
    def synthetic(self) -> bool:
        """Whether a file says that its data are synthetic."""
        return any(one.facts.synthetic for one in self.found)

    @cached_property
    def _labelled(self) -> dict[str, KnownView]:
        return labelled_views(self.found, self.pictures.clips, self.decided)

    @cached_property
    def decided(self) -> dict[str, EyeLabel]:
        """What persons decided, by clip, with one choice for each patient and view."""
        return latest_choices(self.seen, self._owners)

    @cached_property
    def _owners(self) -> dict[str, str]:
        """Of each clip a patient."""
        places = self.pictures.clips
        return {places[one.file.place]: one.patient for one in self.found if one.file.place in places}

    @cached_property
    def _labels(self) -> dict[str, str]:
        return {clip: known.view for clip, known in self._labelled.items() if known.view}

    @cached_property
    def suggestions(self) -> Suggestions | str:
        """The suggestions, or why there are none."""
        return suggest(self.pictures.features, self._labels, self._owners, self.threshold)

    @cached_property
    def views(self) -> dict[str, KnownView]:
        """Of every clip what is known of its view."""
        suggested = self.suggestions if isinstance(self.suggestions, Suggestions) else None
        return with_suggestions(self._labelled, suggested, self.pictures.entries)

    def sources(self) -> Counter[str]:
        """Who says the views of the clips that could be prepared, with their numbers; "" for nobody."""
        return Counter(self.views[clip].source for clip in self.pictures.features)

    @cached_property
    def why(self) -> dict[str, str]:
        """Of each candidate's place why it is not taken; `TAKEN` where it is."""
        return choose_clips(self._candidates(), self.within_days)

    def _candidates(self) -> Iterator[Candidate]:
        for one in self.found:
            if one.is_candidate and (clip := self.pictures.clips.get(one.file.place)):
                known, identity = self.views[clip], one.facts.identity
                yield Candidate(
                    clip, one.file.place, one.patient, known.view if known.source else "",
                    self.pictures.entries[clip].quality, one.days, identity.study, identity.moment,
                    known.chosen, known.source == "suggested",
                )  # fmt: skip

    def rows(self) -> list[SortedFile]:
        """What became of each file, in order."""
        return [self._row(one) for one in self.found]

    def _row(self, one: FoundFile) -> SortedFile:
        facts, clip = one.facts, self.pictures.clips.get(one.file.place, "")
        tagged = KnownView(one.tagged.view, "tags", one.tagged.tag) if one.tagged else KnownView()
        known, quality = self.views.get(clip, tagged), self._quality(one)
        unread = one.file.place in self.pictures.unread
        why = one.why_not or self.why.get(one.file.place, quality.message if unread else "another view")
        return SortedFile(
            one.file.place, one.patient, one.days, facts.kind, facts.frames, quality.outcome,
            quality.message, known.view, known.source, known.tag, known.probability, why == TAKEN, why, clip,
            facts.pictures,
        )  # fmt: skip

    def _quality(self, one: FoundFile) -> Quality:
        """A prepared clip's quality; of another file what its header says."""
        place = one.file.place
        if place in self.pictures.unread:
            return self.pictures.unread[place]
        if (clip := self.pictures.clips.get(place, "")) in self.pictures.entries:
            return self.pictures.entries[clip].quality
        return Quality(outcome=one.facts.outcome, message=one.facts.message)

    def fates(self) -> Counter[str]:
        """What became of the files, in words, with their numbers."""
        return Counter(map(self._fate, self.found))

    def _fate(self, one: FoundFile) -> str:
        if one.why_not:
            return one.why_not if one.facts.outcome == Outcome.OK else _refused(one.facts.outcome)
        if self._is_taken(one):
            return "taken"
        clip = self.pictures.clips.get(one.file.place, "")
        if (outcome := self._quality(one).outcome) != Outcome.OK:
            return _refused(outcome)
        known = self.views.get(clip, KnownView(OTHER_VIEW, "tags"))
        if not known.source:
            return "view not known yet"
        return "another view" if known.view == OTHER_VIEW else "not the clip of its place: the table says why"

    def shown(self) -> list[ShownClip]:
        """What the page shows, in its order: each content once, of the file that is taken where one is."""
        of_clip: dict[str, FoundFile] = {}
        for one in self.found:
            clip = self.pictures.clips.get(one.file.place, "")
            if clip in self.pictures.features and (clip not in of_clip or self._is_taken(one)):
                of_clip[clip] = one
        suggested = self.suggestions if isinstance(self.suggestions, Suggestions) else None
        order = page_order(self.pictures.features, self._labels, suggested, self._owners)
        doubts = suggested.doubts if suggested else {}
        bar = tqdm(order, desc="films", unit="clip", leave=False)
        return [self._shown(clip, of_clip[clip], doubts.get(clip, "")) for clip in bar]

    def _is_taken(self, one: FoundFile) -> bool:
        return self.why.get(one.file.place) == TAKEN

    def _shown(self, clip: str, one: FoundFile, doubt: str) -> ShownClip:
        known, quality = self.views[clip], self.pictures.entries[clip].quality
        looks_like = view(doubt).name if is_view(doubt) else "another view"
        return ShownClip(
            clip, one.patient, one.days, self.pictures.film(clip), known.view, known.source,
            known.probability, self._is_taken(one), self.why.get(one.file.place, ""), _facts(quality),
            quality.rr_ms, f"looks like {looks_like}" if doubt else "",
        )  # fmt: skip


def _refused(outcome: Outcome) -> str:
    return f"{outcome}: {outcome.words}"


def _facts(quality: Quality) -> str:
    """A clip's quality in a line."""
    depth = "" if quality.depth_cm is None else f"{quality.depth_cm:.0f} cm"
    rate = "" if quality.frame_rate is None else f"{quality.frame_rate:.0f}/s"
    fit = "" if quality.fit_score is None else f"fit {quality.fit_score:.2f}"
    phase = "phase verified" if quality.phase_verified else "phase not verified"
    return " · ".join(filter(None, (depth, rate, fit, quality.gating.replace("_", " "), phase)))
