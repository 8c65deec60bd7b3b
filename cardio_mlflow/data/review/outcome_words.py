"""Outcome codes said in words, for pictures and pages that a person reads."""

from __future__ import annotations

from typing import Final

from cardio_mlflow.data.outcomes import Outcome

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
