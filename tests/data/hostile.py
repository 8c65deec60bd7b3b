"""A corpus of files that want to break, fool or stop whoever reads them, made by a script.

``write_corpus`` writes them; each comes with the outcomes that are right for it, OK among them where a
strange file is still a sound clip. Every file holds a planted name where it can hold one.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from cardio_mlflow.data.outcomes import Outcome
from tests.data.small_clips import NATIVE, PLANTED, fan, fragments, jpeg, write_clip

JPEG_50: Final = "1.2.840.10008.1.2.4.50"
JPEG_51: Final = "1.2.840.10008.1.2.4.51"
J2K: Final = "1.2.840.10008.1.2.4.90"
JPEG_LS: Final = "1.2.840.10008.1.2.4.80"
LOSSLESS: Final = "1.2.840.10008.1.2.4.70"
RLE: Final = "1.2.840.10008.1.2.5"

PIXEL_DATA: Final = b"\xe0\x7f\x10\x00"
ROWS: Final = b"\x28\x00\x10\x00"
FRAMES: Final = b"\x28\x00\x08\x00"
NAME: Final = b"\x10\x00\x10\x00"
MODALITY: Final = b"\x08\x00\x60\x00"
ITEM: Final = b"\xfe\xff\x00\xe0"
UNDEFINED: Final = b"\xff\xff\xff\xff"

Case = tuple[str, bytes, set[Outcome]]
OK, NOT_DICOM, TRUNCATED, CORRUPT = Outcome.OK, Outcome.NOT_DICOM, Outcome.TRUNCATED, Outcome.CORRUPT_FRAME
MISMATCH, TOO_LARGE = Outcome.FRAME_COUNT_MISMATCH, Outcome.TOO_LARGE
UNSUPPORTED, NO_PIXELS = Outcome.UNSUPPORTED_TRANSFER_SYNTAX, Outcome.NO_PIXELS


def write_corpus(folder: Path) -> list[tuple[Path, frozenset[Outcome]]]:
    """Write all hostile files.

    Args:
        folder: an empty folder that exists.

    Returns:
        Each file, pipe or link with the outcomes it may have.
    """
    valid = _Valid(folder)
    makers: tuple[Callable[[_Valid], Iterator[Case]], ...] = (
        _truncations, _counts, _sizes, _header_bombs, _nests, _odd_headers, _jpeg_bombs, _other_bombs,
        _codec_killers, _wrong_syntaxes, _fragments, _no_dicom,
    )  # fmt: skip
    found = []
    for maker in makers:
        for name, content, outcomes in maker(valid):
            path = folder / f"{PLANTED} {name}.dcm"
            path.write_bytes(content)
            found.append((path, frozenset(outcomes)))
    return found + _sparse_files(folder, valid) + _not_files(folder)


class _Valid:
    """Sound clips to start from: bytes by transfer syntax, 3 frames of 96 × 96."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "valid.tmp"
        self.frames = fan(3, 96, 96)

    def clip(self, syntax: str = NATIVE[1], colour: bool = False, **tags: object) -> bytes:
        frames = np.stack([self.frames] * 3, axis=-1) if colour else self.frames
        content = write_clip(self._path, frames, syntax, **tags).read_bytes()
        self._path.unlink()
        return content

    def streams(self, streams: list[bytes], syntax: str = JPEG_50, **tags: object) -> bytes:
        """A clip with these compressed frames."""
        return self.clip(JPEG_50, PixelData=fragments(streams), **tags).replace(
            *(_padded(uid) for uid in (JPEG_50, syntax))
        )


def element(tag: bytes, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element of explicit VR little endian, its length a lie when one is given."""
    size = len(value) if length is None else length
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return tag + vr + b"\0\0" + struct.pack("<I", size) + value
    return tag + vr + struct.pack("<H", size) + value


def before(content: bytes, tag: bytes, inserted: bytes) -> bytes:
    """The file with bytes put before an element of the dataset."""
    at = content.index(tag, 132)
    return content[:at] + inserted + content[at:]


def replaced(content: bytes, tag: bytes, vr: bytes, value: bytes) -> bytes:
    """The file with another value for an element of a short VR."""
    at = content.index(tag, 132)
    end = at + 8 + struct.unpack_from("<H", content, at + 6)[0]
    return content[:at] + element(tag, vr, value) + content[end:]


def _padded(uid: str) -> bytes:
    """A UID as it stands in a file, with the length before it."""
    text = uid.encode() + b"\0" * (len(uid) % 2)
    return b"UI" + struct.pack("<H", len(text)) + text


def _truncations(valid: _Valid) -> Iterator[Case]:
    plain, packed = valid.clip(), valid.clip(JPEG_50)
    pixels, item = packed.index(PIXEL_DATA), packed.index(ITEM)
    second = packed.index(ITEM, item + 8)
    early = {NOT_DICOM, TRUNCATED, Outcome.WRONG_MODALITY}
    for name, content, cut, outcomes in (
        ("in preamble", plain, 100, {NOT_DICOM}),
        ("after the mark", plain, 132, early),
        ("in meta", plain, 150, early),
        ("in meta value", plain, 170, early),
        ("in an element's head", plain, plain.index(ROWS) + 5, {TRUNCATED}),
        ("in an element's value", plain, plain.index(ROWS) + 9, {TRUNCATED}),
        ("before the pixels", plain, plain.index(PIXEL_DATA), {NO_PIXELS}),
        ("in the pixels' head", plain, plain.index(PIXEL_DATA) + 6, {TRUNCATED}),
        ("in the last frame", plain, len(plain) - 1, {TRUNCATED}),
        ("packed in the pixels' head", packed, pixels + 10, {TRUNCATED}),
        ("before the first item", packed, item, {TRUNCATED}),
        ("in an item's tag", packed, second + 2, {TRUNCATED}),
        ("in an item's length", packed, second + 6, {TRUNCATED}),
        ("in a frame", packed, second + 200, {TRUNCATED}),
        ("before the end mark", packed, len(packed) - 8, {TRUNCATED}),
        ("in the end mark", packed, len(packed) - 3, {TRUNCATED}),
    ):
        yield f"cut {name}", content[:cut], outcomes


def _counts(valid: _Valid) -> Iterator[Case]:
    plain, packed, either = valid.clip(), valid.clip(JPEG_50), {TOO_LARGE, MISMATCH}
    wrong = (b"2 ", b"4 ", b"0 ", b"-5", b"six ", b"3.5 ", b"NaN ", b"0x3 ", b"3\\4 ", b"1e400 ", b"9" * 6000)
    for content, texts, outcomes in (
        (plain, wrong, {MISMATCH}), (packed, (b"2000000 ", b"9" * 30, b"1e30"), either),
    ):  # fmt: skip
        for text in texts:
            yield f"frames {text[:8].hex()} {len(text)}", replaced(content, FRAMES, b"IS", text), outcomes
    streams = [jpeg(frame) for frame in valid.frames]
    yield "one frame too few", valid.streams(streams[:2]), {MISMATCH}
    yield "one frame too many", valid.streams([*streams, streams[0]]), {MISMATCH}
    yield "an empty frame", valid.streams([streams[0], b"", streams[2]]), {MISMATCH}


def _sizes(valid: _Valid) -> Iterator[Case]:
    yield "65535 squared", valid.clip(Rows=65535, Columns=65535), {TOO_LARGE}
    yield "4096 squared", valid.clip(JPEG_50, Rows=4096, Columns=4096), {TOO_LARGE}
    yield "rows 0", valid.clip(Rows=0), {NO_PIXELS}
    yield "one row", valid.clip(Rows=1), {Outcome.NO_SECTOR}
    yield "bits 64", valid.clip(BitsAllocated=64), {CORRUPT}
    yield "bits stored 0", valid.clip(BitsStored=0), {CORRUPT}
    yield "samples 65535", valid.clip(SamplesPerPixel=65535), {CORRUPT}
    yield "colour of a name", valid.clip(PhotometricInterpretation="NOBODY KNOWN"), {CORRUPT}
    for colour in ("Red", "Green", "Blue"):
        bomb = struct.pack("<HHHHHH", 0, 1, 0, 1, 65535, 7) + struct.pack("<HHH", 2, 65535, 0) * 20000
        tags = {f"{c}PaletteColorLookupTableDescriptor": [0, 0, 16] for c in ("Red", "Green", "Blue")}
        tags |= {f"Segmented{colour}PaletteColorLookupTableData": bomb}
        content = valid.clip(PhotometricInterpretation="PALETTE COLOR", **tags)
        yield f"palette bomb {colour}", content, {CORRUPT}


def _header_bombs(valid: _Valid) -> Iterator[Case]:
    plain = valid.clip()
    private, overlay = b"\x09\x00\x10\x10", b"\x00\x60\x00\x30"
    yield "4 GB private", before(plain, NAME, element(private, b"OB", b"", 0xFFFFFFFE)), {TRUNCATED}
    yield "4 GB overlay", before(plain, PIXEL_DATA, element(overlay, b"OW", b"", 0xFFFFFFFE)), {TRUNCATED}
    skipped = element(private, b"UN", PLANTED.encode() * 100_000)
    yield "1 MB private", before(plain, NAME, skipped), {OK}
    many = element(private, b"LO", b"") * 600_000
    yield "600,000 elements", before(plain, NAME, many), {TOO_LARGE}
    vector = element(b"\x18\x00\x65\x10", b"UN", b"1\\" * 300_000)
    yield "600 kB of frame times", before(plain, b"\x28\x00\x02\x00", vector), {OK}
    regions = element(b"\x18\x00\x11\x60", b"SQ", (ITEM + struct.pack("<I", 0)) * 25_000)
    yield "25,000 regions", before(plain, b"\x28\x00\x02\x00", regions), {OK}
    meta = plain[: plain.index(b"\x08\x00\x16\x00")]
    deflated = meta.replace(_padded(NATIVE[1]), _padded(f"{NATIVE[1]}.99"))
    yield "called deflated", deflated + plain[len(meta) :], {NOT_DICOM}
    squeeze = zlib.compressobj(9, wbits=-15)
    block = bytes(1 << 20)
    bomb = b"".join(squeeze.compress(block) for _ in range(256)) + squeeze.flush()
    yield "deflate bomb", deflated + bomb, {TOO_LARGE}


def _nests(valid: _Valid) -> Iterator[Case]:
    plain = valid.clip()
    sequence, icon = b"\x08\x00\x15\x11", b"\x88\x00\x00\x02"
    deep = (element(sequence, b"SQ", b"", 0xFFFFFFFF) + ITEM + UNDEFINED) * 20_000
    yield "20,000 levels", before(plain, MODALITY, deep), {NOT_DICOM}
    inner = b""
    for _ in range(800):
        inner = element(b"\x18\x00\x11\x60", b"SQ", ITEM + struct.pack("<I", len(inner)) + inner)
    yield "800 levels of known length", before(plain, b"\x28\x00\x02\x00", inner), {OK, NOT_DICOM}
    unending = element(sequence, b"SQ", b"", 0xFFFFFFFF) + (ITEM + struct.pack("<I", 0)) * 1000
    at = plain.index(MODALITY)
    yield "unending sequence", plain[:at] + unending, {TRUNCATED}
    yield "unending sequence that swallows", before(plain, MODALITY, unending), {NOT_DICOM, TRUNCATED}
    picture = element(PIXEL_DATA, b"OB", ITEM + bytes(4) + ITEM + struct.pack("<I", 4) + b"ICON", 0xFFFFFFFF)
    ends = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    item = ITEM + UNDEFINED + picture + ends + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    nested = element(icon, b"SQ", item + ends, 0xFFFFFFFF)
    yield "pixels in an icon", before(plain, PIXEL_DATA, nested), {OK}
    unknown = element(b"\x09\x00\x11\x10", b"UN", ITEM + bytes(4) + ends, 0xFFFFFFFF)
    yield "unknown sequence", before(plain, NAME, unknown), {OK}
    yield "stray item", before(plain, MODALITY, ITEM + bytes(4)), {NOT_DICOM}


def _odd_headers(valid: _Valid) -> Iterator[Case]:
    plain = valid.clip()
    rows = plain.index(ROWS)
    for vr, outcomes in (
        (b"UN", {OK}), (b"SS", {OK}), (b"LO", {NO_PIXELS}), (b"AT", {NO_PIXELS}), (b"IS", {NO_PIXELS}),
    ):  # fmt: skip
        yield f"rows as {vr.decode()}", replaced(plain, ROWS, vr, plain[rows + 8 : rows + 10]), outcomes
    yield "rows of 3 bytes", replaced(plain, ROWS, b"US", b"\x60\x00\x00"), {NO_PIXELS}
    yield "no VR at all", plain[: rows + 4] + b"\0\0" + plain[rows + 6 :], {NOT_DICOM}
    yield "rows twice", before(plain, ROWS, element(ROWS, b"US", b"\x40\x00")), {NOT_DICOM}
    yield "no preamble", plain[132:], {OK}
    yield "no meta", plain[plain.index(b"\x08\x00\x16\x00") :], {OK}
    for name, inserted, outcomes in (
        ("group length that lies", element(b"\x02\x00\x00\x00", b"UL", UNDEFINED), {OK}),
        ("64 kB of meta", element(b"\x02\x00\x00\x01", b"LO", b"") * 9000, {NOT_DICOM}),
    ):
        yield name, plain[:132] + inserted + plain[132:], outcomes
    unended = element(b"\x02\x00\x00\x01", b"OB", b"", 0xFFFFFFFF)
    yield "unended meta", plain[:132] + unended, {NOT_DICOM, TRUNCATED}
    charset = element(b"\x08\x00\x05\x00", b"CS", b"\\ISO 2022 IR 87\\NOBODY^KNOWN")
    name = element(b"\x08\x00\x70\x00", b"LO", b"\x1b$B" + bytes(range(128, 255)))
    yield "character sets", before(before(plain, b"\x08\x00\x16\x00", charset), NAME, name), {OK}
    yield "uid that climbs", valid.clip(SOPInstanceUID=f"../../../{PLANTED}"), {OK}
    yield "class of a name", valid.clip(SOPClassUID=PLANTED), {Outcome.WRONG_SOP}
    yield "modality of a name", valid.clip(Modality=PLANTED), {Outcome.WRONG_MODALITY}


def _jpeg_bombs(valid: _Valid) -> Iterator[Case]:
    good = [jpeg(frame) for frame in valid.frames]
    start = good[1].index(b"\xff\xc0")
    scan = good[1].index(b"\xff\xda")

    def second(stream: bytes, syntax: str = JPEG_50) -> bytes:
        return valid.streams([good[0], stream, good[2]], syntax)

    huge = good[1][: start + 5] + struct.pack(">HH", 65500, 65500) + good[1][start + 9 :]
    yield "jpeg of 65500 squared", second(huge), {CORRUPT}
    smaller = jpeg(np.ascontiguousarray(valid.frames[1][:48]))
    yield "jpeg of half the rows", second(smaller), {CORRUPT}
    slow = jpeg(valid.frames[1], progressive=True)
    last = slow.rindex(b"\xff\xda")
    yield "jpeg of 3000 scans", second(slow[:last] + slow[last:-2] * 3000 + b"\xff\xd9"), {CORRUPT}
    yield "jpeg without an end", second(good[1][: len(good[1]) // 2]), {CORRUPT}
    closed = good[1][: len(good[1]) // 2] + b"\xff\xd9"
    yield "jpeg cut and closed", second(closed), {CORRUPT}
    revised = closed.replace(b"JFIF\0\x01", b"JFIF\0\x03", 1)  # of this, libjpeg speaks first and only
    assert revised != closed
    yield "jpeg cut and closed, of an unknown revision", second(revised), {CORRUPT}
    yield "jpeg of two frames", second(good[1][: start + 13] + good[1][start:]), {CORRUPT}
    yield "jpeg of headers only", second(good[1][:scan] + b"\xff\xd9"), {CORRUPT}
    yield "jpeg of fill", second(b"\xff\xd8" + b"\xff" * 2_000_000 + b"\xd9"), {CORRUPT}
    yield "jpeg of comments", second(b"\xff\xd8" + b"\xff\xfe\x00\x02" * 100_000 + good[1][2:]), {CORRUPT}
    twelve = good[1][: start + 4] + b"\x0c" + good[1][start + 5 :]
    yield "jpeg of 12 bits", second(twelve.replace(b"\xff\xc0", b"\xff\xc1", 1), JPEG_51), {UNSUPPORTED}
    four = good[1][:start] + b"\xff\xc0\x00\x14\x08" + good[1][start + 5 : start + 9] + b"\x04" + bytes(12)
    yield "jpeg of 4 components", second(four + good[1][start + 13 :]), {CORRUPT}
    marked = good[1][: scan + 40] + b"\xff\xd0\xff\xd5" * 50 + good[1][scan + 40 :]
    yield "restart marks", second(marked), {CORRUPT}
    fine = b"\xff\xd8\xff\xfe\x00\x10" + b"NOBODY^KNOWN.." + b"\xff\xff\xff" + good[1][2:] + b"\0" * 301
    yield "comment, fill bytes and padding", second(fine), {OK}


def _other_bombs(valid: _Valid) -> Iterator[Case]:
    for syntax, name in ((J2K, "jpeg 2000"), (RLE, "rle"), (JPEG_LS, "jpeg-ls"), (LOSSLESS, "jpeg lossless")):
        content = valid.clip(syntax)
        item = content.index(ITEM, content.index(ITEM) + 8)
        size = struct.unpack_from("<I", content, item + 4)[0]
        stream = content[item + 8 : item + 8 + size]
        for what, changed in _stream_lies(name, stream):
            padded = changed + b"\0" * (len(changed) % 2)
            head = ITEM + struct.pack("<I", len(padded))
            yield f"{name} {what}", content[:item] + head + padded + content[item + 8 + size :], {CORRUPT}


def _codec_killers(valid: _Valid) -> Iterator[Case]:
    """Frames on which codecs panic or end the process."""
    row = b"\x81\x07"  # a run of 128
    segments = row * (96 * 96 // 128 + 1), row * (96 * 96 // 128)
    offsets = struct.pack("<16I", 2, 64, 64 + len(segments[0]), *[0] * 13)
    stream = offsets + b"".join(segments)
    tags = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}
    yield "rle of 16 bits and a run too many", valid.streams([stream] * 3, RLE, **tags), {CORRUPT}
    yield "jpeg lossless of fewer bits", valid.clip(LOSSLESS, BitsStored=7, HighBit=6), {CORRUPT}


def _stream_lies(name: str, stream: bytes) -> Iterator[tuple[str, bytes]]:
    yield "cut", stream[: len(stream) // 2]
    yield "of a few bytes", stream[:10]
    if name == "jpeg 2000":
        yield "of 2 gigapixels", stream[:8] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + stream[16:]
        yield "of tiny tiles", stream[:24] + struct.pack(">II", 1, 1) + stream[32:]
        yield "of 16384 components", stream[:40] + struct.pack(">H", 16384) + stream[42:]
        yield "cut and closed", stream[: len(stream) // 2] + b"\xff\xd9"
    elif name == "rle":
        yield "of 15 segments", struct.pack("<I", 15) + stream[4:]
        yield "of no segment", bytes(64) + stream[64:]
        yield "beyond its end", stream[:4] + struct.pack("<I", 2**31) + stream[8:]
        yield "of runs", stream[:64] + b"\x81\x07" * 100_000
        yield "of nothing", stream[:64] + b"\x80" * 500
    else:
        marker = b"\xff\xf7" if name == "jpeg-ls" else b"\xff\xc3"
        at = stream.index(marker)
        yield "of 65500 squared", stream[: at + 5] + struct.pack(">HH", 65500, 65500) + stream[at + 9 :]
        yield "cut and closed", stream[: len(stream) // 2] + b"\xff\xd9"


def _wrong_syntaxes(valid: _Valid) -> Iterator[Case]:
    for true in (NATIVE[1], JPEG_50, RLE, J2K):
        content = valid.clip(true)
        for said in (NATIVE[1], JPEG_50, JPEG_LS, LOSSLESS, J2K, RLE):
            if said != true:
                changed = content.replace(_padded(true), _padded(said))
                yield f"{true[17:]} called {said[17:]}", changed, {CORRUPT, NO_PIXELS, NOT_DICOM}
    for said in (f"{J2K[:-2]}100", f"{J2K[:-2]}107", "1.2.840.10008.1.2.99", "1.2.3", PLANTED, ""):
        content = valid.clip(JPEG_50).replace(_padded(JPEG_50), _padded(said))
        yield f"called {said.replace('/', '')}", content, {UNSUPPORTED}


def _fragments(valid: _Valid) -> Iterator[Case]:
    whole = valid.clip(JPEG_50)
    item = whole.index(ITEM)
    table = struct.unpack_from("<I", whole, item + 4)[0]
    wrong = whole[: item + 8] + b"\x07" * table + whole[item + 8 + table :]
    yield "offset table of nonsense", wrong, {OK}
    headless = whole[:item] + whole[item + 8 + table :]
    yield "no offset table", headless, {MISMATCH, CORRUPT}
    long_item = whole[: item + 4] + b"\xf0\xff\xff\x7f" + whole[item + 8 :]
    yield "offset table of 2 GB", long_item, {TRUNCATED}
    yield "item of no length", whole[: item + 4] + UNDEFINED + whole[item + 8 :], {CORRUPT}
    empty = ITEM + bytes(4)
    second = whole.index(ITEM, item + 8 + table)
    yield "empty fragments", whole[:second] + empty * 5 + whole[second:], {OK}
    yield "200,000 fragments", whole[:second] + empty * 200_000 + whole[second:], {TOO_LARGE}
    yield "bytes behind the end", whole + PLANTED.encode() * 100, {OK}


def _no_dicom(valid: _Valid) -> Iterator[Case]:
    for name, content in (
        ("empty", b""), ("zeros", bytes(5000)), ("text", PLANTED.encode() * 300),
        ("zip", b"PK\3\4" + bytes(500)), ("png", b"\x89PNG\r\n\x1a\n" + bytes(500)),
        ("page", b"<!doctype html><p>" + PLANTED.encode()), ("jpeg", jpeg(valid.frames[0])),
        ("mark at the start", b"DICM" + bytes(500)),
    ):  # fmt: skip
        yield name, content, {NOT_DICOM}
    yield "mark alone", bytes(128) + b"DICM", {NOT_DICOM, Outcome.WRONG_MODALITY}
    yield "mark and zeros", bytes(128) + b"DICM" + bytes(50_000), {NOT_DICOM, Outcome.WRONG_MODALITY}


def _sparse_files(folder: Path, valid: _Valid) -> list[tuple[Path, frozenset[Outcome]]]:
    """Files of gigabytes that take no room on the disk."""
    plain, length = valid.clip(), 1_500_000_000
    at = plain.index(PIXEL_DATA)
    skipped, large = folder / "1.5 GB skipped.dcm", folder / "3 GB.dcm"
    with skipped.open("wb") as file:
        file.write(plain[:at] + element(b"\x00\x60\x00\x30", b"OW", b"", length))
        file.seek(length, os.SEEK_CUR)
        file.write(plain[at:])
    nested = folder / "1.5 GB nested.dcm"
    with nested.open("wb") as file:
        head = element(b"\x09\x00\x10\x10", b"SQ", b"", 0xFFFFFFFF) + ITEM + UNDEFINED
        file.write(plain[:at] + head + element(b"\x09\x00\x11\x10", b"OB", b"", length))
        file.seek(length, os.SEEK_CUR)
        file.write(plain[at:])
    with large.open("wb") as file:
        file.write(plain)
        file.truncate(3 * 1024**3)
    return [(skipped, frozenset({OK})), (large, frozenset({TOO_LARGE})),
            (nested, frozenset({TOO_LARGE}))]  # fmt: skip


def _not_files(folder: Path) -> list[tuple[Path, frozenset[Outcome]]]:
    """A folder, a pipe, links in a circle, to nothing and to a device, all with the names of clips."""
    names = ("folder", "pipe", "circle", "circle back", "to nothing", "to a device", "through a file")
    paths = [folder / f"{PLANTED} {name}.dcm" for name in names]
    paths[0].mkdir()
    os.mkfifo(paths[1])
    for link, target in zip(paths[2:6], (paths[3], paths[2], "../nobody.dcm", "/dev/zero"), strict=True):
        link.symlink_to(target)
    paths[6] = folder / f"{PLANTED} empty.dcm" / "nobody.dcm"
    return [(path, frozenset({NOT_DICOM})) for path in paths]
