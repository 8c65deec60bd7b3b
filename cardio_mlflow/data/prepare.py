"""The batch: a cohort's clips prepared, each once, and a cohort made of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pandas as pd
from joblib import cpu_count

from cardio_mlflow.data.batch.child_process import Limits
from cardio_mlflow.data.batch.clip_store import ClipStore, Entry, Hold, alone, made, unwritable, write_bytes
from cardio_mlflow.data.batch.duplicates import Compared, Content, compare_clips, read_contents
from cardio_mlflow.data.batch.parallel import prepared_entries
from cardio_mlflow.data.cohort.clip import Clip
from cardio_mlflow.data.prepared_cohort import (
    TABLE,
    ClipMade,
    PreparedCohort,
    cohort_of,
    digest_of,
    nothing_prepared,
    quality_table,
)
from cardio_mlflow.data.quality import TEXT_LEFT, UNMASKED, ClipReview
from cardio_mlflow.data.review.page import Shown, write_review_page
from cardio_mlflow.data.review.pictures import write_contact_sheets, write_films
from cardio_mlflow.errors import InputError

CACHE_DISK: Final = 40.0
"""GiB that everything prepared may take, where nothing else is said."""

_PAGES: Final = 3  # raised whenever the same clips would be shown differently
_MARKER: Final = "clips.json"


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
    work = _Work.of(clips, folder, jobs, cache_disk, limits)
    name = digest_of([_PAGES, check_text, synthetic, work.listed])
    hold = work.hold(name)
    batch, compared = work.done(check_text, rows or {})
    home = made(work.store.folder / "cohorts" / name)
    quality = _written(home, batch, work.store, synthetic, work.jobs)
    return cohort_of(home, quality, batch, work.store, compared, hold)


def prepare_clips(
    clips: Sequence[Clip], folder: Path, jobs: int, *, check_text: bool = False,
    limits: Limits | None = None, rows: Mapping[str, int] | None = None, cache_disk: float = CACHE_DISK,
) -> PreparedCohort:  # fmt: skip
    """Prepare clips as `prepare_cohort` does, for any number of patients: nothing is drawn or written.

    Of a clip no more than its row of the table is held in memory; the cohort has no folder. That no clip
    could be prepared is no error.

    Raises:
        InputError: as `prepare_cohort`.
    """
    work = _Work.of(clips, folder, jobs, cache_disk, limits)
    hold = work.hold(digest_of(work.listed))
    batch, compared = work.done(check_text, rows or {}, keep=_without_review)
    return cohort_of(Path(), quality_table(batch)[1], batch, work.store, compared, hold)


@dataclass(frozen=True)
class _Work:
    """A cohort's clips to prepare, with their files' contents."""

    clips: Sequence[Clip]
    files: Sequence[Content]
    store: ClipStore
    jobs: int
    limits: Limits

    @classmethod
    def of(
        cls, clips: Sequence[Clip], folder: Path, jobs: int, cache_disk: float, limits: Limits | None
    ) -> _Work:
        _check_once(clips)
        jobs = jobs if jobs > 0 else cpu_count()
        store = ClipStore(folder / "prepared", cache_disk * 2**30)
        files = read_contents([clip.path for clip in clips], store.folder, jobs)
        return cls(clips, files, store, jobs, limits or Limits())

    @property
    def listed(self) -> list[list[str]]:
        """Who has which clip."""
        pairs = zip(self.clips, self.files, strict=True)
        return [[clip.patient_id, clip.view, file.key] for clip, file in pairs]

    def hold(self, cohort: str) -> Hold:
        return self.store.hold([file.key for file in self.files if file.key], cohort)

    def done(
        self, check_text: bool, rows: Mapping[str, int], keep: Callable[[Entry], Entry] | None = None
    ) -> tuple[list[ClipMade], Compared]:
        """Each clip prepared, and all compared; ``keep`` says what of an entry is kept."""
        entries = prepared_entries(self.files, self.store, self.jobs, self.limits, keep)
        entries = [_with_words(entry, check_text) for entry in entries]
        compared = compare_clips(self.clips, self.files, entries, rows)
        return list(map(ClipMade, self.clips, self.files, entries, compared.qualities)), compared


def _without_review(entry: Entry) -> Entry:
    return replace(entry, review=ClipReview())


def _check_once(clips: Sequence[Clip]) -> None:
    seen: set[tuple[str, str]] = set()
    for number, clip in enumerate(clips, start=1):
        if (clip.patient_id, clip.view) in seen:
            raise InputError(
                f"Clip {number} of the list is the second of its patient for view {clip.view}; "
                "keep one of them."
            )
        seen.add((clip.patient_id, clip.view))


def _with_words(entry: Entry, check_text: bool) -> Entry:
    """An entry whose review says that text is left only where that is asked for."""
    words = [word for word in entry.quality.review.split() if check_text or word != TEXT_LEFT]
    return replace(entry, quality=replace(entry.quality, review=" ".join(words)))


def _written(
    home: Path, batch: Sequence[ClipMade], store: ClipStore, synthetic: bool, jobs: int
) -> pd.DataFrame:
    """Write a cohort's folder, if it does not hold this outcome yet: the list of clips last.

    Returns:
        The quality table, as it is read from its file.
    """
    table, quality = quality_table(batch)
    listed = [[*one.place, one.file.key] for one in batch]

    def marker() -> bytes:
        """What is shown, and the sizes of its files, by which one that was cut or is gone is missed."""
        files = sorted(path for path in home.rglob("*") if path.is_file() and path.name != _MARKER)
        sizes = {path.relative_to(home).as_posix(): path.stat().st_size for path in files}
        return json.dumps({"clips": listed, "quality": digest_of(table), "sizes": sizes}, indent=1).encode()

    try:
        with alone(home.with_suffix(".lock")):
            os.utime(home)
            if not (home / _MARKER).exists() or (home / _MARKER).read_bytes() != marker():
                write_bytes(home / TABLE, table.encode())
                if not any(one.is_prepared for one in batch):
                    raise nothing_prepared(quality, home / TABLE)
                _draw(home, quality, batch, store, synthetic, jobs)
                write_bytes(home / _MARKER, marker())
    except OSError as fault:
        raise unwritable(fault) from None
    return quality


def _draw(
    home: Path, quality: pd.DataFrame, batch: Sequence[ClipMade], store: ClipStore, synthetic: bool, jobs: int
) -> None:
    prepared = [one for one in batch if one.is_prepared]
    seen = {one.place: one.file.key for one in prepared if UNMASKED not in one.quality.review.split()}
    pictures = {place: f"review/{key}.webp" for place, key in seen.items()}
    shown = {one.place: Shown(one.entry.review, pictures.get(one.place)) for one in prepared}
    write_films(store, seen.values(), home / "review", jobs)
    paths = {place: store.path(key) for place, key in seen.items()}
    write_contact_sheets(home, quality, paths, synthetic=synthetic, jobs=jobs)
    write_review_page(home / "review.html", quality, shown, synthetic=synthetic)
