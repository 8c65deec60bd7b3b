"""Sort an export of a PACS or a scanner into a cohort folder."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow.data.batch.clip_store import ClipStore, Entry, Hold
from cardio_mlflow.data.batch.duplicates import Content, read_contents
from cardio_mlflow.data.batch.parallel import prepared_entries
from cardio_mlflow.data.batch.sandbox import Limits
from cardio_mlflow.data.cohort.export_files import ExportFile, Listing, list_export
from cardio_mlflow.data.cohort.labels import LabelSheet, read_patients
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import UNMASKED
from cardio_mlflow.data.sorting.choice import Candidate, choose_clips
from cardio_mlflow.data.sorting.eye_labels import OTHER, EyeLabel, read_eye_labels
from cardio_mlflow.data.sorting.facts import HeaderFacts
from cardio_mlflow.data.sorting.header_reading import read_all_facts
from cardio_mlflow.data.sorting.matching import Matches, match_patients
from cardio_mlflow.data.sorting.view_tags import ViewFound, load_view_table
from cardio_mlflow.errors import InputError
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.runs import Run

OPTIONS: Final[Mapping[str, str]] = {
    "labels": "", "views": "", "view_tags": "", "threshold": "auto", "within_days": "",
}  # fmt: skip
"""The options of the command beside the settings, and their defaults."""

log = logging.getLogger(__name__)
