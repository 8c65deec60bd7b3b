"""The clips that files and folders name: which file shows which view of which patient, of which study."""

from __future__ import annotations

import datetime
import io
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from pydicom.dataset import Dataset
from pydicom.filereader import read_partial

from cardio_mlflow.data.cohort.clip import Clip, Findings, is_inside, kind_of, natural_key, stem_of
from cardio_mlflow.data.cohort.clip_names import (
    KnownPatients,
    split_name,
    study_key,
    view_prefix,
    view_within,
)
from cardio_mlflow.data.cohort.labels import LabelSheet
from cardio_mlflow.data.parsing import PARSING_FAULTS, pydicom_silenced
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import is_view, view

_NO_VIEW: Final = "files whose name tells no view or no patient"
_CONTRADICTION: Final = "files whose name contradicts their folder"
_OTHER_KIND: Final = "files that are no DICOM, video or tensor by their name"
_BESIDE: Final = "folders of a study of patients who have clips beside it"
_OTHER_FOLDER: Final = "folders that name no patient, no view and none of dicom, video, tensors, cohort1"

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


def search_folders(
    folder: Path, patients: KnownPatients, studies: Iterable[str] = (), patient: str | None = None
) -> Findings:
    """Search a cohort folder for clips by the names of files and folders.

    A file's patient and view each stand in its name or in that of a folder it lies in, and both must agree.
    Folders that only group clips (dicom, video, tensors, cohort1 and the like) are looked into, and within a
    patient's folder one level of studies, whose names hold a digit or a word such as "study"; any other
    folder is not, so that clips set aside are not taken by mistake; but those that `studies` names are.
    ``patient`` says whose folder it is, where it is that of one patient.

    Raises:
        InputError: a folder cannot be read, or is a link to a place outside the cohort folder.
    """
    search = _Search(folder, patients, frozenset(map(study_key, studies)), Findings())
    _search_in(folder, _Place(patient=patient), search)
    return search.found


def _search_in(folder: Path, place: _Place, search: _Search) -> None:
    for child, is_folder in _children(folder):
        if not is_folder:
            _sort_in(child, place, search)
            continue
        inner = _enter(unicodedata.normalize("NFC", child.name), place, search)
        if inner is None or inner.depth > _MAX_DEPTH:
            search.found.ignored[_OTHER_FOLDER] += 1
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
            found.ignored[_OTHER_KIND] += 1
        return
    if place.stranger is not None:
        found.folders.add(place.stranger)
    named = _named_by(unicodedata.normalize("NFC", stem_of(path)), place, search.patients)
    patient, code = place.patient or named.patient, place.view or named.view
    if not place.depth and not path.suffix and patient is None:
        return  # such as README
    if named.patient not in (None, patient) or named.view not in (None, code):
        found.ignored[_CONTRADICTION] += 1
    elif code is None:
        found.ignored[_NO_VIEW] += 1
    elif patient is None or place.stranger is not None:
        found.strangers[place.stranger or named.owner] += 1
    elif place.study is None:
        found.clips.append(Clip(patient, code, path))
    else:
        found.studies.setdefault(patient, {}).setdefault(place.study, []).append(Clip(patient, code, path))


def _is_special(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device, which could be read for ever."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:  # reported, without the name, when it is read
        return False


@dataclass(frozen=True)
class _Named:
    """What a file's own name says: its patient's id as written, the patient if known, and the view."""

    owner: str
    patient: str | None
    view: str | None


def _named_by(stem: str, place: _Place, patients: KnownPatients) -> _Named:
    owner, code = split_name(stem, patients) or (stem, None)
    patient = patients.find(owner) if code else None
    if place.has_patient:
        code = view_prefix(stem) or (code if patient else None)
        return _Named(owner, patient, code or (None if place.view else view_within(stem)))
    if place.view:
        return _Named(owner, patient or patients.find(stem), view_prefix(stem) or code)
    return _Named(owner, patient, code)


Choice = Literal["ask", "newest", "nearest"]
_EQUALLY: Final = {"newest": "new", "nearest": "near"}

_DATE, _TIME = 0x00080020, 0x00080030  # Study Date, Study Time: DICOM PS3.6
_HEAD: Final = 64 * 1024
"""Bytes of a file that are read for its study's date, which stands at the header's start."""


def choose_studies(found: Findings, sheet: LabelSheet, choice: Choice) -> list[str]:
    """Add one study's clips of each patient to the clips that lie in no study's folder.

    The folder that the sheet's column `study` names goes first; then clips that lie in no study's folder;
    then the only study; then the choice: "newest" takes the one of the latest study date and time, "nearest"
    the one nearest to the catheterisation (`rhc_date`), "ask" raises. Dates stay in here. The
    `studies` that a search found are used up.

    Returns:
        Notes that name rows only.

    Raises:
        InputError: a choice is asked for or cannot be made; names rows.
    """
    direct = {clip.patient_id for clip in found.clips}
    notes, several = [], []
    if elsewhere := [p for p in sheet.studies if p in direct and p not in found.studies]:
        notes.append(f"{sheet.some_rows(elsewhere)} with clips, but none of the study in column study")
    for patient, studies in found.studies.items():
        if patient in sheet.studies:
            study = _study_in_sheet(studies, sheet, patient)
            found.clips = [clip for clip in found.clips if clip.patient_id != patient]
        elif patient in direct:
            found.ignored[_BESIDE] += len(studies)
            continue
        else:
            study = next(iter(studies))
            if len(studies) > 1:
                several.append(patient)
                study = study if choice == "ask" else _by_date(studies, sheet, patient, choice)
        found.clips.extend(studies[study])
    found.studies.clear()
    if not several:
        return notes
    who = f"{sheet.some_rows(several)} with several studies"
    if choice == "ask":
        raise InputError(
            f"{who}. Choose with -P studies=newest, -P studies=nearest (to the column rhc_date), or a column "
            "`study` in the label sheet that names the folder."
        )
    return [*notes, f"{who}: the {choice} was taken"]


def _study_in_sheet(studies: Mapping[str, Sequence[Clip]], sheet: LabelSheet, patient: str) -> str:
    found = [study for study in studies if study_key(study) == study_key(sheet.studies[patient])]
    if len(found) != 1:
        raise InputError(
            f"{sheet.row(patient)}, column study: the patient has no such folder of a study with a clip in "
            "it. Leave the cell empty, or rename a column that names something else."
        )
    return found[0]


def _by_date(studies: Mapping[str, Sequence[Clip]], sheet: LabelSheet, patient: str, choice: Choice) -> str:
    """The newest study, or the one nearest to the catheterisation.

    Raises:
        InputError: a study's date cannot be read, two are equal, or there is no rhc_date.
    """
    row, name_it = sheet.row(patient), "Name the folder in a column `study`."
    if choice == "nearest" and patient not in sheet.dates:
        raise InputError(
            f"{row}: studies=nearest needs a column rhc_date, the day of catheterisation (year-month-day)."
        )
    distances: dict[str, datetime.timedelta] = {}
    for study, clips in studies.items():
        moment = max(filter(None, map(_study_moment, clips)), default=None)
        if moment is None:
            raise InputError(f"{row}: the date of one of {len(studies)} studies cannot be read. {name_it}")
        distances[study] = datetime.datetime.max - moment
        if choice == "nearest":
            distances[study] = abs(moment.date() - sheet.dates[patient])
    best = [study for study, distance in distances.items() if distance == min(distances.values())]
    if len(best) > 1:
        raise InputError(f"{row}: {len(best)} studies are equally {_EQUALLY[choice]}. {name_it}")
    return best[0]


def _study_moment(clip: Clip) -> datetime.datetime | None:
    """Date and time of a DICOM file's study, or None. Not more than the header's start is read."""
    if kind_of(clip.path) != "DICOM":
        return None
    try:
        with clip.path.open("rb") as file, pydicom_silenced():
            head = io.BytesIO(file.read(_HEAD))
            header = read_partial(head, lambda tag, _vr, _length: tag > _TIME, specific_tags=[_DATE, _TIME])
        day, time = (_raw_text(header, tag) for tag in (_DATE, _TIME))
        moment = day.replace(".", "") + time[:6].ljust(6, "0")  # HH or HHMM may stand alone
        return datetime.datetime.strptime(moment, "%Y%m%d%H%M%S")
    except PARSING_FAULTS:
        return None


def _raw_text(header: Dataset, tag: int) -> str:
    """A value as it stands in the file: pydicom's conversion would repeat it in warnings and errors."""
    element = header.get_item(tag) if tag in header else None
    return str(element.value or b"", "ascii").strip("\0 ") if element is not None else ""
