"""A label sheet being read column by column: its cells, and what is wrong with them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from cardio_mlflow.sheets.cells import MARKS, is_missing, parse_date
from cardio_mlflow.sheets.sheet import Row, Sheet

_Value = TypeVar("_Value")


@dataclass
class Reading:
    """A sheet being read: where its columns are, and the problems, marked numbers and warnings so far."""

    sheet: Sheet
    positions: dict[str, int]
    problems: list[str] = field(default_factory=list)
    marked: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def refuse(self, row: Row, column: str, problem: str) -> None:
        """Note a problem of a cell."""
        self.problems.append(self.sheet.problem(row, self.positions[column], problem))

    def each(self, column: str, read: Callable[[Row, int], _Value], missing: _Value) -> list[_Value]:
        """A column's cells by a function that raises ValueError for one that it cannot take.

        One that cannot be taken is `missing`, as are all of a column that is not there.
        """
        values = []
        for row in self.sheet.rows:
            value = missing
            if column in self.positions:
                try:
                    value = read(row, self.positions[column])
                except ValueError as error:
                    self.refuse(row, column, str(error))
            values.append(value)
        return values

    def dates(self, column: str) -> list[datetime.date | None]:
        """Days, None where one is missing or cannot be read."""
        return self.each(column, lambda row, position: parse_date(row.cells[position]), None)

    def unread_dates(self, column: str) -> list[int]:
        """The rows where a day is written that cannot be read: 05/12/2018 may be May or December."""
        pairs = zip(self.sheet.rows, self.texts(column), self.dates(column), strict=True)
        return [row.number for row, text, day in pairs if day is None and not is_unknown(text)]

    def texts(self, column: str) -> list[str]:
        """A column's texts, empty where there is none."""
        return self.each(column, self.sheet.text, "")

    def numbers(
        self, column: str, units: tuple[str, ...], problem_of: Callable[[float], str | None]
    ) -> list[float]:
        """Numbers within their plausible range, NaN where they are missing."""

        def read(row: Row, position: int) -> float:
            value = self.sheet.number(row, position, units)
            if not math.isnan(value) and MARKS & set(row.cells[position].text):
                self.marked.append(f"row {row.number}, column {self.sheet.column(position)}")
            if problem := problem_of(value):
                raise ValueError(problem)
            return value

        return self.each(column, read, math.nan)


def is_unknown(text: str) -> bool:
    """Whether a text stands for something that nobody knows."""
    return is_missing(text) or text.strip(" ?").lower() in ("", "unknown")
