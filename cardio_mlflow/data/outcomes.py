"""What can become of one clip in preparation, and the refusal that carries it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

MAX_SIDE: Final = 4096
"""Rows or columns of a frame."""
MAX_FRAME_PIXELS: Final = 2**23
"""Pixels of a frame: 3840 × 2160 fits; a colour frame then has 24 MiB."""
MAX_FRAMES: Final = 2000
"""Frames of a clip."""
MAX_INFLATED_BYTES: Final = 4 * 1024**3
"""All frames of a clip, decoded."""


class Outcome(StrEnum):
    """Outcome code of one clip, as it stands in ``quality.csv``."""

    OK = "OK"
    NOT_DICOM = "NOT_DICOM"
    NO_PIXELS = "NO_PIXELS"
    WRONG_MODALITY = "WRONG_MODALITY"
    WRONG_SOP = "WRONG_SOP"
    UNSUPPORTED_TRANSFER_SYNTAX = "UNSUPPORTED_TRANSFER_SYNTAX"
    TRUNCATED = "TRUNCATED"
    CORRUPT_FRAME = "CORRUPT_FRAME"
    FRAME_COUNT_MISMATCH = "FRAME_COUNT_MISMATCH"
    SINGLE_FRAME = "SINGLE_FRAME"
    TOO_LARGE = "TOO_LARGE"
    NOT_2D = "NOT_2D"
    COLOR_DOPPLER = "COLOR_DOPPLER"
    MULTI_2D = "MULTI_2D"
    NO_SECTOR = "NO_SECTOR"
    NO_TIMING = "NO_TIMING"
    NO_FULL_CYCLE = "NO_FULL_CYCLE"
    UID_CONFLICT = "UID_CONFLICT"
    BAD_TENSOR = "BAD_TENSOR"
    BAD_VIDEO = "BAD_VIDEO"


class ClipRefused(Exception):  # noqa: N818 - what happened to the clip, in the words of the design
    """A clip that cannot be prepared; the batch goes on without it.

    Attributes:
        outcome: the code.
        message: the reason in words, built only from sizes, counts and DICOM UIDs of the standard:
            never from a text field of the file.
    """

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(f"{outcome}: {message}")
        self.outcome = outcome
        self.message = message

    def __reduce__(self) -> tuple[type[ClipRefused], tuple[Outcome, str]]:
        return ClipRefused, (self.outcome, self.message)


_WORDS: Final[dict[str, str]] = {
    Outcome.OK: "prepared",
    Outcome.NOT_DICOM: "not a DICOM file",
    Outcome.NO_PIXELS: "no pixel data",
    Outcome.WRONG_MODALITY: "not an ultrasound file",
    Outcome.WRONG_SOP: "not an ultrasound cine",
    Outcome.UNSUPPORTED_TRANSFER_SYNTAX: "transfer syntax not supported",
    Outcome.TRUNCATED: "file cut short",
    Outcome.CORRUPT_FRAME: "a frame cannot be decoded",
    Outcome.FRAME_COUNT_MISMATCH: "wrong number of frames",
    Outcome.SINGLE_FRAME: "a still, not a clip",
    Outcome.TOO_LARGE: "too large",
    Outcome.NOT_2D: "M-mode or spectral Doppler",
    Outcome.COLOR_DOPPLER: "colour Doppler",
    Outcome.MULTI_2D: "two panels",
    Outcome.NO_SECTOR: "no sector found",
    Outcome.NO_TIMING: "no frame times",
    Outcome.NO_FULL_CYCLE: "no whole heart cycle",
    Outcome.UID_CONFLICT: "two files claim one identity",
    Outcome.BAD_TENSOR: "unusable tensor",
    Outcome.BAD_VIDEO: "unusable video",
}


def outcome_words(code: str) -> str:
    """A few words for an outcome code; a code without any is spelled out.

    >>> outcome_words("NO_SECTOR"), outcome_words("SOME_NEW_CODE")
    ('no sector found', 'some new code')
    """
    return _WORDS.get(code) or code.replace("_", " ").lower()
