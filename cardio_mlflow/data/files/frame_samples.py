"""The samples of a clip's frames, read from the file one by one and decoded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from cardio_mlflow.data.files.header import ClipHeader
from cardio_mlflow.data.files.header_elements import ClipFile
from cardio_mlflow.data.files.header_values import PARSING_FAULTS, Codec, pydicom_silenced
from cardio_mlflow.data.files.pixel_data import read_frame
from cardio_mlflow.data.files.pixel_format import HALVED, PixelFormat
from cardio_mlflow.data.files.stream_facts import CodecMessages, StreamFacts, closed, mended, stream_facts
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
_BY_LIBJPEG: Final = (Codec.JPEG, Codec.JPEG_LOSSLESS)
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


def samples_of(header: ClipHeader, data: bytes, facts: StreamFacts | None) -> Samples:
    """The samples of a frame that is not JPEG Baseline or Extended: rows × columns, or rows × columns × 3.

    Subsampled frames, stored as Y Y Cb Cr, get the colour of each pair for both of its pixels; the colour
    space is not changed. Samples of 16 bits come as unsigned ones; bits beside the value are cleared.

    Raises:
        ValueError or another of ``PARSING_FAULTS``: when the frame cannot be decoded.
    """
    return _native(header, data) if facts is None else _decoded(header, data)


def _native(header: ClipHeader, data: bytes) -> Samples:
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


def _decoded(header: ClipHeader, data: bytes) -> Samples:
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
