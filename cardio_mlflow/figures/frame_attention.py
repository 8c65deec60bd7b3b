"""When in the cycle the network looks: weights of temporal attention, and importance of each frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from cardio_mlflow.figures.style import (
    BAND,
    NEUTRAL,
    PALE,
    SERIES,
    TWO_COLUMNS,
    new_figure,
    parameter_page,
    say_empty,
    signed,
    styled,
)
from cardio_mlflow.parameters import KEYS, VIEWS, Parameter

_NAMES: Final = tuple(view.name for view in VIEWS)
VIEW_COLOURS: Final = SERIES[:4]
VIEW_BANDS: Final = ("#C3D1E2", "#FAD3B9", "#B9DABD", "#E2BBD3")
"""One colour per view in the order of `VIEWS`, everywhere, and the same pale for bands."""
_WAVES: Final = ((0.84, 0.024, 0.14), (0.974, 0.008, -0.14), (0.0, 0.010, 1.0), (0.027, 0.010, -0.26),
                 (0.32, 0.045, 0.30))  # fmt: skip
"""Centre, width and height of P, Q, R, S and T, in shares of the R-R interval and of the R wave."""
_NOT_ATTENTION: Final = (
    "Integrated Gradients of each frame: above 0 raises the prediction against the baseline.\n"
    "This differs between parameters; the attention weights are the same for all nine."
)
_ECG: Final = "#999999"
_DOTS: Final[dict[str, Any]] = {"marker": "o", "markersize": 1.8}
_UNUSABLE: Final = " of known phase and finite weights"
_STRIP: Final = 0.36
"""Height of the ECG's strip over that of the curves."""

Floats = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


def frame_attention(
    frame_weights: Floats, alpha: float, phases: Floats, present: Mask, phase_known: Mask, *, synthetic: bool
) -> Figure:
    """Draw one patient's weight of each frame over the cycle, a panel a view.

    The band is what each frame has from the mean over frames, (1 − α) / T; the dotted line is 1 / T. Below
    the curve runs a schematic ECG, where the phase is known.

    Args:
        frame_weights: (V, T) weights, which sum to 1 over the frames of a view.
        alpha: share of attention, 0 to 1.
        phases: (T,) share of the R-R interval, 0 to 1, from R wave to R wave.
        present: (V,) whether the patient has the view.
        phase_known: (V,) whether the view's cycle is known to start at an R wave.
    """
    missing = [
        f"no {name}" if not there else "" if np.isfinite(row).all() else f"weights of {name} are not finite"
        for name, there, row in zip(_NAMES, present, frame_weights, strict=True)
    ]
    tops = [float(row.max()) for row, why in zip(frame_weights, missing, strict=True) if not why]

    def draw(axes: Axes, view: int) -> None:
        axes.plot(*closed(phases, frame_weights[view]), **_line(view), **_DOTS)
        axes.set_title(_NAMES[view] + ("" if phase_known[view] else ", phase unknown"))

    lines = [Line2D([], [], color="black", label="weight of a frame", **_DOTS)]
    return _weight_page(missing, tops, draw, alpha, phases, phase_known, lines, synthetic=synthetic)


def cohort_frame_attention(
    frame_weights: Floats, present: Mask, alpha: float, phases: Floats, *, synthetic: bool,
    phase_known: Mask | None = None,
) -> Figure:  # fmt: skip
    """Draw a cohort's mean weight of each frame and the patients' 10–90 % band, a panel a view.

    Band of the mean, dotted line and ECG are those of `frame_attention`.

    Args:
        frame_weights: (N, V, T), as in `frame_attention`.
        present: (N, V) whether a patient has the view.
        alpha: share of attention, 0 to 1.
        phases: (T,) share of the R-R interval, 0 to 1.
        phase_known: (N, V); clips of unknown phase are left out and counted in the title. None takes all.
    """
    known = present if phase_known is None else present & phase_known
    used = known & np.isfinite(frame_weights).all(axis=2)
    found = [frame_weights[used[:, view], view] for view in range(len(VIEWS))]
    spans = [np.quantile(rows, (0.1, 0.9), axis=0) if len(rows) else rows for rows in found]
    missing = [
        "" if len(rows) else f"no {name}" + _UNUSABLE * bool(present[:, view].any())
        for view, (name, rows) in enumerate(zip(_NAMES, found, strict=True))
    ]
    tops = [
        float(max(rows.mean(axis=0).max(), span.max()))
        for rows, span in zip(found, spans, strict=True) if len(rows)
    ]  # fmt: skip

    def draw(axes: Axes, view: int) -> None:
        rows = found[view]
        x, mean = closed(phases, rows.mean(axis=0))
        if len(rows) > 1:
            low, high = (closed(phases, end)[1] for end in spans[view])
            axes.fill_between(x, low, high, color=VIEW_BANDS[view], linewidth=0, zorder=2)
        axes.plot(x, mean, **_line(view), **_DOTS)
        unknown = int((present[:, view] & ~known[:, view]).sum())
        left_out = f", phase unknown in {unknown} more" if unknown else ""
        axes.set_title(f"{_NAMES[view]}, {count_of(len(rows), 'patient')}{left_out}")

    lines = (
        Line2D([], [], color="black", label="mean over patients", **_DOTS),
        Patch(color=PALE, label="10–90 % of patients"),
    )
    traced = np.ones(len(VIEWS), np.bool_)
    return _weight_page(missing, tops, draw, alpha, phases, traced, lines, synthetic=synthetic)


def frame_importance(
    importance: Floats, phases: Floats, present: Mask, *, synthetic: bool, phase_known: Mask | None = None,
    note: str = "",
) -> Figure:  # fmt: skip
    """Draw each frame's importance for each parameter: 3×3 axes on one scale, a line a view.

    Args:
        importance: (9, V, T) Integrated Gradients summed over a frame, SDs of the parameter; positive raises
            the prediction against the baseline.
        phases: (T,) share of the R-R interval, 0 to 1.
        present: (V,) whether the patient has the view.
        phase_known: (V,); a view whose phase is unknown is dashed. None takes all as known.
        note: one more line of the title; empty leaves it out.
    """
    known = np.ones(len(present), np.bool_) if phase_known is None else phase_known
    shown = np.where(present[None, :, None], importance, np.nan)
    finite = shown[np.isfinite(shown)]
    low, high = float(finite.min(initial=0)), float(finite.max(initial=0))
    margin = 0.06 * (high - low) or 1.0
    lines = [_line(view, "" if known[view] else ", phase unknown") for view in range(len(VIEWS))]

    def draw(axes: Axes, wanted: Parameter) -> None:
        rows = shown[KEYS.index(wanted.key)]
        axes.set_title(wanted.key)
        if not np.isfinite(rows).any():
            say_empty(axes, "no importance of a frame")
            return
        axes.axhline(0, color=NEUTRAL, linewidth=0.6, zorder=1)
        for view in np.flatnonzero(np.isfinite(rows).any(axis=1)).tolist():
            axes.plot(*closed(phases, rows[view]), **lines[view])
        axes.set(xlim=(0, 1), ylim=(low - margin, high + margin))
        mark_cycle(axes, bool(known[present].any()))
        axes.set_ylabel("importance (SD)", fontsize=7)

    title = _NOT_ATTENTION + (" All are 0." if finite.size and not finite.any() else "")
    title += f"\n{note}" if note else ""
    with styled():
        handles = [Line2D([], [], **lines[view]) for view in np.flatnonzero(present).tolist()]
        return parameter_page(draw, handles, synthetic=synthetic, height=6.8, title=title)


def schematic_ecg(phases: Floats) -> Floats:
    """A P-QRS-T of Gaussians at fixed phases, R waves of height 1 at 0 and 1; the phases' shape."""
    total = np.zeros(np.shape(phases))
    for centre, width, height in _WAVES:
        away = (np.asarray(phases) - centre + 0.5) % 1 - 0.5
        total += height * np.exp(-0.5 * (away / width) ** 2)
    return total


def closed(phases: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Curve of a cycle, (T + 2,) each: frames in order of phase, the last before and the first after them."""
    order = np.argsort(phases, kind="stable")
    x, y = np.asarray(phases, np.float64)[order], np.asarray(values, np.float64)[order]
    return np.concatenate([x[-1:] - 1, x, x[:1] + 1]), np.concatenate([y[-1:], y, y[:1]])


def mark_cycle(axes: Axes, known: bool) -> None:
    """Ticks over the cycle; R below 0 and 1 where the phase is known."""
    ends = ("0\nR", "1\nR") if known else ("0", "1")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], [ends[0], "0.25", "0.5", "0.75", ends[1]])
    axes.set_xlabel("share of the R–R interval" if known else "share of the cycle, its start unknown")


def count_of(number: int, what: str) -> str:
    """A count in words.

    >>> count_of(1, "patient"), count_of(4, "frame")
    ('1 patient', '4 frames')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _weight_page(
    missing: Sequence[str], tops: Sequence[float], draw: Callable[[Axes, int], None], alpha: float,
    phases: Floats, known: Mask, handles: Sequence[Artist], *, synthetic: bool,
) -> Figure:  # fmt: skip
    """Four panels on one scale up to the largest of ``tops``; ``missing`` says why one stays empty."""
    frames = max(len(phases), 1)
    top = 1.12 * max(1 / frames, *tops, 0)
    with styled():
        figure = new_figure(TWO_COLUMNS, 4.6, synthetic=synthetic)
        for view, (axes, why) in enumerate(zip(figure.subplots(2, 2).flat, missing, strict=True)):
            if why:
                say_empty(axes, why)
                axes.spines[:].set_visible(False)
            else:
                draw(axes, view)
                _draw_ground(axes, (1 - alpha) / frames, 1 / frames, top, bool(known[view]))
        traced = any(not why and there for why, there in zip(missing, known, strict=True))
        entries = [*handles, *_weight_handles(alpha, frames)[: 2 + traced]]
        figure.legend(handles=entries, loc="outside lower center", ncols=2 + len(handles) // 2)
    return figure


def _draw_ground(axes: Axes, floor: float, equal: float, top: float, known: bool) -> None:
    """Draw the mean's band from 0 up, equal weights, and the ECG in a strip below 0."""
    axes.fill_between([0, 1], 0, floor, color=BAND, linewidth=0, zorder=1)
    axes.axhline(equal, color=NEUTRAL, linewidth=0.8, linestyle=":", zorder=1.5)
    axes.axhline(0, color="black", linewidth=0.5, zorder=1.5)
    if known:
        x = np.linspace(0, 1, 400)
        bottom = -0.78 * _STRIP * top
        axes.plot(x, bottom + 0.55 * _STRIP * top * schematic_ecg(x), color=_ECG, linewidth=0.7, zorder=1)
    axes.set(xlim=(0, 1), ylim=(-_STRIP * top, top), ylabel="weight of a frame (no unit)")
    axes.locator_params(axis="y", nbins=6)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= top])
    axes.spines["left"].set_bounds(0, top)
    mark_cycle(axes, known)


def _line(view: int, note: str = "") -> dict[str, Any]:
    """How a view's line is drawn; dashed with a note."""
    style = {"linestyle": "--" if note else "-", "zorder": 3}
    return {"color": VIEW_COLOURS[view], "label": _NAMES[view] + note, **style}


def _weight_handles(alpha: float, frames: int) -> list[Artist]:
    return [
        Patch(color=BAND, label=f"mean, 1 − α = {signed(1 - alpha)}: equal for all frames"),
        Line2D([], [], color=NEUTRAL, linewidth=0.8, linestyle=":", label=f"equal weights, 1 / {frames}"),
        Line2D([], [], color=_ECG, linewidth=0.7, label="schematic ECG"),
    ]
