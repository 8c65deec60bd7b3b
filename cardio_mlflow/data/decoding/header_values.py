"""Values of DICOM elements, read with distrust: only what was asked for comes out."""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

PARSING_FAULTS: Final = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, struct.error, ValueError, TypeError, KeyError,
    IndexError, AttributeError, NotImplementedError, OverflowError, RecursionError, RuntimeError, MemoryError,
)  # fmt: skip
"""What pydicom and its decoders raise on damaged or hostile files."""


@contextmanager
def pydicom_silenced() -> Iterator[None]:
    """Keep pydicom from logging and warning, in words that repeat what stands in the file."""
    logger = logging.getLogger("pydicom")  # those of its modules take their level from it
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def numbers_of(dataset: Dataset, keyword: str) -> list[float]:
    """The finite numbers of an element, whatever its multiplicity; empty when absent or not numbers."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return []
        values = np.atleast_1d(np.asarray(value, dtype=np.float64))
        return [float(v) for v in values if np.isfinite(v)]
    except PARSING_FAULTS:
        return []


def integer_of(dataset: Dataset, keyword: str, default: int) -> int | None:
    """The whole number of an element, the default when it is absent or empty, None when it is neither."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return default
        number = float(value)
        return int(number) if number.is_integer() else None
    except PARSING_FAULTS:
        return None


def text_of(dataset: Dataset, keyword: str) -> str:
    """The text of an element for comparing it with known words, never for showing; empty when absent."""
    try:
        return str(dataset.get(keyword) or "").strip("\0 ")
    except PARSING_FAULTS:
        return ""
