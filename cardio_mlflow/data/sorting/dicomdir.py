"""The DICOMDIR of an export: the files that it names, and whether they are there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Final, Self

from pydantic import model_validator
from pydicom import dcmread
from pydicom.dataset import Dataset

from cardio_mlflow.data.batch.child_process import ChildProcess, Head, Limits
from cardio_mlflow.data.cohort.export_files import ExportFile, Listing, list_export
from cardio_mlflow.data.files.header_elements import ClipFile
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.parsing import PARSING_FAULTS, pydicom_silenced
from cardio_mlflow.errors import InputError

DICOMDIR_LIMITS: Final = Limits(seconds=300.0)
"""What a DICOMDIR may take: one of 50,000 files is read in a minute."""

_NAME: Final = "dicomdir"
_MAX_BYTES: Final = 64 * 1024**2
_MAX_NAMED: Final = 100_000
_MAX_LENGTH: Final = 300
_PARTS: Final = 8  # of a file's name (PS3.10, 8.2)
_READING = "cardio_mlflow.data.sorting.dicomdir"  # the module whose read_dicomdir the child calls


@dataclass(frozen=True, slots=True)
class Directory:
    """The files that a DICOMDIR names, each a path from its folder, "/" separated."""

    files: tuple[str, ...] = ()


class DirectoryAnswer(Head):
    """What a child says of a DICOMDIR: names without end are refused."""

    record: Directory = Directory()

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        names = self.record.files
        if len(names) > _MAX_NAMED or not all(len(n) <= _MAX_LENGTH and n.isprintable() for n in names):
            raise ValueError("out of bounds")
        return self


def read_dicomdir(path: Path) -> Directory:
    """Read the names of files in a DICOMDIR; in a child process, for it comes from outside.

    Raises:
        ClipRefused: NOT_DICOM for a file that is no DICOMDIR; or as `ClipFile`.
    """
    try:
        with ClipFile(path) as file, pydicom_silenced():
            content = BytesIO(file.read_at(0, _MAX_BYTES))
            records = dcmread(content, specific_tags=["DirectoryRecordSequence"]).DirectoryRecordSequence
            names = [_named(record) for record in records]
    except PARSING_FAULTS as fault:
        raise ClipRefused(Outcome.NOT_DICOM, f"not a readable DICOMDIR ({type(fault).__name__})") from None
    return Directory(tuple(dict.fromkeys(filter(None, names))))


def _named(record: Dataset) -> str:
    """The file of a directory record; empty for a patient's, a study's or a series', and for odd names."""
    parts = record.get("ReferencedFileID") or []
    name = "/".join([parts] if isinstance(parts, str) else list(parts)[:_PARTS])
    return name if len(name) <= _MAX_LENGTH and name.isprintable() else ""


def find_files(export: Path, limits: Limits = DICOMDIR_LIMITS) -> Listing:
    """List an export as `list_export`; of a DICOMDIR as the export only the files that it names.

    Every DICOMDIR in the export is read: how many of the files that they name are not there is noted.

    Raises:
        InputError: as `list_export`; or the export is a file that is no DICOMDIR, or one that names no file
            that is there.
    """
    listing = list_export(export)
    given = export.absolute() if export.is_file() and listing.root != export.absolute() else None
    directories = [file for file in listing.files if file.path.name.lower() == _NAME and not file.fault]
    if given is not None:
        directories = [ExportFile(given.name, given)]
    if not directories:
        return listing
    with ChildProcess(_READING, "read_dicomdir", limits) as child:
        named = [_places(directory, child) for directory in directories]
    notes = _notes(listing, named)
    if given is None:
        return replace(listing, notes=(*listing.notes, *notes))
    wanted = named[0]
    files = tuple(file for file in listing.files if wanted and _key(file.place) in wanted)
    if not files:
        raise InputError(
            "The export is a file, and no DICOMDIR that names files which are there. Give its folder: "
            "-P export=<folder>."
        )
    return replace(listing, files=files, notes=(*listing.notes, *notes))


def _places(directory: ExportFile, child: ChildProcess) -> frozenset[str] | None:
    """Keys of the places that a DICOMDIR names; None for one that cannot be read."""
    try:
        names = child.ask(DirectoryAnswer, directory.path)[0].record.files
    except ClipRefused:
        return None
    folder = directory.place.rpartition("/")[0]
    return frozenset(_key(f"{folder}/{name}" if folder else name) for name in names)


def _key(place: str) -> str:
    """What the name of a file on a disc and that of its copy have in common: not case, nor a version.

    >>> _key("dicom/im_0001.;1") == _key("DICOM/IM_0001")
    True
    """
    return re.sub(r"\.?(;\d+)?$", "", place).casefold()


def _notes(listing: Listing, named: Sequence[frozenset[str] | None]) -> list[str]:
    there = {_key(file.place) for file in listing.files}
    wanted: frozenset[str] = frozenset().union(*(keys for keys in named if keys))
    missing, unread = sum(key not in there for key in wanted), named.count(None)
    found = {
        f"of {len(wanted)} files that a DICOMDIR names are not there": missing,
        "DICOMDIR files could not be read": unread,
    }
    return [f"{count} {words}" for words, count in found.items() if count]
