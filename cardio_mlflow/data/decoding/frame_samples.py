"""The samples of a clip's frames, decoded one by one and never larger than the header promises."""

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

from cardio_mlflow.data.decoding.codec_messages import CodecMessages
from cardio_mlflow.data.decoding.header_elements import open_regular
from cardio_mlflow.data.decoding.header_values import PARSING_FAULTS, pydicom_silenced
from cardio_mlflow.data.decoding.stream_facts import StreamFacts, stream_facts
from cardio_mlflow.data.decoding.transfer_syntaxes import Codec
from cardio_mlflow.data.dicom import ClipHeader
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
_GAP: Final = "read: segment"
"""What OpenJPEG says, among much that does no harm, when it fills in what it could not read."""


def each_frame(
    header: ClipHeader, indices: Sequence[int], make: Callable[[bytes, StreamFacts | None], _Made]
) -> Iterator[_Made]:
    """Read frames and make something of each, with whatever goes wrong turned into a refusal.

    Args:
        header: the checked header.
        indices: 0-based frame numbers.
        make: gets the bytes of a frame as they stand in the file, and what a compressed frame says of
            itself, which agrees with the header.

    Raises:
        ClipRefused: CORRUPT_FRAME or UNSUPPORTED_TRANSFER_SYNTAX, with the frame's 1-based number.
    """
    try:
        with open_regular(header.path) as file, CodecMessages() as messages:
            for index in indices:
                data = header.spans.read(file, index)
                yield _made(header, index, data, make, messages)
    except OSError:
        raise ClipRefused(Outcome.CORRUPT_FRAME, "the file can no longer be read") from None


def _made(
    header: ClipHeader,
    index: int,
    data: bytes,
    make: Callable[[bytes, StreamFacts | None], _Made],
    messages: CodecMessages,
) -> _Made:
    try:
        if len(data) != header.spans.bytes_of(index):
            raise ValueError("the file became shorter")
        facts = None if header.codec is Codec.NATIVE else _checked_facts(header, index, data)
        with messages.caught():
            made = make(data, facts)
        said = messages.take()
        # libjpeg tells only its first complaint: behind a harmless one, damage would not be seen.
        if _GAP in said if header.codec is Codec.JPEG_2000 else said:
            raise ValueError("the codec filled gaps")
    except (*PARSING_FAULTS, cv2.error):
        raise ClipRefused(Outcome.CORRUPT_FRAME, f"frame {index + 1} cannot be decoded") from None
    return made


def _checked_facts(header: ClipHeader, index: int, data: bytes) -> StreamFacts:
    facts = stream_facts(
        header.codec, data, header.rows, header.columns, header.samples, header.bits_allocated
    )
    if header.codec is Codec.JPEG and facts.bits != 8:
        text = f"frame {index + 1} is JPEG of {facts.bits} bits a sample"
        raise ClipRefused(Outcome.UNSUPPORTED_TRANSFER_SYNTAX, text)
    if header.codec is Codec.JPEG_LOSSLESS and facts.bits == 8 > header.bits_stored:
        raise ValueError("more bits than the header says, on which GDCM ends the process")
    size = (facts.rows, facts.columns, facts.samples, -(-facts.bits // 8) * 8)
    if size != (header.rows, header.columns, header.samples, header.bits_allocated):
        raise ValueError("the frame has another size than the header says")
    return facts


def native_samples(header: ClipHeader, data: bytes) -> Samples:
    """The samples of an uncompressed frame: rows × columns, or rows × columns × 3.

    Subsampled frames, stored as Y Y Cb Cr, get the colour of each pair for both of its pixels.
    Samples of 16 bits come as unsigned ones; bits beside the value are cleared.
    """
    shape = (header.rows, header.columns)
    if header.bits_allocated == 16:
        words = np.frombuffer(data, ">u2" if header.big_endian else "<u2").astype(np.uint16, copy=False)
        return _value_bits(header, words).reshape(shape)
    values = np.frombuffer(data, np.uint8)
    if header.swapped:
        values = np.pad(values, (0, len(values) % 2)).view(np.uint16).byteswap().view(np.uint8)[: len(data)]
    if header.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        pairs = values.reshape(header.rows, header.columns // 2, 4)
        return np.stack([pairs[..., [0, 2, 3]], pairs[..., [1, 2, 3]]], axis=2).reshape(*shape, 3)
    if header.samples == 3:
        return values.reshape(3, *shape).transpose(1, 2, 0) if header.planar else values.reshape(*shape, 3)
    return _value_bits(header, values).reshape(shape)


def _value_bits(header: ClipHeader, values: Unsigned) -> Unsigned:
    if header.bits_stored == header.bits_allocated:
        return values
    shifted: Unsigned = np.right_shift(values, header.shift)
    shifted &= 2**header.bits_stored - 1
    return shifted


def decoded_samples(header: ClipHeader, data: bytes) -> Samples:
    """The samples of a frame that is not JPEG Baseline or Extended, through pydicom's decoders.

    Returns:
        rows × columns or rows × columns × 3, without a change of colour space; samples of more than
        8 bits come as unsigned ones, bits above the value cleared.

    Raises:
        ValueError or another of ``PARSING_FAULTS``: when the frame cannot be decoded.
    """
    with pydicom_silenced():
        warnings.filterwarnings("error", _SURPLUS)
        samples, _ = get_decoder(UID(header.transfer_syntax)).as_array(
            encapsulate([data]), index=0, raw=True, number_of_frames=1, pixel_keyword="PixelData",
            decoding_plugin=_PLUGINS[header.codec],
            rows=header.rows, columns=header.columns, samples_per_pixel=header.samples,
            photometric_interpretation=header.photometric, planar_configuration=int(header.planar),
            bits_allocated=header.bits_allocated, bits_stored=header.bits_stored,
            pixel_representation=int(header.signed),
        )  # fmt: skip
    shape = (header.rows, header.columns) + ((3,) if header.samples == 3 else ())
    if samples.shape != shape or samples.dtype.itemsize * 8 != header.bits_allocated:
        raise ValueError("the decoded frame has another size than the header says")
    unsigned = samples.view(np.dtype(f"u{samples.dtype.itemsize}"))
    return unsigned if header.samples == 3 else _value_bits(header, unsigned)
