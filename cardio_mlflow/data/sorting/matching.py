"""Whose files an export holds: patients of the label sheet found by header or folder name."""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cardio_mlflow.data.cohort.columns import ACCESSION
from cardio_mlflow.data.cohort.labels import LabelSheet
from cardio_mlflow.data.cohort.persons import PERSON
from cardio_mlflow.data.sorting.facts import HeaderFacts, Identity
from cardio_mlflow.data.sorting.id_pairs import Pairs, normal_id, pair_ids, without_zeros
from cardio_mlflow.data.sorting.same_person import are_several_persons
from cardio_mlflow.sheets.sheet import first_few

_PATIENT, _ACCESSION, _FOLDER = SOURCES = ("PatientID", "AccessionNumber", "folder name")
_DEEPEST: Final = 8
"""How many folders from the root down are looked at for names that are ids."""


@dataclass(frozen=True)
class Matches:
    """Which file of an export is whose.

    Attributes:
        source: what they were matched by, one of SOURCES.
        rows: place of a file to the sheet's patient id.
        unmatched: place to "X0001" and so on, a name for each patient of the export that is in no row.
        conflicts: place to why a file is left out, in words that name rows only.
        notes: for the user, counts and rows of the sheet only.
    """

    source: str
    rows: Mapping[str, str]
    unmatched: Mapping[str, str] = field(default_factory=dict)
    conflicts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Attempt:
    """A match by one source and one column of the sheet.

    Attributes:
        keys: place to the id that the source gives the file; without files that it gives none.
        way: further words on what was compared.
    """

    source: str
    keys: Mapping[str, str]
    pairs: Pairs
    way: str = ""


def match_patients(facts: Sequence[tuple[str, HeaderFacts]], sheet: LabelSheet) -> Matches:
    """Match the files of an export, given as place and facts, with the rows of the sheet.

    The source that finds most rows is taken: the header's PatientID (or the sheet's person, by it), its
    AccessionNumber, or the names of the folders at one depth; the first of equal ones.
    """
    identities = {place: fact.identity for place, fact in facts}
    attempts = list(_attempts(identities, sheet))
    best = max(attempts, key=lambda attempt: len(attempt.pairs.rows))
    conflicts = _conflicts(best, identities, sheet)
    rows = {
        place: best.pairs.rows[key]
        for place, key in best.keys.items()
        if key in best.pairs.rows and place not in conflicts
    }
    unmatched = _strangers(best, identities, rows.keys() | conflicts.keys())
    notes = (
        *_count_notes(best, attempts, sheet),
        *_row_notes(best, rows, sheet),
        *_stranger_notes(unmatched, conflicts),
    )
    return Matches(best.source, rows, unmatched, conflicts, notes)


def _attempts(identities: Mapping[str, Identity], sheet: LabelSheet) -> Iterator[_Attempt]:
    ids = [(patient, normal_id(patient)) for patient in sheet.table.index]
    by_patient = _keys({place: identity.patient_id for place, identity in identities.items()})
    yield _attempt(_PATIENT, by_patient, ids)
    if PERSON in sheet.given:
        persons = [(patient, normal_id(str(sheet.table.loc[patient, PERSON]))) for patient, _ in ids]
        yield _attempt(_PATIENT, by_patient, persons, f" (the column {PERSON})")
    accessions = [(patient, normal_id(number)) for patient, number in sheet.accessions.items()]
    by_accession = _keys({place: identity.accession for place, identity in identities.items()})
    yield _attempt(_ACCESSION, by_accession, accessions if ACCESSION in sheet.given else ids)
    for depth in range(_DEEPEST):
        folders = _keys({place: _folder(place, depth) for place in identities})
        if depth and not folders:
            break
        yield _attempt(_FOLDER, folders, ids)


def _keys(texts: Mapping[str, str]) -> dict[str, str]:
    normal = {text: normal_id(text) for text in set(texts.values())}
    return {place: normal[text] for place, text in texts.items() if normal[text]}


def _folder(place: str, depth: int) -> str:
    """A folder's name, also of a zip file; empty for the file itself."""
    parts = place.split("/")
    name = parts[depth] if depth < len(parts) - 1 else ""
    return name[:-4] if name.lower().endswith(".zip") else name


def _attempt(source: str, keys: Mapping[str, str], column: list[tuple[str, str]], way: str = "") -> _Attempt:
    pairs = pair_ids(dict.fromkeys(keys.values()), column, counted=source == _FOLDER)
    return _Attempt(source, keys, pairs, way)


def _conflicts(attempt: _Attempt, identities: Mapping[str, Identity], sheet: LabelSheet) -> dict[str, str]:
    """Files whose id could belong to several rows, or stands for two persons."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for place, key in attempt.keys.items():
        places[key].append(place)
    reasons = {
        key: f"its {attempt.source} could belong to row {first_few(sorted(sheet.rows[row] for row in rows))}"
        if len(rows) > 1
        else f"its {attempt.source} and another one could belong to row {sheet.rows[rows[0]]}"
        for key, rows in attempt.pairs.unclear.items()
    }
    for key, row in attempt.pairs.rows.items():
        if are_several_persons(identities[place] for place in places[key]):
            reasons[key] = f"two persons stand under one {attempt.source}, of row {sheet.rows[row]}"
    if attempt.source != _PATIENT:
        reasons |= _contradictions(attempt, identities, sheet)
    return {place: reason for key, reason in reasons.items() for place in places[key]}


def _contradictions(
    attempt: _Attempt, identities: Mapping[str, Identity], sheet: LabelSheet
) -> dict[str, str]:
    """Ids that hold several PatientIDs; folders that share one with the folder of another person's row."""
    inside: defaultdict[str, set[str]] = defaultdict(set)
    persons: defaultdict[str, set[str]] = defaultdict(set)
    for place, key in attempt.keys.items():
        if key in attempt.pairs.rows and (patient := without_zeros(normal_id(identities[place].patient_id))):
            inside[key].add(patient)
            persons[patient].add(str(sheet.table.loc[attempt.pairs.rows[key], PERSON]))
    shared = {patient for patient, several in persons.items() if len(several) > 1}
    return {
        key: f"{attempt.source} and PatientID contradict one another at row "
        f"{sheet.rows[attempt.pairs.rows[key]]}"
        for key, patients in inside.items()
        if len(patients) > 1 or (attempt.source == _FOLDER and not patients.isdisjoint(shared))
    }


def _strangers(attempt: _Attempt, identities: Mapping[str, Identity], settled: set[str]) -> dict[str, str]:
    """A name for each patient of the export that is in no row, by PatientID, else by the source's id."""
    names: dict[str, str] = {}
    unmatched = {}
    for place, identity in identities.items():
        key = normal_id(identity.patient_id) or attempt.keys.get(place, "")
        if key and place not in settled:
            unmatched[place] = names.setdefault(key, f"X{len(names) + 1:04d}")
    return unmatched


def _count_notes(best: _Attempt, attempts: Sequence[_Attempt], sheet: LabelSheet) -> Iterator[str]:
    rules = Counter(best.pairs.rules.values())
    ways = ", ".join(f"{rule} {count}" for rule, count in rules.items())
    most = {
        source: max(len(other.pairs.rows) for other in attempts if other.source == source)
        for source in SOURCES
        if source != best.source
    }
    others = "; ".join(f"{source} {count}" for source, count in most.items())
    found = f"{len(best.pairs.rows)} of {len(sheet.table)} patients{f' ({ways})' if ways else ''}"
    yield f"by {best.source}{best.way} {found}; {others}"
    if best.source == _FOLDER and best.pairs.rows:
        yield (
            "the names of folders were taken for the sheet's ids, and the headers' PatientIDs were not: make "
            "sure that the folders were not merely counted when the export was made"
        )


def _row_notes(attempt: _Attempt, rows: Mapping[str, str], sheet: LabelSheet) -> Iterator[str]:
    found = set(rows.values())
    left_out = sorted(sheet.rows[row] for row in attempt.pairs.rows.values() if row not in found)
    if left_out:
        yield (
            f"{len(left_out)} {'patients are' if len(left_out) > 1 else 'patient is'} left out, because "
            f"files of two persons stand under one {attempt.source}: row {first_few(left_out)}"
        )
    unclear = {row for several in attempt.pairs.unclear.values() for row in several} - found
    if unclear:
        numbers = first_few(sorted(sheet.rows[row] for row in unclear))
        yield f"ids that could be of one or the other patient were not matched: row {numbers}"
    absent = [
        sheet.rows[row]
        for row in sheet.table.index
        if row not in found and row not in unclear and sheet.rows[row] not in left_out
    ]
    if absent:
        several = "patients of the sheet have" if len(absent) > 1 else "patient of the sheet has"
        yield f"{len(absent)} {several} no file: row {first_few(absent)}"


def _stranger_notes(unmatched: Mapping[str, str], conflicts: Mapping[str, str]) -> Iterator[str]:
    if count := len(set(unmatched.values())):
        several = "patients of the export are" if count > 1 else "patient of the export is"
        yield f"{count} {several} not in the sheet ({len(unmatched)} files)"
    if conflicts:
        yield f"{len(conflicts)} files are left out because it is not clear whose they are"


def days_from_catheterisation(moment: str, date: datetime.date | None) -> int | None:
    """Days from the catheterisation to a study of this moment (YYYYMMDD...); None where either is unknown.

    >>> days_from_catheterisation("20180514093000", datetime.date(2018, 5, 12))
    2
    """
    try:
        study = datetime.datetime.strptime(moment[:8], "%Y%m%d").date()
    except ValueError:
        return None
    return (study - date).days if date else None
