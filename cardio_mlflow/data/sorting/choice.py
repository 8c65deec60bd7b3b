"""One clip for each patient and view: which of several is taken, and why the others are not."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from cardio_mlflow.data.cohort.clip import natural_key
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import Quality
from cardio_mlflow.parameters import VIEW_CODES

TAKEN: Final = ""
_CYCLES: Final = ("tags", "waveform", "trace", "periodicity")
"""Rungs of the gating ladder that show whole cycles; a heart rate in the header can be stale."""
_FIT_STEP: Final = 0.05
_DEPTH_STEP: Final = 0.15
"""Of the natural logarithm of a depth over the view's median: 15 to 17.4 cm is one step."""
_RATE_STEP, _RATE_ENOUGH = 10.0, 60.0
"""Frames a second."""


@dataclass(frozen=True)
class Candidate:
    """A clip of a patient of the sheet, as the choice sees it.

    Attributes:
        clip: equal for files of equal content.
        place: the file, relative to the export.
        patient: id in the cohort.
        view: a view's code; "other" and "" are never taken.
        days: from the catheterisation to the study; None where either date is not known.
        study: equal for clips of one study of the patient.
        moment: date and time of the study, YYYYMMDDHHMMSS, by which the newer is told.
        chosen: on the page, by eye.
    """

    clip: str
    place: str
    patient: str
    view: str
    quality: Quality
    days: int | None
    study: str
    moment: str
    chosen: bool = False


@dataclass(frozen=True)
class _Ranked:
    """A candidate, the steps by which it is compared (the lower is taken), and what each says of it."""

    one: Candidate
    steps: tuple[tuple[float, ...], ...]
    words: tuple[str, ...]


_LAST: Final = "the other of two alike, by name"


def choose_clips(candidates: Iterable[Candidate], within_days: int | None = None) -> dict[str, str]:
    """Take at most one clip for each patient and view, whatever the order of the candidates.

    A refused clip is never taken, nor one that stands for two patients. Of the others, in this order: chosen
    on the page; the study nearest to the catheterisation, where dates are unknown the patient's study with
    most of the four views, then the newest; phase verified; a whole cycle; fit of the sector; depth near the
    median of the view's clips, as a zoomed clip hides what the others show; frame rate; the first by name.

    Args:
        candidates: of different places.
        within_days: leaves out clips of studies farther from the catheterisation; of those whose distance is
            not known none is left out.

    Returns:
        Of each place `TAKEN`, or in words why it was not taken.
    """
    ordered = sorted(candidates, key=lambda one: natural_key(one.place))
    owners: dict[str, set[str]] = defaultdict(set)
    for one in ordered:
        owners[one.clip].add(one.patient)
    why: dict[str, str] = {}
    groups: dict[tuple[str, str], dict[str, Candidate]] = defaultdict(dict)
    for one in ordered:
        if reason := _left_out(one, len(owners[one.clip]), within_days):
            why[one.place] = reason
        elif one.clip in (group := groups[one.patient, one.view]):
            why[one.place] = "the same content as another file of the view"
        else:
            group[one.clip] = one
    fit = [one for group in groups.values() for one in group.values()]
    depths, studies = _usual_depths(fit), _studies(fit)
    for group in groups.values():
        why |= _best([_ranked(one, depths.get(one.view), studies) for one in group.values()])
    return {one.place: why[one.place] for one in ordered}


def _left_out(one: Candidate, owners: int, within_days: int | None) -> str:
    """Why a clip takes no part in the choice; nothing if it does."""
    if one.view not in VIEW_CODES:
        return "another view" if one.view else "its view is not known"
    if one.quality.outcome != Outcome.OK:
        return f"refused: {one.quality.outcome.words}"
    if owners > 1:
        return f"the same content stands for {owners} patients: find out whose it is"
    if within_days is not None and one.days is not None and abs(one.days) > within_days:
        return f"{_days(one.days)}, more than within_days={within_days}"
    return ""


def _usual_depths(candidates: Sequence[Candidate]) -> dict[str, float]:
    """The median depth of each view's clips, cm."""
    depths: dict[str, list[float]] = defaultdict(list)
    for one in candidates:
        if one.quality.depth_cm:
            depths[one.view].append(one.quality.depth_cm)
    return {view: median(known) for view, known in depths.items()}


def _studies(candidates: Sequence[Candidate]) -> dict[tuple[str, str], tuple[int, int]]:
    """Of each patient's study how many of the four views it has, and how many studies are newer."""
    views: dict[tuple[str, str], set[str]] = defaultdict(set)
    moments: dict[str, dict[str, str]] = defaultdict(dict)
    for one in candidates:
        views[one.patient, one.study].add(one.view)
        of_patient = moments[one.patient]
        of_patient[one.study] = max(of_patient.get(one.study, ""), one.moment)
    newer = {
        (patient, study): sum(other > moment for other in own.values())
        for patient, own in moments.items()
        for study, moment in own.items()
    }
    return {key: (len(found), newer[key]) for key, found in views.items()}


def _ranked(
    one: Candidate, usual: float | None, studies: Mapping[tuple[str, str], tuple[int, int]]
) -> _Ranked:
    quality = one.quality
    views, newer = studies[one.patient, one.study]
    whole = quality.gating in _CYCLES and (quality.beats or 0) >= 1
    known, depth = one.days is not None, quality.depth_cm
    fit, rate = quality.fit_score or 0.0, quality.frame_rate or 0.0
    zoom = round(abs(math.log(depth) - math.log(usual)) / _DEPTH_STEP) if depth and usual else 1
    compared: list[tuple[tuple[float, ...], str]] = [
        ((not one.chosen,), "chosen on the page" if one.chosen else "not chosen on the page"),
        ((0, abs(one.days or 0)) if known else (1, 0), _days(one.days)),
        ((0,) if known else (-views,), f"a study with {views} of the four views"),
        ((0,) if known else (newer,), f"a study with {newer} newer ones"),
        ((not quality.phase_verified,), f"phase {'' if quality.phase_verified else 'not '}verified"),
        ((not whole,), "a whole cycle" if whole else "no whole cycle known"),
        ((-math.floor(fit / _FIT_STEP + 1e-9),), f"fit score {fit:.2f}"),
        ((zoom,), f"depth {f'{depth:.1f} cm' if depth else 'not known'}{_beside(usual)}"),
        ((-math.floor(min(rate, _RATE_ENOUGH) / _RATE_STEP),), f"{rate:.0f} frames a second"),
    ]  # fmt: skip
    return _Ranked(one, tuple(steps for steps, _ in compared), tuple(words for _, words in compared))


def _best(group: Sequence[_Ranked]) -> dict[str, str]:
    """Of each of one patient's clips of one view, in natural order, why it is not taken."""
    best = min(group, key=lambda ranked: ranked.steps)
    why = {ranked.one.place: _against(ranked, best) for ranked in group}
    return why | {best.one.place: TAKEN}


def _against(other: _Ranked, best: _Ranked) -> str:
    """The first thing in which a clip is behind the one taken."""
    for own, taken, words, its in zip(other.steps, best.steps, other.words, best.words, strict=True):
        if own != taken:
            return f"{words}, the one taken: {its}"
    return _LAST


def _days(days: int | None) -> str:
    if days is None:
        return "unknown days from the catheterisation"
    if not days:
        return "on the day of the catheterisation"
    count, side = abs(days), "before" if days < 0 else "after"
    return f"{count} {'day' if count == 1 else 'days'} {side} the catheterisation"


def _beside(usual: float | None) -> str:
    return f" (median of the view {usual:.1f})" if usual else ""
