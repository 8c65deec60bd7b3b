"""The predictions table: one row for each patient, parameter and variant; all analysis reads only this."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, PARAMETERS
from cardio_mlflow.sheets.cells import canonical_id
from cardio_mlflow.sheets.sheet import Sheet, raise_problems, read_sheet
from cardio_mlflow.sheets.units import canonical_unit

COLUMNS: Final = ("patient_id", "cohort", "fold", "variant", "parameter", "unit", "reference", "prediction")
"""The required columns; `person` (whose examination it is), `lower`, `upper`, `way`, `direct` may follow."""
BY_IDENTITY: Final = ("CO", "CI", "SVRI")
"""The parameters that can follow from a predicted stroke volume by an identity."""
WAYS: Final = ("identity", "direct")
"""How a prediction came: by an identity, or by the parameter's own head."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_TEXTS: Final = ("patient_id", "cohort", "variant", "parameter", "unit")
_NUMBERS: Final = ("reference", "prediction", "lower", "upper", "direct")
_UNITS: Final = {canonical_unit(p.unit): p.unit for p in PARAMETERS}
_SHEET_ROW: Final = "row of the sheet"
"""Name of an index that holds the rows' numbers as a spreadsheet shows them."""

log = logging.getLogger(__name__)


def check_predictions(table: pd.DataFrame) -> pd.DataFrame:
    """Check a predictions table and give its columns their types.

    Args:
        table: has at least `COLUMNS`; `fold` is a whole number from 1, or empty for patients of no fold;
            `reference` may be missing, `prediction` may not. Patients of one `person`, where there is such a
            column, are examinations of that person; an empty one is a person of its own. `way`, where
            there is such a column, is one of `WAYS`, an empty one direct; `direct` is the prediction of the
            parameter's own head, empty where it has none.

    Returns:
        A copy: text columns as object, `fold` as Int64, numbers as float64.

    Raises:
        InputError: a column is missing, or a patient, cohort, fold, parameter, unit or number is not valid,
            or a patient, variant and parameter occur twice, or a patient is two persons. Rows are named by
            their number, counted from 1 below the heading; patients are not named.
    """
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise InputError(f"The predictions table lacks {', '.join(missing)}. Expected {', '.join(COLUMNS)}.")
    checked = table.copy()
    if nameless := _rows(table["patient_id"].isna() | table["patient_id"].astype(str).str.strip().eq("")):
        raise InputError(f"The predictions table lacks the patient_id in {nameless}.")
    for name in _TEXTS:
        checked[name] = checked[name].astype(str).astype(object)
    if "person" in table.columns:
        nobody = table["person"].isna() | table["person"].astype(str).str.strip().eq("")
        checked["person"] = table["person"].astype(str).astype(object).mask(nobody, checked["patient_id"])
        if checked.drop_duplicates(["patient_id", "person"]).duplicated("patient_id").any():
            raise InputError("The predictions table gives a patient_id to more than one person.")
    try:
        checked["fold"] = pd.to_numeric(checked["fold"]).astype("Int64")
        for name in _NUMBERS:
            if name in checked.columns:
                checked[name] = pd.to_numeric(checked[name]).astype(np.float64)
    except (ValueError, TypeError) as error:
        raise InputError("The predictions table holds text where a number belongs.") from error
    if "way" in checked.columns:
        texts = checked["way"].astype(str).str.strip()
        checked["way"] = texts.mask(checked["way"].isna() | texts.eq(""), "direct").astype(object)
    _check_words(checked)
    _check_numbers(checked)
    _check_ways(checked)
    return checked


def _check_words(table: pd.DataFrame) -> None:
    unknown = sorted(set(table["parameter"]) - set(KEYS))
    if unknown:
        raise InputError(f"The predictions table names unknown parameters: {', '.join(unknown)}.")
    if not table["cohort"].isin(["I", "II"]).all():
        raise InputError("The predictions table's cohort column must hold I or II.")
    units = {p.key: p.unit for p in PARAMETERS}
    wrong = table.loc[table["unit"] != table["parameter"].map(units), "parameter"]
    if len(wrong):
        key = wrong.iloc[0]
        raise InputError(f"The predictions table gives {key} in another unit than {units[key]}.")
    repeated = table.duplicated(["patient_id", "variant", "parameter"])
    if repeated.any():
        raise InputError(
            "The predictions table holds a patient, parameter and variant twice: again in "
            f"{_rows(repeated)}. Keep one row of each."
        )


def _check_numbers(table: pd.DataFrame) -> None:
    if (table["fold"].dropna() < 1).any():
        raise InputError("The predictions table's folds are counted from 1.")
    broken = table.loc[table["prediction"].isna(), "parameter"]
    if len(broken):
        raise InputError(f"The predictions table lacks {len(broken)} predictions, of {broken.iloc[0]} first.")
    for name in _NUMBERS:
        if name in table.columns and (infinite := _rows(np.isinf(table[name]))):
            raise InputError(f"The predictions table's column {name} is infinite in {infinite}.")
    if {"lower", "upper"} <= set(table.columns) and (wrong := _rows(table["lower"] > table["upper"])):
        raise InputError(f"The predictions table's lower end lies above the upper one in {wrong}.")


def _check_ways(table: pd.DataFrame) -> None:
    """Check how the predictions came, where the table says so."""
    if "way" not in table.columns:
        return
    if unknown := _rows(~table["way"].isin(WAYS)):
        raise InputError(f"The predictions table's column way must hold {' or '.join(WAYS)}: see {unknown}.")
    if other := _rows(table["way"].eq("identity") & ~table["parameter"].isin(BY_IDENTITY)):
        raise InputError(f"Only {', '.join(BY_IDENTITY)} can come by an identity; another does in {other}.")


def _rows(chosen: pd.Series) -> str:
    """The numbers of the chosen rows in words, the first few of many; nothing where there is none.

    >>> _rows(pd.Series([True, False, True]))
    'rows 1 and 3'
    """
    positions = np.flatnonzero(chosen.to_numpy(bool))
    of_sheet = chosen.index.name == _SHEET_ROW
    numbers = [str(number) for number in (chosen.index[positions] if of_sheet else positions + 1)]
    if len(numbers) > 5:
        return f"rows {', '.join(numbers[:5])} and {len(numbers) - 5} more"
    return f"row{'s' if len(numbers) > 1 else ''} {' and '.join(numbers)}" if numbers else ""


def read_predictions(path: Path) -> pd.DataFrame:
    """Read and check a predictions table, csv or xlsx; ids stay text, an id such as "NA" included.

    What was left out of it (hidden rows and the like) is logged.

    Raises:
        InputError: the file does not exist or is no predictions table; names rows as a spreadsheet does.
    """
    if not path.is_file():
        raise InputError(f"There is no predictions table {path.name}.")
    sheet = read_sheet(path)
    places = {name: sheet.find((name,)) for name in (*COLUMNS, "person", "way", *_NUMBERS)}
    problems: list[str] = []
    columns = {name: _read(sheet, name, i, problems) for name, i in places.items() if i is not None}
    raise_problems(sheet.name, problems)
    for note in sheet.notes:
        log.info("Note: %s", note)
    table = pd.DataFrame(columns, index=pd.Index([row.number for row in sheet.rows], name=_SHEET_ROW))
    checked = check_predictions(table)
    check_folds(checked)
    return checked.reset_index(drop=True)


def _read(sheet: Sheet, name: str, position: int, problems: list[str]) -> list[object]:
    values: list[object] = []
    for row in sheet.rows:
        try:
            is_number = name == "fold" or name in _NUMBERS
            values.append(sheet.number(row, position) if is_number else sheet.text(row, position))
        except ValueError as error:
            problems.append(sheet.problem(row, position, str(error)))
    if name in ("patient_id", "person"):
        return [canonical_id(str(text)) for text in values]
    if name == "unit":
        ours = {text: _UNITS.get(canonical_unit(str(text)), text) for text in set(values)}
        return [ours[text] for text in values]
    return values


def read_patients_table(path: Path) -> pd.DataFrame:
    """Read a CSV of patients: participants, features or predictions from subsets of the views.

    Texts stay texts, ids such as "NA" and "007" too.

    `fold`, `network`, `bsa`, `reference`, `prediction` and the features (f0, f1, …) become numbers, `used`
    becomes bool.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name in table.columns:
        if name in ("fold", "network"):
            table[name] = pd.to_numeric(table[name]).astype("Int64")
        elif name == "used":
            table[name] = table[name] == "True"
        elif name in ("bsa", "reference", "prediction") or name.removeprefix("f").isdigit():
            table[name] = pd.to_numeric(table[name]).astype(np.float64)
    return table


def reference_and_prediction(table: pd.DataFrame, key: str) -> tuple[FloatArray, FloatArray]:
    """The pairs of one parameter, without patients whose reference is missing, sorted by patient id.

    Args:
        key: a parameter's key.

    Returns:
        Reference and prediction, each of shape (n,), in the parameter's unit.
    """
    rows = with_reference(table, key)
    return rows["reference"].to_numpy(np.float64), rows["prediction"].to_numpy(np.float64)


def with_reference(table: pd.DataFrame, key: str) -> pd.DataFrame:
    """The rows of one parameter whose reference is there, sorted by patient id."""
    return table[(table["parameter"] == key) & table["reference"].notna()].sort_values("patient_id")


def person_codes(rows: pd.DataFrame) -> IntArray:
    """Each row's person as a number, counted from 0 in the order of the rows, shape (rows,).

    Without a column `person` every row is a person of its own.
    """
    if "person" not in rows.columns:
        return np.arange(len(rows))
    return np.asarray(pd.factorize(rows["person"].fillna(rows["patient_id"]))[0], dtype=np.int64)


def patient_persons(table: pd.DataFrame) -> IntArray:
    """`person_codes` of the patients, sorted by id as in `wide`."""
    return person_codes(table.drop_duplicates("patient_id").sort_values("patient_id"))


def wide(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """One row for each patient (sorted by id), one column for each parameter that occurs, in table order.

    Args:
        column: "reference" or "prediction".

    Returns:
        Shape (patients, parameters), NaN where the value is missing.
    """
    present = set(table["parameter"])
    rows = {key: table[table["parameter"] == key].set_index("patient_id") for key in KEYS if key in present}
    return pd.DataFrame({key: values[column] for key, values in rows.items()}).sort_index()


def pool_out_of_fold(tables: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """Pool the folds' predictions of Cohort I: each patient by the fold that did not train on it.

    Args:
        tables: fold (1-based) to that fold's validation predictions.

    Returns:
        One checked table, in the order of folds.

    Raises:
        InputError: no fold, a table that belongs to another fold or holds patients of Cohort II, or a
            patient in two folds.
    """
    if not tables:
        raise InputError("There are no out-of-fold predictions: train the folds first.")
    checked = {fold: check_predictions(tables[fold]) for fold in sorted(tables)}
    for fold, table in checked.items():
        if not table["fold"].eq(fold).fillna(value=False).all():
            raise InputError(f"The predictions given for fold {fold} belong to another fold.")
        if not table["cohort"].eq("I").all():
            raise InputError(f"The predictions of fold {fold} hold patients of Cohort II.")
    pooled = pd.concat(checked.values(), ignore_index=True)
    check_folds(pooled)
    return pooled


def check_folds(table: pd.DataFrame) -> None:
    """Check that every patient, and every person, belongs to one fold, or nobody to any.

    Args:
        table: a checked predictions table.

    Raises:
        InputError: a patient or person is in two folds, or some are in none. They are counted, not named.
    """
    for column, noun in (("patient_id", "patient"), ("person", "person")):
        pairs = table.reindex(columns=[column, "fold"]).dropna().drop_duplicates()
        twice = pairs.loc[pairs.duplicated(column), column].nunique()
        if twice:
            raise InputError(
                f"{twice} {noun}{' is' if twice == 1 else 's are'} in two folds, so some predictions may be "
                "by networks that were trained on them. Use one split for all folds, and train them again."
            )
    without = table["fold"].isna()
    if without.any() and not without.all():
        raise InputError(
            f"The predictions table gives no fold in {_rows(without)}, but does in others: give every row "
            "its fold, or none."
        )
