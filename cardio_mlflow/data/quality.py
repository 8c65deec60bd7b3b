"""One clip's row in ``quality.csv``: what became of it, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

from cardio_mlflow.data.outcomes import Outcome


@dataclass(frozen=True)
class ClipReview:
    """Numbers to draw a clip's preparation from; nothing of the file's own pixels or words.

    Attributes:
        outline: corner points (x, y) of the sector in pixels of the prepared clip, 0 to 224, in order.
        ecg_s: times at which the ECG is known, seconds since the first frame, rising; empty without an ECG.
        ecg: the ECG at those times, 0 (lowest) to 1 (highest).
        r_waves_s: R-wave times, seconds since the first frame; the bounds of the assumed cycles where the
            phase is not verified.
        cycle_s: start and end of the chosen cycle, seconds since the first frame. An end beyond the clip's
            means that what would come after it was taken one cycle earlier, from before the start.
        duration_s: length of the clip, seconds.
    """

    outline: tuple[tuple[float, float], ...] = ()
    ecg_s: tuple[float, ...] = ()
    ecg: tuple[float, ...] = ()
    r_waves_s: tuple[float, ...] = ()
    cycle_s: tuple[float, float] = (0.0, 0.0)
    duration_s: float = 0.0


@dataclass(frozen=True)
class Quality:
    """How a clip was prepared; empty where it does not apply. Lengths are in pixels of the file's frames.

    Attributes:
        manufacturer: a name of the allow-list, or ``other``.
        apex_x: of the sector, from the left; ``apex_y`` its row.
        left: angle of the left edge, degrees from straight down; ``right`` likewise.
        inner: radius of the curved top; ``outer`` of the curved bottom.
        fit_score: agreement of the sector with the moving pixels, 0 to 1.
        mm_per_pixel: height of a pixel of the file, where a source is trusted.
        scale_source: that source, ``regions`` (tags) or ``ticks`` (the drawn depth scale).
        depth_cm: depth of the sector, from the curved top to the curved bottom.
        prepared_apex_x: where the sector's apex lies in the prepared clip, pixels of it from its upper left
            corner; ``prepared_apex_y`` likewise, negative above it.
        inpainted_percent: share of the sector's pixels painted over, mean of the frames used.
        timing: the source of the frame times.
        gating: the rung of the gating ladder.
        ecg: how the drawn ECG moves (sweep, scroll or cursor), where one was read.
        r_waves: how many were found in the clip.
        phase_verified: whether the chosen cycle is known to start or end at an R wave.
        rr_ms: length of the chosen cycle.
        beats: whole cycles in the clip.
        first_frame: at the start of the cycle, counted from 1; ``last_frame`` at its end, which comes before
            the first where ``notes`` says that the cycle is put together of two parts.
        frames_used: different ones.
        review: words for what a person should look at, separated by spaces.
        notes: what was bent in the file and read all the same, and which rhythms do not fit each other,
            separated by semicolons.
    """

    outcome: Outcome = Outcome.OK
    message: str = ""
    rows: int | None = None
    columns: int | None = None
    frames: int | None = None
    manufacturer: str = ""
    apex_x: float | None = None
    apex_y: float | None = None
    left: float | None = None
    right: float | None = None
    inner: float | None = None
    outer: float | None = None
    fit_score: float | None = None
    mm_per_pixel: float | None = None
    scale_source: str = ""
    depth_cm: float | None = None
    prepared_mm_per_pixel: float | None = None
    prepared_apex_x: float | None = None
    prepared_apex_y: float | None = None
    inpainted_percent: float | None = None
    timing: str = ""
    gating: str = ""
    ecg: str = ""
    r_waves: int | None = None
    phase_verified: bool | None = None
    rr_ms: float | None = None
    beats: int | None = None
    first_frame: int | None = None
    last_frame: int | None = None
    frames_used: int | None = None
    frame_rate: float | None = None
    duration_s: float | None = None
    review: str = ""
    notes: str = ""

    @property
    def placement(self) -> tuple[float, float, float]:
        """Of the prepared clip: mm per pixel, and x and y of the sector's apex in pixels; NaN if unknown."""
        known = (self.prepared_mm_per_pixel, self.prepared_apex_x, self.prepared_apex_y)
        mm, x, y = (math.nan if value is None else value for value in known)
        return mm, x, y

    @property
    def heartbeat_ms(self) -> float:
        """Length of the chosen cycle, ms, where an ECG or the picture's period shows one beat; else NaN.

        The header's heart rate is often stale and shows nothing.
        """
        verified = self.gating in _BY_R_WAVES and bool(self.phase_verified)
        known = self.rr_ms if verified or self.gating == "periodicity" else None
        return math.nan if known is None else known


_BY_R_WAVES: Final = ("tags", "waveform", "trace")

# Words of the column ``review``.
UNMASKED: Final = "unmasked"
"""A clip whose sector was not sought, an older tensor: it stands in no picture."""
TEXT_LEFT: Final = "text"
"""A clip in whose sector text seems to stand."""
DUPLICATE: Final = "duplicate"
"""A clip that is the same as another view's of its patient."""

QUALITY_COLUMNS: Final[tuple[str, ...]] = ("patient_id", "view", *(field.name for field in fields(Quality)))
"""The columns of ``quality.csv``, in order."""
