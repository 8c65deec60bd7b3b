"""Tables of `preparation_accuracy`: each number beside its target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.challenges import CHALLENGES
from benchmarks.preparation_measures import TOLERANCE_S, Beats, Measured

STYLES = ("sweep", "scroll", "cursor", "marker")
ACCEPTED = {challenge.kind for challenge in CHALLENGES if challenge.outcomes == ("OK",)} | {"cohort"}


def report(clips: list[Measured]) -> int:
    """Print all tables; returns how many targets are missed."""
    groups = {
        "cohort": [clip for clip in clips if clip.kind == "cohort"],
        "hard clips": [clip for clip in clips if clip.kind in ACCEPTED - {"cohort"}],
    }
    missed = 0
    for name, group in groups.items():
        if group:
            print(f"\n{name}: {len(group)} clips")
            missed += sum(not row(*line) for line in (*picture_lines(group), *timing_lines(group)))
    print_worst(groups["hard clips"] + groups["cohort"])
    return missed + print_outcomes(clips)


Line = tuple[str, float | None, str, float, str]
"""What, value, whether it must be "<=" or ">=" the target, the target, and a note."""


def row(what: str, value: float | None, sign: str, target: float, note: str) -> bool:
    """Print one number beside its target; returns whether it is held."""
    if value is None:
        print(f"  {what:44s} {'none':>10s}")
        return True
    held = value <= target if sign == "<=" else value >= target
    print(f"  {what:44s} {value:10.4f}   {sign} {target:<7g} {'held' if held else 'MISSED':6s} {note}")
    return held


def picture_lines(clips: list[Measured]) -> list[Line]:
    """Numbers of the sector and of overlays."""
    iou, kept, spill, residue, altered, outside = (
        values(clips, name) for name in ("iou", "kept", "spill", "residue", "altered", "left_outside")
    )
    drawn, left = sum(clip.drawn for clip in clips), sum(clip.left for clip in clips)
    return [
        ("sector found, share of clips", len(iou) / len(clips), ">=", 1.0, ""),
        ("sector IoU, mean", mean(iou), ">=", 0.98, ""),
        ("sector IoU, min", low(iou), ">=", 0.95, ""),
        ("sector kept, min", low(kept), ">=", 0.99, ""),
        ("spill, max", high(spill), "<=", 0.01, ""),
        ("overlay pixels left outside, most per frame", high(outside), "<=", 0.0, ""),
        ("overlay residue inside, all pixels", left / drawn if drawn else None, "<=", 0.02,
         f"{len(residue)} clips with any"),
        ("overlay residue inside, median clip", median(residue), "<=", 0.02, ""),
        ("clean tissue altered, mean", mean(altered), "<=", 0.002, ""),
        ("clean tissue altered, max", high(altered), "<=", 0.002, ""),
        ("prepared, share of clips", mean([c.outcome == "OK" for c in clips]), ">=", 1.0, ""),
    ]  # fmt: skip


def timing_lines(clips: list[Measured]) -> list[Line]:
    """Numbers of R waves by rung, and of the image's period."""
    lines = []
    for rung, most in (("tags", 1.0), ("tagged frames", 25.0), ("waveform", 5.0)):
        if of_rung := [clip.beats[rung] for clip in clips if rung in clip.beats]:
            lines += beat_lines(rung, of_rung, most, most)
    for style in STYLES:
        if of_style := [clip.beats[style] for clip in clips if style in clip.beats]:
            unread = sum(clip.unread for clip in clips if style in clip.beats)
            lines += beat_lines(
                f"drawn, {style}", of_style, 10.0, 25.0, f"{unread} of {len(of_style)} unread"
            )
    traces = [clip.beats[style] for clip in clips for style in STYLES if style in clip.beats]
    lines += beat_lines("drawn, all", traces, 10.0, 25.0)
    undrawn = [clip for clip in clips if not set(STYLES) & set(clip.beats)]
    lines.append(("traces read where none is drawn", float(sum(c.imagined for c in undrawn)), "<=", 0.0, ""))
    errors = values(clips, "period_error")
    lines.append(
        ("image period error %, median", scaled(median(errors), 100), "<=", 3.0, f"{len(errors)} clips")
    )
    close = mean([error <= 0.03 for error in errors])
    lines.append(("image period within 3 %, share", close, ">=", 0.95, ""))
    starts = values(clips, "start_error")
    rungs = Counter(clip.gating for clip in clips if clip.gating)
    gated = ", ".join(f"{rung} {count}" for rung, count in sorted(rungs.items()))
    lines.append(
        ("first frame to its R wave, frames, max", high(starts), "<=", 1.0, f"{len(starts)} verified")
    )
    lines.append(("gated as phase-verified, share", len(starts) / len(clips), ">=", 0.0, gated))
    return lines


def beat_lines(rung: str, clips: list[Beats], middle: float, most: float, note: str = "") -> list[Line]:
    """Errors in ms and counts of one rung; targets are the median's and the largest error's."""
    errors = [1000 * error for beats in clips for error in beats.errors]
    asked, found = sum(b.beats for b in clips), sum(b.found for b in clips)
    within = round(1000 * TOLERANCE_S)
    return [
        (f"{rung}: R-wave error ms, median", median(errors), "<=", middle, note),
        (f"{rung}: R-wave error ms, max", high(errors), "<=", most, ""),
        (
            f"{rung}: beats found within {within} ms",
            found / asked if asked else None,
            ">=",
            0.95,
            f"of {asked}",
        ),
        (f"{rung}: false beats", float(sum(b.false for b in clips)), "<=", 0.05 * asked, ""),
    ]


def print_worst(clips: list[Measured]) -> None:
    """Print the clips that miss a target, a line each."""
    print("\nclips that miss a target")
    names = " ".join(f"{name:>6s}" for name in ("IoU", "kept", "spill", "out", "resid", "alter"))
    print(f"  {'clip':28s} {'outcome':9s} {names}  R waves: found, false, worst error")
    for clip in clips:
        if misses(clip):
            numbers = (clip.iou, clip.kept, clip.spill, clip.left_outside, clip.residue, clip.altered)
            cells = " ".join("     -" if n is None else f"{n:6.3f}" for n in numbers)
            beats = "; ".join(describe(rung, b) for rung, b in clip.beats.items())
            extra = " imagined" if clip.imagined else ""
            print(f"  {clip.name:28s} {clip.outcome:9s} {cells}  {beats}{extra}")


def misses(clip: Measured) -> bool:
    """Whether any number of a clip is beyond its target."""
    if clip.outcome != "OK" or clip.iou is None or clip.kept is None or clip.spill is None:
        return True
    picture = clip.iou < 0.95 or clip.kept < 0.99 or clip.spill > 0.01 or bool(clip.left_outside)
    overlay = (clip.residue or 0) > 0.02 or (clip.altered or 0) > 0.002
    beats = any(b.found < b.beats or b.false for rung, b in clip.beats.items())
    return picture or overlay or beats or clip.imagined


def describe(rung: str, beats: Beats) -> str:
    worst = f"{1000 * max(beats.errors):.0f} ms" if beats.errors else "-"
    return f"{rung} {beats.found}/{beats.beats}, {beats.false}, {worst}"


def print_outcomes(clips: list[Measured]) -> int:
    """Print what became of the clips that must be refused; returns the number of kinds with a wrong code."""
    print("\nclips that must be refused")
    wrong = 0
    for challenge in CHALLENGES:
        outcomes = Counter(clip.outcome for clip in clips if clip.kind == challenge.kind)
        if challenge.kind in ACCEPTED or not outcomes:
            continue
        held = set(outcomes) <= set(challenge.outcomes)
        got = ", ".join(f"{outcome} {count}" for outcome, count in sorted(outcomes.items()))
        allowed = " or ".join(challenge.outcomes)
        print(f"  {challenge.kind:20s} {got:32s} asked for {allowed:32s} {'held' if held else 'MISSED'}")
        wrong += not held
    return wrong


def values(clips: Iterable[Measured], name: str) -> list[float]:
    return [value for clip in clips if (value := getattr(clip, name)) is not None]


def mean(numbers: Sequence[float]) -> float | None:
    return float(np.mean(numbers)) if numbers else None


def median(numbers: Sequence[float]) -> float | None:
    return float(np.median(numbers)) if numbers else None


def low(numbers: Sequence[float]) -> float | None:
    return min(numbers, default=None)


def high(numbers: Sequence[float]) -> float | None:
    return max(numbers, default=None)


def scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
