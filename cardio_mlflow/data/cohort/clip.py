"""One clip as it lies in the cohort folder, the kinds of file it can be, and names and links on its way."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

VIDEO_SUFFIXES: Final = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".wmv")
"""Names that make a file a video clip, in lower case."""
TENSOR_SUFFIX: Final = ".pt"
DICOM_SUFFIXES: Final = ("", ".dcm", ".dicom", ".ima")
KINDS: Final = ("DICOM", "video", "tensor")
"""The kinds of clip file; of two clips of one view the earlier kind is taken."""


@dataclass(frozen=True)
class Clip:
    """One view's cine loop of one patient, as it lies in the cohort folder.

    `patient_id` is the id in the label sheet, or its pseudonym; `view` is the view's code.
    """

    patient_id: str
    view: str
    path: Path


@dataclass
class Findings:
    """What a search of the cohort folder found.

    Attributes:
        clips: those of known patients, of which several can show one view.
        studies: clips in folders of studies, by patient and folder name.
        strangers: number of clips of each id that is not in the label sheet.
        folders: names of the folders with files in them that are taken for those of such ids.
        ignored: number of files or folders left out, by the reason in words.
    """

    clips: list[Clip] = field(default_factory=list)
    studies: dict[str, dict[str, list[Clip]]] = field(default_factory=dict)
    strangers: Counter[str] = field(default_factory=Counter)
    folders: set[str] = field(default_factory=set)
    ignored: Counter[str] = field(default_factory=Counter)

    def all_clips(self) -> list[Clip]:
        """The clips of known patients, in folders of studies and elsewhere."""
        studies = (clips for studies in self.studies.values() for clips in studies.values())
        return [*self.clips, *(clip for clips in studies for clip in clips)]

    @property
    def seen(self) -> int:
        """Files that were looked at."""
        return len(self.all_clips()) + self.strangers.total() + self.ignored.total()


def kind_of(path: Path) -> str | None:
    """The kind of clip that a file is taken for by its name, or None.

    A numeric "suffix" is the tail of a UID in a name without an extension.

    >>> kind_of(Path("FC.DCM")), kind_of(Path("FC.1.2.84")), kind_of(Path("FC.mp4")), kind_of(Path("FC.pt"))
    ('DICOM', 'DICOM', 'video', 'tensor')
    >>> kind_of(Path("FC.jpg")) is None
    True
    """
    suffix = path.suffix.lower()
    if suffix in DICOM_SUFFIXES or suffix[1:].isdecimal():
        return "DICOM"
    if suffix in VIDEO_SUFFIXES:
        return "video"
    return "tensor" if suffix == TENSOR_SUFFIX else None


def stem_of(path: Path) -> str:
    """A clip file's name without its suffix; the tail of a UID stays.

    >>> stem_of(Path("FC.DCM")), stem_of(Path("FC.1.2.84"))
    ('FC', 'FC.1.2.84')
    """
    return path.name if path.suffix[1:].isdecimal() else path.stem


def natural_key(text: str) -> tuple[tuple[int, str], ...]:
    """Sort key that compares the numbers in a name as numbers.

    >>> sorted(["FC10", "FC2", "FC_1"], key=natural_key)
    ['FC2', 'FC10', 'FC_1']
    """
    parts = re.findall(r"\d+|\D+", text.lower())
    return (*((int(p), "") if p.isdecimal() else (-1, p) for p in parts), (-2, text))


def is_inside(folder: Path, path: Path) -> bool:
    """Whether a path, links followed, lies in a folder; a link to nowhere need only stand there."""
    try:
        place = path.parent if leads_nowhere(path) else path
        return place.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return False


def leads_nowhere(path: Path) -> bool:
    """Whether a path is a link whose target is not there, or a link to itself."""
    try:
        return path.is_symlink() and not path.exists()
    except OSError:
        return False
