"""The clips that files and folders name: which file shows which view of which patient."""

from __future__ import annotations

import re
import stat
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cardio_mlflow.data.cohort.clip import Clip, Findings, is_inside, kind_of, natural_key, stem_of, study_key
from cardio_mlflow.data.cohort.same_ids import difference
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import is_view, normalise_name, view

_SEPARATORS: Final = "_-. "


class KnownPatients:
    """The ids of the label sheet, found by their spelling in a file name.

    An id is found as it is written; else in any case, where that leaves one id only.

    Args:
        ids: the label sheet's ids.
        spellings: further spellings of some of them.

    >>> known = KnownPatients(["P01", "q", "Q", "7"], {"007": "7"})
    >>> known.find("p01"), known.find("q"), known.find("007"), known.find("P1") is None
    ('P01', 'q', '7', True)
    """

    def __init__(self, ids: Collection[str], spellings: Mapping[str, str] | None = None) -> None:
        self._exact = {**(spellings or {}), **{patient: patient for patient in ids}}
        self._folded: dict[str, set[str]] = {}
        for name, patient in self._exact.items():
            self._folded.setdefault(name.casefold(), set()).add(patient)

    def find(self, name: str) -> str | None:
        """The id that a name, or part of one, stands for."""
        name = unicodedata.normalize("NFC", name)
        near = self._folded.get(name.casefold(), set())
        return self._exact.get(name) or (next(iter(near)) if len(near) == 1 else None)

    def is_near(self, name: str) -> bool:
        """Whether a name differs from an id only by what a spreadsheet does to ids."""
        return any(difference(patient, name) for patient in self._exact)


def view_prefix(name: str) -> str | None:
    """The code of the view that a name starts with, if a separator, a digit or nothing follows.

    >>> view_prefix("A4C_rest_01"), view_prefix("PSAX-PM"), view_prefix("LAD") is None
    ('FC', 'SA', True)
    """
    for end in range(len(name), 0, -1):
        if name[:end].endswith(tuple(_SEPARATORS)) or name[end : end + 1].isalpha():
            continue
        if is_view(name[:end]):
            return view(name[:end]).code
    return None


def view_within(name: str) -> str | None:
    """The code of the one view that a name holds anywhere, spelled with its window.

    Only names that begin with the window (apical or parasternal) count: a "four chamber" within a name
    can be subcostal, a "long axis" apical, an "LA" the left atrium.

    >>> view_within("IM_0012_A4C_rest"), view_within("subcostal four chamber") is None
    ('FC', True)
    >>> view_within("A4C_and_A2C") is None
    True
    """
    words = re.split(f"[{re.escape(_SEPARATORS)}]+", name)
    spans = (
        " ".join(words[i:j])
        for i in range(len(words))
        for j in range(i + 1, min(i + 4, len(words)) + 1)
    )  # fmt: skip
    codes = {view(span).code for span in spans if is_view(span) and normalise_name(span)[0] in "ap"}
    return codes.pop() if len(codes) == 1 else None


def split_name(stem: str, patients: KnownPatients) -> tuple[str, str] | None:
    """Split ``<patient>_<view>`` or ``<view>_<patient>``; any of ``_ - .`` and space may separate them.

    Ids may hold separators themselves, and the longest known id is taken.

    Args:
        stem: a file name without its suffix.
        patients: the known ids.

    Returns:
        The patient, spelled as in the label sheet where it is known, and the view's code; None when the
        name tells no view, or can be read as two different clips.

    >>> known = KnownPatients(["P", "P_1"])
    >>> split_name("P_1_A4C", known), split_name("psax-p_1", known), split_name("notes", known) is None
    (('P_1', 'FC'), ('P_1', 'SA'), True)
    """
    first = list(_patient_first(stem))
    readings = [
        next(((found, code) for name, code in pairs if (found := patients.find(name))), None)
        for pairs in (first, _view_first(stem))
    ]
    known = {reading for reading in readings if reading is not None}
    if len(known) > 1:
        return None
    return known.pop() if known else next(iter([*first, *_view_first(stem)]), None)


def _patient_first(stem: str) -> Iterator[tuple[str, str]]:
    """Readings as patient and view, the longest patient first."""
    for position in _separators(stem)[::-1]:
        if code := view_prefix(stem[position + 1 :].lstrip(_SEPARATORS)):
            yield stem[:position], code
            if stem[:position].rstrip(_SEPARATORS):
                yield stem[:position].rstrip(_SEPARATORS), code


def _view_first(stem: str) -> Iterator[tuple[str, str]]:
    """Readings as view and patient. No word may follow: it could be a part of a longer id."""
    for position in _separators(stem):
        if is_view(stem[:position]) and (patient := stem[position + 1 :].lstrip(_SEPARATORS)):
            yield patient, view(stem[:position]).code


def _separators(stem: str) -> list[int]:
    return [i for i, character in enumerate(stem) if character in _SEPARATORS and i]


NO_VIEW: Final = "files whose name tells no view or no patient"
CONTRADICTION: Final = "files whose name contradicts their folder"
OTHER_KIND: Final = "files that are no DICOM, video or tensor by their name"
OTHER_FOLDER: Final = "folders that name no patient, no view and none of dicom, video, tensors, cohort1"

_GROUPS: Final = re.compile(
    r"(dicoms?|dcm|clips?|echos?|videos?|avi|mp4|tensors?|pt|data|cohort[ _-]?(i|ii|1|2))", re.IGNORECASE
)
"""Folders that only group clips."""
_STUDY: Final = re.compile(r"\d|stud(?:y|ie)|exam|visit|echo|tte|baseline|follow", re.IGNORECASE)
_ASIDE: Final = re.compile(
    r"exclu|reject|discard|aside|unus|old|bad|poor|dup|cop(?:y|ie)|backup|bak|trash|te?mp|test|not?[ _-]",
    re.IGNORECASE,
)
"""Names of a folder within a patient's that make it a study's, and that do not."""
_JUNK: Final = ("dicomdir", "thumbs.db", "desktop.ini", "__macosx", "lost+found")
_MAX_DEPTH: Final = 6


@dataclass(frozen=True)
class _Place:
    """A folder on the way down, its depth below the cohort folder, and whose folder it is in.

    `stranger` is the name of the folder of somebody who is not in the label sheet, `study` that of a study.
    """

    depth: int = 0
    patient: str | None = None
    stranger: str | None = None
    view: str | None = None
    study: str | None = None

    @property
    def has_patient(self) -> bool:
        return self.patient is not None or self.stranger is not None


@dataclass(frozen=True)
class _Search:
    """A search under way: where it began, whom it looks for, and what it has found."""

    home: Path
    patients: KnownPatients
    studies: frozenset[str]
    found: Findings


def search_folders(folder: Path, patients: KnownPatients, studies: Iterable[str] = ()) -> Findings:
    """Search a cohort folder for clips by the names of files and folders.

    A file's patient and view are each told by its name or by a folder it lies in, and both must agree.
    Folders that only group clips (dicom, video, tensors, cohort1 and the like) are looked into, and within a
    patient's folder one level of studies, whose names hold a digit or a word such as "study"; any other
    folder is not, so that clips set aside are not taken by mistake.

    Args:
        folder: the cohort folder.
        patients: the label sheet's patients.
        studies: names of study folders that are looked into as well.

    Raises:
        InputError: a folder cannot be read, or is a link to a place outside the cohort folder.
    """
    search = _Search(folder, patients, frozenset(map(study_key, studies)), Findings())
    _search_in(folder, _Place(), search)
    return search.found


def _search_in(folder: Path, place: _Place, search: _Search) -> None:
    for child, is_folder in _children(folder):
        if not is_folder:
            _sort_in(child, place, search)
            continue
        inner = _enter(unicodedata.normalize("NFC", child.name), place, search)
        if inner is None or inner.depth > _MAX_DEPTH:
            search.found.ignored[OTHER_FOLDER] += 1
        elif not is_inside(search.home, child):
            raise InputError(
                f"A folder of clips, {inner.depth} below the cohort folder, is a link to a place outside it, "
                "which is not followed. Put the label sheet beside the folder that holds the files and give "
                "that place as data, or copy or mount the clips into the cohort folder."
            )
        else:
            _search_in(child, inner, search)


def _children(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Files and folders in natural order, and whether each is a folder; what systems leave is skipped."""
    try:
        entries = [p for p in folder.iterdir() if not p.name.startswith(".") and p.name.lower() not in _JUNK]
        kinds = [(p, p.is_dir()) for p in sorted(entries, key=lambda p: natural_key(p.name))]
    except OSError as fault:
        raise InputError(
            f"A folder in the cohort folder cannot be read ({fault.strerror}). Check that you may read it."
        ) from None
    yield from kinds


def _enter(name: str, place: _Place, search: _Search) -> _Place | None:
    """The place that a folder of this name is; None for a folder that is not looked into."""
    deeper = replace(place, depth=place.depth + 1)
    patient = search.patients.find(name)
    if patient is not None and place.stranger is None:
        return replace(deeper, patient=patient) if place.patient in (None, patient) else None
    code = view_prefix(name) if place.has_patient else view(name).code if is_view(name) else None
    if code is not None:
        return replace(deeper, view=code) if place.view in (None, code) else None
    if _GROUPS.fullmatch(name):
        return deeper
    if not place.has_patient:
        return replace(deeper, stranger=name) if place.depth or search.patients.is_near(name) else None
    is_study = study_key(name) in search.studies or (_STUDY.search(name) and not _ASIDE.search(name))
    return replace(deeper, study=name) if is_study and place.study is None else None


def _sort_in(path: Path, place: _Place, search: _Search) -> None:
    """Put one file where it belongs among the findings."""
    found = search.found
    kind = kind_of(path)
    if kind is None or _is_special(path):
        if place.depth:  # the cohort folder itself holds sheets and notes
            found.ignored[OTHER_KIND] += 1
        return
    told = _told(unicodedata.normalize("NFC", stem_of(path)), place, search.patients)
    patient, code = place.patient or told.patient, place.view or told.view
    if not place.depth and not path.suffix and patient is None:
        return  # such as README
    if told.patient not in (None, patient) or told.view not in (None, code):
        found.ignored[CONTRADICTION] += 1
    elif code is None:
        found.ignored[NO_VIEW] += 1
    elif patient is None or place.stranger is not None:
        found.strangers[place.stranger or told.owner] += 1
    elif place.study is None:
        found.clips.append(Clip(patient, code, path))
    else:
        found.studies.setdefault(patient, {}).setdefault(place.study, []).append(Clip(patient, code, path))


def _is_special(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device, which could be read for ever."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:  # told, without the name, when it is read
        return False


@dataclass(frozen=True)
class _Told:
    """What a file's own name tells: its patient's id as written, the patient if known, and the view."""

    owner: str
    patient: str | None
    view: str | None


def _told(stem: str, place: _Place, patients: KnownPatients) -> _Told:
    owner, code = split_name(stem, patients) or (stem, None)
    patient = patients.find(owner) if code else None
    if place.has_patient:
        code = view_prefix(stem) or (code if patient else None)
        return _Told(owner, patient, code or (None if place.view else view_within(stem)))
    if place.view:
        return _Told(owner, patient or patients.find(stem), view_prefix(stem) or code)
    return _Told(owner, patient, code)
