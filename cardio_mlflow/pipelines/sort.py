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
from cardio_mlflow.data.cohort.export_files import ExportFile, list_export
from cardio_mlflow.data.cohort.labels import LabelSheet, read_patients
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.sorting.choice import TAKEN, Candidate, choose_clips
from cardio_mlflow.data.sorting.collecting import FoundFile, collect_files, worth_preparing
from cardio_mlflow.data.sorting.eye_labels import OTHER, EyeLabel, read_eye_labels
from cardio_mlflow.data.sorting.header_reading import read_all_facts
from cardio_mlflow.data.sorting.matching import match_patients
from cardio_mlflow.data.sorting.page import ShownClip, sort_film, write_sort_page
from cardio_mlflow.data.sorting.suggestions import Suggestions, page_order, suggest
from cardio_mlflow.data.sorting.view_tags import load_view_table
from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.inputs import pseudonym_names
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.runs import Run

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
        clip: of a file's place the clip's id; absent where its content could not be read.
        entries: by clip id.
        keys: of each clip id the key in the store.
    """

    store: ClipStore
    clip: Mapping[str, str]
    entries: Mapping[str, Entry]
    keys: Mapping[str, str]
    hold: Hold

    @property
    def prepared(self) -> list[str]:
        """The clips that can be seen, in the order of the files."""
        return [clip for clip, entry in self.entries.items() if entry.quality.outcome == Outcome.OK]


def sort(
    settings: Settings, run: Run, labels: str, views: str, view_tags: str, threshold: str, within_days: str
) -> None:
    """An export of a PACS or a scanner to a cohort folder: whose clips, which view, one clip per view.

    export: a folder, a zip file or a DICOMDIR; cohort: the folder to write; labels: the sheet of the
    catheterisation values, csv or xlsx. A second time export and labels need not be given.
    views: what the page sort.html has saved. view_tags: a YAML file of your scanners' words for views.
    threshold: probability from which a suggested view is taken. within_days: of the catheterisation.
    """


def _pictures(found: Sequence[FoundFile], settings: Settings) -> _Pictures:
    """Prepare the clips of these files, as ``prepare`` would, each content once."""
    limits = Limits(settings.clip_seconds, settings.clip_memory)
    store = ClipStore(settings.cache / "prepared", settings.cache_disk * 2**30)
    files = read_contents([one.file.path for one in found], store.folder, settings.workers)
    hold = store.hold([file.key for file in files if file.key], "")
    entries = prepared_entries(files, store, settings.workers, limits)
    clip = {one.file.place: file.key[:_ID] for one, file in zip(found, files, strict=True) if file.key}
    known = {file.key[:_ID]: entry for file, entry in zip(files, entries, strict=True) if file.key}
    return _Pictures(store, clip, known, {file.key[:_ID]: file.key for file in files if file.key}, hold)
