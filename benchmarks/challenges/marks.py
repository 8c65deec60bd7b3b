"""What scanners draw inside the sector: cursor lines, ticks, focus, calipers, words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.challenges.pen import Pen
from benchmarks.challenges.plan import Plan
from cardio_mlflow.synthetic.layouts import Colour

_GREEN: Colour = (60, 230, 90)
_WHITE: Colour = (235, 235, 235)
_YELLOW: Colour = (255, 235, 80)


def _beam(plan: Plan) -> float:
    """An angle off the middle, degrees, the same in all frames."""
    return plan.fan.left + 0.42 * (plan.fan.right - plan.fan.left)


def _cursor_line(pen: Pen, plan: Plan) -> None:
    angle, fan = _beam(plan), plan.fan
    pen.line(fan.point(angle, fan.at_depth(0.01)), fan.point(angle, fan.at_depth(0.99)), _WHITE)


def _dotted_line(pen: Pen, plan: Plan) -> None:
    angle, fan = _beam(plan), plan.fan
    for start in np.arange(0.02, 0.97, 0.03):
        ends = (fan.point(angle, fan.at_depth(float(start + part))) for part in (0.0, 0.012))
        pen.line(next(ends), next(ends), _GREEN)


def _ticks(pen: Pen, plan: Plan) -> None:
    fan = plan.fan
    for centimetre in range(2, 16):
        distance = fan.at_depth(centimetre / 16)
        length = 9.0 if centimetre % 5 == 0 else 5.0
        x, y = fan.point(fan.right, distance)
        pen.line((x - 4, y), (x - 4 - length, y), _WHITE)


def _focus(pen: Pen, plan: Plan) -> None:
    for angle, side in ((plan.fan.left, 1.0), (plan.fan.right, -1.0)):
        x, y = plan.fan.point(angle, plan.fan.at_depth(0.6))
        x += 5 * side
        pen.fill(np.array([[x, y], [x + 8 * side, y - 5], [x + 8 * side, y + 5]]), _YELLOW)


def _calipers(pen: Pen, plan: Plan) -> None:
    fan, width = plan.fan, plan.fan.right - plan.fan.left
    places = [fan.point(fan.left + a * width, fan.at_depth(d)) for a, d in ((0.35, 0.45), (0.62, 0.63))]
    for x, y in places:
        pen.line((x - 6, y), (x + 6, y), _YELLOW)
        pen.line((x, y - 6), (x, y + 6), _YELLOW)
    for share in np.arange(0.06, 0.95, 0.06):
        (xa, ya), (xb, yb) = places
        pen.disc((xa + share * (xb - xa), ya + share * (yb - ya)), 0.8, _YELLOW)


def _words(pen: Pen, plan: Plan) -> None:
    x, y = plan.fan.point(0.75 * plan.fan.left + 0.25 * plan.fan.right, plan.fan.at_depth(0.7))
    pen.text("DOE, J 1951", (x, y), _WHITE, max(0.36, plan.layout.font))
    x, y = plan.fan.point(0.4 * plan.fan.left + 0.6 * plan.fan.right, plan.fan.at_depth(0.3))
    pen.text("LV", (x, y), _WHITE, max(0.36, plan.layout.font))


MARKS: dict[str, Callable[[Pen, Plan], None]] = {
    "cursor_line": _cursor_line,
    "dotted_line": _dotted_line,
    "ticks": _ticks,
    "focus": _focus,
    "calipers": _calipers,
    "words": _words,
}
"""What `Plan.marks` can name."""
