"""What is said about settings that cannot be used."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import ValidationError

from cardio_mlflow.errors import InputError

LONGEST: Final = 100
"""Characters of a refused value that are repeated."""


def check_names(names: Iterable[str], known: Iterable[str], noun: str) -> None:
    """Refuse an unknown name and offer the nearest known one.

    Raises:
        InputError: a name is not among the known ones.
    """
    known = list(known)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name[:LONGEST], known, n=1, cutoff=0.4)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
            raise InputError(f"There is no {noun} called {_shortened(name)!r}. {hint}")


def explain(error: ValidationError, schema: Mapping[str, Any]) -> str:
    """Say in words, a line each, which values are not allowed and what is; of each setting the first fault.

    Args:
        error: what the settings' validation raised.
        schema: the settings' JSON schema.
    """
    first = {str(d["loc"][:1]): d for d in reversed(error.errors(include_url=False))}
    return "\n".join(_explain_one(dict(d), schema) for d in reversed(first.values()))


def _explain_one(detail: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    message = str(detail["msg"]).removeprefix("Value error, ")
    if not detail["loc"]:
        return f"These settings do not fit together: {message}."
    name = str(detail["loc"][0])
    allowed = _allowed(schema["properties"].get(name, {}))
    value = "…" if name == "storage" else _shortened(str(detail["input"]))  # it may hold a password
    return f"{name}={value} is not allowed: {message}.{f' Allowed: {allowed}.' if allowed else ''}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _allowed(setting: Mapping[str, Any]) -> str:
    """The allowed range of a setting, in words, from its own schema."""
    item = setting.get("items", setting)
    if "enum" in item:
        return ", ".join(map(str, item["enum"]))
    bounds = {"minimum": "at least {}", "exclusiveMinimum": "more than {}",
              "maximum": "at most {}", "exclusiveMaximum": "less than {}"}  # fmt: skip
    said = [words.format(item[key]) for key, words in bounds.items() if key in item]
    kind = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}.get(
        item.get("type", "")
    )
    return " ".join(filter(None, [kind, " and ".join(said)]))
