"""The nine values of a patient as rows of a page: in words, and drawn beside the normal range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
from markupsafe import Markup

from cardio_mlflow.parameters import Parameter, parameter
from cardio_mlflow.report.table_views import UNDEFINED, number_text

SPAN: Final = 2.5
"""Where a bar ends, in cut-offs: the cut-off stands at one place in all nine bars."""
WIDTH, HEIGHT = 300, 24
_DIGITS: Final = 10
"""Cut-offs below this are shown with one decimal, and so are the values."""


@dataclass(frozen=True)
class ValueRow:
    """One parameter's row.

    Attributes:
        key: the parameter.
        meaning: in words.
        value: with its unit; empty where there is none.
        interval: in words.
        normal: the normal range in words.
        abnormal: whether the value lies beyond the cut-off.
        flags: what speaks against trusting this value.
        bar: the drawing.
    """

    key: str
    meaning: str
    value: str
    interval: str
    normal: str
    abnormal: bool
    flags: str
    bar: Markup


def value_rows(table: pd.DataFrame) -> list[ValueRow]:
    """The rows of a page from a patient's rows of the predictions table."""
    return [_row(row) for row in table.to_dict("records")]


def decimals(of: Parameter) -> int:
    """Decimals of a parameter's values.

    >>> decimals(parameter("SPAP")), decimals(parameter("CI"))
    (0, 1)
    """
    return int(of.cutoff < _DIGITS)


def interval_text(of: Parameter, lower: float, upper: float) -> str:
    """An interval in words, without its unit; a dash where there is none.

    >>> interval_text(parameter("PVR"), 0.84, 2.31)
    '0.8 to 2.3'
    """
    if math.isnan(lower) or math.isnan(upper):
        return UNDEFINED
    return f"{number_text(lower, decimals(of))} to {number_text(upper, decimals(of))}"


def _row(row: Mapping[Any, Any]) -> ValueRow:
    of = parameter(row["parameter"])
    value, lower, upper = (float(row[name]) for name in ("prediction", "lower", "upper"))
    known = not math.isnan(value)
    sign = "≤" if of.abnormal == "above" else "≥"
    return ValueRow(
        of.key,
        of.meaning,
        f"{number_text(value, decimals(of))} {of.unit}" if known else "",
        interval_text(of, lower, upper),
        f"{sign} {of.cutoff:g}",
        known and of.is_abnormal(value),
        str(row["flags"]),
        value_bar(of, value, lower, upper),
    )


def value_bar(of: Parameter, value: float, lower: float, upper: float) -> Markup:
    """A value with its interval, drawn over the normal range and the cut-off.

    What lies beyond the bar's end is drawn at it, with an arrow.

    Args:
        of: the parameter.
        value: in its unit; NaN leaves the dot out.
        lower: of the interval; NaN leaves the interval out, and so does ``upper``.
    """

    def at(number: float) -> float:
        return round(min(max(number / (SPAN * of.cutoff), 0.0), 1.0) * WIDTH, 1)

    cut, middle = at(of.cutoff), HEIGHT / 2
    left, right = (0.0, cut) if of.abnormal == "above" else (cut, float(WIDTH))
    parts = [
        f'<rect class="all" x="0" y="5" width="{WIDTH}" height="{HEIGHT - 10}"/>',
        f'<rect class="normal" x="{left}" y="5" width="{right - left:.1f}" height="{HEIGHT - 10}"/>',
        f'<line class="cut" x1="{cut}" x2="{cut}" y1="1" y2="{HEIGHT - 1}"/>',
    ]
    if not (math.isnan(lower) or math.isnan(upper)):
        parts.append(
            f'<line class="interval" x1="{at(lower)}" x2="{at(upper)}" y1="{middle}" y2="{middle}"/>'
        )
        if upper > SPAN * of.cutoff:
            parts.append(f'<path class="beyond" d="M{WIDTH - 6} {middle - 5}l6 5l-6 5z"/>')
    if not math.isnan(value):
        kind = "dot abnormal" if of.is_abnormal(value) else "dot"
        parts.append(f'<circle class="{kind}" cx="{at(value)}" cy="{middle}" r="5"/>')
    size = f'viewBox="-6 0 {WIDTH + 12} {HEIGHT}" width="{WIDTH + 12}" height="{HEIGHT}"'
    return Markup(f'<svg class="bar" {size} aria-hidden="true">{"".join(parts)}</svg>')
