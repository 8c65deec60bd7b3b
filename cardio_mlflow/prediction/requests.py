"""A request to the model, checked before anything else is done with it.

What a message says are sizes, types and the names of known columns, never what stands in a request: it may
be shown to whoever sent it, and stand in the log of whatever passed it on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from cardio_mlflow.errors import InputError
from cardio_mlflow.prediction.clip_arrays import ClipArrays, read_arrays
from cardio_mlflow.prediction.clip_table import PatientFiles, read_table
from cardio_mlflow.prediction.places import Places

MOST_PATIENTS: Final = 64
"""Patients in one request to a server."""


def read_request(
    given: object, frames: int, places: Places
) -> tuple[ClipArrays | tuple[PatientFiles, ...], tuple[str, ...]]:
    """Check a request; it is a dict of arrays of prepared clips, or a table of clip files.

    Args:
        given: the dict, with ``views`` among its names, as `read_arrays`; or a DataFrame, a list of records
            or a dict of columns, as `read_table`.
        frames: that the networks look at.
        places: whence files may be read.

    Returns:
        What was asked, and what each of the N patients is called in the answer: by ``patient_id``, else by
        the number of the row, from 1.

    Raises:
        InputError: in one sentence, what cannot be taken, and what can.
    """
    asked: ClipArrays | tuple[PatientFiles, ...]
    if isinstance(given, Mapping) and "views" in given:
        asked = read_arrays(given, frames)
        ids = asked.patient_ids
    else:
        asked = read_table(_table(given), places)
        ids = tuple(patient.patient_id for patient in asked)
    if places.is_server and len(ids) > MOST_PATIENTS:
        raise InputError(
            f"The request has {len(ids)} patients, at most {MOST_PATIENTS} can be asked about at once."
        )
    return asked, tuple(name or str(row) for row, name in enumerate(ids, 1))


def _table(given: Any) -> pd.DataFrame:
    """A request that is no arrays as a table; InputError where it is none."""
    if isinstance(given, pd.DataFrame):
        return given
    if isinstance(given, Mapping) or _is_records(given):
        try:
            return pd.DataFrame(given)
        except (ValueError, TypeError):
            raise InputError("The columns of the request have not all as many rows.") from None
    raise InputError(
        "The request must be arrays by name, with views and view_mask, or a table with a column for each "
        f"view (A4C, A2C, PSAX, PLAX), not {_kind(given)}."
    )


def _is_records(given: Any) -> bool:
    is_list = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    return is_list and all(isinstance(record, Mapping) for record in given)


def _kind(given: object) -> str:
    shape = getattr(given, "shape", None)
    return type(given).__name__ + (f" of shape {tuple(shape)}" if shape is not None else "")
