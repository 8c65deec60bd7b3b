"""R waves of one source, and what the other witnesses of a clip's heart beats say of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np

from cardio_mlflow.data.cycle.evidence import Array, Evidence, alike
from cardio_mlflow.data.files.timing import plausible, plausible_intervals

_WORDS: Final = {"tags": "R-wave tags", "waveform": "ECG in the file", "trace": "drawn ECG"}
_APART_S: Final = 0.12  # R waves from two sources; an ECG is drawn some 50 ms late
_STALE_S: Final = 2.5  # R waves farther from the clip tell nothing about it


class Vote(NamedTuple):
    """What one witness says of R waves: whether they fit to it, and in words that they do not."""

    by_picture: bool
    fits: bool
    note: str


@dataclass(frozen=True)
class Reading:
    """R waves of one source, those of them in the clip, and what all other witnesses that can tell say."""

    method: str
    r_waves_s: Array
    inside: Array
    votes: tuple[Vote, ...] = ()

    @property
    def intervals(self) -> Array:
        """Plausible R-R intervals, those in the clip if there are any, seconds."""
        within = plausible_intervals(self.inside)
        return within if len(within) else plausible_intervals(self.r_waves_s)

    @property
    def words(self) -> str:
        """How a note names it."""
        return f"R-R {1000 * np.median(self.intervals):.0f} ms of the {_WORDS[self.method]}"

    @property
    def score(self) -> int:
        """Votes for it less votes against it; the picture has two, it cannot be stale."""
        return sum((1 if vote.fits else -1) * (1 + vote.by_picture) for vote in self.votes)


def judged_readings(evidence: Evidence) -> list[Reading]:
    """The plausible R waves of each source, the most trustworthy first, with the votes of all others."""
    found = [
        Reading(method, r_waves, evidence.inside(r_waves))
        for method, r_waves in evidence.sources.items() if plausible(r_waves)
    ]  # fmt: skip
    return [replace(own, votes=tuple(_votes(own, found, evidence))) for own in found]


def _votes(own: Reading, readings: list[Reading], evidence: Evidence) -> Iterator[Vote]:
    """What the others say of a reading.

    R waves of two sources must agree in their intervals and in their times; the picture must repeat itself
    from R wave to R wave; the heart rate must lie within the intervals. Plain multiples fit (a beat missed, a
    rate that counts T waves), unless the picture shows that it is not alike at the R waves.
    """
    for one, other in combinations(readings, 2):
        if (own is one or own is other) and (fits := _same_beats(one, other, evidence)) is not None:
            yield Vote(False, fits, f"{one.words} does not fit {other.words}")
    period = evidence.clear_period_s
    if period is not None and (fits := evidence.repeats(own.inside, own.intervals)) is not None:
        yield Vote(True, fits, f"{own.words} does not fit the picture's period of {1000 * period:.0f} ms")
    if (fits := evidence.rate_fits(own.intervals)) is not None:
        yield Vote(False, fits, f"Heart Rate {evidence.heart_rate:g}/min does not fit {own.words}")


def _same_beats(one: Reading, other: Reading, evidence: Evidence) -> bool | None:
    """Whether two readings have intervals that fit, and R waves at the same times; None when one is stale."""
    if any(len(evidence.inside(reading.r_waves_s, _STALE_S)) == 0 for reading in (one, other)):
        return None
    if not alike(one.intervals, other.intervals):
        return False
    fewer, more = sorted((one.inside, other.inside), key=len)
    if len(fewer) == 0:
        return True
    apart = np.abs(fewer[:, None] - more[None, :]).min(axis=1)
    least = min(float(np.median(reading.intervals)) for reading in (one, other))
    return bool(np.median(apart) <= max(_APART_S, 0.15 * least))
