"""Views suggested from the clips that are labelled: a logistic regression on features of the frozen backbone.

It is judged on patients that it has not seen. Above a threshold a suggestion is taken, below it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom

from cardio_mlflow.data.sorting.components import components
from cardio_mlflow.data.sorting.unlike import unlike_any
from cardio_mlflow.data.sorting.view_regression import (
    Labelled,
    ViewRegression,
    cross_validated,
    temperature,
    tempered,
)
from cardio_mlflow.parameters import OTHER_VIEW, VIEW_CODES

Array = NDArray[np.float64]

CLASSES: Final = (*VIEW_CODES, OTHER_VIEW)
"""What a clip can show, in the order of every table."""
WANTED: Final = 0.975
"""Share of right ones to be expected of what is taken: the mean of its probabilities."""
DENIED: Final = 0.97
CHANCE: Final = 0.05
"""What is taken must not be denied by the labels: where DENIED were right, as many wrong ones as among the
labelled clips must have this chance at least."""
LEAST_THRESHOLD: Final = 0.5
DOUBTED: Final = 0.95
"""Probability of another view from which on a label is doubted."""
LEAST_CLIPS: Final = 20
LEAST_PATIENTS: Final = 4
"""Labelled, below which nothing is suggested."""
NOTHING: Final = 1.0
"""A threshold that no probability reaches: nothing is taken."""


@dataclass(frozen=True)
class Suggestions:
    """What the unlabelled clips seem to show.

    Attributes:
        views: of each unlabelled clip the view, or "other", that is likeliest.
        probability: of that; halved where the clip is unlike any labelled one and none is labelled "other".
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
    unknown = [clip for clip in clips if clip not in labels]
    x = components(features, patients, whiten=True)
    _, groups = np.unique([patients[clip] for clip in known], return_inverse=True)
    numbers = np.array([CLASSES.index(labels[clip]) for clip in known])
    data = Labelled(np.stack([x[clip] for clip in known]), numbers, groups.astype(np.int64))
    others = np.stack([x[clip] for clip in unknown]) if unknown else data.x[:0]
    seen = cross_validated(data, others, len(CLASSES))
    softer = temperature(seen, data.y)
    doubts = _doubts(known, data.y, seen)  # one wrong label makes all less sure
    seen = tempered(seen, softer)
    found = tempered(ViewRegression(data, others, len(CLASSES)).probabilities(others), softer)
    right, highest, probability = seen.argmax(axis=1) == data.y, seen.max(axis=1), found.max(axis=1)
    notes = _missing(data)
    if threshold is None:
        threshold = chosen_threshold(probability, highest, right)
        notes += () if threshold < NOTHING else (_too_hard(len(known)),)
    if CLASSES.index(OTHER_VIEW) not in data.y and unknown:
        far = unlike_any(features, patients, known, unknown)
        probability = np.where(far, probability / 2, probability)
        notes += (_no_other(len(known), int(far.sum())),)
    enough = highest >= threshold
    return Suggestions(
        {clip: CLASSES[i] for clip, i in zip(unknown, found.argmax(axis=1), strict=True)},
        dict(zip(unknown, probability.tolist(), strict=True)), threshold,
        _confusion(data.y, seen.argmax(axis=1)), float(right.mean()),
        float(right[enough].mean()) if enough.any() else float("nan"),
        float((probability >= threshold).mean()) if unknown else 0.0, doubts, notes,
    )  # fmt: skip


def chosen_threshold(probability: Array, highest: Array, right: NDArray[np.bool_]) -> float:
    """The lowest probability from which on suggestions are right often enough.

    Enough is that their mean probability reaches WANTED, and that the labelled clips do not deny it. The
    labels alone are too few to choose by: three wrong ones of 60 may be 1 % or 14 % of all.

    Args:
        probability: (M,) of the suggestion of each unlabelled clip.
        highest: (N,) of the cross-validated suggestion of each labelled clip.
        right: (N,) whether that is right.

    Returns:
        LEAST_THRESHOLD at least; NOTHING where no threshold is good enough.
    """
    order = np.sort(probability)[::-1]
    expected = np.cumsum(order) / np.arange(1, len(order) + 1)
    for at in np.unique(order[expected >= WANTED]).tolist():
        taken = highest >= at
        wrong = int((~right[taken]).sum())
        if binom.sf(wrong - 1, taken.sum(), 1 - DENIED) >= CHANCE:
            return max(float(at), LEAST_THRESHOLD)
    return NOTHING


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


def _missing(data: Labelled) -> tuple[str, ...]:
    return tuple(
        f"No clip is labelled {view}, so none is suggested to be."
        for i, view in enumerate(VIEW_CODES) if i not in data.y
    )  # fmt: skip


def _no_other(known: int, far: int) -> str:
    return (
        f"None of the {known} labelled clips is another view (0), so other views can be taken for one of the "
        f"four: {far} clips that are unlike any labelled one are asked; look through the rest, or label some."
    )


def _too_hard(known: int) -> str:
    return (
        f"{known} labelled clips are too few, or too hard, to expect {WANTED:.1%} of what would be "
        "taken to be right: nothing is taken; label more, or give a threshold."
    )


def _doubts(known: Sequence[str], y: NDArray[np.int64], seen: Array) -> dict[str, str]:
    sure = (seen.max(axis=1) >= DOUBTED) & (seen.argmax(axis=1) != y)
    return {known[i]: CLASSES[seen[i].argmax()] for i in np.flatnonzero(sure).tolist()}


def _confusion(y: NDArray[np.int64], suggested: NDArray[np.int64]) -> pd.DataFrame:
    counts = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    np.add.at(counts, (y, suggested), 1)
    return pd.DataFrame(
        counts, index=pd.Index(CLASSES, name="label"), columns=pd.Index(CLASSES, name="suggested")
    )
