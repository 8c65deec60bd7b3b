"""Sort an export of a PACS or a scanner into a cohort folder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cardio_mlflow.data.batch.clip_store import ClipStore, Entry, Hold
from cardio_mlflow.data.batch.duplicates import read_contents
from cardio_mlflow.data.batch.parallel import prepared_entries
from cardio_mlflow.data.batch.sandbox import Limits
from cardio_mlflow.data.cohort.export_files import list_export
from cardio_mlflow.data.cohort.labels import LabelSheet, read_patients
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import Quality
from cardio_mlflow.data.sorting.choice import TAKEN, Candidate, choose_clips
from cardio_mlflow.data.sorting.collecting import FoundFile, collect_files, worth_preparing
from cardio_mlflow.data.sorting.eye_labels import OTHER, read_eye_labels
from cardio_mlflow.data.sorting.header_reading import read_all_facts
from cardio_mlflow.data.sorting.known_views import KnownView, labelled_views, with_suggestions
from cardio_mlflow.data.sorting.matching import match_patients
from cardio_mlflow.data.sorting.page import ShownClip, sort_film, write_sort_page
from cardio_mlflow.data.sorting.page_order import page_order
from cardio_mlflow.data.sorting.suggestions import Suggestions, suggest
from cardio_mlflow.data.sorting.view_tags import load_view_table
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.pipelines.inputs import pseudonym_names
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.training.clip_features import Features, clip_features

OPTIONS: Final[Mapping[str, str]] = {
    "labels": "", "views": "", "view_tags": "", "threshold": "auto", "within_days": "",
}  # fmt: skip
"""The options of the command beside the settings, and their defaults."""

_ID: Final = 16  # of a store's key, what is enough to tell a cohort's clips apart

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Pictures:
    """Prepared clips of an export.

    Attributes:
        clips: of a file's place the clip's id; absent where its content could not be read.
        entries: by clip id; ``keys`` those in the store.
        features: (D,) of each clip that could be prepared.
    """

    store: ClipStore
    clips: Mapping[str, str]
    entries: Mapping[str, Entry]
    keys: Mapping[str, str]
    features: Mapping[str, Features]
    hold: Hold


def sort(
    settings: Settings, run: Run, labels: str, views: str, view_tags: str, threshold: str, within_days: str
) -> None:
    """An export of a PACS or a scanner to a cohort folder: whose clips, which view, one clip per view.

    export: a folder, a zip file or a DICOMDIR; cohort: the folder to write; labels: the sheet of the
    catheterisation values, csv or xlsx. A second time export and labels need not be given.
    views: what the page sort.html has saved. view_tags: a YAML file of your scanners' words for views.
    threshold: probability from which a suggested view is taken. within_days: of the catheterisation.
    """


def _pictures(found: Sequence[FoundFile], settings: Settings, limits: Limits) -> _Pictures:
    """Prepare the clips of these files, each content once, as `prepare` would, which then finds them done."""
    store = ClipStore(settings.cache / "prepared", settings.cache_disk * 2**30)
    files = read_contents([one.file.path for one in found], store.folder, settings.workers)
    hold = store.hold([file.key for file in files if file.key], "")
    entries = prepared_entries(files, store, settings.workers, limits)
    known = {file.key[:_ID]: (file.key, entry) for file, entry in zip(files, entries, strict=True) if file.key}
    prepared = [clip for clip, (_, entry) in known.items() if entry.quality.outcome == Outcome.OK]
    features = clip_features(
        prepared, lambda clip: store.frames(known[clip][0]), settings.backbone,
        settings.cache / "view_features", settings.precision,
    ) if prepared else {}  # fmt: skip
    return _Pictures(
        store,
        {one.file.place: file.key[:_ID] for one, file in zip(found, files, strict=True) if file.key},
        {clip: entry for clip, (_, entry) in known.items()},
        {clip: key for clip, (key, _) in known.items()},
        features, hold,
    )  # fmt: skip


def _candidates(
    found: Sequence[FoundFile], pictures: _Pictures, views: Mapping[str, KnownView]
) -> list[Candidate]:
    """The clips among which is chosen: of the sheet's patients, by what is known of their views."""
    candidates = []
    for one in found:
        if one.is_candidate and (clip := pictures.clips.get(one.file.place)):
            known, identity = views[clip], one.facts.identity
            candidates.append(Candidate(
                clip, one.file.place, one.patient, known.view if known.source else "",
                pictures.entries[clip].quality, one.days, identity.study, identity.moment, known.chosen,
            ))  # fmt: skip
    return candidates


def _shown(
    found: Sequence[FoundFile], pictures: _Pictures, views: Mapping[str, KnownView],
    suggested: Suggestions | None, why: Mapping[str, str],
) -> dict[str, ShownClip]:  # fmt: skip
    """What the page shows, by clip: each content once, of the file that is taken where one is."""
    shown: dict[str, ShownClip] = {}
    for one in found:
        clip = pictures.clips.get(one.file.place, "")
        taken = why.get(one.file.place) == TAKEN
        if clip not in pictures.features or (clip in shown and not taken):
            continue
        known, quality = views[clip], pictures.entries[clip].quality
        film = shown[clip].film if clip in shown else sort_film(pictures.store.frames(pictures.keys[clip]))
        doubt = suggested.doubts.get(clip, "") if suggested and not known.chosen else ""
        shown[clip] = ShownClip(
            clip, one.patient, one.days, film, known.view, known.source, known.probability, taken,
            why.get(one.file.place, ""), _facts(quality), quality.rr_ms, doubt and f"looks like {doubt}",
        )  # fmt: skip
    return shown


def _facts(quality: Quality) -> str:
    """A clip's quality in a line."""
    depth = "" if quality.depth_cm is None else f"{quality.depth_cm:.0f} cm"
    rate = "" if quality.frame_rate is None else f"{quality.frame_rate:.0f}/s"
    fit = "" if quality.fit_score is None else f"fit {quality.fit_score:.2f}"
    phase = "phase verified" if quality.phase_verified else "phase not verified"
    return " · ".join(filter(None, (depth, rate, fit, quality.gating.replace("_", " "), phase)))
