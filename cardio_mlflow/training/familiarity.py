"""Whether a network has seen anything like a patient's clips: what it does not know, said in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cardio_mlflow.data.dataset import Clips
from cardio_mlflow.parameters import VIEWS
from cardio_mlflow.training.clip_summaries import PIXEL_NAMES, pixel_summaries, summarise
from cardio_mlflow.training.likeness import Groups

Array = NDArray[np.float64]

FLAGGED: Final = 0.01
"""Share of the patients out of fold that one score may flag, and the one that it may where many stand out."""
MOST_FLAGGED: Final = 0.05
FAR: Final = 5.0
"""Robust SDs from the median beyond which a score is flagged even where a few patients out of fold lie."""
NEAR: Final = 3.0
"""Robust SDs from the median within which nothing is flagged where fewer than 1 / `FLAGGED` patients tell."""
UNLIKE: Final = "unlike the clips of training"
_FAR_NUMBER: Final = 4.0
"""SDs by which a pixel number must lie below those of training to be given as the reason."""
_WAY: Final = {name: number for number, name in enumerate(PIXEL_NAMES)}


class Seen(NamedTuple):
    """What is known of N patients' clips.

    Attributes:
        clips: (N, V, S) summaries of frame features, see `summarise`; NaN where the view is missing.
        pixels: (N, V, P), see `pixel_summaries`.
        fused: (N, D) fused features.
    """

    clips: Array
    pixels: Array
    fused: Array


class Scores(NamedTuple):
    """How unlike the patients of training N patients are; larger is more so, NaN where it is not known.

    Attributes:
        picture: (N, V) logarithm of the distance of the pixels from those of the same view.
        view: (N, V) the same of the frame features.
        other: (N, V) by how much another view is nearer than the clip's own, of the same logarithm.
        patient: (N, 1) logarithm of the distance of the fused features.
    """

    picture: Array
    view: Array
    other: Array
    patient: Array


@dataclass(frozen=True)
class Reference:
    """What one network's training patients look like, and how its validation patients score against them.

    Attributes:
        pixels: of the clips' pixels, by view.
        clips: of the clips' frame features, by view.
        fused: of the fused features, one group.
        scores: of the validation patients.
        frames: how many frames of a clip the pixel numbers are taken from.
    """

    pixels: Groups
    clips: Groups
    fused: Groups
    scores: Scores
    frames: int

    @classmethod
    def fit(cls, training: Seen, validation: Seen, frames: int) -> Self | None:
        """Describe the training patients; None where no view has clips enough."""
        given = np.isfinite(training.clips).all(-1)
        view = np.nonzero(given)[1]
        pixels = Groups.fit(training.pixels[given], view, len(VIEWS))
        clips = Groups.fit(training.clips[given], view, len(VIEWS))
        fused = Groups.fit(training.fused, np.zeros(len(training.fused), dtype=np.int64), 1)
        if pixels is None or clips is None or fused is None:
            return None
        empty = Scores(*(np.empty((0, 0)),) * 4)
        scores = cls(pixels, clips, fused, empty, frames).score(validation)[0]
        kept = Scores(*(values.astype(np.float32).astype(np.float64) for values in scores))  # as in the file
        return cls(pixels, clips, fused, kept, frames)

    def score(self, seen: Seen) -> tuple[Scores, Array]:
        """Score N patients; with it (N, V, V) distances of each clip to each view."""
        to_view, to_picture = (
            groups.distances(values.reshape(-1, values.shape[-1])).reshape(*values.shape[:2], len(VIEWS))
            for groups, values in ((self.clips, seen.clips), (self.pixels, seen.pixels))
        )
        own = np.diagonal(to_view, axis1=1, axis2=2)
        others = np.where(np.eye(len(VIEWS), dtype=bool) | np.isnan(to_view), np.inf, to_view).min(-1)
        return Scores(
            np.diagonal(to_picture, axis1=1, axis2=2),
            own,
            np.where(np.isfinite(others), own - others, np.nan),
            self.fused.distances(seen.fused),
        ), to_view

    def to_arrays(self) -> dict[str, NDArray[np.floating]]:
        """By name, as safetensors keeps them."""
        parts = {"pixels": self.pixels, "clips": self.clips, "fused": self.fused}
        arrays = {
            f"{part}.{name}": a for part, groups in parts.items() for name, a in groups.to_arrays().items()
        }
        scores = {
            f"scores.{name}": np.asarray(a, np.float32, order="C")
            for name, a in self.scores._asdict().items()
        }
        return arrays | scores | {"frames": np.array([self.frames], dtype=np.float32)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.floating]]) -> Self:
        """Read what `to_arrays` gave."""
        pixels, clips, fused = (
            Groups.from_arrays(_part(arrays, f"{name}.")) for name in ("pixels", "clips", "fused")
        )
        scores = Scores(**{name: a.astype(np.float64) for name, a in _part(arrays, "scores.").items()})
        return cls(pixels, clips, fused, scores, int(arrays["frames"][0]))


@dataclass(frozen=True)
class Familiarity:
    """The references of all networks of a model, and what of a score is too much.

    Attributes:
        references: by the name of the network.
        thresholds: by the name of the score, from the patients out of fold of all networks together.
    """

    references: Mapping[str, Reference]
    thresholds: Mapping[str, float]

    @classmethod
    def of(cls, references: Mapping[str, Reference | None]) -> Self | None:
        """Pool the scores of the networks' validation patients; None where no network has a reference."""
        known = {name: reference for name, reference in sorted(references.items()) if reference is not None}
        if not known:
            return None
        pooled = Scores(*(np.concatenate(s) for s in zip(*(r.scores for r in known.values()), strict=True)))
        thresholds = {name: threshold(values, NEAR) for name, values in pooled._asdict().items()}
        return cls(known, thresholds | {"other": max(0.0, threshold(pooled.other, 0.0))})

    def judge(
        self, frames: Mapping[str, Tensor], features: Mapping[str, Array], clips: Clips, present: Tensor
    ) -> list[tuple[str, ...]]:
        """Say what of N patients is unlike those of training; nothing for a patient who is familiar.

        Args:
            frames: (N, V, T, D) frame features by network.
            features: (N, D) fused features by network.
            clips: the patients' prepared clips.
            present: (N, V) bool, the views that are judged.
        """
        first = next(iter(self.references.values()))
        pixels = pixel_summaries(clips, range(len(present)), present, first.frames)
        found = [
            reference.score(Seen(summarise(frames[name], present), pixels, features[name]))
            for name, reference in self.references.items()
        ]
        scores = Scores(*(np.mean(values, axis=0) for values in zip(*(s for s, _ in found), strict=True)))
        to_view = np.mean([distances for _, distances in found], axis=0)
        numbers = np.mean(
            [(pixels - r.pixels.centre) / r.pixels.spread for r in self.references.values()], axis=0
        )
        return [
            tuple(self._reasons(Scores(*(values[i] for values in scores)), to_view[i], numbers[i]))
            for i in range(len(present))
        ]

    def _reasons(self, scores: Scores, to_view: Array, numbers: Array) -> list[str]:
        """In words, of one patient: scores (V,) each, (V, V) distances, (V, P) standardised numbers."""
        far = {name: values > self.thresholds[name] for name, values in scores._asdict().items()}
        found = []
        for number, view in enumerate(VIEWS):
            if far["picture"][number]:
                found.append(f"{view.name}: {_what_of_the_picture(numbers[number])}")
            elif far["other"][number]:
                nearest = int(np.nanargmin(to_view[number]))
                alike = to_view[number, nearest] <= self.thresholds["view"]
                found.append(f"{view.name}: {f'looks like {VIEWS[nearest].name}' if alike else UNLIKE}")
            elif far["view"][number]:
                found.append(f"{view.name}: {UNLIKE}")
        return found + (["unlike the patients of training"] if far["patient"].any() else [])

    @property
    def not_judged(self) -> tuple[str, ...]:
        """Names of the views of which some network has seen too few clips to say what is unlike them."""
        known = np.all([reference.clips.described for reference in self.references.values()], axis=0)
        return tuple(view.name for view, is_known in zip(VIEWS, known, strict=True) if not is_known)

    def to_arrays(self) -> dict[str, NDArray[np.floating]]:
        """By name, as safetensors keeps them; thresholds follow from the scores."""
        return {f"{name}/{key}": a for name, r in self.references.items() for key, a in r.to_arrays().items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.floating]]) -> Self:
        """Read what `to_arrays` gave."""
        networks = {key.partition("/")[0] for key in arrays}
        found = cls.of({name: Reference.from_arrays(_part(arrays, f"{name}/")) for name in networks})
        if found is None:
            raise ValueError("there is no reference")
        return found


def _part(arrays: Mapping[str, NDArray[np.floating]], prefix: str) -> dict[str, NDArray[np.floating]]:
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


def _what_of_the_picture(numbers: Array) -> str:
    """What is the matter with a clip whose pixels are far from those of training: (P,) in SDs."""
    low = {name: numbers[number] < -_FAR_NUMBER for name, number in _WAY.items()}
    if low["lit"] or low["brightness"]:
        return "black"
    if low["down 2"] and low["across 2"]:
        return "noise"
    if low["motion"]:
        return "does not move"
    return UNLIKE


def threshold(scores: Array, near: float) -> float:
    """What a score may be at most, from (N, V) scores of patients whom the network was not trained on.

    By exchangeability a new patient of the same kind has one that is larger with a probability of about
    `FLAGGED`. Fewer patients cannot tell so small a share: theirs is 1/(N + 1), so that the threshold is not
    below ``near`` robust SDs from the median. Where a few lie far off from all others (`FAR`), up to
    `MOST_FLAGGED` of them are given up. Infinite where nothing is known.
    """
    known = scores[np.isfinite(scores)]
    if not known.size:
        return float("inf")
    median = float(np.median(known))
    robust = 1.4826 * float(np.median(np.abs(known - median)))
    usual = _worst(scores, FLAGGED)
    if len(scores) < 1 / FLAGGED:
        usual = max(usual, median + near * robust)
    return max(_worst(scores, MOST_FLAGGED), min(usual, median + FAR * robust))


def _worst(scores: Array, share: float) -> float:
    """The score above which the worst view of this share of N patients lies; of fewer, the largest."""
    worst = np.sort(np.where(np.isfinite(scores), scores, -np.inf).max(axis=1, initial=-np.inf))[::-1]
    return float(worst[min(int(share * (len(worst) + 1)), len(worst) - 1)])
