"""What can become of one clip: outcome codes, refusals, and the limits of what is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Self

MAX_SIDE: Final = 4096
"""Rows or columns of a frame."""
MAX_FRAME_PIXELS: Final = 2**23
"""Pixels of a frame: 3840 × 2160 fits; a colour frame then has 24 MiB."""
MAX_FRAMES: Final = 2000
"""Frames of a clip."""
MAX_INFLATED_BYTES: Final = 4 * 1024**3
"""All frames of a clip, decoded."""


class Outcome(StrEnum):
    """Outcome code of one clip, as it stands in ``quality.csv``; a few words for it, and what to do.

    >>> Outcome("NO_SECTOR").words
    'no sector found'
    """

    words: str
    hint: str

    def __new__(cls, code: str, words: str = "", hint: str = "") -> Self:
        """A code with its words and its hint."""
        member = str.__new__(cls, code)
        member._value_, member.words, member.hint = code, words, hint
        return member

    # fmt: off
    OK = "OK", "prepared", ""
    NOT_DICOM = "NOT_DICOM", "not a DICOM file", "export the clip again, or take the file out of the cohort"
    NO_PIXELS = "NO_PIXELS", "no pixel data", "a report or a header without an image; export the clip itself"
    WRONG_MODALITY = "WRONG_MODALITY", "not an ultrasound file", "not ultrasound; take it out of the cohort"
    WRONG_SOP = (
        "WRONG_SOP", "not an ultrasound cine",
        "not an ultrasound multi-frame image; export it as a cine loop")
    UNSUPPORTED_TRANSFER_SYNTAX = (
        "UNSUPPORTED_TRANSFER_SYNTAX", "transfer syntax not supported", "export as uncompressed or JPEG")
    TRUNCATED = "TRUNCATED", "file cut short", "copy the file again"
    CORRUPT_FRAME = (
        "CORRUPT_FRAME", "a frame cannot be decoded",
        "copy or export again; a clip that took too long: -P clip_seconds=")
    FRAME_COUNT_MISMATCH = "FRAME_COUNT_MISMATCH", "wrong number of frames", "export the clip again"
    SINGLE_FRAME = "SINGLE_FRAME", "a still, not a clip", "a still; export the cine loop"
    TOO_LARGE = (
        "TOO_LARGE", "too large", "export a shorter loop, or a smaller image; out of memory: -P clip_memory=")
    NOT_2D = "NOT_2D", "M-mode or spectral Doppler", "M-mode or spectral Doppler; take a 2-D clip of the view"
    COLOR_DOPPLER = "COLOR_DOPPLER", "colour Doppler", "take the clip without colour"
    MULTI_2D = "MULTI_2D", "two panels", "two images side by side; take a clip of one"
    NO_SECTOR = (
        "NO_SECTOR", "no sector found",
        "no sector found, so nothing could be masked; take another clip of the view")
    NO_TIMING = "NO_TIMING", "no frame times", "export with frame times"
    NO_FULL_CYCLE = "NO_FULL_CYCLE", "no whole heart cycle", "take a clip of at least one whole heart cycle"
    UID_CONFLICT = (
        "UID_CONFLICT", "two files claim one identity",
        "two different files claim to be one clip; find out which is right")
    SAME_CLIP = (
        "SAME_CLIP", "one clip for two patients", "one clip stands for two patients; find out whose it is")
    UNREADABLE = (
        "UNREADABLE", "file cannot be read",
        "the file is not there or may not be read; copy it again, mend its permissions")
    BAD_TENSOR = "BAD_TENSOR", "unusable tensor", "needs one float tensor of 0 to 1, frames x rows x columns"
    BAD_VIDEO = "BAD_VIDEO", "unusable video", "convert it to AVI or MP4 that OpenCV reads, or export DICOM"
    # fmt: on


def outcome_table(codes: Iterable[str]) -> str:
    """The number of clips by outcome code, OK first, then the most frequent, each with what to do."""
    counts = Counter(map(Outcome, codes))
    order = sorted(counts, key=lambda code: (code != Outcome.OK, -counts[code], code))
    return "\n".join(f"  {code:<28}{counts[code]:>6}  {code.hint}".rstrip() for code in order)


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
