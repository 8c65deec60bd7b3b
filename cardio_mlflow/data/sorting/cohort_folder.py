"""The cohort folder that an export is sorted into: label sheet, clips.csv, and what became of every file."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cardio_mlflow.data.batch.clip_store import alone
from cardio_mlflow.data.cohort.clip_sheet import CLIP_SHEET
from cardio_mlflow.data.cohort.columns import PATIENT_ID
from cardio_mlflow.data.cohort.export_link import (
    LINK,
    ExportLink,
    read_link,
    reference,
    remember,
    write_link,
)
from cardio_mlflow.data.cohort.labels import LabelSheet
from cardio_mlflow.data.cohort.neutral_places import Identities, neutral
from cardio_mlflow.data.sorting.facts import HeaderFacts, Source
from cardio_mlflow.data.sorting.sorted_labels import sorted_labels
from cardio_mlflow.errors import InputError
from cardio_mlflow.files import write_whole
from cardio_mlflow.parameters import VIEW_CODES, view_name

REPORT: Final = "sort_report.csv"
LABELLED: Final = "views.csv"
PAGE: Final = "sort.html"
_LABELS: Final = "labels.csv"
_WRITTEN: Final = (_LABELS, REPORT, LABELLED, CLIP_SHEET)
"""In this order: a folder without clips.csv is not yet whole."""
_COLUMNS: Final = (
    "file", "clip", "patient", "days", "kind", "frames", "shows", "outcome", "message", "view", "view_from",
    "view_tag", "probability", "taken", "why",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SortedFile:
    """A file of the export and what became of it: a row of ``sort_report.csv``.

    Attributes:
        place: in the export; written only where it gives nothing away, see `neutral`.
        patient: id in the cohort; X0001 and so on for one who is not in the sheet; empty for nobody's file.
        days: from the catheterisation to the study.
        view: a view's code, "other", or empty where it is not known.
        view_tag: name of the tag that told the view.
        probability: of a suggested view.
        why: in words why it is not taken; empty where it is.
        clip: id of its content; empty where that was not read.
        shows: what its header says of its pictures, see `HeaderFacts`.
    """

    place: str
    patient: str = ""
    days: int | None = None
    kind: str = ""
    frames: int | None = None
    outcome: str = ""
    message: str = ""
    view: str = ""
    view_from: Source = ""
    view_tag: str = ""
    probability: float | None = None
    taken: bool = False
    why: str = ""
    clip: str = ""
    shows: tuple[str, ...] = ()


def known_identities(facts: Iterable[HeaderFacts], sheet: LabelSheet) -> Identities:
    """Who the patients of an export and a sheet are, to keep them out of what is written."""
    ids, names = {*sheet.table.index, *sheet.table["person"], *sheet.accessions.values()}, set()
    for one in facts:
        ids |= {one.identity.patient_id, one.identity.accession}
        names.add(one.identity.name)
    return Identities.of(ids, names)


@dataclass(frozen=True)
class CohortFolder:
    """A cohort folder that sort may write, or write again.

    Attributes:
        root: the export's folder or zip file.
        link: salt of the references, and what sort has written before.
    """

    folder: Path
    root: Path
    link: ExportLink

    @classmethod
    def of(cls, folder: Path, root: Path) -> CohortFolder:
        """A folder that need not be there yet; nothing is written.

        Raises:
            InputError: it lies in the export, or holds files of these names that sort has not written, or
                that somebody has changed since.
        """
        if folder.resolve().is_relative_to(root.resolve()):
            raise InputError(
                "The cohort folder would lie in the export, which is never changed: -P cohort=<a folder "
                "elsewhere>."
            )
        if folder.exists() and not folder.is_dir():
            raise InputError("The place of the cohort folder holds something else: -P cohort=<a folder>.")
        link = read_link(folder)
        _check_own(folder, link)
        link = link or ExportLink()
        return cls(folder, root, replace(link, root=reference(link.salt, str(root.absolute()))))

    def name_of(self, place: str, identities: Identities) -> str:
        """What a file is called in tables: its place in the export, or a reference that tells nobody."""
        return place if neutral(place, identities) else reference(self.link.salt, place)

    def _path_of(self, place: str, identities: Identities) -> str:
        """What clips.csv says of a file: its absolute path, where that tells nobody, else as `name_of`."""
        name, root = self.name_of(place, identities), str(self.root.absolute())
        return f"{root}/{place}" if name == place and not identities.are_in(root) else name

    def write(
        self,
        sheet: LabelSheet,
        names: Mapping[str, str],
        files: Sequence[SortedFile],
        by_eye: Mapping[str, tuple[str, bool]],
        identities: Identities,
        made_from: Mapping[str, Path],
        cache: Path,
    ) -> tuple[str, ...]:
        """Write the folder, clips.csv last; what is there already with the same content stays untouched.

        A run that is killed, at whatever moment, leaves a folder that the next run takes for its own.

        Args:
            sheet: the user's.
            names: id in the cohort of each patient of the sheet.
            files: one of each file of the export, in order; at most one is taken for a patient and view.
            by_eye: of each clip that was labelled, its view's code or "other", and whether it was chosen.
            identities: what may stand in no name of a file.
            made_from: the export and the labels as they were given, see `remember`.
            cache: the cache folder, which keeps where these and the root of the export lie.

        Returns:
            For the user: what was left out of the label sheet.

        Raises:
            InputError: somebody has changed the folder meanwhile, or it cannot be written.
        """
        called = {file.place: self.name_of(file.place, identities) for file in files}
        paths = {file.place: self._path_of(file.place, identities) for file in files if file.taken}
        labels, notes = sorted_labels(sheet, names, identities)
        contents = {
            _LABELS: labels,
            REPORT: _table(_COLUMNS, (_report_row(file, called[file.place]) for file in files)),
            LABELLED: _table(("clip", "view", "chosen"), _views_by_eye(by_eye)),
            CLIP_SHEET: _table((PATIENT_ID, "view", "path"), _clip_rows(files, list(names.values()), paths)),
        }
        remember(self.folder, self.link.salt, {**made_from, "root": self.root}, cache)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with alone(self.folder / ".sort.lock"):
                self._replace({name: text.encode() for name, text in contents.items()})
        except OSError as fault:
            raise InputError(
                f"The cohort folder cannot be written ({fault.strerror}). Make room there, or give another: "
                "-P cohort=<folder>."
            ) from None
        return notes

    def _replace(self, contents: Mapping[str, bytes]) -> None:
        """Write what differs, after ``export.json`` says that both its old and its new content are ours."""
        _check_own(self.folder, read_link(self.folder))
        before = {name: _digest(self.folder / name) for name in _WRITTEN if (self.folder / name).exists()}
        after = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        both = {name: tuple(dict.fromkeys((before.get(name, new), new))) for name, new in after.items()}
        write_link(self.folder, replace(self.link, written=both))
        if before != after:
            (self.folder / CLIP_SHEET).unlink(missing_ok=True)
            for name, content in contents.items():
                if name == CLIP_SHEET or before.get(name) != after[name]:
                    write_whole(self.folder / name, content)
        write_link(self.folder, replace(self.link, written={name: (new,) for name, new in after.items()}))


def _check_own(folder: Path, link: ExportLink | None) -> None:
    """Refuse a folder whose files sort has not written, or somebody has changed: nothing of it is lost."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
        if name in (LINK, PAGE) and link is None:
            raise _not_own(name, "")
        if name in (*_WRITTEN, "labels.xlsx"):
            known = link.written.get(path.name, ()) if link else ()
            if path.is_symlink() or not path.is_file() or _digest(path) not in known:
                raise _not_own(name, " or has been changed since" if link else "")


def _not_own(name: str, changed: str) -> InputError:
    return InputError(
        f"The cohort folder holds a {name} that was not written by sort{changed}. Nothing was written. Move "
        "it away if you need it no more, or give another folder: -P cohort=<folder>."
    )


def _digest(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _report_row(file: SortedFile, name: str) -> tuple[object, ...]:
    probability = "" if file.probability is None else f"{file.probability:.3f}"
    taken, shows = "yes" if file.taken else "no", " + ".join(file.shows)
    return (
        name, file.clip, file.patient, file.days, file.kind, file.frames, shows, file.outcome,
        file.message, view_name(file.view), file.view_from, file.view_tag, probability, taken, file.why,
    )  # fmt: skip


def _views_by_eye(by_eye: Mapping[str, tuple[str, bool]]) -> list[tuple[str, str, str]]:
    return [
        (clip, view_name(code), "yes" if chosen else "no") for clip, (code, chosen) in sorted(by_eye.items())
    ]


def _clip_rows(
    files: Sequence[SortedFile], patients: Sequence[str], paths: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Whose clip each file taken is, in the order of the sheet and of the views.

    Raises:
        ValueError: two are taken for one patient and view, or one of nobody or of no view.
    """
    order = {patient: position for position, patient in enumerate(patients)}
    taken = {(order[f.patient], VIEW_CODES.index(f.view)): f for f in files if f.taken and f.patient in order}
    if len(taken) != sum(file.taken for file in files):
        raise ValueError("of each patient of the sheet one clip a view is taken at most")
    return [(f.patient, view_name(f.view), paths[f.place]) for _, f in sorted(taken.items())]
