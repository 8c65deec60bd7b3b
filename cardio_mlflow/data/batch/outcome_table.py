"""What became of a cohort's clips, as a table for the end of a command."""

from __future__ import annotations

from typing import Final

import pandas as pd

from cardio_mlflow.data.outcomes import Outcome

_HINTS: Final[dict[Outcome, str]] = {
    Outcome.NOT_DICOM: "export the clip again, or take the file out of the cohort",
    Outcome.NO_PIXELS: "a report or a header without an image; export the clip itself",
    Outcome.WRONG_MODALITY: "not ultrasound; take it out of the cohort",
    Outcome.WRONG_SOP: "not an ultrasound multi-frame image; export it as a cine loop",
    Outcome.UNSUPPORTED_TRANSFER_SYNTAX: "export as uncompressed or JPEG",
    Outcome.TRUNCATED: "copy the file again",
    Outcome.CORRUPT_FRAME: "copy or export again; a clip that took too long: -P clip_seconds=",
    Outcome.FRAME_COUNT_MISMATCH: "export the clip again",
    Outcome.SINGLE_FRAME: "a still; export the cine loop",
    Outcome.TOO_LARGE: "export a shorter loop, or a smaller image; out of memory: -P clip_memory=",
    Outcome.NOT_2D: "M-mode or spectral Doppler; take a 2-D clip of the view",
    Outcome.COLOR_DOPPLER: "take the clip without colour",
    Outcome.MULTI_2D: "two images side by side; take a clip of one",
    Outcome.NO_SECTOR: "no sector found, so nothing could be masked; take another clip of the view",
    Outcome.NO_TIMING: "export with frame times",
    Outcome.NO_FULL_CYCLE: "take a clip of at least one whole heart cycle",
    Outcome.UID_CONFLICT: "two different files claim to be one clip; find out which is right",
    Outcome.BAD_TENSOR: "needs one float tensor of 0 to 1, frames x rows x columns",
    Outcome.BAD_VIDEO: "convert it to AVI or MP4 that OpenCV reads, or export DICOM",
}


def outcome_table(quality: pd.DataFrame) -> str:
    """The number of clips by outcome code, OK first, then the most frequent, each with what to do.

    Args:
        quality: one row a clip, with the column ``outcome``.
    """
    counts = quality["outcome"].map(str).value_counts()
    order = sorted(counts.index, key=lambda code: (code != Outcome.OK, -counts[code], code))
    return "\n".join(f"  {code:<28}{counts[code]:>6}  {_hint(code)}".rstrip() for code in order)


def _hint(code: str) -> str:
    return _HINTS.get(Outcome(code), "")
