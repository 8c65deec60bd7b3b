"""Random streams: everything drawn for a patient depends on the seed, the stream and the patient alone."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

PRETRAINING_SEED = 987_654
"""Seed of the patients that the demo backbone was pretrained on: no cohort may have it."""


class Stream(IntEnum):
    """What a random stream is for. The numbers are part of the cohort's definition: never reuse one."""

    HEMODYNAMICS = 1
    ANATOMY = 2
    MISSING_VIEW = 3
    SCANNER = 4
    ACQUISITION = 5
    SPECKLE = 6


def generator(seed: int, stream: Stream, *keys: int) -> np.random.Generator:
    """Make the generator of one stream; keys are the patient's number (from 0) and, of a clip, the view's."""
    return np.random.default_rng([seed, int(stream), *keys])


def patient_normals(patients: int, seed: int, stream: Stream, width: int) -> NDArray[np.float64]:
    """Draw standard normal values, one row per patient; row i depends on seed, stream and i only.

    >>> a, b = (patient_normals(n, 7, Stream.ANATOMY, 3) for n in (2, 5))
    >>> bool((a == b[:2]).all())
    True
    """
    rows = [generator(seed, stream, i).standard_normal(width) for i in range(patients)]
    return np.asarray(rows, dtype=np.float64).reshape(patients, width)
