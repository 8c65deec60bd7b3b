"""A cohort whose clips are prepared: what there is of each, and the table that says so."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow.data.batch.clip_store import ClipStore, Entry, Hold
from cardio_mlflow.data.batch.duplicates import Compared, Content
from cardio_mlflow.data.cohort.clip import Clip
from cardio_mlflow.data.outcomes import Outcome, outcome_table
from cardio_mlflow.data.quality import DUPLICATE, QUALITY_COLUMNS, Quality
from cardio_mlflow.errors import InputError

TABLE: Final = "quality.csv"
_TEXT: Final = ("patient_id", "view", *(f.name for f in fields(Quality) if f.type in ("str", "Outcome")))
_COUNTS: Final = tuple(f.name for f in fields(Quality) if f.type == "int | None")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedCohort:
    """A cohort whose clips are prepared.

    Attributes:
        folder: ``quality.csv``, contact sheets, the review page, and ``clips.json``, the list of clips.
        key: digest of who has which prepared clip.
        quality: one row per clip, the columns of ``QUALITY_COLUMNS``.
        patients: ids that have a prepared clip, in the order of the clips given; ``missing`` those that
            have none.
        clips: of each of ``patients`` the file of each view's clip: ``frames``, uint8, 32 × 224 × 224.
        contents: of each of them, digests of the files that these clips were prepared from.
        pixels: of each of them, digests of the prepared frames.
        same_clips: patients who have one clip together, which is refused for all of them; a tuple per clip.
        sources: of every patient, digests of all clip files, whatever became of them.
        hold: keeps all of it from being removed from the cache.
    """

    folder: Path
    key: str
    quality: pd.DataFrame
    patients: tuple[str, ...]
    missing: tuple[str, ...]
    clips: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    contents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pixels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    same_clips: tuple[tuple[str, ...], ...] = ()
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hold: Hold = field(default_factory=Hold, repr=False, compare=False)

    @property
    def table(self) -> Path:
        """The file of the quality table."""
        return self.folder / TABLE

    @property
    def contact_sheets(self) -> list[Path]:
        """The contact sheets, in order."""
        return sorted(self.folder.glob("contact_sheet*.png"))

    @property
    def page(self) -> Path:
        """The HTML page to look through all clips by; its pictures lie in the folder ``review`` beside it."""
        return self.folder / "review.html"

    @property
    def refused(self) -> int:
        """Number of clips that were refused."""
        return int((self.quality["outcome"] != Outcome.OK).sum())

    def clips_of(self, patient_id: str) -> Mapping[str, Path]:
        """The files of a patient's prepared clips by view code.

        Raises:
            KeyError: no clip of this patient was prepared.
        """
        return self.clips[patient_id]


@dataclass(frozen=True)
class ClipMade:
    """One clip of a cohort: its file, what is kept of it, and its row of the table."""

    clip: Clip
    file: Content
    entry: Entry
    quality: Quality

    @property
    def place(self) -> tuple[str, str]:
        """Patient and view."""
        return self.clip.patient_id, self.clip.view

    @property
    def is_prepared(self) -> bool:
        """Whether it was not refused."""
        return self.quality.outcome == Outcome.OK


def quality_table(batch: Sequence[ClipMade]) -> tuple[str, pd.DataFrame]:
    """The text of the quality table, and the table as it is read from its file."""
    rows = pd.DataFrame([(*one.place, *astuple(one.quality)) for one in batch], columns=list(QUALITY_COLUMNS))
    table = rows.astype(dict.fromkeys(_COUNTS, "Int64")).to_csv(index=False, lineterminator="\n")
    quality = pd.read_csv(io.StringIO(table), dtype=dict.fromkeys(_TEXT, str), keep_default_na=False,
                          na_values={c: [""] for c in QUALITY_COLUMNS if c not in _TEXT})  # fmt: skip
    return table, quality


def cohort_of(
    home: Path, quality: pd.DataFrame, batch: Sequence[ClipMade], store: ClipStore, compared: Compared,
    hold: Hold,
) -> PreparedCohort:  # fmt: skip
    """The cohort of clips that were prepared and compared; what its user should know is logged."""
    files: dict[str, dict[str, Path]] = {one.clip.patient_id: {} for one in batch}
    contents: dict[str, tuple[str, ...]] = defaultdict(tuple)
    pixels: dict[str, tuple[str, ...]] = defaultdict(tuple)
    sources: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for one in batch:
        sources[one.clip.patient_id] += (one.file.digest,)
        if one.is_prepared:
            files[one.clip.patient_id][one.clip.view] = store.path(one.file.key)
            contents[one.clip.patient_id] += (one.file.digest,)
            pixels[one.clip.patient_id] += (one.entry.pixels,)
    missing = tuple(patient for patient, clips in files.items() if not clips)
    there = {patient: clips for patient, clips in files.items() if clips}
    key = digest_of([[*one.place, one.file.key] for one in batch if one.is_prepared])
    prepared = PreparedCohort(
        home, key, quality, tuple(there), missing, there, dict(contents), dict(pixels), compared.shared,
        sources, hold,
    )  # fmt: skip
    for warning in _warnings(prepared, compared.placeholders):
        _log.warning(warning)
    return prepared


def digest_of(known: object) -> str:
    """A name for what is made of this."""
    return hashlib.blake2b(json.dumps(known).encode(), digest_size=10).hexdigest()


def _warnings(prepared: PreparedCohort, placeholders: int) -> list[str]:
    quality, everyone = prepared.quality, len(prepared.patients) + len(prepared.missing)
    found = {
        f"of {len(quality)} clips were refused: {prepared.table}": prepared.refused,
        f"of them stand for more than one patient ({Outcome.SAME_CLIP}): find out whose they are":
            (quality["outcome"] == Outcome.SAME_CLIP).sum(),
        f"clips stand for two views of one patient (review: {DUPLICATE}), of which one is wrong":
            quality["review"].str.contains(rf"\b{DUPLICATE}\b").sum(),
        "clips share a placeholder for a SOP Instance UID, so it tells nothing": placeholders,
        f"of {everyone} patients left out: none of their clips could be prepared": len(prepared.missing),
    }  # fmt: skip
    return [f"{count} {words}" for words, count in found.items() if count]


def nothing_prepared(quality: pd.DataFrame, table: Path) -> InputError:
    """The error for a cohort without a prepared clip, whose quality table lies there."""
    if quality.empty:
        return InputError("There are no clips to prepare.")
    return InputError(
        f"None of the {len(quality)} clips could be prepared:\n{outcome_table(quality['outcome'])}\n"
        f"Each clip's reason is in {table}"
    )
