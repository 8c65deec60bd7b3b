"""A video file's header in the form in which the rest of preparation takes a clip's header."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cardio_mlflow.data.decoding.pixel_data import FrameSpans
from cardio_mlflow.data.decoding.transfer_syntaxes import Codec
from cardio_mlflow.data.dicom import ClipHeader
from cardio_mlflow.data.video.frames import read_video_header


def video_header(path: Path) -> ClipHeader:
    """Read a video file's header; its frames come from `frames.video_luma` and `frames.video_rgb`.

    Nothing tells the heart rate, R waves, regions or the scanner: gating goes by the drawn ECG or the
    picture.

    Raises:
        ClipRefused: as `frames.read_video_header`.
    """
    video = read_video_header(path)
    return ClipHeader(
        path=path, transfer_syntax="", codec=Codec.VIDEO, photometric="RGB",
        rows=video.rows, columns=video.columns, frames=video.frames, samples=3, has_colour=True,
        bits_allocated=8, bits_stored=8, shift=0, planar=False, signed=False, big_endian=False,
        swapped=False, palette=None, spans=FrameSpans(()), sop_uid="", frame_times_s=video.times_s,
        timing_source="video", heart_rate=None, r_waves_s=np.empty(0), waveform=None,
        aspect=video.aspect, bound=None, regions=(), manufacturer="",
    )  # fmt: skip
