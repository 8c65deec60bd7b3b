"""Hard clips that test the finding of the sector, the removal of overlays, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.challenges.plan import Content, Fan, Plan, fitted
from cardio_mlflow.synthetic.layouts import Layout

Change = Callable[[Plan, np.random.Generator], Plan]
Rng = np.random.Generator

_LARGE, _SMALL = (768, 1024), (320, 480)


def content(plan: Plan, rng: Rng, kind: Content) -> Plan:
    """Another kind of picture; half of the clips describe its regions."""
    encoding = plan.encoding
    if kind == "color_doppler" and encoding.endswith("gray"):
        encoding = "jpeg_422"
    plain = kind in ("linear", "report")
    strip = None if plain or kind == "m_mode" else plan.strip
    return replace(
        plan, content=kind, encoding=encoding, strip=strip, region=bool(rng.uniform() < 0.5)
    )  # fmt: skip


def single_frame(plan: Plan, _: Rng) -> Plan:
    """One frame only."""
    return replace(plan, frame_times=plan.frame_times[:1], strip=None)


def _marked(*names: str) -> Change:
    return lambda plan, _: replace(plan, marks=names)


def _moving_line(plan: Plan, _: Rng) -> Plan:
    """The cursor of a still trace reaches up across the sector."""
    assert plan.strip is not None
    top = round(plan.fan.apex[1] + 0.3 * plan.fan.outer)
    return replace(plan, strip=replace(plan.strip, style="cursor", cursor_top=top))


def _dim(*names: str) -> Change:
    return lambda plan, _: replace(plan, dimming=names)


def _one_edge(plan: Plan, rng: Rng) -> Plan:
    return replace(plan, dimming=("left_edge" if rng.uniform() < 0.5 else "right_edge",))


def _reshaped(plan: Plan, half: float, tilt: float = 0.0) -> Plan:
    fan = replace(plan.fan, left=tilt - half, right=tilt + half)
    return replace(plan, fan=fitted(fan))


def _convex(plan: Plan, rng: Rng) -> Plan:
    """The curved face of an abdominal probe; the sector keeps its top and bottom row."""
    share, half = float(rng.uniform(0.2, 0.35)), float(rng.uniform(30, 38))
    cosine = float(np.cos(np.deg2rad(half)))
    top, height = plan.layout.apex[1], plan.layout.radius
    room = min(plan.fan.apex[0], plan.layout.shape[1] - plan.fan.apex[0]) - 4
    outer = min(height / (1 - share * cosine), room / float(np.sin(np.deg2rad(half))))
    apex = (plan.fan.apex[0], top - share * outer * cosine)
    fan = Fan(apex, -half, half, share * outer, outer, plan.fan.shape)
    return replace(plan, fan=fan)


def _cut_top(plan: Plan, rng: Rng) -> Plan:
    """The apex lies above the screen, whose first row cuts the sector off."""
    above = float(rng.uniform(15, 45))
    fan = replace(plan.fan, apex=(plan.fan.apex[0], -above), inner=2.0,
                  outer=plan.fan.outer + plan.fan.apex[1] + above)  # fmt: skip
    return replace(plan, fan=fitted(fan))


def _cut_bottom(plan: Plan, rng: Rng) -> Plan:
    """The sector reaches below the screen; the trace is left out, for there is no room."""
    rows, columns = plan.layout.shape
    half = float(rng.uniform(32, 38))
    beyond = float(rng.uniform(15, 45))
    outer = min(rows - plan.fan.apex[1] + beyond, (columns / 2 - 6) / np.sin(np.deg2rad(half)))
    fan = replace(plan.fan, left=-half, right=half, outer=float(outer))
    return replace(plan, fan=fan, strip=None)


def _off_centre(plan: Plan, rng: Rng) -> Plan:
    share = float(rng.uniform(0.36, 0.42))
    x = plan.layout.shape[1] * (share if rng.uniform() < 0.5 else 1 - share)
    half = float(rng.uniform(32, 38))
    fan = replace(plan.fan, apex=(x, plan.fan.apex[1]), left=-half, right=half)
    return replace(plan, fan=fitted(fan))


def _steered(plan: Plan, rng: Rng) -> Plan:
    tilt = float(rng.uniform(8, 16)) * (1 if rng.uniform() < 0.5 else -1)
    return _reshaped(plan, float(rng.uniform(32, 40)), tilt)


def _rescaled(plan: Plan, shape: tuple[int, int]) -> Plan:
    """Redraw the whole screen at another size."""
    old = plan.layout.shape
    y, x = shape[0] / old[0], shape[1] / old[1]
    size = min(x, y)
    fan = replace(
        plan.fan, apex=(plan.fan.apex[0] * x, plan.fan.apex[1] * y), inner=plan.fan.inner * size,
        outer=plan.fan.outer * y, shape=shape,
    )  # fmt: skip
    layout = _rescaled_layout(plan.layout, shape, x, y)
    strip = replace(plan.strip, box=layout.trace_box) if plan.strip else None
    return replace(plan, layout=layout, fan=fitted(fan), strip=strip)


def _rescaled_layout(layout: Layout, shape: tuple[int, int], x: float, y: float) -> Layout:
    def box(b: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        return round(b[0] * x), round(b[1] * y), round(b[2] * x), round(b[3] * y)

    def point(p: tuple[int, int]) -> tuple[int, int]:
        return round(p[0] * x), round(p[1] * y)

    return replace(
        layout, shape=shape, apex=(layout.apex[0] * x, layout.apex[1] * y), radius=layout.radius * y,
        trace_box=box(layout.trace_box), bar=box(layout.bar), words=point(layout.words),
        numbers=point(layout.numbers), font=float(np.clip(layout.font * min(x, y), 0.3, 0.6)),
    )  # fmt: skip


def _oblong_pixels(plan: Plan, rng: Rng) -> Plan:
    """Pixels a quarter wider than high, or the other way round."""
    aspect = 1.25 if rng.uniform() < 0.5 else 0.8
    fan = replace(plan.fan, apex=(plan.fan.apex[0] * aspect, plan.fan.apex[1]), aspect=aspect)
    return replace(plan, fan=fitted(fan), region=True)


def _jpeg(quality: int) -> Change:
    return lambda plan, _: replace(
        plan, quality=quality, encoding="jpeg_gray" if plan.layout.gray else "jpeg_422"
    )


def _subsampled(plan: Plan, _: Rng) -> Plan:
    return replace(plan, quality=70, encoding="jpeg_420")


def _tinted(tint: tuple[int, int, int]) -> Change:
    return lambda plan, _: replace(plan, tint=tint, encoding="jpeg_422")


INSIDE: dict[str, tuple[str, Change]] = {
    "cursor_line": ("a line from the apex down", _marked("cursor_line")),
    "dotted_line": ("a dotted M-mode line", _marked("dotted_line")),
    "moving_line": ("the line of the ECG's cursor crosses the sector", _moving_line),
    "ticks_inside": ("depth marks inside an edge", _marked("ticks")),
    "focus_inside": ("focus marks inside both edges", _marked("focus")),
    "calipers": ("caliper crosses and a dotted line", _marked("calipers")),
    "words_inside": ("words inside the sector", _marked("words")),
}
DIM: dict[str, tuple[str, Change]] = {
    "dim_edge": ("one edge fades", _one_edge),
    "dim_edges": ("both edges fade", _dim("left_edge", "right_edge")),
    "dark_near_field": ("nothing near the probe", _dim("near_field")),
    "low_gain": ("dark overall", lambda plan, rng: replace(plan, brightness=float(rng.uniform(16, 22)))),
    "shadow": ("a third of the sector in shadow", _dim("shadow")),
}
GEOMETRY: dict[str, tuple[str, Change]] = {
    "convex": ("curved top, inner radius 0.2 to 0.35 of the outer", _convex),
    "narrow": ("30 to 45 degrees", lambda plan, rng: _reshaped(plan, float(rng.uniform(15, 22.5)))),
    "wide": ("100 to 110 degrees", lambda plan, rng: _reshaped(plan, float(rng.uniform(50, 55)))),
    "apex_above": ("the apex above the screen", _cut_top),
    "cut_bottom": ("the bottom below the screen", _cut_bottom),
    "off_centre": ("to one side", _off_centre),
    "steered": ("tilted by 8 to 16 degrees", _steered),
    "flipped_scale": ("depth marks on the left", lambda plan, _: replace(plan, mirrored=True)),
}
PIXELS: dict[str, tuple[str, Change]] = {
    "jpeg_60": ("JPEG of quality 60", _jpeg(60)),
    "jpeg_50": ("JPEG of quality 50", _jpeg(50)),
    "jpeg_420": ("colour at half the resolution both ways", _subsampled),
    "sepia": ("a sepia picture", _tinted((255, 226, 178))),
    "blue": ("a blue picture", _tinted((190, 218, 255))),
    "halo": ("a glow around the sector", lambda plan, rng: replace(plan, halo=float(rng.uniform(0.3, 0.5)))),
    "gray_background": ("gray around the sector",
                        lambda plan, rng: replace(plan, background=int(rng.integers(20, 31)))),
    "small_screen": ("480 x 320 pixels", lambda plan, _: _rescaled(plan, _SMALL)),
    "large_screen": ("1024 x 768 pixels", lambda plan, _: _rescaled(plan, _LARGE)),
    "oblong_pixels": ("pixels that are not square", _oblong_pixels),
}  # fmt: skip
"""Kinds by name: what they test, and how they change a plan."""
