"""What of clips' features is compared: a few principal components, against the patient's mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

Array = NDArray[np.float64]

COMPONENTS: Final = 96
"""Principal components of the features that are looked at."""
OWN: Final = 5
"""A patient's clips are seen against their mean, as if so many average clips of others were among them."""
_FITTED: Final = 2000
_AT_ONCE: Final = 500
"""Clips, at most, from which components are found, and that are read at once."""


def components(
    features: Mapping[str, NDArray[np.floating]], patients: Mapping[str, str], *, whiten: bool
) -> dict[str, Array]:
    """Principal components of standardised features: by clip (V, D) to (V, K), K at most COMPONENTS.

    Where there are very many clips, the components are those of some, evenly spread. They are against the
    patient's mean, and with `whiten` of unit variance, because what varies most is not the view, but the
    scanner, the fan, its depth, the gain and the person.
    """
    clips, means = list(features), _means(features, patients)
    some = [features[clip] - means[patients[clip]] for clip in clips[:: -(-len(clips) // _FITTED)]]
    rows = np.concatenate(some).astype(np.float32)
    scaler = StandardScaler().fit(rows)
    count = max(1, min(COMPONENTS, len(clips) - 1, rows.shape[1]))
    pca = PCA(count, whiten=whiten, svd_solver="randomized", n_oversamples=COMPONENTS, random_state=0)
    pca.fit(scaler.transform(rows))  # with few oversamples the last components would be chance
    found: dict[str, Array] = {}
    for start in range(0, len(clips), _AT_ONCE):
        part = clips[start : start + _AT_ONCE]
        looks = np.stack([features[clip] - means[patients[clip]] for clip in part]).astype(np.float32)
        x = pca.transform(scaler.transform(looks.reshape(-1, looks.shape[2]))).astype(np.float64)
        found |= zip(part, x.reshape(*looks.shape[:2], -1), strict=True)
    return found


def _means(
    features: Mapping[str, NDArray[np.floating]], patients: Mapping[str, str]
) -> dict[str, NDArray[np.float32]]:
    """(D,) of each patient: the mean of the clips as they are, drawn to that of all where they are few."""
    of: defaultdict[str, list[NDArray[np.float32]]] = defaultdict(list)
    for clip, looks in features.items():
        of[patients[clip]].append(looks[0].astype(np.float32))
    whole = np.mean([row for rows in of.values() for row in rows], axis=0, dtype=np.float32)
    return {patient: (np.sum(rows, axis=0) + OWN * whole) / np.float32(len(rows) + OWN)
            for patient, rows in of.items()}  # fmt: skip
