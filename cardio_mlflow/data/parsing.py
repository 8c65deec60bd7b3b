"""What pydicom does on damaged or hostile files: what it raises, and how it is kept silent.

Apart from the outcomes, which the sandbox's child imports before it may load NumPy.
"""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pydicom.errors import BytesLengthException, InvalidDicomError

PARSING_FAULTS: Final = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, struct.error, ValueError, TypeError,
    LookupError, AttributeError, OverflowError, RuntimeError, MemoryError, zlib.error,
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
