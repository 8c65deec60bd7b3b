"""What a person needs to judge how a clip was prepared, beside its pixels and its quality row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipReview:
    """Numbers to draw a clip's preparation from; nothing of the file's own pixels or words.

    Attributes:
        outline: corner points (x, y) of the sector in pixels of the prepared clip, 0 to 224, in order.
        ecg_s: times at which the ECG is known, seconds since the first frame, rising; empty without an ECG.
        ecg: the ECG at those times, 0 (lowest) to 1 (highest).
        r_waves_s: R-wave times, seconds since the first frame; the bounds of the assumed cycles where the
            phase is not verified.
        cycle_s: start and end of the chosen cycle, seconds since the first frame.
        duration_s: length of the clip, seconds.
    """

    outline: tuple[tuple[float, float], ...] = ()
    ecg_s: tuple[float, ...] = ()
    ecg: tuple[float, ...] = ()
    r_waves_s: tuple[float, ...] = ()
    cycle_s: tuple[float, float] = (0.0, 0.0)
    duration_s: float = 0.0
