"""The batch: a cohort's clips prepared, each once, and a cohort made of them."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields, replace
from pathlib import Path
from typing import Final

import pandas as pd
from joblib import cpu_count

from cardio_mlflow.data.batch.child_process import Limits
from cardio_mlflow.data.batch.clip_store import ClipStore, Entry, Hold, alone, made, unwritable, write_bytes
from cardio_mlflow.data.batch.duplicates import Content, compare_clips, read_contents
from cardio_mlflow.data.batch.parallel import prepared_entries
from cardio_mlflow.data.cohort.clip import Clip
from cardio_mlflow.data.outcomes import Outcome, outcome_table
from cardio_mlflow.data.quality import DUPLICATE, QUALITY_COLUMNS, TEXT_LEFT, UNMASKED, Quality
from cardio_mlflow.data.review.page import Shown, write_review_page
from cardio_mlflow.data.review.pictures import write_contact_sheets, write_films
from cardio_mlflow.errors import InputError

CACHE_DISK: Final = 40.0
"""GiB that everything prepared may take, where nothing else is said."""

_PAGES: Final = 3  # raised whenever the same clips would be shown differently
_MARKER: Final = "clips.json"
_TABLE: Final = "quality.csv"
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
        return self.folder / _TABLE

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
class _Made:
    """One clip of a cohort: its file, what is kept of it, and its row of the table."""

    clip: Clip
    file: Content
    entry: Entry
    quality: Quality

    @property
    def place(self) -> tuple[str, str]:
        return self.clip.patient_id, self.clip.view

    @property
    def is_prepared(self) -> bool:
        return self.quality.outcome == Outcome.OK


def prepare_cohort(
    clips: Sequence[Clip],
    folder: Path,
    jobs: int,
    *,
    check_text: bool = False,
    synthetic: bool = False,
    limits: Limits | None = None,
    rows: Mapping[str, int] | None = None,
    cache_disk: float = CACHE_DISK,
) -> PreparedCohort:
    """Prepare a cohort's clips, each in a child process, and each once, whatever cohort it stands in.

    A run that was stopped, at whatever moment, goes on where it was; several may work in one folder. The
    files are the same bytes at any number of jobs.

    Args:
        clips: at most one per patient and view.
        folder: the cache folder; all lies in its folder ``prepared``.
        jobs: number of child processes; -1 for one per core.
        check_text: mark clips with text left inside the sector for review.
        synthetic: say on the page and the contact sheets that no real patient is shown.
        limits: of one clip; clips that were stopped by lower ones are prepared again.
        rows: row of the label sheet of each patient, by which messages name them.
        cache_disk: GiB that all that is prepared may take; what was used least recently is removed, and
            what nobody has used for 90 days.

    Raises:
        InputError: there are two clips of one patient and view, the cache folder cannot be written, or no
            clip at all could be prepared.
    """
    _check_once(clips)
    limits, jobs = limits or Limits(), jobs if jobs > 0 else cpu_count()
    store = ClipStore(folder / "prepared", cache_disk * 2**30)
    files = read_contents([clip.path for clip in clips], store.folder, jobs)
    listed = [[clip.patient_id, clip.view, file.key] for clip, file in zip(clips, files, strict=True)]
    name = _digest([_PAGES, check_text, synthetic, listed])
    hold = store.hold([file.key for file in files if file.key], name)
    entries = [_with_words(e, check_text) for e in prepared_entries(files, store, jobs, limits)]
    compared = compare_clips(clips, files, entries, rows or {})
    batch = list(map(_Made, clips, files, entries, compared.qualities))
    home = made(store.folder / "cohorts" / name)
    quality = _written(home, batch, store, synthetic, jobs)
    prepared = _cohort(home, quality, batch, store, compared.shared, hold)
    for warning in _warnings(prepared, compared.placeholders):
        _log.warning(warning)
    return prepared


def _check_once(clips: Sequence[Clip]) -> None:
    seen: set[tuple[str, str]] = set()
    for number, clip in enumerate(clips, start=1):
        if (clip.patient_id, clip.view) in seen:
            raise InputError(
                f"Clip {number} of the list is the second of its patient for view {clip.view}; "
                "keep one of them."
            )
        seen.add((clip.patient_id, clip.view))


def _digest(known: object) -> str:
    return hashlib.blake2b(json.dumps(known).encode(), digest_size=10).hexdigest()


def _with_words(entry: Entry, check_text: bool) -> Entry:
    """An entry whose review says that text is left only where that is asked for."""
    words = [word for word in entry.quality.review.split() if check_text or word != TEXT_LEFT]
    return replace(entry, quality=replace(entry.quality, review=" ".join(words)))


def _written(
    home: Path, batch: Sequence[_Made], store: ClipStore, synthetic: bool, jobs: int
) -> pd.DataFrame:
    """Write a cohort's folder, if it does not hold this outcome yet: the list of clips last.

    Returns:
        The quality table, as it is read from its file.
    """
    rows = pd.DataFrame([(*one.place, *astuple(one.quality)) for one in batch], columns=list(QUALITY_COLUMNS))
    table = rows.astype(dict.fromkeys(_COUNTS, "Int64")).to_csv(index=False, lineterminator="\n")
    quality = pd.read_csv(io.StringIO(table), dtype=dict.fromkeys(_TEXT, str), keep_default_na=False,
                          na_values={c: [""] for c in QUALITY_COLUMNS if c not in _TEXT})  # fmt: skip
    listed = [[*one.place, one.file.key] for one in batch]

    def marker() -> bytes:
        """What is shown, and the sizes of its files, by which one that was cut or is gone is missed."""
        files = sorted(path for path in home.rglob("*") if path.is_file() and path.name != _MARKER)
        sizes = {path.relative_to(home).as_posix(): path.stat().st_size for path in files}
        return json.dumps({"clips": listed, "quality": _digest(table), "sizes": sizes}, indent=1).encode()

    try:
        with alone(home.with_suffix(".lock")):
            os.utime(home)
            if not (home / _MARKER).exists() or (home / _MARKER).read_bytes() != marker():
                write_bytes(home / _TABLE, table.encode())
                if not any(one.is_prepared for one in batch):
                    raise _nothing(quality, home / _TABLE)
                _draw(home, quality, batch, store, synthetic, jobs)
                write_bytes(home / _MARKER, marker())
    except OSError as fault:
        raise unwritable(fault) from None
    return quality


def _draw(
    home: Path, quality: pd.DataFrame, batch: Sequence[_Made], store: ClipStore, synthetic: bool, jobs: int
) -> None:
    prepared = [one for one in batch if one.is_prepared]
    seen = {one.place: one.file.key for one in prepared if UNMASKED not in one.quality.review.split()}
    pictures = {place: f"review/{key}.webp" for place, key in seen.items()}
    shown = {one.place: Shown(one.entry.review, pictures.get(one.place)) for one in prepared}
    write_films(store, seen.values(), home / "review", jobs)
    paths = {place: store.path(key) for place, key in seen.items()}
    write_contact_sheets(home, quality, paths, synthetic=synthetic, jobs=jobs)
    write_review_page(home / "review.html", quality, shown, synthetic=synthetic)


def _cohort(
    home: Path, quality: pd.DataFrame, batch: Sequence[_Made], store: ClipStore,
    shared: tuple[tuple[str, ...], ...], hold: Hold,
) -> PreparedCohort:  # fmt: skip
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
    key = _digest([[*one.place, one.file.key] for one in batch if one.is_prepared])
    return PreparedCohort(
        home, key, quality, tuple(there), missing, there, dict(contents), dict(pixels), shared, sources, hold
    )


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


def _nothing(quality: pd.DataFrame, table: Path) -> InputError:
    if quality.empty:
        return InputError("There are no clips to prepare.")
    return InputError(
        f"None of the {len(quality)} clips could be prepared:\n{outcome_table(quality['outcome'])}\n"
        f"Each clip's reason is in {table}"
    )
