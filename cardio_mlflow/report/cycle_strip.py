"""A clip on a page: small pictures of its heart cycle, and where the cycle lies in the clip."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from cardio_mlflow.data.quality import ClipReview
from cardio_mlflow.data.review.ecg_line import sampled_ecg

SHOWN: Final = 8
"""Pictures of a strip."""
SIDE: Final = 128
"""Width of one, pixels."""
_WIDTH, _HEIGHT, _TOP, _BOTTOM = 1000, 56, 6, 42
_SAMPLES: Final = 400
_NOTHING: Final = Markup("")


@dataclass(frozen=True)
class ClipShown:
    """One view of a patient as the page shows it.

    Attributes:
        name: such as A4C.
        meaning: the view in words.
        facts: how it was prepared, in words; or why it was refused, or that there is none.
        pictures: of the cycle, a data address; empty where there is none.
        cycle: the drawing of the cycle in the clip.
        frames: how many pictures there are, and of how many frames, in words.
        remarks: what a person should look at.
    """

    name: str
    meaning: str
    facts: str
    pictures: str = ""
    cycle: Markup = _NOTHING
    frames: str = ""
    remarks: str = ""


def strip_source(frames: NDArray[np.uint8]) -> str:
    """Pictures evenly spaced over a cycle, side by side, as the address of a picture in the page.

    Rows below the sector are left out.

    Args:
        frames: (T, H, W) of a prepared clip.
    """
    lit = np.flatnonzero(frames.any(axis=(0, 2)))
    rows = int(lit[-1]) + 1 if lit.size else frames.shape[1]
    shown = frames[np.arange(SHOWN) * len(frames) // SHOWN, :rows]
    size = (SIDE, max(1, round(SIDE * rows / frames.shape[2])))
    small = [Image.fromarray(one).resize(size, Image.Resampling.LANCZOS) for one in shown]
    out = io.BytesIO()
    joined = Image.fromarray(np.concatenate([np.asarray(one) for one in small], axis=1))
    joined.convert("RGB").save(out, "WEBP", quality=60, method=2)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


def cycle_drawing(review: ClipReview) -> Markup:
    """The clip's ECG, where it is known, its R waves, and the chosen cycle, over the length of the clip."""
    if review.duration_s <= 0:
        return _NOTHING

    def at(seconds: float) -> float:
        return round(min(max(seconds / review.duration_s, 0.0), 1.0) * _WIDTH, 1)

    start, end = review.cycle_s
    spans = [(at(start), at(end))]
    if end > review.duration_s:  # put together: its rest comes from one cycle earlier
        spans.append((at(start - end + review.duration_s), at(start)))
    parts = [
        f'<rect class="cycle" x="{left}" y="0" width="{max(right - left, 0):.1f}" height="{_HEIGHT}"/>'
        for left, right in spans
    ]
    parts += [
        f'<line class="r-wave" x1="{at(time)}" x2="{at(time)}" y1="0" y2="{_HEIGHT}"/>'
        for time in review.r_waves_s
    ]
    levels = sampled_ecg(review, _SAMPLES)
    xs = np.linspace(0, _WIDTH, _SAMPLES)
    ys = _BOTTOM - (levels.astype(np.float64) - 1) / 254 * (_BOTTOM - _TOP)
    known = np.flatnonzero(levels)
    for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1) if known.size else ():
        points = " ".join(f"{xs[i]:.1f},{ys[i]:.1f}" for i in run)
        parts.append(f'<polyline class="ecg" points="{points}"/>')
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none"'
    return Markup(f'<svg class="clip" {size} aria-hidden="true">{"".join(parts)}</svg>')
