"""The luma of a clip's frames, decoded one by one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from cardio_mlflow.data.files.header import ClipHeader
from cardio_mlflow.data.files.header_elements import PARSING_FAULTS, ClipFile, Codec, pydicom_silenced
from cardio_mlflow.data.files.pixel_data import read_frame
from cardio_mlflow.data.files.pixel_format import HALVED, PixelFormat
from cardio_mlflow.data.files.stream_facts import CodecMessages, StreamFacts, closed, mended, stream_facts
from cardio_mlflow.data.files.video import video_luma
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

Unsigned = NDArray[np.uint8] | NDArray[np.uint16]
Samples = NDArray[np.generic]
_Made = TypeVar("_Made")

# One plugin a codec: with several, pydicom hands a frame that one refuses to the next, less strict one. RLE
# goes to pydicom's own decoder: pylibjpeg's, in Rust, panics on damaged frames and is only 1.8 times as
# fast. (It still writes the synthetic clips, where the input is our own.)
_PLUGINS: Final = {Codec.JPEG_2000: "pylibjpeg", Codec.RLE: "pydicom",
                   Codec.JPEG_LS: "gdcm", Codec.JPEG_LOSSLESS: "gdcm"}  # fmt: skip
_SURPLUS: Final = "The decoded RLE segment contains"
"""How pydicom's warning begins when a frame holds more samples than rows × columns and it drops the rest:
those sizes are wrong then, and the picture would come out sheared."""
_CLOSED: Final = (Codec.JPEG, Codec.JPEG_LOSSLESS, Codec.JPEG_LS)
_MOST_FAULTS: Final = 4
_GAP: Final = "read: segment"
"""What OpenJPEG says, among much that does no harm, when it fills in what it could not read."""


def each_frame(
    header: ClipHeader,
    indices: Sequence[int],
    make: Callable[[bytes, StreamFacts | None], _Made],
    notes: set[str] | None = None,
) -> Iterator[_Made]:
    """Read frames and make something of each, with whatever goes wrong turned into a refusal.

    Args:
        header: the checked header.
        indices: 0-based frame numbers.
        make: gets the bytes of a frame, and what a compressed frame says of itself, which agrees with
            the header.
        notes: gets a word on frames that were bent and could be decoded whole.

    Raises:
        ClipRefused: CORRUPT_FRAME or UNSUPPORTED_TRANSFER_SYNTAX, with the frame's 1-based number.
    """
    try:
        with ClipFile(header.path) as file, CodecMessages() as messages:
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
    header: ClipHeader,
    index: int,
    data: bytes,
    make: Callable[[bytes, StreamFacts | None], _Made],
    messages: CodecMessages,
) -> tuple[_Made, bool]:
    """What is made of a frame, and whether it had to be mended first."""
    codec = header.form.codec
    facts = None if codec is Codec.NATIVE else _checked_facts(header, index, data)
    whole = closed(data, facts) if facts is not None and codec in _CLOSED else data
    for _ in range(_MOST_FAULTS):
        with messages.caught():
            made = make(whole, facts)
        said = messages.take()
        if not (_GAP in said if codec is Codec.JPEG_2000 else said):
            return made, whole != data
        before = whole
        whole = mended(whole, facts, said) if facts is not None and codec is Codec.JPEG else whole
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


def native_samples(header: ClipHeader, data: bytes) -> Samples:
    """The samples of an uncompressed frame: rows × columns, or rows × columns × 3.

    Subsampled frames, stored as Y Y Cb Cr, get the colour of each pair for both of its pixels.
    Samples of 16 bits come as unsigned ones; bits beside the value are cleared.
    """
    form, shape = header.form, (header.rows, header.columns)
    if form.allocated == 16:
        words = np.frombuffer(data, ">u2" if form.big_endian else "<u2").astype(np.uint16, copy=False)
        return _value_bits(form, words).reshape(shape)
    values = np.frombuffer(data, np.uint8)
    if form.swapped:
        values = np.pad(values, (0, len(values) % 2)).view(np.uint16).byteswap().view(np.uint8)[: len(data)]
    if form.photometric in HALVED:
        pairs = values.reshape(header.rows, header.columns // 2, 4)
        return np.stack([pairs[..., [0, 2, 3]], pairs[..., [1, 2, 3]]], axis=2).reshape(*shape, 3)
    if form.samples == 3:
        return values.reshape(3, *shape).transpose(1, 2, 0) if form.planar else values.reshape(*shape, 3)
    return _value_bits(form, values).reshape(shape)


def _value_bits(form: PixelFormat, values: Unsigned) -> Unsigned:
    if form.stored == form.allocated:
        return values
    shifted: Unsigned = np.right_shift(values, form.shift)
    shifted &= 2**form.stored - 1
    return shifted


def decoded_samples(header: ClipHeader, data: bytes) -> Samples:
    """The samples of a frame that is not JPEG Baseline or Extended, through pydicom's decoders.

    Returns:
        rows × columns or rows × columns × 3, without a change of colour space; samples of more than
        8 bits come as unsigned ones, bits above the value cleared.

    Raises:
        ValueError or another of ``PARSING_FAULTS``: when the frame cannot be decoded.
    """
    form = header.form
    with pydicom_silenced():
        warnings.filterwarnings("error", _SURPLUS)
        samples, _ = get_decoder(UID(form.syntax)).as_array(
            encapsulate([data]), index=0, raw=True, number_of_frames=1, pixel_keyword="PixelData",
            decoding_plugin=_PLUGINS[form.codec],
            rows=header.rows, columns=header.columns, samples_per_pixel=form.samples,
            photometric_interpretation=form.photometric, planar_configuration=int(form.planar),
            bits_allocated=form.allocated, bits_stored=form.stored, pixel_representation=int(form.signed),
        )  # fmt: skip
    shape = (header.rows, header.columns) + ((3,) if form.samples == 3 else ())
    if samples.shape != shape or samples.dtype.itemsize * 8 != form.allocated:
        raise ValueError("the decoded frame has another size than the header says")
    unsigned = samples.view(np.dtype(f"u{samples.dtype.itemsize}"))
    return unsigned if form.samples == 3 else _value_bits(form, unsigned)


_ADOBE_RGB, _ADOBE_YCC = 0, 1
_YCC_NAMES: Final = b"\x01\x02\x03"
_COLOUR_FLAGS: Final = {
    1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8,
}  # fmt: skip


def holds_rgb(photometric: str, facts: StreamFacts | None) -> bool:
    """Whether three samples that a codec gives are R, G and B; else they are Y, Cb and Cr.

    JPEG: a JFIF or Adobe segment, or components called R, G and B, go before the photometric
    interpretation, as libjpeg judges it. JPEG 2000: its decoder undoes the colour transform that the
    stream names; samples tagged YBR_ICT or YBR_RCT without one were RGB.
    """
    if facts is not None and (facts.jfif or facts.adobe == _ADOBE_YCC):
        return False
    if facts is not None and (
        facts.adobe == _ADOBE_RGB or facts.component_ids == b"RGB" or facts.transformed
    ):
        return True
    return photometric in ("RGB", "YBR_ICT", "YBR_RCT")


def decode_jpeg(data: bytes, facts: StreamFacts, photometric: str) -> NDArray[np.uint8]:
    """The luma of a JPEG frame, rows × columns: its Y channel, or BT.601 luma of RGB samples.

    Raises:
        ValueError: when the codec cannot decode it.
    """
    return _decode(data, facts, photometric, cv2.IMREAD_GRAYSCALE)


def decode_jpeg_colour(
    data: bytes, facts: StreamFacts, photometric: str, reduction: int = 1
) -> NDArray[np.uint8]:
    """RGB of a JPEG frame at 1/1, 1/2, 1/4 or 1/8 of its size.

    Raises:
        ValueError: when the codec cannot decode it.
    """
    image = _decode(data, facts, photometric, _COLOUR_FLAGS[reduction])
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _decode(data: bytes, facts: StreamFacts, photometric: str, flag: int) -> NDArray[np.uint8]:
    marked = facts.jfif or facts.adobe is not None or facts.samples == 1
    if not marked:
        # An Adobe segment tells the decoder what the samples are, where it would only guess.
        kind = b"\0" if holds_rgb(photometric, facts) else b"\1"
        data = data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + kind + data[2:]
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ValueError("not a JPEG stream")
    return np.asarray(image, dtype=np.uint8)


Luma = NDArray[np.uint8]
Maker = Callable[[bytes, StreamFacts | None], Luma]

_KEPT_BYTES: Final = 48 * 1024**2
_LONGEST_SIDE: Final = 1280
_BT601: Final = np.array([0.299, 0.587, 0.114])
_BITS_UNUSED: Final = 2  # fewer may be a dark clip
_BLACK, _WHITE = 16, 235  # of YBR_PARTIAL


class LumaFrames:
    """The frames of a clip as luma, uint8 rows × columns.

    Frames whose longer side is over 1280 pixels are made smaller: nothing after this needs more. Decoded
    frames are kept, up to 48 MiB: of a short clip all, so each is decoded once; of a longer one those that
    were picked, which are of one heart cycle, so memory does not grow with the clip.

    Attributes:
        scale: pixels given per pixel of the file; 1.0 for frames that are not made smaller.
        rows: height of a frame as given.
        columns: width of a frame as given.
        notes: what was bent in the frames decoded so far, in fixed words.
    """

    def __init__(self, header: ClipHeader) -> None:
        self.notes: set[str] = set()
        self._header = header
        self._make: Maker | None = None
        self.scale = min(1.0, _LONGEST_SIDE / max(header.rows, header.columns))
        self.rows, self.columns = (max(1, round(n * self.scale)) for n in (header.rows, header.columns))
        self._most_kept = _KEPT_BYTES // (self.rows * self.columns)
        self._kept: dict[int, Luma] = {}

    def __iter__(self) -> Iterator[Luma]:
        """All frames in order.

        Raises:
            ClipRefused: CORRUPT_FRAME or UNSUPPORTED_TRANSFER_SYNTAX.
        """
        yield from self._frames(range(self._header.frames), self._header.frames <= self._most_kept)

    def pick(self, indices: Sequence[int]) -> Iterator[Luma]:
        """The frames of rising 0-based indices.

        Raises:
            ClipRefused: CORRUPT_FRAME or UNSUPPORTED_TRANSFER_SYNTAX.
        """
        yield from self._frames(indices, keep=True)

    def _frames(self, indices: Sequence[int], keep: bool) -> Iterator[Luma]:
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

    def _decode(self, indices: Sequence[int]) -> Iterator[Luma]:
        if indices and self._make is None and self._header.form.codec is not Codec.VIDEO:
            self._make = luma_maker(self._header, self.notes)
        for frame in decode_luma(self._header, indices, self._make, self.notes):
            if self.scale == 1.0:
                yield frame
            else:
                size = (self.columns, self.rows)
                yield np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def decode_luma(
    header: ClipHeader, indices: Sequence[int], make: Maker | None = None, notes: set[str] | None = None
) -> Iterator[Luma]:
    """Decode frames to luma: uint8, rows × columns, of the file's own size.

    JPEG Baseline is decoded by OpenCV straight to its Y channel, uncompressed data by numpy, the rest
    by pydicom's plugins. RGB becomes ITU-R BT.601 luma, YBR its Y (stretched from 16–235 when it is
    YBR_PARTIAL), MONOCHROME1 is inverted, PALETTE COLOR goes through its table, and samples are scaled
    by BitsStored, or where their upper bits are never used, by the window or the range used. What a
    JPEG's own markers or a JPEG 2000's own header say of the colours goes before the header.

    Args:
        header: the checked header.
        indices: rising 0-based frame numbers.
        make: what `luma_maker` gave, where it is at hand.
        notes: gets words on what was bent.

    Raises:
        ClipRefused: CORRUPT_FRAME, with the frame's 1-based number, or UNSUPPORTED_TRANSFER_SYNTAX.
    """
    if header.form.codec is Codec.VIDEO:
        yield from video_luma(header.path, indices)
    else:
        yield from each_frame(header, indices, make or luma_maker(header, notes), notes)


def luma_maker(header: ClipHeader, notes: set[str] | None = None) -> Maker:
    """A function that makes the luma of one frame from its bytes and its own header."""
    form = header.form
    table = gray_table(form, _shown(header, notes))

    def make(data: bytes, facts: StreamFacts | None) -> Luma:
        if form.codec is Codec.JPEG and facts is not None:
            luma = decode_jpeg(data, facts, form.photometric)
            return luma if form.samples == 3 else _through(table, luma)
        samples = native_samples(header, data) if facts is None else decoded_samples(header, data)
        if form.samples == 1:
            return _through(table, samples)
        if holds_rgb(form.photometric, facts):
            return np.asarray(cv2.cvtColor(np.ascontiguousarray(samples), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        y = np.array(samples[..., 0], dtype=np.uint8)
        return _through(_partial_table(), y) if form.photometric.startswith("YBR_PARTIAL") else y

    return make


def _shown(header: ClipHeader, notes: set[str] | None) -> tuple[float, float] | None:
    """Values of gray samples of 16 bits to be shown black and white, where their upper bits are not used.

    Some scanners store 8 bits in 16 and say that all are used: scaled by BitsStored, the clip would be
    black. None where BitsStored is right.
    """
    form = header.form
    if form.allocated != 16 or form.palette is not None:
        return None

    def extremes(data: bytes, facts: StreamFacts | None) -> tuple[int, int]:
        samples = native_samples(header, data) if facts is None else decoded_samples(header, data)
        values = _values(form, samples)
        return int(values.min()), int(values.max())

    found = list(each_frame(header, range(header.frames), extremes))
    low, high = min(0, *(pair[0] for pair in found)), max(1, *(pair[1] for pair in found))
    if high - low >= 2 ** (form.stored - _BITS_UNUSED):
        return None
    window = form.window
    fits = window is not None and window[0] < high <= 4 * window[1] and window[1] <= 4 * high
    if notes is not None:
        notes.add(f"samples of 16 bits scaled by the {'window' if fits else 'range used'}")
    return window if fits and window is not None else (low, high)


def _values(form: PixelFormat, samples: NDArray[Any]) -> NDArray[np.int64]:
    """The numbers that bit patterns mean."""
    values = samples.astype(np.int64)
    return values - ((values >> (form.stored - 1)) << form.stored) if form.signed else values


def gray_table(form: PixelFormat, shown: tuple[float, float] | None = None) -> Luma | None:
    """Luma of every bit pattern of a gray or palette sample, uint8, shape (2**allocated,).

    None where the luma is the sample itself.

    Args:
        form: how the samples are written.
        shown: values that are black and white; None for the least and the greatest of ``stored`` bits.
    """
    values = np.arange(2**form.stored)
    if form.palette is not None:
        luma = np.rint(form.palette @ _BT601)
    elif shown is not None:
        luma = np.rint(np.clip((_values(form, values) - shown[0]) / (shown[1] - shown[0]), 0, 1) * 255.0)
    else:
        low = 2 ** (form.stored - 1) if form.signed else 0
        luma = np.rint((values + low) % len(values) * (255.0 / (len(values) - 1)))
    if form.photometric == "MONOCHROME1":
        luma = 255 - luma
    if form.allocated == 8 and len(values) == 256 and np.array_equal(luma, values):
        return None
    table = np.zeros(2**form.allocated, np.uint8)
    table[: len(values)] = np.clip(luma, 0, 255)
    return table


def _partial_table() -> Luma:
    return np.clip(np.rint((np.arange(256.0) - _BLACK) * (255.0 / (_WHITE - _BLACK))), 0, 255).astype(
        np.uint8
    )


def _through(table: Luma | None, samples: NDArray[np.generic]) -> Luma:
    if table is None:
        return np.array(samples, dtype=np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(samples), table), dtype=np.uint8)
