"""The clips of a cohort folder: which file shows which view of which patient."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cardio_mlflow.data.cells import canonical_id
from cardio_mlflow.data.clip_names import natural_key, split_name, view_prefix
from cardio_mlflow.data.sheet import Row, raise_problems, read_sheet
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEW_CODES, VIEWS, is_view, normalise_name, view

CLIP_SHEET: Final = "clips.csv"
TENSOR_SUFFIX: Final = ".pt"
DICOM_SUFFIXES: Final = ("", ".dcm", ".dicom", ".ima")
LAYOUTS: Final = (
    "dicom/<patient>_<view>.dcm, dicom/<patient>/<view>*.dcm, tensors/<patient>_<view>.pt, "
    "<patient>_<view>.pt beside the label sheet, or a clips.csv with the columns patient_id, view, path; "
    f"views: {', '.join(f'{v.code} or {v.name}' for v in VIEWS)}"
)


@dataclass(frozen=True)
class Clip:
    """One view's cine loop of one patient, as it lies in the cohort folder.

    Attributes:
        patient_id: the patient's id in the label sheet.
        view: the view's code (FC, TC, SA or LA).
        path: the DICOM or tensor file.
    """

    patient_id: str
    view: str
    path: Path


def find_clips(folder: Path, patients: Sequence[str]) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """Find one clip for each patient and view.

    A clips.csv, where there is one, is the only source. Of several clips of one patient and view a
    DICOM is taken before a tensor, then the first in natural file-name order (2 before 10).

    Args:
        folder: the cohort folder.
        patients: the label sheet's patient ids.

    Returns:
        The clips in the order of `patients` and of the views, and notes for the user.

    Raises:
        InputError: no clip matches a patient, clips.csv has errors, or a file lies outside the folder.
    """
    sheet = folder / CLIP_SHEET
    found, ignored = _from_sheet(folder, sheet) if sheet.is_file() else _from_names(folder, patients)
    for clip in found:
        _check_inside(folder, clip.path)
    known = set(patients)
    chosen, notes = _choose([clip for clip in found if clip.patient_id in known])
    strangers = sum(clip.patient_id not in known for clip in found)
    if not chosen:
        raise InputError(_nothing_found(folder, len(found) + ignored))
    notes += _counts(ignored, strangers)
    order = {patient: i for i, patient in enumerate(patients)}
    chosen.sort(key=lambda clip: (order[clip.patient_id], VIEW_CODES.index(clip.view)))
    return tuple(chosen), tuple(notes + _absences(chosen, patients))


def _from_names(folder: Path, patients: Sequence[str]) -> tuple[list[Clip], int]:
    known = frozenset(patients)
    clips, ignored = [], 0
    for path, stem, owner in _candidates(folder):
        named = split_name(stem, known)
        if owner is not None and (code := view_prefix(stem)):
            named = (owner, code)
        if named is None or (owner is not None and named[0] != owner):
            ignored += 1
        else:
            clips.append(Clip(named[0], named[1], path))
    return clips, ignored


def _candidates(folder: Path) -> Iterator[tuple[Path, str, str | None]]:
    """Every file that could be a clip: path, name without suffix, patient when a folder names it."""
    for child in _children(folder):
        if child.is_dir() and child.name.lower() == "dicom":
            yield from _dicom_files(child)
        elif child.is_dir() and child.name.lower() == "tensors":
            yield from ((p, _composed(p.stem), None) for p in _children(child) if _is_tensor(p))
        elif child.is_file() and _is_tensor(child):
            yield child, _composed(child.stem), None


def _dicom_files(folder: Path) -> Iterator[tuple[Path, str, str | None]]:
    for child in _children(folder):
        if child.is_dir():
            for path in _children(child):
                yield path, _dicom_stem(path), _composed(child.name)
        else:
            yield child, _dicom_stem(child), None


def _children(folder: Path) -> list[Path]:
    return sorted(
        (p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: natural_key(p.name)
    )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _dicom_stem(path: Path) -> str:
    """The name without a DICOM suffix; empty for a file of another kind.

    A numeric "suffix" is the tail of a UID in a name without an extension.
    """
    suffix = path.suffix.lower()
    if suffix not in DICOM_SUFFIXES and not suffix[1:].isdecimal():
        return ""
    return _composed(path.stem if suffix in DICOM_SUFFIXES else path.name)


def _is_tensor(path: Path) -> bool:
    return path.suffix.lower() == TENSOR_SUFFIX


def _from_sheet(folder: Path, path: Path) -> tuple[list[Clip], int]:
    sheet = read_sheet(path)
    positions = {normalise_name(c): i for i, c in enumerate(sheet.columns)}
    wanted = [positions.get(normalise_name(name)) for name in ("patient_id", "view", "path")]
    missing = [n for n, p in zip(("patient_id", "view", "path"), wanted, strict=True) if p is None]
    if missing:
        raise InputError(
            f"{sheet.name} lacks the column {', '.join(missing)}: expected patient_id, view, path."
        )
    clips, problems = [], []
    for row in sheet.rows:
        cells = [row.cells[p] for p in wanted if p is not None]
        if problem := _row_problem(folder, row, cells):
            problems.append(problem)
        else:
            clips.append(Clip(canonical_id(cells[0]), view(cells[1]).code, folder / cells[2]))
    raise_problems(sheet.name, problems)
    return clips, 0


def _row_problem(folder: Path, row: Row, cells: Sequence[str]) -> str | None:
    patient_id, view_name, path = cells
    if not patient_id:
        return f"row {row.number}, column patient_id: no patient id"
    if not is_view(view_name):
        return f"row {row.number}, column view: not one of {', '.join(f'{v.code}/{v.name}' for v in VIEWS)}"
    if not path or not _is_inside(folder, folder / path):
        return f"row {row.number}, column path: the file must lie in the cohort folder"
    if not (folder / path).is_file():
        return f"row {row.number}, column path: there is no such file"
    return None


def _is_inside(folder: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _check_inside(folder: Path, path: Path) -> None:
    if not _is_inside(folder, path):
        raise InputError(
            f"{path.relative_to(folder)} is a link to a place outside the cohort folder. "
            "Put the file itself, or the whole folder, into the cohort folder."
        )


def _choose(clips: Sequence[Clip]) -> tuple[list[Clip], list[str]]:
    groups: dict[tuple[str, str], list[Clip]] = {}
    for clip in sorted(clips, key=lambda c: (_is_tensor(c.path), natural_key(c.path.as_posix()))):
        groups.setdefault((clip.patient_id, clip.view), []).append(clip)
    notes = [
        f"patient {patient}, view {code}: {len(group)} clips, {group[0].path.name} taken"
        for (patient, code), group in sorted(groups.items(), key=lambda item: natural_key("_".join(item[0])))
        if len(group) > 1
    ]
    shown = notes[:10] + ([f"... and {len(notes) - 10} more with several clips"] if len(notes) > 10 else [])
    rule = ["several clips of one view: DICOM before tensor, then the first by file name"] if notes else []
    return [group[0] for group in groups.values()], rule + shown


def _counts(ignored: int, strangers: int) -> list[str]:
    notes = []
    if ignored:
        notes.append(f"{ignored} files whose name tells no view were ignored")
    if strangers:
        notes.append(f"{strangers} clips of patients who are not in the label sheet were ignored")
    return notes


def _absences(clips: Sequence[Clip], patients: Sequence[str]) -> list[str]:
    seen = Counter(clip.patient_id for clip in clips)
    without = [patient for patient in patients if not seen[patient]]
    partial = sum(0 < seen[patient] < len(VIEW_CODES) for patient in patients)
    notes = []
    if without:
        more = " ..." if len(without) > 10 else ""
        notes.append(f"{len(without)} patients without any clip: {', '.join(without[:10])}{more}")
    if partial:
        notes.append(f"{partial} patients lack one to three of the four views")
    return notes


def _nothing_found(folder: Path, files: int) -> str:
    seen = (
        f"{files} files were seen, but none belongs to a patient of the label sheet" if files else "no clip"
    )
    return f"{folder.name}: {seen}. Expected {LAYOUTS}."
