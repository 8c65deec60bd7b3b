"""Clips in video files: AVI, MP4, QuickTime, Matroska and Windows Media, read by OpenCV's own FFmpeg.

FFmpeg gets the open file and never its name: it cannot take a name for an address, a pattern or a
playlist, and none can stand in its messages. The first bytes must be those of a video container.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.caps import MAX_FRAMES, MAX_INFLATED_BYTES
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.video.stream import Image, VideoStream, corrupt_frame, open_video

VIDEO_SUFFIXES: Final = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".wmv")
"""Names that make a file a video clip, in lower case."""

_SHORTEST_S: Final = 0.001
_LONGEST_S: Final = 0.25
_COUNTED: Final = ("avi", "mp4")
"""Containers whose header counts the frames; the others estimate the count from the duration."""


@dataclass(frozen=True)
class VideoHeader:
    """What is known of a video clip before its pixels are used; no text of the file.

    Attributes:
        path: the file.
        rows: height of a frame, pixels.
        columns: width of a frame, pixels.
        frames: number of frames, counted by reading them.
        times_s: time of each frame in seconds since the first, shape (frames,).
        aspect: width of a pixel over its height.
    """

    path: Path
    rows: int
    columns: int
    frames: int
    times_s: NDArray[np.float64]
    aspect: float


def is_video(path: Path) -> bool:
    """Tell by its name whether a file is taken for a video clip.

    >>> is_video(Path("P1_FC.AVI")), is_video(Path("P1_FC.dcm"))
    (True, False)
    """
    return path.suffix.lower() in VIDEO_SUFFIXES


def read_video_header(path: Path) -> VideoHeader:
    """Read a video through once, for its size, its frames and their times; no pixel is converted.

    The times are those of the container's frame rate where its time stamps agree with it, else the
    time stamps themselves, as for a varying rate. What a container says of a rotation is ignored.

    Raises:
        ClipRefused: BAD_VIDEO, TOO_LARGE, TRUNCATED, SINGLE_FRAME or NO_TIMING.
    """
    with open_video(path) as (video, container):
        rows, columns = video.size()
        rate, declared = video.number(cv2.CAP_PROP_FPS), video.number(cv2.CAP_PROP_FRAME_COUNT)
        stamps = _stamps(video, min(MAX_FRAMES, MAX_INFLATED_BYTES // (rows * columns * 3)))
        aspect = video.aspect()
    frames = len(stamps)
    if container in _COUNTED and frames + max(2, declared * 0.02) < declared:
        raise ClipRefused(Outcome.TRUNCATED, f"{frames} of {declared:.0f} frames can be read")
    if frames < 2:
        raise ClipRefused(Outcome.SINGLE_FRAME, f"{frames} frames: no clip")
    return VideoHeader(path, rows, columns, frames, _times(stamps, rate), aspect)


def video_luma(path: Path, indices: Sequence[int]) -> Iterator[Image]:
    """Luma (ITU-R BT.601) of frames of a video, uint8, rows × columns, one by one.

    The video is read from its start and nothing is looked up: many containers' indices are wrong.

    Args:
        path: the video.
        indices: rising 0-based frame numbers.

    Raises:
        ClipRefused: BAD_VIDEO, TOO_LARGE or TRUNCATED; CORRUPT_FRAME, with the frame's 1-based number.
    """
    for frame in _pictures(path, indices):
        yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def video_rgb(path: Path, indices: Sequence[int], reduction: int = 1) -> Iterator[Image]:
    """Colour frames of a video, uint8, rows × columns × 3 (RGB), one by one.

    Args:
        path: the video.
        indices: rising 0-based frame numbers.
        reduction: both sides are divided by this, rounded up, by area averaging.

    Raises:
        ClipRefused: as `video_luma`.
    """
    for frame in _pictures(path, indices):
        rows, columns = frame.shape[:2]
        size = (-(-columns // reduction), -(-rows // reduction))
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if reduction > 1 else frame
        yield np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _pictures(path: Path, indices: Sequence[int]) -> Iterator[Image]:
    """The frames asked for as OpenCV gives them: rows × columns × 3, blue first."""
    with open_video(path) as (video, _):
        shape = (*video.size(), 3)
        for index in indices:
            while video.grabbed <= index:
                if not video.grab():
                    raise corrupt_frame(index)
            frame = video.retrieve()
            if frame is None or frame.shape != shape or frame.dtype != np.uint8:
                raise corrupt_frame(index)
            yield frame


def _stamps(video: VideoStream, most: int) -> NDArray[np.float64]:
    """Time stamps of all frames, seconds."""
    stamps: list[float] = []
    while video.grab():
        stamps.append(video.number(cv2.CAP_PROP_POS_MSEC) / 1000.0)
        if len(stamps) > most:
            raise ClipRefused(Outcome.TOO_LARGE, f"more than {most} frames")
    return np.asarray(stamps, dtype=np.float64)


def _times(stamps: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    steps = np.diff(stamps)
    stamped = bool(np.isfinite(steps).all() and (steps >= _SHORTEST_S).all() and (steps <= _LONGEST_S).all())
    rated = np.isfinite(rate) and _SHORTEST_S * rate <= 1.0 <= _LONGEST_S * rate
    even = np.arange(len(stamps)) / rate if rated else stamps
    # Stamps are rounded to as much as a millisecond: they agree when none is further off than that.
    if rated and (not stamped or np.abs(stamps - stamps[0] - even).max() <= 2 * _SHORTEST_S):
        return np.asarray(even, dtype=np.float64)
    if stamped:
        return np.asarray(stamps - stamps[0], dtype=np.float64)
    raise ClipRefused(Outcome.NO_TIMING, "no frame rate from 4 to 1000 frames per second in the container")
