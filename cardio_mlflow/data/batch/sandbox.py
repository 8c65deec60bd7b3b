"""Clips prepared in a process of their own, with limits on memory and time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, Self

import numpy as np
from pydantic import Field, model_validator

from cardio_mlflow.data.batch.child_process import ChildProcess, ClipStopped, Head, Limits, SandboxClosedError
from cardio_mlflow.data.clips import PREPARED_FRAMES, PREPARED_SIZE, PreparedClip
from cardio_mlflow.data.quality import ClipReview

__all__ = ["Answer", "ClipStopped", "Limits", "Sandbox", "SandboxClosedError"]

_MAX_ITEMS: Final = 100_000
_MAX_NOTES: Final = 1000  # characters; of other texts 300
_SHAPE: Final = (PREPARED_FRAMES, PREPARED_SIZE, PREPARED_SIZE)
_PREPARATION = "cardio_mlflow.data.clips"  # the module whose prepare_clip the child calls


class Answer(Head):
    """What a child says of a clip, all texts and numbers within bounds; fields as in ``PreparedClip``."""

    review: ClipReview = ClipReview()
    instance: str = Field("", pattern="^([0-9a-f]{32})?$")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        rest = self.model_dump(exclude={"quality": {"notes"}})
        if not (_within_bounds(rest) and _within_bounds(self.quality.notes, _MAX_NOTES)):
            raise ValueError("out of bounds")
        return self


def _within_bounds(value: object, longest: int = 300) -> bool:
    """Whether texts are short printable ASCII, numbers have a size that occurs, and lists have an end."""
    match value:
        case str():
            return len(value) <= longest and value.isascii() and value.isprintable()
        case int() | float():
            return abs(value) < 2**31
        case dict():
            return all(map(_within_bounds, value.values()))
        case tuple():
            return len(value) <= _MAX_ITEMS and all(map(_within_bounds, value))
    return value is None


class Sandbox(ChildProcess):
    """A child process that prepares clips one at a time; a context manager, see `ChildProcess`."""

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(_PREPARATION, "prepare_clip", limits)

    def prepare(self, path: Path, check_text: bool = False) -> PreparedClip:
        """Prepare a clip as ``clips.prepare_clip`` does; it raises as `ask`."""
        answer, data = self.ask(Answer, path, math.prod(_SHAPE), check_text=check_text)
        frames = np.frombuffer(data, np.uint8).reshape(_SHAPE)
        return PreparedClip(frames, answer.quality, answer.review, answer.instance)
