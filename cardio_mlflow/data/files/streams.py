"""Compressed data: deflated files inflated, what a frame says of itself, and what the codecs say of it."""

from __future__ import annotations

import os
import re
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.files.header_values import Codec
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

_STDERR: Final = 2


class CodecMessages:
    """Catches what codecs write to the error stream of the process, which decodes on one thread.

    libjpeg fills the rest of a cut frame with gray, says so only on the error stream, and reports
    success; neither OpenCV nor Pillow passes that on.

    >>> with CodecMessages() as messages:
    ...     with messages.caught():
    ...         _ = os.write(2, b"Corrupt JPEG data")
    ...     messages.take()
    'Corrupt JPEG data'
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed at the context's end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_fault: object) -> None:
        self._file.close()

    @contextmanager
    def caught(self) -> Iterator[None]:
        """A context in which the error stream is caught."""
        try:
            saved = os.dup(_STDERR)
        except OSError:  # a process without an error stream
            saved = -1
        os.dup2(self._file.fileno(), _STDERR)
        try:
            yield
        finally:
            if saved < 0:
                os.close(_STDERR)
            else:
                os.dup2(saved, _STDERR)
                os.close(saved)

    def take(self) -> str:
        """What was written since the last call, up to 4096 characters; usually empty."""
        if self._file.tell() == 0:
            return ""
        self._file.seek(0)
        text = self._file.read(4096) or b""
        self._file.seek(0)
        self._file.truncate()
        return text.decode("ascii", "replace")


_MOST_INFLATED: Final = 512 * 1024**2
_MOST_RATIO: Final = 200  # speckle is deflated to a third or so; only pictures of almost one value come near
_PIECE: Final = 2**16


def inflated(read: Callable[[int], bytes], start: int, size: int) -> BytesIO:
    """A deflated file of ``size`` bytes in memory: as it is up to ``start``, then inflated (PS3.5, A.5).

    Raises:
        ClipRefused: TOO_LARGE for more than 512 MiB, or 200 times the file; TRUNCATED; NOT_DICOM when broken.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = BytesIO(read(start))
    content.seek(start)
    try:
        while not inflater.eof:
            packed = inflater.unconsumed_tail or read(_PIECE)
            piece = inflater.decompress(packed, _PIECE)
            if not packed and not piece:
                raise ClipRefused(Outcome.TRUNCATED, "the file ends inside its deflated part")
            content.write(piece)
            if content.tell() > min(_MOST_INFLATED, _MOST_RATIO * size):
                raise ClipRefused(Outcome.TOO_LARGE, "a deflated file that inflates to more than a clip has")
    except zlib.error:
        raise ClipRefused(Outcome.NOT_DICOM, "the deflated part of the file is broken") from None
    content.seek(start)
    return content


_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOS, _PROGRESSIVE = 0xDA, 0xC2
_ALONE: Final = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_FRAME_STARTS: Final = {
    Codec.JPEG: (0xC0, 0xC1, 0xC2),  # baseline, extended, progressive
    Codec.JPEG_LOSSLESS: (0xC3,),
    Codec.JPEG_LS: (0xF7,),
}
_MAX_SEGMENTS: Final = 256
_MAX_FILL: Final = 4096  # bytes of ones before a marker
_MAX_SCANS: Final = 64  # progressive files have about 10; each one is a pass over the whole frame
_SOC_SIZ: Final = b"\xff\x4f\xff\x51"
_COD, _SOT = 0x52, 0x90


@dataclass(frozen=True)
class StreamFacts:
    """Size and colour of one compressed frame, in its own words.

    Attributes:
        adobe: colour transform of an Adobe segment (0 RGB, 1 YCbCr), or None.
        jfif: whether a JFIF segment stands there, which means YCbCr.
        transformed: whether a JPEG 2000 frame was made from RGB by the codec, which gives RGB back.
        scan: where the parameters of a JPEG's only scan end, 0 when it has several.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    adobe: int | None = None
    jfif: bool = False
    component_ids: bytes = b""
    transformed: bool = False
    scan: int = 0


def stream_facts(codec: Codec, data: bytes, rows: int, columns: int, samples: int, bits: int) -> StreamFacts:
    """Read the header of one compressed frame; ValueError when it is none of this codec, or does not end.

    RLE does not hold its size: it is that of the file's header.
    """
    if codec is Codec.RLE:
        # Behind 64 bytes a segment has at most two bytes a pixel, if no run is longer, and is padded to even.
        if len(data) > 64 + samples * (bits // 8) * (2 * rows * columns + 2):
            raise ValueError("RLE segments that do not fit the image")
        return StreamFacts(rows, columns, samples, bits)
    return _jpeg_2000_facts(data) if codec is Codec.JPEG_2000 else _jpeg_facts(data, _FRAME_STARTS[codec])


def _jpeg_facts(data: bytes, frame_starts: tuple[int, ...]) -> StreamFacts:
    """ITU-T T.81, annex B: segments up to the first scan."""
    if not data.startswith(_SOI):
        raise ValueError("not a JPEG frame")
    position, adobe, jfif, facts, kind = 2, None, False, None, 0
    for _ in range(_MAX_SEGMENTS):
        marker, position = _next_marker(data, position)
        if marker in _ALONE:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        body = data[position + 2 : position + length]
        if length < 2 or len(body) != length - 2:
            raise ValueError("a segment that does not end")
        if marker == _SOS:
            break
        if marker in frame_starts and facts is None:
            facts, kind = _frame_start(body), marker
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            raise ValueError("another kind of JPEG, or a second frame")
        adobe = body[11] if marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12 else adobe
        jfif = jfif or (marker == 0xE0 and body[:5] == b"JFIF\0")
        position += length
    if facts is None or marker != _SOS:
        raise ValueError("no frame before the scan")
    several = kind == _PROGRESSIVE or body[:1] != bytes([facts.samples])
    if several and data.count(b"\xff\xda", position) > _MAX_SCANS:
        raise ValueError("too many scans")
    return replace(facts, adobe=adobe, jfif=jfif, scan=0 if several else position + length)


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """The marker at a position and where its segment starts; fill bytes may stand before it."""
    ahead = data[position : position + _MAX_FILL]
    marker = ahead.lstrip(b"\xff")
    if not ahead.startswith(b"\xff") or not marker:
        raise ValueError("no marker where one must be")
    return marker[0], position + len(ahead) - len(marker) + 1


def _frame_start(body: bytes) -> StreamFacts:
    bits, rows, columns, samples = struct.unpack_from(">BHHB", body)
    if len(body) != 6 + 3 * samples or samples not in (1, 3) or not rows:
        raise ValueError("a frame start that cannot be")
    return StreamFacts(rows, columns, samples, bits, component_ids=body[6::3])


def _jpeg_2000_facts(data: bytes) -> StreamFacts:
    """ITU-T T.800, annex A: the SIZ segment, and the COD segment's colour transform."""
    if not data.startswith(_SOC_SIZ) or not _ends(data):
        raise ValueError("not a whole JPEG 2000 frame")
    length, _, *area, samples = struct.unpack_from(">HH8IH", data, 4)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = area
    components = data[42 : 42 + 3 * samples]
    if length != 38 + 3 * samples or samples not in (1, 3) or len(components) != 3 * samples:
        raise ValueError("a size segment that cannot be")
    if components[1::3] + components[2::3] != b"\1" * 2 * samples or len(set(components[::3])) != 1:
        raise ValueError("components of different sizes")
    if (left, top, tile_left, tile_top) != (0, 0, 0, 0) or min(tile_width, tile_height) < 1:
        raise ValueError("an image that does not start at its corner")
    if -(-right // tile_width) * -(-bottom // tile_height) > _MAX_SEGMENTS:
        raise ValueError("too many tiles")
    bits = (components[0] & 0x7F) + 1
    return StreamFacts(bottom, right, samples, bits, transformed=_is_transformed(data, 4 + length))


def _is_transformed(data: bytes, position: int) -> bool:
    for _ in range(_MAX_SEGMENTS):
        marker, position = _next_marker(data, position)
        if marker == _SOT:
            break
        if marker == _COD:
            return data[position + 6 : position + 7] == b"\1"
        position += int.from_bytes(data[position : position + 2], "big")
    raise ValueError("no coding style before the first tile")


def _ends(data: bytes) -> bool:
    """Whether the end marker closes a frame, but for a padding of zeros or ones."""
    return data.rstrip(b"\x00\xff").endswith(_EOI) or _EOI in data[-64:]


def closed(codec: Codec, data: bytes, facts: StreamFacts) -> bytes:
    """A frame with its end marker, which a JPEG of a single scan may lack without losing a pixel.

    Raises:
        ValueError: when the end marker of another frame is missing, for then more may be.
    """
    if codec is Codec.RLE or _ends(data):
        return data
    if codec is not Codec.JPEG or not facts.scan:
        raise ValueError("a frame that does not end")
    return data + _EOI


_EXTRA: Final = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9\s*")


def mended(data: bytes, facts: StreamFacts, said: str) -> bytes:
    """A JPEG frame without the harmless fault that libjpeg complains of; unchanged if it is another one.

    libjpeg prints its first complaint only, and fills the rest of a cut frame with gray. So a complaint
    is harmless when the frame without that fault is decoded without a word.
    """
    if said.startswith("Warning: unknown JFIF revision"):
        return re.sub(rb"JFIF\0.", b"JFIF\0\x01", data, count=1, flags=re.DOTALL)
    if said.startswith("Invalid SOS parameters") and facts.scan:
        return data[: facts.scan - 3] + b"\0\x3f\0" + data[facts.scan :]
    extra = _EXTRA.fullmatch(said)
    end = data.rfind(_EOI)
    return data[: end - int(extra[1])] + data[end:] if extra and facts.scan else data


def holds_rgb(photometric: str, facts: StreamFacts | None) -> bool:
    """Whether three samples that a codec gives are R, G and B; else they are Y, Cb and Cr.

    JPEG: a JFIF or Adobe segment, or components called R, G and B, count more than the photometric
    interpretation, as libjpeg judges it. JPEG 2000: its decoder undoes the colour transform that the
    stream names; samples tagged YBR_ICT or YBR_RCT without one were RGB.
    """
    if facts is not None and (facts.jfif or facts.adobe == 1):
        return False
    if facts is not None and (facts.adobe == 0 or facts.component_ids == b"RGB" or facts.transformed):
        return True
    return photometric in ("RGB", "YBR_ICT", "YBR_RCT")


def decode_jpeg(data: bytes, facts: StreamFacts, photometric: str, flag: int) -> NDArray[np.uint8]:
    """A JPEG Baseline or Extended frame as OpenCV reads it with a flag (``cv2.IMREAD_…``).

    Gray is its Y channel, or BT.601 luma of RGB samples; colours come blue first.

    Raises:
        ValueError: when the codec cannot decode it.
    """
    if not facts.jfif and facts.adobe is None and facts.samples == 3:
        # An Adobe segment says to the decoder what the samples are, where it would only guess.
        kind = b"\0" if holds_rgb(photometric, facts) else b"\1"
        data = data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + kind + data[2:]
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ValueError("not a JPEG stream")
    return np.asarray(image, dtype=np.uint8)
