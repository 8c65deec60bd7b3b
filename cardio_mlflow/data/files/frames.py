"""The frames of a clip, decoded one by one: their luma, and their colours at full or reduced size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.files.header import ClipHeader
from cardio_mlflow.data.files.header_elements import ClipFile
from cardio_mlflow.data.files.header_values import (
    PALETTE,
    PARTIAL_TABLE,
    Codec,
    PixelFormat,
    gray_table,
    to_rgb,
)
from cardio_mlflow.data.files.non_dicom import video_frames
from cardio_mlflow.data.files.pixel_data import read_frame, samples_of
from cardio_mlflow.data.files.streams import (
    CodecMessages,
    StreamFacts,
    closed,
    decode_jpeg,
    holds_rgb,
    mended,
    stream_facts,
)  # fmt: skip
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.parsing import PARSING_FAULTS

_FEW: Final = 16  # steps between neighbours that must speak for it, of which a marked pixel gives two


def _bits_used(form: PixelFormat, samples: NDArray[np.generic]) -> int:
    """Bits of the values of a frame, rows × columns with all bits above the shift.

    That is ``stored``, or more, where bits above them are part of the picture, and not an overlay of text.
    A picture that loses its highest bit jumps wherever it gets bright; one that is given somebody else's bit
    jumps there. The smoother one counts.
    """
    whole = samples.astype(np.int64)
    used = int(whole.max()).bit_length()
    if used <= form.stored:
        return form.stored
    cut = whole & 2**form.stored - 1
    steps, cut_steps = np.abs(np.diff(whole)), np.abs(np.diff(cut))
    speak = np.count_nonzero(steps != cut_steps) >= _FEW
    return used if speak and steps.sum() < cut_steps.sum() else form.stored


Image = NDArray[np.uint8]
_Made = TypeVar("_Made")
_Make = Callable[[bytes, StreamFacts | None], _Made]
"""Makes something of a frame and of what a compressed one says of itself, which agrees with the header."""
_Maker = _Make[Image]
_KEPT_BYTES: Final = 48 * 1024**2
_LONGEST_SIDE: Final = 1280


class LumaFrames:
    """The frames of a clip as luma, uint8 rows × columns.

    JPEG Baseline is decoded by OpenCV straight to its Y channel, uncompressed data by numpy, the rest
    by pydicom's plugins. RGB becomes ITU-R BT.601 luma, YBR its Y (stretched from 16–235 when it is
    YBR_PARTIAL), MONOCHROME1 is inverted, PALETTE COLOR goes through its table. Samples are scaled by
    BitsStored; where its upper bits are never used, by the window or the range used; where more are used, by
    those. What a JPEG's markers or a JPEG 2000's header say of the colours counts, not the file's header.

    Frames whose longer side is over 1280 pixels are made smaller: nothing after this needs more. Decoded
    frames are kept, up to 48 MiB: of a short clip all, so each is decoded once; of a longer one those that
    were picked, which are of one heart cycle, so memory does not grow with the clip.

    Attributes:
        scale: pixels given per pixel of the file; 1.0 for frames that are not made smaller.
        rows: of a frame as given; ``columns`` likewise.
        notes: what was bent in the frames decoded so far, in fixed words.
    """

    def __init__(self, header: ClipHeader) -> None:
        self.notes: set[str] = set()
        self._header = header
        self._make: _Maker | None = None
        self.scale = min(1.0, _LONGEST_SIDE / max(header.rows, header.columns))
        self.rows, self.columns = (max(1, round(n * self.scale)) for n in (header.rows, header.columns))
        self._most_kept = _KEPT_BYTES // (self.rows * self.columns)
        self._kept: dict[int, Image] = {}

    def __iter__(self) -> Iterator[Image]:
        """All frames in order.

        Raises:
            ClipRefused: CORRUPT_FRAME, with the frame's 1-based number, or UNSUPPORTED_TRANSFER_SYNTAX.
        """
        yield from self._frames(range(self._header.frames), self._header.frames <= self._most_kept)

    def pick(self, indices: Sequence[int]) -> Iterator[Image]:
        """The frames of rising 0-based indices; it raises as all frames do."""
        yield from self._frames(indices, keep=True)

    def _frames(self, indices: Sequence[int], keep: bool) -> Iterator[Image]:
        missing = [index for index in indices if index not in self._kept]
        absent, decoded = frozenset(missing), self._decode(missing)
        for index in indices:
            if index not in absent:
                yield self._kept[index]
                continue
            frame = next(decoded)
            if keep and len(self._kept) < self._most_kept:
                self._kept[index] = frame
            yield frame

    def _decode(self, indices: Sequence[int]) -> Iterator[Image]:
        if not indices:
            return
        if self._header.form.codec is Codec.VIDEO:
            frames = video_frames(self._header.path, indices, cv2.COLOR_BGR2GRAY)
        else:
            self._make = self._make or _luma_maker(self._header, self.notes)
            frames = _each_frame(self._header, indices, self._make, self.notes)
        for frame in frames:
            yield _shrunk(frame, self.rows, self.columns)


_JPEG_FLAGS: Final = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2,
                      4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}  # fmt: skip


def decode_rgb(header: ClipHeader, indices: Sequence[int], reduction: int = 1) -> Iterator[Image]:
    """Decode frames to RGB: uint8, ceil(rows / reduction) × ceil(columns / reduction) × 3.

    A gray clip gives three equal channels. Reduced frames are averages over squares of pixels; JPEG
    frames are decoded at the reduced size, which is several times faster.

    Raises:
        ValueError: when the reduction is not 1, 2, 4 or 8.
        ClipRefused: CORRUPT_FRAME, with the frame's 1-based number, or UNSUPPORTED_TRANSFER_SYNTAX.
    """
    if reduction not in _JPEG_FLAGS:
        raise ValueError(f"frames can be reduced by {(*_JPEG_FLAGS,)}, not by {reduction}")
    if header.form.codec is Codec.VIDEO:
        size = (-(-header.rows // reduction), -(-header.columns // reduction))
        for frame in video_frames(header.path, indices, cv2.COLOR_BGR2RGB):
            yield _shrunk(frame, *size)
    else:
        yield from _each_frame(header, indices, _colour_maker(header, reduction))


def _luma_maker(header: ClipHeader, notes: set[str] | None = None) -> _Maker:
    header = _deepened(header, notes)
    form = header.form
    table = gray_table(form, _shown(header, notes))

    def make(data: bytes, facts: StreamFacts | None) -> Image:
        if form.codec is Codec.JPEG and facts is not None:
            luma = decode_jpeg(data, facts, form.photometric, cv2.IMREAD_GRAYSCALE)
            return luma if form.samples == 3 else _through(table, luma)
        samples = samples_of(form, header.rows, header.columns, data)
        if form.samples == 1:
            return _through(table, samples)
        if holds_rgb(form.photometric, facts):
            return np.asarray(cv2.cvtColor(np.ascontiguousarray(samples), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        y = np.array(samples[..., 0], dtype=np.uint8)
        return _through(PARTIAL_TABLE, y) if form.photometric.startswith("YBR_PARTIAL") else y

    return make


def _colour_maker(header: ClipHeader, reduction: int) -> _Maker:
    form = header.form
    luma = _luma_maker(header)
    size = (-(-header.rows // reduction), -(-header.columns // reduction))

    def make(data: bytes, facts: StreamFacts | None) -> Image:
        if form.samples == 3 and form.codec is Codec.JPEG and facts is not None:
            blue_first = decode_jpeg(data, facts, form.photometric, _JPEG_FLAGS[reduction])
            return np.asarray(cv2.cvtColor(blue_first, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        if form.samples == 1 and form.palette is None:
            return np.asarray(cv2.merge([_shrunk(luma(data, facts), *size)] * 3), dtype=np.uint8)
        samples = samples_of(form, header.rows, header.columns, data)
        if form.palette is not None:
            return _shrunk(form.palette[samples.astype(np.uint16)], *size)
        smaller = _shrunk(np.ascontiguousarray(samples, dtype=np.uint8), *size)
        return smaller if holds_rgb(form.photometric, facts) else to_rgb(smaller, form.photometric)

    return make


def _shrunk(image: Image, rows: int, columns: int) -> Image:
    if image.shape[:2] == (rows, columns):
        return image
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _deepened(header: ClipHeader, notes: set[str] | None) -> ClipHeader:
    """A header whose BitsStored is what the samples use, where it says less."""
    form = header.form
    deepest = form.allocated - form.shift == form.stored or form.signed  # above the value stands the sign
    if deepest or form.samples != 1 or form.photometric == PALETTE:
        return header
    whole = replace(form, stored=form.allocated - form.shift)

    def bits(data: bytes, facts: StreamFacts | None) -> int:
        if form.codec is Codec.JPEG and facts is not None:
            return _bits_used(form, decode_jpeg(data, facts, form.photometric, cv2.IMREAD_GRAYSCALE))
        return _bits_used(form, samples_of(whole, header.rows, header.columns, data))

    most = max(_each_frame(header, range(header.frames), bits))
    if most > form.stored and notes is not None:
        notes.add("samples scaled by the bits used, of which BitsStored says fewer")
    return replace(header, form=replace(form, stored=most))


_BITS_UNUSED: Final = 2  # fewer may be a dark clip


def _shown(header: ClipHeader, notes: set[str] | None) -> tuple[float, float] | None:
    """Values of gray samples of 16 bits to be shown black and white, where their upper bits are not used.

    Some scanners store 8 bits in 16 and say that all are used: scaled by BitsStored, the clip would be
    black. None where BitsStored is right.
    """
    form = header.form
    if form.allocated != 16 or form.palette is not None:
        return None
    sign = 2 ** (form.stored - 1) if form.signed else 0

    def extremes(data: bytes, _facts: StreamFacts | None) -> tuple[int, int]:
        samples: NDArray[Any] = samples_of(form, header.rows, header.columns, data)
        ranked = samples ^ np.uint16(sign)
        return int(ranked.min()) - sign, int(ranked.max()) - sign

    found = list(_each_frame(header, range(header.frames), extremes))
    low, high = min(0, *(pair[0] for pair in found)), max(1, *(pair[1] for pair in found))
    if high - low >= 2 ** (form.stored - _BITS_UNUSED):
        return None
    window = form.window
    fits = window is not None and window[0] < high <= 4 * window[1] and window[1] <= 4 * high
    if notes is not None:
        notes.add(f"samples of 16 bits scaled by the {'window' if fits else 'range used'}")
    return window if fits else (low, high)


def _through(table: Image | None, samples: NDArray[np.generic]) -> Image:
    if table is None:
        return np.array(samples, dtype=np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(samples), table), dtype=np.uint8)


_BY_LIBJPEG: Final = (Codec.JPEG, Codec.JPEG_LOSSLESS)
_MOST_FAULTS: Final = 4
_GAP: Final = "read: segment"
"""What OpenJPEG says, among much that does no harm, when it fills in what it could not read."""


def _each_frame(
    header: ClipHeader, indices: Sequence[int], make: _Make[_Made], notes: set[str] | None = None
) -> Iterator[_Made]:
    """Read frames and make something of each, with whatever goes wrong turned into a refusal."""
    try:
        with ClipFile(header.path, header.deflated_at) as file, CodecMessages() as messages:
            for index in indices:
                try:
                    data = read_frame(file, header.spans[index])
                    made, bent = _made(header, index, data, make, messages)
                except (*PARSING_FAULTS, cv2.error):
                    text = f"frame {index + 1} cannot be decoded"
                    raise ClipRefused(Outcome.CORRUPT_FRAME, text) from None
                if bent and notes is not None:
                    notes.add("JPEG frames with a harmless fault")
                yield made
    except OSError:
        raise ClipRefused(Outcome.CORRUPT_FRAME, "the file can no longer be read") from None


def _made(
    header: ClipHeader, index: int, data: bytes, make: _Make[_Made], messages: CodecMessages
) -> tuple[_Made, bool]:
    """What is made of a frame, and whether it had to be mended first."""
    codec = header.form.codec
    facts = None if codec is Codec.NATIVE else _checked_facts(header, index, data)
    whole = data if facts is None else closed(codec, data, facts)
    for _ in range(_MOST_FAULTS):
        with messages.caught():
            made = make(whole, facts)
        said = messages.take()
        if not (_GAP in said if codec is Codec.JPEG_2000 else said):
            return made, whole != data
        before = whole
        whole = mended(whole, facts, said) if facts is not None and codec in _BY_LIBJPEG else whole
        if whole == before:
            break
    raise ValueError("the codec filled gaps")


def _checked_facts(header: ClipHeader, index: int, data: bytes) -> StreamFacts:
    form = header.form
    facts = stream_facts(form.codec, data, header.rows, header.columns, form.samples, form.allocated)
    if form.codec is Codec.JPEG and facts.bits != 8:
        text = f"frame {index + 1} is JPEG of {facts.bits} bits a sample"
        raise ClipRefused(Outcome.UNSUPPORTED_TRANSFER_SYNTAX, text)
    if form.codec is Codec.JPEG_LOSSLESS and facts.bits == 8 > form.stored:
        raise ValueError("more bits than the header says, on which GDCM ends the process")
    size = (facts.rows, facts.columns, facts.samples, -(-facts.bits // 8) * 8)
    if size != (header.rows, header.columns, form.samples, form.allocated):
        raise ValueError("the frame has another size than the header says")
    return facts
