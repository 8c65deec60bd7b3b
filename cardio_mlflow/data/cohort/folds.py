"""Folds of Cohort I: patient-level, balanced on pulmonary hypertension, or given by the user."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cardio_mlflow.data.cohort.columns import PATIENT_NAMES
from cardio_mlflow.data.cohort.persons import PERSON, persons_apart
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import PULMONARY_HYPERTENSION
from cardio_mlflow.sheets.cells import canonical_id
from cardio_mlflow.sheets.sheet import Sheet, first_few, raise_problems, read_sheet


def assign_folds(labels_cohort1: pd.DataFrame, num_folds: int, seed: int) -> pd.Series[int]:
    """Deal the patients of Cohort I into folds, balanced on pulmonary hypertension.

    Patients with, without and with unknown pulmonary hypertension are shuffled apart and dealt in
    turn, so that fold sizes and each group's share differ by one patient at most. The result
    depends on the patients and the seed, not on the order of the rows.

    All examinations of a person come into one fold. Persons of several are dealt first, the largest
    ones before, each to the fold that holds fewest of the same groups; those of one fill what is uneven.

    Args:
        labels_cohort1: indexed by patient_id, with the columns meanPAP (mmHg, NaN where missing) and
            person; without the latter each patient is a person.
        num_folds: at least 2.
        seed: not negative.

    Returns:
        The fold (1 to num_folds) of each patient, in the order of the labels.

    Raises:
        InputError: fewer than two folds, or fewer persons than folds.
    """
    table = labels_cohort1.sort_index()
    persons = table[PERSON] if PERSON in table else table.index.to_series()
    pressure, cutoff = table[PULMONARY_HYPERTENSION.key], PULMONARY_HYPERTENSION.cutoff
    groups = pd.DataFrame({0: pressure > cutoff, 1: pressure <= cutoff, 2: pressure.isna()})
    counts = groups.astype(np.int64).groupby(persons.to_numpy(), sort=False).sum()
    if num_folds < 2:
        raise InputError(f"num_folds={num_folds}: cross-validation needs at least 2 folds.")
    if len(counts) < num_folds:
        them = "persons" if len(counts) < len(persons) else "patients"
        raise InputError(
            f"Cohort I has {len(counts)} {them}, fewer than num_folds={num_folds}: "
            f"set a smaller num_folds or bring more {them}."
        )
    folds = persons.map(_deal(counts, num_folds, np.random.default_rng(seed)))
    return folds.reindex(labels_cohort1.index).rename("fold").astype("int64")


def _deal(counts: pd.DataFrame, num_folds: int, generator: np.random.Generator) -> dict[str, int]:
    """The fold of each person by its numbers of examinations with, without and of unknown PH."""
    examinations = counts.to_numpy()
    group = np.where(counts[0] > 0, 0, examinations.argmax(axis=1))  # who has had PH counts as one with
    order = [i for g in range(3) for i in generator.permutation(np.flatnonzero(group == g))]
    held, dealt = np.zeros((num_folds, 3), np.int64), {}
    for i in sorted(order, key=lambda i: -examinations[i].sum()):
        own = examinations[i]
        fold = int(np.lexsort((held.sum(axis=1), held @ own))[0])
        held[fold] += own
        dealt[counts.index[i]] = fold + 1
    return dealt


def read_folds(
    path: Path, patients: Sequence[str], num_folds: int, persons: Mapping[str, str] | None = None
) -> pd.Series[int]:
    """The fold of each of Cohort I's patients, from the user's sheet with the columns patient_id and fold.

    The folds are 1 to num_folds. All patients of a person must be in one; by default each is a person.

    Raises:
        InputError: names the row that is wrong, or counts the patients or folds left out; no id is repeated.
    """
    if not path.is_file():
        raise InputError(f"There is no file of folds {path}: give its absolute path, or leave folds empty.")
    sheet = read_sheet(path)
    folds = _parse_rows(sheet, {p: p for p in patients} | dict(persons or {}), num_folds)
    missing = [number for number, patient in enumerate(patients, start=1) if patient not in folds]
    if missing:
        raise InputError(
            f"{sheet.name} gives no fold to {len(missing)} patients of Cohort I: number {first_few(missing)} "
            "in the order of the label sheet, counted from 1."
        )
    empty = sorted(set(range(1, num_folds + 1)) - set(folds.values()))
    if empty:
        raise InputError(
            f"{sheet.name}: no patient in fold {', '.join(map(str, empty))} (num_folds={num_folds})."
        )
    index = pd.Index(list(patients), name="patient_id", dtype="object")
    return pd.Series([folds[p] for p in patients], index=index, name="fold", dtype="int64")


def _parse_rows(sheet: Sheet, persons: Mapping[str, str], num_folds: int) -> dict[str, int]:
    ids, numbers = sheet.find(PATIENT_NAMES), sheet.find(("fold",))
    if ids is None or numbers is None:
        raise InputError(f"{sheet.name} needs the columns patient_id and fold.")
    folds: dict[str, int] = {}
    rows: list[int] = []
    problems = []
    for row in sheet.rows:
        patient, fold = (canonical_id(row.cells[i].text) for i in (ids, numbers))
        if patient in folds:
            problems.append(sheet.problem(row, ids, "this patient already has a fold"))
        elif patient not in persons:
            problems.append(sheet.problem(row, ids, "no patient of Cohort I has this id"))
        elif not re.fullmatch("[0-9]{1,4}", fold) or not 1 <= int(fold) <= num_folds:
            problems.append(sheet.problem(row, numbers, f"expected a whole number from 1 to {num_folds}"))
        else:
            folds[patient] = int(fold)
            rows.append(row.number)
    problems += persons_apart([persons[p] for p in folds], [f"fold {f}" for f in folds.values()], rows)
    raise_problems(sheet.name, problems)
    return folds


def parse_indices(text: str, size: int) -> tuple[int, ...]:
    """Positions in Cohort I's sheet order, from 0, sorted; both ends of a range are included.

    Raises:
        InputError: not a number or range, a reversed range, or a position beyond the last of ``size``.

    >>> parse_indices("0-2, 5, 1-3", size=6)
    (0, 1, 2, 3, 5)
    """
    positions: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?", part)
        if match is None:
            raise InputError(f"train_indices={text[:80]}: {part.strip()[:20]!r} is not like 7 or 0-179.")
        first, last = int(match.group(1)), int(match.group(2) or match.group(1))
        if last < first:
            raise InputError(f"train_indices: the range {first}-{last} is reversed; write {last}-{first}.")
        if last >= size:
            raise InputError(
                f"train_indices: position {last} does not exist; "
                f"Cohort I has {size} patients, 0 to {size - 1}."
            )
        positions.update(range(first, last + 1))
    return tuple(sorted(positions))
