"""What can become of one clip in preparation, and the refusal that carries it."""

from __future__ import annotations

from enum import StrEnum


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
