"""Clips that are no DICOM files: videos (AVI, MP4, QuickTime, Matroska, Windows Media), and older tensors.

Videos are read by OpenCV's own FFmpeg, which gets the open file and never its name: it cannot take a name for
an address, a pattern or a playlist, and none can stand in its messages. The first bytes must be those of a
video container.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.cohort.clip import VIDEO_SUFFIXES
from cardio_mlflow.data.files.header import ClipHeader
from cardio_mlflow.data.files.header_elements import ClipFile
from cardio_mlflow.data.files.header_values import Codec, PixelFormat, check_caps
from cardio_mlflow.data.files.streams import CodecMessages
from cardio_mlflow.data.files.timing import FrameTiming
from cardio_mlflow.data.outcomes import MAX_FRAMES, MAX_INFLATED_BYTES, ClipRefused, Outcome

Image = NDArray[np.uint8]

_QUICKTIME: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_STARTS: Final = (bytes.fromhex("1a45dfa3"), bytes.fromhex("3026b2758e66cf11"))  # Matroska, Windows Media
_MIN_SIDE: Final = 32
_LOST: Final = 0.02  # of the frames: some containers count from a rounded duration
_SHORTEST_S: Final = 0.001
_LONGEST_S: Final = 0.25


def is_video(path: Path) -> bool:
    """Whether a file is taken by its name for a video clip.

    >>> is_video(Path("P1_FC.AVI")), is_video(Path("P1_FC.dcm"))
    (True, False)
    """
    return path.suffix.lower() in VIDEO_SUFFIXES


class _Video:
    """A video that is read from its start to its end: many containers' indices are wrong.

    FFmpeg goes on behind a damaged frame and says so only on the error stream, so any complaint there
    counts as damage.
    """

    def __init__(self, file: BinaryIO, messages: CodecMessages) -> None:
        self._messages = messages
        with messages.caught():
            # One decoding thread: workers share the cores, and each thread holds frames of its own.
            parameters = [cv2.CAP_PROP_N_THREADS, 1]
            self.capture = cv2.VideoCapture(file, cv2.CAP_FFMPEG, parameters)  # type: ignore[call-overload]
        if messages.take() or not self.capture.isOpened():
            raise ClipRefused(Outcome.BAD_VIDEO, "not a readable video")
        self.capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        self.grabbed = 0
        size = (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
        self.rows, self.columns = (int(self.capture.get(side)) for side in size)
        check_caps(self.rows, self.columns, 1)
        if min(self.rows, self.columns) < _MIN_SIDE:
            text = f"frames of {self.rows} x {self.columns} pixels are no clip"
            raise ClipRefused(Outcome.BAD_VIDEO, text)

    def grab(self) -> bool:
        """Decode the next frame; False behind the last one. It raises CORRUPT_FRAME."""
        with self._messages.caught():
            there = bool(self.capture.grab())
        if self._messages.take():
            raise _corrupt(self.grabbed)
        self.grabbed += there
        return there

    def picture(self, index: int) -> Image:
        """A frame not before the last one asked for: rows × columns × 3, blue first."""
        while self.grabbed <= index:
            if not self.grab():
                raise _corrupt(index)
        with self._messages.caught():
            _, frame = self.capture.retrieve()
        if frame is None or frame.shape != (self.rows, self.columns, 3) or frame.dtype != np.uint8:
            raise _corrupt(index)
        return np.asarray(frame)


def _corrupt(index: int) -> ClipRefused:
    return ClipRefused(Outcome.CORRUPT_FRAME, f"frame {index + 1} cannot be decoded")


@contextmanager
def _opened(path: Path) -> Iterator[_Video]:
    """The video, open; a file that is no whole video is refused."""
    try:
        with ClipFile(path) as file, CodecMessages() as messages:
            _check_start(file.read_at(0, 16), file.size)
            stream = BufferedReader(file.raw)  # without the limits of a header
            stream.seek(0)
            video = _Video(stream, messages)
            try:
                yield video
            finally:
                with messages.caught():
                    video.capture.release()
    except (cv2.error, OSError, ValueError, MemoryError) as fault:
        raise ClipRefused(Outcome.BAD_VIDEO, f"not a readable video ({type(fault).__name__})") from None


def _check_start(head: bytes, size: int) -> None:
    """Playlists, and every kind of file that only points to others, are refused, and an AVI that is cut."""
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        if (length := 8 + int.from_bytes(head[4:8], "little")) > size:
            raise ClipRefused(Outcome.TRUNCATED, f"{size} of {length} bytes are there")
    elif head[4:8] not in _QUICKTIME and not head.startswith(_STARTS):
        raise ClipRefused(Outcome.BAD_VIDEO, "it does not begin as a video of a known kind")


def video_header(path: Path) -> ClipHeader:
    """Read a video through once, for its size, its frames and their times; no pixel is converted.

    The times are those of the container's frame rate where its time stamps agree with it, else the
    time stamps themselves, as for a varying rate. What a container says of a rotation is ignored. Heart
    rate, R waves, regions and the scanner are not known: gating uses the drawn ECG or the picture.

    Raises:
        ClipRefused: BAD_VIDEO, TOO_LARGE, TRUNCATED, CORRUPT_FRAME, SINGLE_FRAME or NO_TIMING.
    """
    try:
        with _opened(path) as video:
            facts = (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN)
            rate, declared, width, height = (float(video.capture.get(fact)) for fact in facts)
            stamps = _stamps(video)
    except ClipRefused as refusal:
        if refusal.outcome is Outcome.NOT_DICOM:  # in the words of another kind of file
            raise ClipRefused(Outcome.BAD_VIDEO, refusal.message) from None
        raise
    frames = len(stamps)
    if declared < 1 or frames + max(2, declared * _LOST) < declared:
        text = f"{frames} of {declared:.0f} frames can be read" if declared >= 1 else "no number of frames"
        raise ClipRefused(Outcome.TRUNCATED, text)
    if frames < 2:
        raise ClipRefused(Outcome.SINGLE_FRAME, f"{frames} frames: no clip")
    aspect = width / height if width > 0 and height > 0 else 1.0
    return ClipHeader(
        path=path, form=PixelFormat(Codec.VIDEO), rows=video.rows, columns=video.columns, frames=frames,
        timing=FrameTiming(_times(stamps, rate), "video"), aspect=aspect if 0.25 <= aspect <= 4.0 else 1.0,
    )  # fmt: skip


def video_frames(path: Path, indices: Sequence[int], conversion: int) -> Iterator[Image]:
    """Frames of rising indices one by one, uint8, converted by OpenCV from blue first (``cv2.COLOR_BGR2…``).

    Raises:
        ClipRefused: BAD_VIDEO, TOO_LARGE or TRUNCATED; CORRUPT_FRAME, with the frame's 1-based number.
    """
    with _opened(path) as video:
        for index in indices:
            yield np.asarray(cv2.cvtColor(video.picture(index), conversion), dtype=np.uint8)


def _stamps(video: _Video) -> NDArray[np.float64]:
    """Time stamps of all frames, seconds."""
    most = min(MAX_FRAMES, MAX_INFLATED_BYTES // (video.rows * video.columns * 3))
    stamps: list[float] = []
    while video.grab():
        stamps.append(video.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0)
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


_MAX_TENSOR_BYTES: Final = 1024**3
_LOADING_FAULTS: Final = (
    pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, TypeError, KeyError, IndexError,
    AttributeError, OverflowError, MemoryError,
)  # fmt: skip


def read_tensor(path: Path) -> NDArray[np.float32]:
    """Read a ``.pt`` clip: one float tensor of values from 0 to 1, T × H × W.

    The file is loaded with ``weights_only=True``: it can hold tensors and nothing that runs.

    Raises:
        ClipRefused: TOO_LARGE, SINGLE_FRAME or BAD_TENSOR.
    """
    import torch  # here, so that workers which only read DICOM start without it

    try:
        with ClipFile(path) as file:
            _check_tensor_size(file.size)
            loaded = torch.load(BufferedReader(file.raw), map_location="cpu", weights_only=True)
    except ClipRefused as refusal:
        if refusal.outcome is Outcome.NOT_DICOM:
            raise ClipRefused(Outcome.BAD_TENSOR, refusal.message) from None
        raise
    except _LOADING_FAULTS as fault:
        text = f"not a readable tensor file ({type(fault).__name__})"
        raise ClipRefused(Outcome.BAD_TENSOR, text) from None
    plain = isinstance(loaded, torch.Tensor) and loaded.layout is torch.strided
    if not plain or loaded.ndim != 3 or not loaded.is_floating_point():
        raise ClipRefused(Outcome.BAD_TENSOR, "the file does not hold one float tensor T x H x W")
    frames, rows, columns = loaded.shape
    check_caps(rows, columns, frames, 4)  # first: a small file can hold a large view of few values
    if min(rows, columns) < 16:
        raise ClipRefused(Outcome.BAD_TENSOR, f"frames of {rows} x {columns} pixels are no clip")
    if frames < 2:
        raise ClipRefused(Outcome.SINGLE_FRAME, "a still image, not a clip")
    clip: NDArray[np.float32] = loaded.detach().to(torch.float32).contiguous().numpy()
    if not np.isfinite(clip).all() or clip.min() < -1e-6 or clip.max() > 1 + 1e-6:
        raise ClipRefused(Outcome.BAD_TENSOR, "values that are not numbers from 0 to 1")
    return clip


def _check_tensor_size(size: int) -> None:
    if size > _MAX_TENSOR_BYTES:
        raise ClipRefused(Outcome.TOO_LARGE, f"the file has more than {_MAX_TENSOR_BYTES} bytes")
