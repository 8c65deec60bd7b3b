"""The picture itself, without anything drawn on it: moving tissue, or something that must be refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.challenges.plan import DEPTH_CM, Content, Fan, FanConverter, Mask, Plan
from cardio_mlflow.synthetic.acquisition import draw_acquisition
from cardio_mlflow.synthetic.anatomy import draw_anatomy
from cardio_mlflow.synthetic.cine import SHAPE, render_cine
from cardio_mlflow.synthetic.heart import view_scene
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics
from cardio_mlflow.synthetic.scene import Array

Image = NDArray[np.uint8]

_DROP = 70.0
"""Gray levels that a dim part loses, about a quarter of the dynamic range."""
_STRIP_SECONDS = 3.0
_REPORT_GRAY = 34
_FINER = 8
"""A strip has so many columns for each frame of the cine."""


def _edge(beam: Array, depth: Array) -> Array:
    return np.clip((0.25 - beam) / 0.25, 0, 1) + 0 * depth


def _shadow(beam: Array, depth: Array) -> Array:
    across = 1 / (1 + np.exp((np.abs(beam - 0.62) - 0.165) / 0.02))
    return np.asarray(across / (1 + np.exp(-(depth - 0.12) / 0.03)))


DIMMING: dict[str, Callable[[Array, Array], Array]] = {
    "left_edge": _edge,
    "right_edge": lambda beam, depth: _edge(1 - beam, depth),
    "near_field": lambda beam, depth: np.clip((0.22 - depth) / 0.1, 0, 1) + 0 * beam,
    "shadow": _shadow,
}
"""Share of the loss at a beam (0 left to 1 right, (1, B)) and a depth (0 to 1, (D, 1)), by name."""


def render_tissue(plan: Plan, rng: np.random.Generator, view: str | None = None) -> Image:
    """Render the heart of a synthetic patient: (T, depths, beams) gray levels.

    Args:
        plan: of the clip.
        rng: draws the patient, the probe's position and the speckle.
        view: instead of the plan's.
    """
    seed = int(rng.integers(2**31))
    hemodynamics = draw_hemodynamics(1, seed)
    anatomy = draw_anatomy(hemodynamics, seed).iloc[0]
    code = view or plan.view
    acquisition = draw_acquisition(code, float(hemodynamics["HR"].iloc[0]), rng)
    phases = plan.rhythm.phases(plan.frame_times)
    acquisition = replace(
        acquisition, depth=float(DEPTH_CM), frame_times=plan.frame_times, phases=phases,
        half_angle=float(np.deg2rad(plan.fan.right - plan.fan.left)) / 2,
        brightness=plan.brightness or acquisition.brightness,
    )  # fmt: skip
    polar = render_cine(view_scene(anatomy, code, phases), acquisition, rng)
    return _dimmed(polar, plan.dimming)


def _dimmed(polar: Image, names: tuple[str, ...]) -> Image:
    beam, depth = np.linspace(0, 1, SHAPE[1])[None], np.linspace(0, 1, SHAPE[0])[:, None]
    loss = np.zeros(SHAPE)
    for name in names:
        loss = np.maximum(loss, DIMMING[name](beam, depth))
    if not loss.any():
        return polar
    drop = np.round(_DROP * loss).astype(np.uint8)
    return np.stack([cv2.subtract(picture, drop) for picture in polar])


def coloured_flow(polar: Image, phases: Array, rng: np.random.Generator) -> Image:
    """Lay flow in colour over the dark blood of a box of beams and depths.

    Red flows towards the probe, blue away from it; flow fades outside of systole and of early filling.

    Args:
        polar: (T, depths, beams).
        phases: (T,).
        rng: of the flow.

    Returns:
        (T, depths, beams, 3) RGB.
    """
    depths, beams = slice(70, 220), slice(36, 108)
    size = (beams.stop - beams.start, depths.stop - depths.start)
    fields = [cv2.resize(rng.normal(0, 1, (7, 5)), size, interpolation=cv2.INTER_CUBIC) for _ in range(2)]
    out = np.repeat(polar[..., None], 3, axis=3)
    for frame, picture, phase in zip(out, polar, phases, strict=True):
        strength = np.exp(-(((phase - 0.2) / 0.13) ** 2)) + 0.7 * np.exp(-(((phase - 0.6) / 0.09) ** 2))
        mix = np.cos(2 * np.pi * phase) * fields[0] + np.sin(2 * np.pi * phase) * fields[1]
        speed = np.clip(mix * strength + rng.normal(0, 0.12, mix.shape), -1.5, 1.5)
        flowing = (np.abs(speed) > 0.18) & (picture[depths, beams] < 80)
        level = np.clip(110 + 120 * np.abs(speed), 0, 255)
        green = np.clip(170 * (np.abs(speed) - 0.5), 0, 255)
        red, blue = np.where(speed > 0, level, 0), np.where(speed < 0, level, 20)
        colour = np.stack([red, green, blue], axis=-1).astype(np.uint8)
        frame[depths, beams][flowing] = colour[flowing]
    return out


@dataclass(frozen=True)
class Pictures:
    """The pictures of a clip.

    Attributes:
        sector: (rows, columns) pixels of the fan, or of all fans; none where there is none.
        occupied: (rows, columns) pixels that hold a picture of any kind.
        frame: gives frame i: (rows, columns), or (rows, columns, 3) where it is coloured.
    """

    sector: Mask
    occupied: Mask
    frame: Callable[[int], Image]


def make_pictures(plan: Plan, rng: np.random.Generator) -> Pictures:
    """Render what a plan's content asks for."""
    return _MAKERS[plan.content](plan, rng)


def _echo(plan: Plan, rng: np.random.Generator) -> Pictures:
    polar, convert = render_tissue(plan, rng), FanConverter(plan.fan, SHAPE)
    mask = plan.fan.mask()
    return Pictures(mask, mask, lambda i: convert(polar[i]))


def _frozen(plan: Plan, rng: np.random.Generator) -> Pictures:
    pictures = _echo(plan, rng)
    still = pictures.frame(0)
    return replace(pictures, frame=lambda _: still)


def _color_doppler(plan: Plan, rng: np.random.Generator) -> Pictures:
    polar = coloured_flow(render_tissue(plan, rng), plan.rhythm.phases(plan.frame_times), rng)
    convert, mask = FanConverter(plan.fan, SHAPE), plan.fan.mask()
    return Pictures(mask, mask, lambda i: convert(polar[i]))


def _side_by_side(plan: Plan, rng: np.random.Generator, second: str, live: bool) -> Pictures:
    """Two fans; the first stands still unless both are live."""
    rows, columns = plan.layout.shape
    half = (plan.fan.right - plan.fan.left) / 2
    outer = min(0.27 * columns / 1.06 / np.sin(np.deg2rad(half)) * 0.85, 0.72 * rows)
    fans = [Fan((columns * x, rows * 0.12), -half, half, 4.0, float(outer), plan.layout.shape)
            for x in (0.26, 0.74)]  # fmt: skip
    polars = [render_tissue(plan, rng, view) for view in (plan.view, second)]
    converts = [FanConverter(fan, SHAPE) for fan in fans]
    mask = fans[0].mask() | fans[1].mask()

    def frame(i: int) -> Image:
        left = converts[0](polars[0][i if live else 0])
        return np.asarray(cv2.max(left, converts[1](polars[1][i])))

    return Pictures(mask, mask, frame)


def _with_strip(plan: Plan, rng: np.random.Generator, columns_of: Callable[[Image], Image]) -> Pictures:
    """A small fan above a sweeping strip; `columns_of` makes the strip's columns (T, D) of the cine."""
    rows, columns = plan.layout.shape
    top, bottom = round(rows * 0.46), round(rows * 0.9)
    half = (plan.fan.right - plan.fan.left) / 2
    fan = Fan((columns * 0.5, 12.0), -half, half, 4.0, rows * 0.36, plan.layout.shape)
    polar, convert = render_tissue(plan, rng), FanConverter(fan, SHAPE)
    strip = _sweep(plan, columns_of(polar), (top, bottom))
    mask = fan.mask()
    occupied = mask.copy()
    occupied[top:bottom, 10:-10] = True
    return Pictures(mask, occupied, lambda i: np.asarray(cv2.max(convert(polar[i]), strip(i))))


def _sweep(plan: Plan, columns: Image, rows: tuple[int, int]) -> Callable[[int], Image]:
    """A strip that is written from left to right, over what it wrote before: gives frame i's picture."""
    width = plan.layout.shape[1] - 20
    behind = np.arange(width) / width * _STRIP_SECONDS
    fine = _FINER * len(columns)
    tall = cv2.resize(columns, (rows[1] - rows[0], fine), interpolation=cv2.INTER_LINEAR)
    per_second = (fine - 1) / max(plan.duration, 0.05)

    def picture(i: int) -> Image:
        time = float(plan.frame_times[i])
        age = np.mod(time + 1.0 - behind, _STRIP_SECONDS)
        shown = np.mod(np.round((time - age) * per_second), fine)
        strip = tall[shown.astype(np.int64)].T.copy()
        strip[:, age > 0.96 * _STRIP_SECONDS] = 0
        out = np.zeros(plan.layout.shape, np.uint8)
        out[rows[0] : rows[1], 10:-10] = strip
        return out

    return picture


def _beam(polar: Image) -> Image:
    """The middle beam over time, (T, depths)."""
    return np.ascontiguousarray(polar[:, :, polar.shape[2] // 2])


def _m_mode(plan: Plan, rng: np.random.Generator) -> Pictures:
    rows, _ = plan.layout.shape
    bounds = round(rows * 0.1), round(rows * 0.88)
    strip = _sweep(plan, _beam(render_tissue(plan, rng)), bounds)
    occupied = np.zeros(plan.layout.shape, dtype=bool)
    occupied[bounds[0] : bounds[1], 10:-10] = True
    return Pictures(np.zeros_like(occupied), occupied, strip)


def _spectrum(plan: Plan, rng: np.random.Generator) -> Image:
    """Spectral Doppler of an outflow tract, (T, D): noise under the envelope of the velocity."""
    velocity = np.linspace(1.2, -0.5, 200)[None]
    phase = plan.rhythm.phases(plan.frame_times)[:, None]
    envelope = np.clip(np.sin(np.pi * (phase - 0.05) / 0.33), 0, None) * (phase < 0.4)
    below = 0.35 * np.clip(np.sin(np.pi * (phase - 0.5) / 0.2), 0, None) * ((phase > 0.5) & (phase < 0.7))
    filled = ((velocity > 0.06) & (velocity < envelope)) | ((velocity < -0.06) & (velocity > -below))
    level = rng.rayleigh(60, filled.shape) * filled + rng.rayleigh(9, filled.shape)
    return np.clip(level, 0, 255).astype(np.uint8)


def _linear(plan: Plan, rng: np.random.Generator) -> Pictures:
    rows, columns = plan.layout.shape
    polar = render_tissue(plan, rng)
    height, width = round(rows * 0.72), round(columns * 0.45)
    top, left = round(rows * 0.1), round(columns * 0.28)
    mask = np.zeros(plan.layout.shape, dtype=bool)
    mask[top : top + height, left : left + width] = True

    def frame(i: int) -> Image:
        out = np.zeros(plan.layout.shape, np.uint8)
        out[top : top + height, left : left + width] = cv2.resize(polar[i], (width, height))
        return out

    return Pictures(np.zeros_like(mask), mask, frame)


def _report(plan: Plan, rng: np.random.Generator) -> Pictures:
    """A page of measurements; only its clock moves, and that is drawn by `report_lines`."""
    page = np.full(plan.layout.shape, int(rng.integers(0, _REPORT_GRAY)), np.uint8)
    none = np.zeros(plan.layout.shape, dtype=bool)
    return Pictures(none, ~none, lambda _: page)


_MAKERS: dict[Content, Callable[[Plan, np.random.Generator], Pictures]] = {
    "echo": _echo,
    "frozen": _frozen,
    "color_doppler": _color_doppler,
    "biplane": lambda plan, rng: _side_by_side(plan, rng, "TC" if plan.view != "TC" else "FC", live=True),
    "frozen_beside_live": lambda plan, rng: _side_by_side(plan, rng, plan.view, live=False),
    "m_mode_with_2d": lambda plan, rng: _with_strip(plan, rng, _beam),
    "m_mode": _m_mode,
    "spectral_with_2d": lambda plan, rng: _with_strip(plan, rng, lambda _: _spectrum(plan, rng)),
    "linear": _linear,
    "report": _report,
}


def report_lines(frame: int) -> Iterator[tuple[str, float, float]]:
    """The words of a report page with a clock that runs: words, and where, as shares of width and height."""
    for i, name in enumerate(("LVIDd", "LVIDs", "IVSd", "LVPWd", "EF", "LA", "TAPSE", "RVSP", "Ao")):
        yield f"{name}   {4.1 + 0.37 * i:.2f} cm", 0.08, 0.16 + 0.08 * i
        yield f"mean {3.9 + 0.36 * i:.2f}", 0.52, 0.16 + 0.08 * i
    yield f"09:30:{frame % 60:02d}", 0.78, 0.06
