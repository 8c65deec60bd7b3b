"""Clips in video files: AVI, MP4, QuickTime, Matroska and Windows Media, read by OpenCV's own FFmpeg.

FFmpeg gets the open file and never its name: it cannot take a name for an address, a pattern or a
playlist, and none can stand in its messages. The first bytes must be those of a video container.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.cohort.clip import VIDEO_SUFFIXES
from cardio_mlflow.data.files.header import ClipHeader
from cardio_mlflow.data.files.header_elements import Codec
from cardio_mlflow.data.files.pixel_data import FrameSpans
from cardio_mlflow.data.files.stream_facts import CodecMessages
from cardio_mlflow.data.outcomes import (
    MAX_FRAME_PIXELS,
    MAX_FRAMES,
    MAX_INFLATED_BYTES,
    MAX_SIDE,
    ClipRefused,
    Outcome,
)

_MATROSKA: Final = bytes.fromhex("1a45dfa3")
_SEGMENT: Final = bytes.fromhex("18538067")
_WINDOWS_MEDIA: Final = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_QUICKTIME: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_MAX_PARTS: Final = 10_000
_HEAD_BYTES: Final = 24  # enough of a part to tell its length


def container_of(file: BinaryIO) -> str | None:
    """The container's name by the first bytes of a file: avi, mp4, mkv, wmv, or None.

    Playlists, and every kind of file that only points to others, are none of these.
    """
    file.seek(0)
    start = file.read(16)
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "avi"
    if start[4:8] in _QUICKTIME:
        return "mp4"
    if start[:4] == _MATROSKA:
        return "mkv"
    return "wmv" if start == _WINDOWS_MEDIA else None


def check_whole(file: BinaryIO, container: str, size: int) -> None:
    """Check that a file is as long as its container says, by the lengths of its outermost parts.

    AVI: RIFF chunks (Microsoft's RIFF; OpenDML 1.02 for a second one). MP4 and QuickTime: boxes (ISO/IEC
    14496-12, 4.2). Matroska: the EBML header and the segment (RFC 8794 and 9559), where its length is
    given. Windows Media: objects (Microsoft's ASF 01.20.03, 2).

    Args:
        file: the open file.
        container: what `container_of` gave.
        size: the file's size in bytes.

    Raises:
        ClipRefused: TRUNCATED, or BAD_VIDEO when there is no end of parts.
    """
    position, parts = 0, 0
    while size - position >= 8 and parts < _MAX_PARTS:
        file.seek(position)
        length = _LENGTHS[container](file.read(_HEAD_BYTES), size - position)
        if length is None:
            return
        if position + length > size:
            raise ClipRefused(Outcome.TRUNCATED, f"{size} of {position + length} bytes are there")
        position += length
        parts += 1
    if parts == _MAX_PARTS:
        raise ClipRefused(Outcome.BAD_VIDEO, f"more than {_MAX_PARTS} parts")


def _riff_length(head: bytes, _left: int) -> int | None:
    """Length of the RIFF chunk that begins so; None behind the last one."""
    return 8 + int.from_bytes(head[4:8], "little") if head[:4] == b"RIFF" else None


def _box_length(head: bytes, left: int) -> int | None:
    """Length of the box that begins so; None when it is no box, as padding behind the last one."""
    length, kind = int.from_bytes(head[:4], "big"), head[4:8]
    if not kind.isalnum() and kind.strip(b" ") == b"":
        return None
    if length == 0:  # to the end of the file
        return left
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
    return length if length >= 8 else None


def _element_length(head: bytes, _left: int) -> int | None:
    """Length of Matroska's header or segment; None behind it, and where a segment does not tell it."""
    if head[:4] not in (_MATROSKA, _SEGMENT) or not head[4]:
        return None
    width = 9 - head[4].bit_length()  # bytes of the length, by the place of its first bit
    number = int.from_bytes(head[4 : 4 + width], "big") & ((1 << 7 * width) - 1)
    return None if number == (1 << 7 * width) - 1 else 4 + width + number


def _object_length(head: bytes, _left: int) -> int | None:
    """Length of the Windows Media object that begins so; None where it cannot be one."""
    length = int.from_bytes(head[16:24], "little")
    return length if length >= _HEAD_BYTES else None


_LENGTHS: Final[Mapping[str, Callable[[bytes, int], int | None]]] = {
    "avi": _riff_length, "mp4": _box_length, "mkv": _element_length, "wmv": _object_length,
}  # fmt: skip


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
