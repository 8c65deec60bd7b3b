"""A video file that FFmpeg reads from its start to its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.caps import MAX_FRAME_PIXELS, MAX_SIDE
from cardio_mlflow.data.decoding.codec_messages import CodecMessages
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.video.container import check_whole, container_of

Image = NDArray[np.uint8]

_MAX_FILE_BYTES: Final = 2 * 1024**3
_MIN_SIDE: Final = 32
_FAULTS: Final = (cv2.error, OSError, ValueError, MemoryError)


def corrupt_frame(index: int) -> ClipRefused:
    """The refusal of a clip for a damaged frame (0-based)."""
    return ClipRefused(Outcome.CORRUPT_FRAME, f"frame {index + 1} cannot be decoded")


class VideoStream:
    """A video that is being read from its start to its end, without a word on the screen.

    FFmpeg goes on behind a damaged frame and says so only on the error stream, so any complaint there
    counts as damage.
    """

    def __init__(self, file: BinaryIO, messages: CodecMessages) -> None:
        self._messages = messages
        with messages.caught():
            # One decoding thread: workers share the cores, and each thread holds frames of its own.
            parameters = [cv2.CAP_PROP_N_THREADS, 1]
            self._capture = cv2.VideoCapture(file, cv2.CAP_FFMPEG, parameters)  # type: ignore[call-overload]
        self.is_open = bool(self._capture.isOpened())
        self.grabbed = 0
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        messages.take()

    def number(self, name: int) -> float:
        """One of OpenCV's properties of the video."""
        return float(self._capture.get(name))

    def size(self) -> tuple[int, int]:
        """Rows and columns of a frame.

        Raises:
            ClipRefused: TOO_LARGE or BAD_VIDEO.
        """
        rows, columns = (int(self.number(p)) for p in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
        if max(rows, columns) > MAX_SIDE or rows * columns > MAX_FRAME_PIXELS:
            raise ClipRefused(Outcome.TOO_LARGE, f"frames of {rows} x {columns} pixels")
        if min(rows, columns) < _MIN_SIDE:
            raise ClipRefused(Outcome.BAD_VIDEO, f"frames of {rows} x {columns} pixels are no clip")
        return rows, columns

    def aspect(self) -> float:
        """Width of a pixel over its height; 1 where the container gives none that is plausible."""
        width, height = self.number(cv2.CAP_PROP_SAR_NUM), self.number(cv2.CAP_PROP_SAR_DEN)
        aspect = width / height if width > 0 and height > 0 else 1.0
        return aspect if 0.25 <= aspect <= 4.0 else 1.0

    def grab(self) -> bool:
        """Decode the next frame; False behind the last one.

        Raises:
            ClipRefused: CORRUPT_FRAME.
        """
        with self._messages.caught():
            there = bool(self._capture.grab())
        if self._messages.take():
            raise corrupt_frame(self.grabbed)
        self.grabbed += there
        return there

    def retrieve(self) -> Image | None:
        """The frame that was decoded last, rows × columns × 3, blue first."""
        with self._messages.caught():
            _, frame = self._capture.retrieve()
        return frame  # type: ignore[no-any-return]

    def close(self) -> None:
        """Let go of FFmpeg's memory."""
        with self._messages.caught():
            self._capture.release()


@contextmanager
def open_video(path: Path) -> Iterator[tuple[VideoStream, str]]:
    """The video, open, and its container's name; a file that is no whole video is refused."""
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise ClipRefused(Outcome.BAD_VIDEO, "not a regular file")
        with path.open("rb") as file, CodecMessages() as messages:
            container = _checked(file)
            video = VideoStream(file, messages)
            try:
                if not video.is_open:
                    raise ClipRefused(Outcome.BAD_VIDEO, f"not a readable {container} video")
                yield video, container
            finally:
                video.close()
    except _FAULTS as fault:
        raise ClipRefused(Outcome.BAD_VIDEO, f"not a readable video ({type(fault).__name__})") from None


def _checked(file: BinaryIO) -> str:
    size = os.fstat(file.fileno()).st_size
    if size > _MAX_FILE_BYTES:
        raise ClipRefused(Outcome.TOO_LARGE, f"the file has {size} bytes, at most {_MAX_FILE_BYTES}")
    container = container_of(file)
    if container is None:
        raise ClipRefused(Outcome.BAD_VIDEO, "it does not begin as a video of a known kind")
    check_whole(file, container, size)
    file.seek(0)
    return container
