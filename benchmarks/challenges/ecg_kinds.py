"""Hard clips that test the reading of the electrocardiogram and of the tags about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.challenges import rhythm
from benchmarks.challenges.plan import Plan, draw_frame_times
from benchmarks.challenges.strip import Strip, StripStyle
from cardio_mlflow.synthetic.layouts import Colour

Change = Callable[[Plan, np.random.Generator], Plan]
Rng = np.random.Generator

COLOURS: dict[str, Colour] = {
    "white": (250, 250, 250),
    "gray": (150, 150, 150),
    "green": (50, 235, 80),
    "cyan": (60, 220, 250),
    "yellow": (250, 225, 60),
}
_INTERVAL = 0.85


def _strip(plan: Plan) -> Strip:
    assert plan.strip is not None
    return plan.strip


def _in_colour(plan: Plan) -> Plan:
    return replace(plan, encoding="jpeg_422" if plan.layout.gray else plan.encoding)


def drawn(plan: Plan, rng: Rng, colour: str, style: StripStyle) -> Plan:
    """An electrocardiogram of a colour and a style, 1 to 3 pixels thick."""
    strip = replace(
        _strip(plan), colour=COLOURS[colour], style=style, thickness=1 + int(rng.integers(3)),
        baseline=(90, 90, 130) if rng.uniform() < 0.2 else None,
    )  # fmt: skip
    plan = replace(plan, strip=strip)
    return plan if colour in ("white", "gray") else _in_colour(plan)


def over_tissue(plan: Plan, rng: Rng, colour: str, style: StripStyle) -> Plan:
    """The same, its strip laid over the lower part of the sector."""
    plan = drawn(plan, rng, colour, style)
    left, _, right, _ = _strip(plan).box
    bottom = round(plan.fan.apex[1] + float(rng.uniform(0.86, 0.97)) * plan.fan.outer)
    height = round(plan.layout.shape[0] * float(rng.uniform(0.1, 0.15)))
    box = (left, bottom - height, right, bottom)
    return replace(plan, strip=replace(_strip(plan), box=box, thickness=1 + int(rng.integers(2))))


def _fibrillation(plan: Plan, rng: Rng) -> Plan:
    seconds = float(rng.uniform(3.6, 4.8))
    strip = replace(_strip(plan), waves=rhythm.FIBRILLATING, fibrillating=True)
    return replace(
        plan, rhythm=rhythm.fibrillation(rng, seconds), frame_times=draw_frame_times(rng, seconds),
        strip=strip,
    )  # fmt: skip


def _ectopic(plan: Plan, rng: Rng) -> Plan:
    seconds = float(rng.uniform(3.4, 4.4))
    beats = rhythm.with_ectopic_beat(rng, seconds, _INTERVAL)
    return replace(plan, rhythm=beats, frame_times=draw_frame_times(rng, seconds))


def _shaped(*shapes: rhythm.Waves) -> Change:
    """Draw one of the shapes of a beat."""

    def change(plan: Plan, rng: Rng) -> Plan:
        return replace(plan, strip=replace(_strip(plan), waves=shapes[int(rng.integers(len(shapes)))]))

    return change


def _noisy(plan: Plan, rng: Rng) -> Plan:
    wander, noise = float(rng.uniform(0.12, 0.3)), float(rng.uniform(0.02, 0.045))
    return replace(plan, strip=replace(_strip(plan), wander=wander, noise=noise))


def _baseline(plan: Plan, rng: Rng) -> Plan:
    lines = ((90, 110, 255), (220, 60, 60), (110, 110, 110))
    colour = lines[int(rng.integers(len(lines)))]
    return _in_colour(replace(plan, strip=replace(_strip(plan), baseline=colour)))


def _without(plan: Plan, _: Rng) -> Plan:
    return replace(plan, strip=None)


def _uneven(plan: Plan, rng: Rng) -> Plan:
    """Intervals that differ by up to 40 % from frame to frame."""
    steps = np.diff(plan.frame_times) * (1 + rng.uniform(-0.4, 0.4, len(plan.frame_times) - 1))
    times = np.concatenate([[0.0], np.cumsum(np.round(steps, 5))])
    return replace(plan, timing="uneven", frame_times=times)


def _waveform(plan: Plan, rng: Rng) -> Plan:
    """The numbers in the file; every other clip shows no trace on the screen."""
    return replace(plan, waveform=True, strip=plan.strip if rng.uniform() < 0.5 else None)


def _cine_rate(plan: Plan, _: Rng) -> Plan:
    """Only a whole number of frames a second is known, and true."""
    rate = max(20, round(1 / float(plan.frame_times[1])))
    times = np.arange(len(plan.frame_times)) / rate
    return replace(plan, timing="cine_rate", frame_times=times)


RHYTHMS: dict[str, tuple[str, Change]] = {
    "atrial_fibrillation": ("R-R from 0.5 to 1.2 s", _fibrillation),
    "ectopic_beat": ("a premature wide beat and a pause", _ectopic),
    "inverted_qrs": ("the QRS complex points down", _shaped(rhythm.INVERTED, rhythm.INVERTED_TALL_T)),
    "tall_t": ("T waves taller than R", _shaped(rhythm.TALL_T)),
    "biphasic_qrs": ("R and S nearly alike", _shaped(rhythm.BIPHASIC)),
    "noisy_baseline": ("wandering baseline and muscle noise", _noisy),
    "ecg_baseline": ("a level line of another colour", _baseline),
    "no_ecg": ("nothing but the picture tells the beat", _without),
}
TAGS: dict[str, tuple[str, Change]] = {
    "r_wave_vector": ("R waves in a tag, ms", lambda plan, _: replace(plan, r_wave_tag="vector")),
    "r_wave_pointer": ("R waves in a tag, frames", lambda plan, _: replace(plan, r_wave_tag="pointer")),
    "ecg_waveform": ("the ECG as numbers in the file", _waveform),
    "uneven_times": ("a frame time vector of uneven intervals", _uneven),
    "cine_rate_only": ("no frame time, only the cine rate", _cine_rate),
}
"""Kinds by name: what they test, and how they change a plan."""
