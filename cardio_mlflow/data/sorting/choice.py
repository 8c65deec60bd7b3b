"""One clip for each patient and view: which of several is taken, and why the others are not."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cardio_mlflow.data.cohort.clip import natural_key
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import Quality
from cardio_mlflow.parameters import VIEW_CODES

TAKEN: Final = ""
_CYCLES: Final = ("tags", "waveform", "trace", "periodicity")
"""Rungs of the gating ladder that show whole cycles, the last one without R waves; a heart rate in the header
can be stale."""
_FIT_ALIKE: Final = 0.05
_DEPTH_ALIKE, _DEPTH_ENOUGH = 0.08, 20.0
"""Of the natural logarithm of a depth, so that 15 and 16 cm are alike; cm."""
_RATE_ALIKE, _RATE_ENOUGH = 10.0, 60.0
"""Frames a second."""
_CYCLE_WORDS: Final = ("a whole cycle by R waves", "a whole cycle by the picture", "no whole cycle known")
_BEATS_ENOUGH: Final = 3
_UNKNOWN_DAYS: Final = math.inf


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
        suggested: whether its view is only suggested.
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
    suggested: bool = False


@dataclass(frozen=True)
class _Ranked:
    """A candidate, and by what it is compared: how much behind it is, what is alike, and words for it."""

    one: Candidate
    measures: tuple[tuple[float, float, str], ...]


_LAST: Final = "the other of two alike, by name"


def choose_clips(candidates: Iterable[Candidate], within_days: int | None = None) -> dict[str, str]:
    """Take at most one clip for each patient and view, whatever the order of the candidates.

    A refused clip is never taken, nor one that stands for two patients. Of the others, in this order: chosen
    on the page; the study nearest to the catheterisation, where dates are unknown the patient's study with
    most of the four views, then the newest; its view known and not only suggested; phase verified; a whole
    cycle; fit of the sector; the deeper, up to 20 cm, as a zoomed clip hides what the others show; frame
    rate; heartbeats; the first by name. Clips that differ little in one of these count as alike in it.

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
    studies = _studies(fit)
    for group in groups.values():
        why |= _best([_ranked(one, studies) for one in group.values()])
    return {one.place: why[one.place] for one in ordered}


def _left_out(one: Candidate, owners: int, within_days: int | None) -> str:
    """Why a clip takes no part in the choice; nothing if it does."""
    if one.quality.outcome != Outcome.OK:
        return f"refused: {one.quality.outcome.words}"
    if one.view not in VIEW_CODES:
        return "another view" if one.view else "its view is not known"
    if owners > 1:
        return f"the same content stands for {owners} patients: find out whose it is"
    if within_days is not None and one.days is not None and abs(one.days) > within_days:
        return f"{_days(one.days)}, more than within_days={within_days}"
    return ""


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


def _ranked(one: Candidate, studies: Mapping[tuple[str, str], tuple[int, int]]) -> _Ranked:
    quality = one.quality
    views, newer = studies[one.patient, one.study]
    beats = (quality.beats or 0) if quality.gating in _CYCLES else 0
    known, depth = one.days is not None, quality.depth_cm
    fit, rate = quality.fit_score or 0.0, quality.frame_rate or 0.0
    return _Ranked(one, (
        (not one.chosen, 0, "chosen on the page" if one.chosen else "not chosen on the page"),
        (abs(one.days or 0) if known else _UNKNOWN_DAYS, 0, _days(one.days)),
        (0 if known else -views, 0, f"a study with {views} of the four views"),
        (0 if known else newer, 0, f"a study with {newer} newer ones"),
        (one.suggested, 0, f"its view is {'only suggested' if one.suggested else 'known'}"),
        (not quality.phase_verified, 0, f"phase {'' if quality.phase_verified else 'not '}verified"),
        (_cycle(beats, quality.gating), 0, _CYCLE_WORDS[_cycle(beats, quality.gating)]),
        (-fit, _FIT_ALIKE, f"fit score {fit:.2f}"),
        (-math.log(min(depth or 1.0, _DEPTH_ENOUGH)), _DEPTH_ALIKE,
         f"depth {depth:.1f} cm" if depth else "depth not known"),
        (-min(rate, _RATE_ENOUGH), _RATE_ALIKE, f"{rate:.0f} frames a second"),
        (-min(beats, _BEATS_ENOUGH), 0, f"{beats} whole heartbeat{'s' * (beats != 1)}"),
    ))  # fmt: skip


def _cycle(beats: int, gating: str) -> int:
    return 2 if not beats else int(gating == _CYCLES[-1])


def _best(group: Sequence[_Ranked]) -> dict[str, str]:
    """Of each of one patient's clips of one view, in natural order, why it is not taken.

    Those that are behind the best in a measure by more than is alike drop out, measure by measure.
    """
    left = list(group)
    dropped: dict[str, int] = {}
    for number in range(len(group[0].measures)):
        best = min(ranked.measures[number][0] for ranked in left)
        behind = [one for one in left if one.measures[number][0] > best + one.measures[number][1]]
        dropped |= {one.one.place: number for one in behind}
        left = [one for one in left if one not in behind]
    first = left[0]
    why = dict.fromkeys((ranked.one.place for ranked in left), _LAST) | {first.one.place: TAKEN}
    for ranked in group:
        if (number := dropped.get(ranked.one.place, -1)) >= 0:
            own, its = (one.measures[number][2] for one in (ranked, first))
            why[ranked.one.place] = f"{own}, the one taken: {its}"
    return why


def _days(days: int | None) -> str:
    if days is None:
        return "unknown days from the catheterisation"
    if not days:
        return "on the day of the catheterisation"
    count, side = abs(days), "before" if days < 0 else "after"
    return f"{count} {'day' if count == 1 else 'days'} {side} the catheterisation"
