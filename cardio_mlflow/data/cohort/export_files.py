"""The files of an export of a PACS or a scanner, in folders and in zip files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zipfile import is_zipfile

from cardio_mlflow.data.cohort.clip import natural_key
from cardio_mlflow.data.cohort.zip_members import NOT_REGULAR, UNREADABLE_ZIP, zip_members
from cardio_mlflow.errors import InputError

MAX_FILES: Final = 500_000
_JUNK: Final = frozenset({"__macosx", "thumbs.db", "desktop.ini", "lost+found", "$recycle.bin"})
_DICOM_MARK: Final = b"DICM"
_HIDDEN: Final = "hidden files and folders, or what systems leave, were skipped"
_LINKS: Final = "links to places within the export were skipped: what they lead to is there itself"
_ZIPS: Final = "zip files were looked into"


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file of an export, or a place in it that cannot be read.

    Attributes:
        place: path from the export's root, "/" separated, through zip files as through folders. It may name
            the patient, and hold bytes that are no text (as `os.fsdecode` gives them).
        path: absolute; of a member of a zip file it goes through that file, see `zip_members`.
        fault: why it cannot be read, in fixed words; empty where nothing is known against it.
    """

    place: str
    path: Path
    fault: str = ""


@dataclass(frozen=True)
class Listing:
    """What an export holds: each file once, in natural order of places; notes are counts in words."""

    root: Path
    files: tuple[ExportFile, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Walk:
    """A walk under way: the root as given, and with links followed; what was found."""

    root: Path
    real: Path
    files: list[ExportFile] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, place: str, fault: str = "") -> None:
        if len(self.files) >= MAX_FILES:
            raise InputError(
                f"The export has more than {MAX_FILES} files. Give a part of it: -P export=<a folder in it>."
            )
        self.files.append(ExportFile(place, self.root / place, fault))


def list_export(export: Path) -> Listing:
    """List the files of an export: a folder, a zip file, or a DICOMDIR, which stands for its folder.

    Nothing but names and lists of members is read. A link that leads out of the export is not followed, and
    stands in the list with a fault; so does a pipe, a folder or zip file that cannot be read, and a member
    that would inflate to too much. A zip file that can be read is not in the list itself: its members are.

    Raises:
        InputError: it is not there, is none of these, or has more than 500,000 files.
    """
    root = export_root(export)
    walk = _Walk(root, root.resolve())
    if root.is_dir():
        _walk_folders(walk)
    else:
        _add_members(walk, "", root)
    files = sorted(walk.files, key=lambda file: natural_key(file.place))
    notes = tuple(f"{count} {words}" for words, count in sorted(walk.skipped.items()))
    return Listing(root, tuple(files), notes)


def is_dicom(path: Path) -> bool:
    """Whether a regular file has the mark of DICOM."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == _DICOM_MARK
    except OSError:
        return False


def export_root(export: Path) -> Path:
    """The folder or zip file that the places of an export start from; InputError where it is none.

    A DICOMDIR stands for its folder.
    """
    export = export.absolute()
    if export.is_dir():
        return export
    if not export.is_file():
        raise InputError("There is no such export: -P export=<folder, zip file or DICOMDIR>.")
    if is_zipfile(export):
        return export
    if is_dicom(export):
        return export.parent
    raise InputError(
        "The export is a file, and neither a zip file nor a DICOMDIR. Give the folder that holds the files: "
        "-P export=<folder>."
    )


def _walk_folders(walk: _Walk) -> None:
    folders = [""]
    while folders:
        place = folders.pop()
        try:
            with os.scandir(walk.root / place) as entries:
                folders.extend(_folders_in(walk, place, entries))
        except OSError as fault:
            if not place:
                raise InputError(f"The export's folder cannot be read ({fault.strerror}).") from None
            walk.add(place, "a folder that cannot be read")


def _folders_in(walk: _Walk, place: str, entries: Iterator[os.DirEntry[str]]) -> Iterator[str]:
    """The places of a folder's folders; its files are added to the walk."""
    for entry in entries:
        inner = f"{place}/{entry.name}" if place else entry.name
        if _is_junk(entry.name):
            walk.skipped[_HIDDEN] += 1
        elif entry.is_symlink():
            _add_link(walk, inner)
        elif entry.is_dir(follow_symlinks=False):
            yield inner
        elif not entry.is_file(follow_symlinks=False):
            walk.add(inner, NOT_REGULAR)
        elif entry.name.lower().endswith(".zip"):
            _add_members(walk, inner, walk.root / inner)
        else:
            walk.add(inner)


def _add_link(walk: _Walk, place: str) -> None:
    try:
        target = (walk.root / place).resolve(strict=True)
    except (OSError, RuntimeError):  # the latter for a loop
        walk.add(place, "a link to nowhere")
        return
    if target.is_relative_to(walk.real):
        walk.skipped[_LINKS] += 1
    else:
        walk.add(place, "a link out of the export")


def _add_members(walk: _Walk, place: str, archive: Path) -> None:
    try:
        members = zip_members(archive)
    except OSError:
        walk.add(place or archive.name, UNREADABLE_ZIP)
        return
    walk.skipped[_ZIPS] += 1
    for member in members:
        if any(map(_is_junk, member.name.split("/"))):
            walk.skipped[_HIDDEN] += 1
        else:
            walk.add(f"{place}/{member.name}" if place else member.name, member.fault)


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK
