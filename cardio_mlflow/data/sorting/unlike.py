"""Which clips are unlike any labelled one: perhaps of a view that nobody has labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.sorting.components import components

Array = NDArray[np.float64]

USUAL: Final = 0.95
"""Share of the labelled clips that are as near to a labelled clip of another patient as is usual."""
_AT_ONCE: Final = 500


def unlike_any(
    features: Mapping[str, NDArray[np.floating]], patients: Mapping[str, str], known: Sequence[str],
    unknown: Sequence[str],
) -> NDArray[np.bool_]:  # fmt: skip
    """(M,) which of the unlabelled clips are farther from every labelled one than is usual.

    Usual is how far labelled clips are from the nearest one of another patient.

    Args:
        features: (V, D) of every clip; the first look counts.
        patients: of every clip; the labelled ones are of two patients at least.
        known: the labelled clips.
        unknown: the M others.
    """
    x = components({clip: looks[:1] for clip, looks in features.items()}, patients, whiten=False)
    labelled, others = (np.concatenate([x[clip] for clip in clips]) for clips in (known, unknown))
    _, owner = np.unique([patients[clip] for clip in known], return_inverse=True)
    between = _distances(labelled, labelled)
    between[owner[:, None] == owner] = np.inf
    usual = np.quantile(between.min(axis=1), USUAL)
    starts = range(0, len(others), _AT_ONCE)
    nearest = [_distances(others[at : at + _AT_ONCE], labelled).min(axis=1) for at in starts]
    return np.asarray(np.concatenate(nearest) > usual)


def _distances(a: Array, b: Array) -> Array:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))
