"""Patients to predict for: their clips, found without a label sheet."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow.data.cohort.clip import Clip, natural_key, stem_of
from cardio_mlflow.data.cohort.clip_folders import Choice
from cardio_mlflow.data.cohort.clip_names import KnownPatients, UnknownPatients, split_name, view_prefix
from cardio_mlflow.data.cohort.cohort import Cohort
from cardio_mlflow.data.cohort.columns import PATIENT_ID
from cardio_mlflow.data.cohort.found_clips import LAYOUTS, ClipSource, find_clips, left_out, source_in
from cardio_mlflow.data.cohort.labels import LabelSheet
from cardio_mlflow.data.cohort.patient_facts import facts_beside
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import is_view
from cardio_mlflow.sheets.cells import Cell, id_problem
from cardio_mlflow.sheets.sheet import first_few

_SHEETS: Final = (".csv", ".xlsx")
_INSTANCE: Final = re.compile(r"(?:im|img|image)[-_ .]*\d[-_ .\d]*", re.IGNORECASE)
"""What a scanner numbers the files of one study by."""


class _Listed(LabelSheet):
    """Patients in the order of their names; messages call them by their number."""

    def row(self, patient: str) -> str:
        """A patient's number."""
        return f"patient {self.rows[patient]} of {self.name}"

    def some_rows(self, patients: Sequence[str]) -> str:
        """How many patients, and their numbers, the first of many."""
        numbers = first_few([self.rows[patient] for patient in patients])
        return f"{len(patients)} patient{'s' if len(patients) > 1 else ''} (number {numbers} of {self.name})"


def read_new_patients(
    place: Path, studies: Choice = "ask", export: Path | None = None, cache: Path | None = None
) -> Cohort:
    """Read patients of whom no catheterisation values are known.

    Everybody of whom a clip is found is a patient; ids are what files, folders or the clips.csv call them.
    Layouts and rules are those of `read_cohort`; besides, a folder with a file called by a view alone
    (A4C.dcm) directly in it is that of one patient.

    Args:
        place: a folder as a cohort folder is, or a clips.csv, which names files of its folder.
        studies: as of `read_cohort`, and so are ``export`` and ``cache``.

    Returns:
        A cohort whose labels are HR, BSA and MAP alone; its notes and messages call patients by their number
        in the natural order of their ids.

    Raises:
        InputError: nothing is there, no clip names a patient and a view, an id or a sheet has errors, files
            of several patients seem to lie in one patient's folder, or as `read_cohort`.
    """
    source = _source(place, export, cache)
    patients = _with_clips(source, {source.patient} if source.patient else _named(source))
    if not patients:
        raise _nobody(source)
    sheet = _listed(patients)
    _check_ids(sheet)
    clips, notes = find_clips(source, sheet, studies)
    if source.sheet is None:
        _check_owners(clips, sheet)
    facts, of_facts = facts_beside(source.folder, source.sheet, patients)
    notes = [*notes, *_alike(sheet), *of_facts]
    return Cohort(place.resolve().name, source.folder, facts, tuple(clips), tuple(notes), sheet.rows)


def _source(place: Path, export: Path | None, cache: Path | None) -> ClipSource:
    if place.is_dir():
        source = source_in(place, export, cache)
        is_one = source.sheet is None and any(is_view(stem_of(path)) for path in place.iterdir())
        return replace(source, patient=place.resolve().name) if is_one else source
    if not place.is_file():
        raise InputError(
            "input= names nothing that is there: give the absolute path of a folder of clips or of a "
            "clips.csv."
        )
    if place.suffix.lower() not in _SHEETS:
        raise InputError(
            "input= names a file that is no clips.csv (patient_id, view, path). To predict from clips, give "
            "the folder that they lie in, or a clips.csv that names them."
        )
    return replace(source_in(place.parent, export, cache), sheet=place)


def _named(source: ClipSource) -> set[str]:
    """What may be a patient's id: the names that stand before or behind a view, and those of folders."""
    found = source.search(UnknownPatients())
    return {*found.strangers, *found.folders}


def _with_clips(source: ClipSource, names: set[str]) -> list[str]:
    """Those of the names of whom there is a clip, in natural order."""
    found = source.search(KnownPatients(names))
    return sorted({clip.patient_id for clip in found.all_clips()}, key=natural_key)


def _nobody(source: ClipSource) -> InputError:
    """Why nobody was found."""
    reasons = "; ".join(left_out(source.search(UnknownPatients())))
    return InputError(
        f"The input holds no clip whose name tells a patient and a view{reasons and f' ({reasons})'}. "
        f"Expected {LAYOUTS}; or the folder of one patient, <view>.dcm. Hashed names, as a PACS exports "
        "them, are sorted first: mlflow run . -e sort."
    )


def _listed(patients: Sequence[str]) -> _Listed:
    table = pd.DataFrame(index=pd.Index(list(patients), name=PATIENT_ID, dtype="object"))
    return _Listed("the input", table, {patient: number for number, patient in enumerate(patients, 1)}, ())


def _check_ids(sheet: _Listed) -> None:
    """Refuse ids that cannot stand in the name of a file."""
    for patient in sheet.table.index:
        problem = id_problem(Cell(patient))
        if problem or not patient.isprintable():
            raise InputError(f"{sheet.row(patient)}: {problem or 'its id holds an invisible character'}")


def _check_owners(clips: Sequence[Clip], sheet: _Listed) -> None:
    """Refuse a folder whose files seem to be several patients': their hearts must not be mixed.

    Files that a scanner has numbered (IM_0012_A4C.dcm) are one patient's.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        stem = stem_of(clip.path)
        owner = None if view_prefix(stem) else split_name(stem, UnknownPatients())
        if owner is not None and not _INSTANCE.fullmatch(owner[0]):
            owners[clip.patient_id].add(owner[0])
    if mixed := [patient for patient, names in owners.items() if len(names) > 1]:
        raise InputError(
            f"{sheet.some_rows(mixed)}: the files in a folder begin with different names before the view, as "
            "if they were several patients'. Call a folder of several patients dicom; or name the files of "
            "one patient <view>*.dcm; or give a clips.csv (patient_id, view, path)."
        )


def _alike(sheet: _Listed) -> list[str]:
    """A note on ids that may be one patient's in two spellings."""
    groups: dict[str, list[str]] = defaultdict(list)
    for patient in sheet.table.index:
        groups[patient.casefold().lstrip("0")].append(patient)
    alike = [patient for group in groups.values() for patient in group if len(group) > 1]
    return [f"ids differ only in case or leading zeros: {sheet.some_rows(alike)}"] if alike else []
