"""Views suggested from the clips that are labelled: a logistic regression on features of the frozen backbone.

It is judged on patients that it has not seen. Above a threshold a suggestion is taken, below it is asked.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from cardio_mlflow.data.sorting.components import components
from cardio_mlflow.parameters import OTHER_VIEW, VIEW_CODES

Array = NDArray[np.float64]

CLASSES: Final = (*VIEW_CODES, OTHER_VIEW)
"""What a clip can show, in the order of every table."""
WANTED: Final = 0.98
"""Share of right ones that suggestions must have to be taken, and the probability at which a label is
doubted."""
LEAST_CLIPS: Final = 20
LEAST_PATIENTS: Final = 4
"""Labelled, below which nothing is suggested."""
PENALTIES: Final = (0.03, 0.3, 3.0)
"""Inverse penalties to choose among."""
FOLDS: Final = 5
INNER_FOLDS: Final = 3
"""Folds of patients on which suggestions are judged, and within them the penalty is chosen."""
NOTHING: Final = 1.0
"""A threshold that no probability reaches: nothing is taken."""
_HIGHEST: Final = 0.9999
CAUTIOUS: Final = 0.9
LEAST_SURE: Final = 10
"""The threshold where labels are too few to show WANTED, if so many labelled clips reach it, as good as all
right. Measured on four synthetic exports after 60 labels: 98.7 to 100 % of what it took was right."""
_LEAST_THRESHOLD: Final = 0.7
_CHOSEN_ON: Final = 1000
"""Labelled clips, at most, on which the penalty is chosen."""


@dataclass(frozen=True)
class Suggestions:
    """What the unlabelled clips seem to show.

    Attributes:
        views: of each unlabelled clip the view, or "other", that is likeliest.
        probability: of that.
        threshold: from which on a suggestion is taken; NOTHING where none is.
        confusion: (5, 5) labelled clips by label (rows) and by suggestion for patients that the model had not
            seen (columns), both in the order of CLASSES.
        accuracy: share of right suggestions in that table.
        taken_accuracy: the same of those at or above the threshold; NaN where there are none.
        coverage: share of the unlabelled clips that are taken.
        doubts: labelled clips whose features say another view, with it.
        notes: what to know, in words; counts only.
    """

    views: Mapping[str, str]
    probability: Mapping[str, float]
    threshold: float
    confusion: pd.DataFrame
    accuracy: float
    taken_accuracy: float
    coverage: float
    doubts: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def taken(self) -> dict[str, str]:
        """The suggestions at or above the threshold."""
        return {clip: view for clip, view in self.views.items() if self.probability[clip] >= self.threshold}


@dataclass(frozen=True)
class _Labelled:
    """Labelled clips: (N, V, K) components of their looks, (N,) class numbers, (N,) patient numbers."""

    x: Array
    y: NDArray[np.int64]
    patient: NDArray[np.int64]

    def part(self, rows: NDArray[np.int64]) -> _Labelled:
        return _Labelled(self.x[rows], self.y[rows], self.patient[rows])


def suggest(
    features: Mapping[str, NDArray[np.floating]],
    labels: Mapping[str, str],
    patients: Mapping[str, str],
    threshold: float | None = None,
) -> Suggestions | str:
    """Suggest the views of unlabelled clips.

    Args:
        features: (V, D) of every clip: V looks at it, of which the first is the clip as it is. The regression
            learns from all, and what it says of a clip is the mean over its looks.
        labels: a view's code, or "other", of some of them; labels of clips without features are left out.
        patients: of every clip.
        threshold: probability from which on a suggestion is taken; None chooses it by `chosen_threshold`.

    Returns:
        The suggestions; or in words why there are none.
    """
    clips = list(features)
    known = [clip for clip in clips if clip in labels]
    if reason := _too_few(known, labels, patients):
        return reason
    x = components(features, patients, whiten=True)
    _, groups = np.unique([patients[clip] for clip in known], return_inverse=True)
    numbers = np.array([CLASSES.index(labels[clip]) for clip in known])
    data = _Labelled(np.stack([x[clip] for clip in known]), numbers, groups.astype(np.int64))
    seen = _cross_validated(data)
    right, highest = seen.argmax(axis=1) == data.y, seen.max(axis=1)
    chosen, notes = _settled(threshold, highest, right, data)
    unknown = [clip for clip in clips if clip not in labels]
    found = _fitted(data).probabilities(np.stack([x[clip] for clip in unknown])) if unknown else seen[:0]
    enough = highest >= chosen
    return Suggestions(
        {clip: CLASSES[i] for clip, i in zip(unknown, found.argmax(axis=1), strict=True)},
        {clip: float(p) for clip, p in zip(unknown, found.max(axis=1), strict=True)},
        chosen, _confusion(data.y, seen.argmax(axis=1)), float(right.mean()),
        float(right[enough].mean()) if enough.any() else float("nan"),
        float((found.max(axis=1) >= chosen).mean()) if unknown else 0.0, _doubts(known, data.y, seen), notes,
    )  # fmt: skip


def chosen_threshold(highest: Array, right: NDArray[np.bool_]) -> float | None:
    """The lowest probability from which on cross-validated suggestions are right often enough.

    The share of right ones among the taken is estimated as (right + 1) / (taken + 2), Laplace's rule, which
    is below the share seen: without any wrong one 49 must be taken to show WANTED.

    Args:
        highest: (N,) probability of each suggestion.
        right: (N,) whether it is right.

    Returns:
        _LEAST_THRESHOLD at least; None where no threshold is good enough.
    """
    order = np.argsort(-highest, kind="stable")
    taken = np.arange(1, len(order) + 1)
    enough = (np.cumsum(right[order]) + 1) / (taken + 2) >= WANTED
    last_of_equals = np.append(np.diff(highest[order]) != 0, True)
    good = np.flatnonzero(enough & last_of_equals)
    return max(float(highest[order][good[-1]]), _LEAST_THRESHOLD) if len(good) else None


class _Model:
    """A logistic regression that may not have seen every class."""

    def __init__(self, data: _Labelled, penalty: float) -> None:
        self._classes = np.unique(data.y)
        self._regression: LogisticRegression | None = None
        if len(self._classes) > 1:
            self._regression = LogisticRegression(C=penalty, max_iter=200, tol=1e-3)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the last steps change no suggestion
                looks = data.x.shape[1]
                self._regression.fit(data.x.reshape(-1, data.x.shape[2]), np.repeat(data.y, looks))

    def probabilities(self, x: Array) -> Array:
        """Of (N, V, K) components (N, 5) for the classes in the order of CLASSES; 0 for those never seen."""
        found = np.zeros((len(x), len(CLASSES)))
        found[:, self._classes] = 1.0
        if self._regression is not None:
            of_looks = self._regression.predict_proba(x.reshape(-1, x.shape[2]))
            found[:, self._classes] = of_looks.reshape(*x.shape[:2], -1).mean(axis=1)
        return np.minimum(found, _HIGHEST)


def _fitted(data: _Labelled) -> _Model:
    """Fit with the penalty that has the best likelihood on left-out patients."""
    step = -(-len(data.y) // _CHOSEN_ON)
    some = data.part(np.arange(0, len(data.y), step))
    rows = np.arange(len(some.y))
    loss = dict.fromkeys(PENALTIES, 0.0)
    for train, test in _folds(some, INNER_FOLDS):
        for penalty in PENALTIES:
            found = _Model(some.part(train), penalty).probabilities(some.x[test])
            loss[penalty] -= float(np.log(np.maximum(found[rows[: len(test)], some.y[test]], 1e-4)).sum())
    return _Model(data, min(PENALTIES, key=loss.__getitem__))


def _cross_validated(data: _Labelled) -> Array:
    """(N, 5) probabilities of each labelled clip by a model that has not seen its patient."""
    found = np.zeros((len(data.y), len(CLASSES)))
    for train, test in _folds(data, FOLDS):
        found[test] = _fitted(data.part(train)).probabilities(data.x[test])
    return found


def _folds(data: _Labelled, count: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Training and test rows, no patient in both, classes spread as evenly as that allows."""
    splitter = StratifiedGroupKFold(min(count, len(np.unique(data.patient))), shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")
        return list(splitter.split(data.y, data.y, data.patient))


def _too_few(known: Sequence[str], labels: Mapping[str, str], patients: Mapping[str, str]) -> str:
    persons = len({patients[clip] for clip in known})
    if len(known) < LEAST_CLIPS or persons < LEAST_PATIENTS:
        return (
            f"{len(known)} clips of {persons} patients are labelled; views are suggested from "
            f"{LEAST_CLIPS} clips of {LEAST_PATIENTS} patients on."
        )
    if len({labels[clip] for clip in known}) < 2:
        return "All labelled clips have the same label; label others too, 0 for another view."
    return ""


def _settled(
    asked: float | None, highest: Array, right: NDArray[np.bool_], data: _Labelled
) -> tuple[float, tuple[str, ...]]:
    """The threshold, and what to know about it and the labels."""
    missing = [name for i, name in enumerate(CLASSES) if i not in data.y]
    absent = [name for name in missing if name != OTHER_VIEW]
    notes = [f"No clip is labelled {name}, so none is suggested to be." for name in absent]
    chosen = asked if asked is not None else chosen_threshold(highest, right)
    if OTHER_VIEW in missing and asked is None:
        chosen = NOTHING
        notes.append(
            "No clip is labelled as another view (0), so other views would be taken for one of the four: "
            "nothing is taken until some are, or a threshold is given."
        )
    elif chosen is None and _is_cautious_enough(highest, right):
        chosen = CAUTIOUS
        notes.append(
            f"{len(right)} labelled clips are too few to show that {WANTED:.0%} of what is taken is right: "
            f"only what is likely by {CAUTIOUS:.0%} is taken; label more, or give a threshold."
        )
    elif chosen is None:
        chosen = NOTHING
        notes.append(
            f"{len(right)} labelled clips are too few, or too hard, to show that {WANTED:.0%} of what would "
            "be taken is right: nothing is taken; label more, or give a threshold."
        )
    return chosen, tuple(notes)


def _is_cautious_enough(highest: Array, right: NDArray[np.bool_]) -> bool:
    sure = highest >= CAUTIOUS
    return bool(sure.sum() >= LEAST_SURE and right[sure].mean() >= WANTED)


def _doubts(known: Sequence[str], y: NDArray[np.int64], seen: Array) -> dict[str, str]:
    sure = (seen.max(axis=1) >= WANTED) & (seen.argmax(axis=1) != y)
    return {known[i]: CLASSES[seen[i].argmax()] for i in np.flatnonzero(sure).tolist()}


def _confusion(y: NDArray[np.int64], suggested: NDArray[np.int64]) -> pd.DataFrame:
    counts = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    np.add.at(counts, (y, suggested), 1)
    return pd.DataFrame(
        counts, index=pd.Index(CLASSES, name="label"), columns=pd.Index(CLASSES, name="suggested")
    )
