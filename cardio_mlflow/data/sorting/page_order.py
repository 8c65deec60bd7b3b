"""In which order clips are shown to be labelled: a varied sample first, then like beside like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans

from cardio_mlflow.data.sorting.components import components
from cardio_mlflow.data.sorting.suggestions import CLASSES, Suggestions

Array = NDArray[np.float64]

SAMPLE: Final = 60
"""Clips of the varied sample; what is labelled already counts."""
NEIGHBOURS: Final = 24
"""Clips of a cluster, and of the least sure: about a screenful."""
_FEW: Final = 3000
"""Clips up to which clusters are found by all of them at once."""


def page_order(
    features: Mapping[str, NDArray[np.floating]],
    labels: Mapping[str, str],
    suggestions: Suggestions | None,
    patients: Mapping[str, str],
) -> list[str]:
    """Put clips in the order of the page.

    Without suggestions: a sample of SAMPLE clips of all kinds and many patients, then the others, like beside
    like. With them: a screenful of the least sure, from which most is learnt; then labels that are doubted,
    what else is asked, what is taken, each by suggested view; and the labelled clips by label last, in any
    case.

    Args:
        features: (V, D) of every clip; the first look counts.
        labels: a view's code, or "other", of some of them.
        suggestions: for the others; None: there are none yet.
        patients: of every clip.

    Returns:
        Every clip once.
    """
    clips = list(features)
    if not clips:
        return []
    looks = components({clip: features[clip][:1] for clip in clips}, patients, whiten=False)
    x = {clip: found[0] for clip, found in looks.items()}
    first: list[str] = []
    if suggestions is None:
        unlabelled = [clip for clip in clips if clip not in labels]
        first = varied_sample(
            {clip: x[clip] for clip in unlabelled}, patients, SAMPLE - len(clips) + len(unlabelled)
        )
    else:
        asked = [clip for clip, p in suggestions.probability.items() if p < suggestions.threshold]
        first = sorted(asked, key=suggestions.probability.__getitem__)[:NEIGHBOURS]
    done = set(first)
    ranks = {clip: _rank(clip, labels, suggestions) for clip in clips if clip not in done}
    for rank in sorted(set(ranks.values())):
        first += chained({clip: x[clip] for clip, own in ranks.items() if own == rank})
    return first


def _rank(clip: str, labels: Mapping[str, str], suggestions: Suggestions | None) -> tuple[int, int]:
    """The part of the page that a clip stands in, and the view within it."""
    if clip in labels:
        doubted = suggestions is not None and clip in suggestions.doubts
        return 0 if doubted else 3, CLASSES.index(labels[clip])
    if suggestions is None:
        return 1, 0
    taken = suggestions.probability[clip] >= suggestions.threshold
    return 2 if taken else 1, CLASSES.index(suggestions.views[clip])


def varied_sample(x: Mapping[str, Array], patients: Mapping[str, str], size: int) -> list[str]:
    """Clips that stand for as many kinds: one of each of `size` clusters, of patients that have few so far.

    The largest cluster comes first, so that whoever stops early has seen the commonest.

    Args:
        x: (K,) components by clip.
        patients: of each.
        size: of the sample; 0 or less for none.
    """
    clips = list(x)
    if size >= len(clips) or size <= 0:
        return clips if size > 0 else []
    rows = np.stack([x[clip] for clip in clips])
    cluster, distance = _clusters(rows, size)
    so_far: Counter[str] = Counter()
    sample = []
    for number, _ in Counter(cluster.tolist()).most_common():
        members = np.flatnonzero(cluster == number)
        near = members[distance[members] <= 1.5 * distance[members].min() + 1e-9]
        chosen = min(near.tolist(), key=lambda i: (so_far[patients[clips[i]]], distance[i]))
        so_far[patients[clips[chosen]]] += 1
        sample.append(clips[chosen])
    rest = [clips[i] for i in np.argsort(-distance, kind="stable") if clips[i] not in set(sample)]
    return sample + rest[: size - len(sample)]  # where clips are alike, some clusters have none


def chained(x: Mapping[str, Array]) -> list[str]:
    """Clips so that neighbours are alike: clusters of about a screenful, each and all along a chain."""
    clips = list(x)
    if len(clips) < 3:
        return clips
    rows = np.stack([x[clip] for clip in clips])
    cluster, _ = _clusters(rows, -(-len(clips) // NEIGHBOURS))
    numbers = np.unique(cluster)
    centres = np.stack([rows[cluster == number].mean(axis=0) for number in numbers])
    order: list[int] = []
    for position in nearest_chain(centres, 0):
        members = np.flatnonzero(cluster == numbers[position])
        start = 0 if not order else _nearest(rows[members], rows[order[-1]], range(len(members)))
        order += members[nearest_chain(rows[members], start)].tolist()
    return [clips[i] for i in order]


def nearest_chain(x: Array, start: int) -> list[int]:
    """Visit the (N, K) points from one to the nearest that is left: N positions."""
    left = np.ones(len(x), dtype=bool)
    chain = [start]
    left[start] = False
    while left.any():
        rest = np.flatnonzero(left)
        chain.append(_nearest(x, x[chain[-1]], rest))
        left[chain[-1]] = False
    return chain


def _nearest(x: Array, point: Array, among: Sequence[int] | Iterable[int] | NDArray[np.int64]) -> int:
    rows = np.asarray(among)
    return int(rows[((x[rows] - point) ** 2).sum(axis=1).argmin()])


def _clusters(rows: Array, count: int) -> tuple[NDArray[np.int64], Array]:
    """Cluster number of each of the (N, K) rows, and its distance from the cluster's centre."""
    few = len(rows) <= _FEW
    means = (KMeans if few else MiniBatchKMeans)(count, random_state=0, n_init=1).fit(rows)
    cluster = means.labels_.astype(np.int64)
    return cluster, np.linalg.norm(rows - means.cluster_centers_[cluster], axis=1)
