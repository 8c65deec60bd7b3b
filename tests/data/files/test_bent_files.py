"""Files bent as real ones are: read, and noted, where their meaning is plain; else the cause is told."""

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword

from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.files.frames import LumaFrames, decode_rgb
from cardio_mlflow.data.files.header import read_header
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from tests.data.hostile import ITEM, NAME, PIXEL_DATA, RLE, UNDEFINED, before, element, replaced
from tests.data.small_clips import JPEG, NATIVE, SYNTAXES, fan, fragments, jpeg, write_clip

FRAMES = fan(3, 96, 96)
PRIVATE = b"\x09\x00\x10\x10"
END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def read(path, content=None):
    """Header, frames and all notes."""
    if content is not None:
        path.write_bytes(content)
    header = read_header(path)
    luma = LumaFrames(header)
    frames = np.stack(list(luma))
    return header, frames, {*header.notes, *luma.notes}


def refusal(path, content=None):
    with pytest.raises(ClipRefused) as refused:
        read(path, content)
    return refused.value


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.dcm"


@pytest.fixture
def plain(path):
    return write_clip(path, FRAMES).read_bytes()


FRAME_TIME, VECTOR = b"\x18\x00\x63\x10", b"\x18\x00\x65\x10"


@pytest.mark.parametrize(
    ("vr", "text", "step"),
    [
        (b"DS", b"38,559", 38.559), (b"DS", b" 33.33 ", 33.33), (b"DS", b"33.33\0", 33.33),
        (b"IS", b"33.33 ", 33.33),
        (b"LO", b"40", 40.0), (b"UN", b"3.3e1 ", 33.0), (b"DS", b"+40.", 40.0), (b"DS", b"40\\", 40.0),
        (b"FD", struct.pack("<d", 25.5), 25.5), (b"US", struct.pack("<H", 40), 40.0),
    ],
)  # fmt: skip
def test_a_frame_time_is_read_as_it_is_written(path, plain, vr, text, step):
    header, _, notes = read(path, replaced(plain, FRAME_TIME, vr, text))
    assert header.timing.times_s == pytest.approx(np.arange(3) * step / 1000)
    assert ("decimal commas" in notes) == (b"," in text)


def test_a_vector_with_decimal_commas(path, plain):
    content = replaced(plain, FRAME_TIME, b"DS", b"")
    content = before(content, b"\x28\x00\x02\x00", element(VECTOR, b"DS", b"0\\38,559\\38,6"))
    header, _, notes = read(path, content)
    assert header.timing.times_s == pytest.approx([0, 0.038559, 0.077159])
    assert (header.timing.source, notes) == ("frame_time_vector", {"decimal commas"})


@pytest.mark.parametrize("text", [b"fast", b"1.234,5 ", b"40 ms ", b"0x28", b"1_0 ", b"\xd9\xa3\xd9\xa3"])
def test_a_time_that_cannot_be_read_is_called_so(path, plain, text):
    content = replaced(plain, FRAME_TIME, b"DS", text)
    path.write_bytes(content)
    with pytest.raises(ClipRefused) as refused:
        prepare_clip(path)
    assert (refused.value.outcome, refused.value.message) == (Outcome.NO_TIMING, "Frame Time cannot be read")
    header, _, notes = read(path, before(content, FRAME_TIME, element(b"\x18\x00\x40\x00", b"IS", b"25")))
    assert (header.timing.source, notes) == ("cine_rate", {"Frame Time cannot be read"})


@pytest.mark.parametrize(
    ("tags", "fault"),
    [
        ({"FrameTime": None}, "no frame time, frame time vector or frame rate in the header"),
        ({"FrameTime": "0"}, "Frame Time means no rate from 4 to 1000 frames per second"),
        ({"FrameTime": None, "FrameTimeVector": [0, 40, 40, 40, 40]},
         "Frame Time Vector has 5 entries for 3 frames"),
        ({"FrameTime": None, "RecommendedDisplayFrameRate": 0},
         "Recommended Display Frame Rate means no rate from 4 to 1000 frames per second"),
    ],
)  # fmt: skip
def test_why_there_are_no_times(path, tags, fault):
    assert read_header(write_clip(path, FRAMES, **tags)).timing.fault == fault


DISAGREE = {"Frame Time and its vector disagree"}


@pytest.mark.parametrize(
    ("tags", "source", "step", "notes"),
    [
        ({"FrameIncrementPointer": 0x00181063}, "frame_time", 0.0386, DISAGREE),
        ({"FrameIncrementPointer": 0x00181065}, "frame_time_vector", 0.125, DISAGREE),
        ({}, "frame_time_vector", 0.125, DISAGREE),
        ({"FrameTime": None, "FrameIncrementPointer": 0x00181063}, "frame_time_vector", 0.125, set()),
        ({"FrameTimeVector": [125, 125], "FrameTime": None}, "frame_time_vector", 0.125,
         {"Frame Time Vector without its first entry"}),
        ({"FrameTimeVector": None, "FrameTime": None, "CineRate": 25}, "cine_rate", 0.04, set()),
        ({"FrameTimeVector": [0, 38.6, 38.6], "FrameIncrementPointer": 0x00181063},
         "frame_time", 0.0386, set()),
    ],
)  # fmt: skip
def test_the_pointer_decides_between_a_time_and_a_stale_vector(path, tags, source, step, notes):
    tags = {"FrameTime": "38.6", "FrameTimeVector": [0, 125, 125]} | tags
    tags = {keyword: value for keyword, value in tags.items() if keyword != "FrameTimeVector" or value}
    header, _, found = read(write_clip(path, FRAMES, **tags))
    assert (header.timing.source, found) == (source, notes)
    assert header.timing.times_s[2] == pytest.approx(2 * step)


@pytest.mark.parametrize("excess", [1, 2, 3, 4094, -FRAMES.nbytes % 4096])  # the last fills a block
@pytest.mark.parametrize("syntax", [NATIVE[0], NATIVE[1]])
def test_pixel_data_that_are_too_long_are_read_and_a_frame_too_many_is_not(path, excess, syntax):
    _, frames, notes = read(write_clip(path, FRAMES, syntax, PixelData=FRAMES.tobytes() + b"\7" * excess))
    np.testing.assert_array_equal(frames, FRAMES)
    assert notes == ({"pixel data longer than the frames"} if excess else set())
    small = fan(4, 32, 32)
    assert refusal(write_clip(path, small, NumberOfFrames=3)).outcome is Outcome.FRAME_COUNT_MISMATCH


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_frames_that_are_not_counted_are_counted(path, syntax):
    header, frames, notes = read(write_clip(path, FRAMES, syntax, NumberOfFrames=None))
    assert (header.frames, len(frames), notes) == (3, 3, {"number of frames not given"})


def test_frames_in_pieces_are_counted_by_their_marks(path):
    streams = [jpeg(frame) for frame in FRAMES]
    value = fragments([piece for stream in streams for piece in (stream[:200], stream[200:])])
    assert read(write_clip(path, FRAMES, JPEG[0], NumberOfFrames=None, PixelData=value))[0].frames == 3


def _sos(stream):
    at = stream.index(b"\xff\xda")
    end = at + 2 + struct.unpack_from(">H", stream, at + 2)[0]
    return stream[: end - 3] + b"\0\0\0" + stream[end:]


HARMLESS = {
    "a zero before the end": lambda s: s[:-2] + b"\0" + s[-2:],
    "forty bytes before the end": lambda s: s[:-2] + b"\x12\x34" * 20 + s[-2:],
    "a stuffed byte before the end": lambda s: s[:-2] + b"\xff\0\0" + s[-2:],
    "no end": lambda s: s[:-2],
    "an unknown revision": lambda s: s.replace(b"JFIF\0\x01", b"JFIF\0\x03", 1),
    "scan parameters": _sos,
    "two at once": lambda s: s[:-2].replace(b"JFIF\0\x01", b"JFIF\0\x03", 1) + bytes(9) + s[-2:],
    "fill bytes at the end": lambda s: s[:-2] + b"\xff" * 6 + s[-2:] + bytes(300),
}


@pytest.mark.parametrize("bend", HARMLESS.values(), ids=HARMLESS.keys())
def test_a_jpeg_with_a_harmless_fault_is_decoded_whole_and_a_cut_one_is_not(path, bend):
    streams = [jpeg(frame) for frame in FRAMES]
    _, frames, notes = read(write_clip(path, FRAMES, JPEG[0], PixelData=fragments(streams)))
    assert not notes
    _, bent, notes = read(write_clip(path, FRAMES, JPEG[0], PixelData=fragments([bend(s) for s in streams])))
    np.testing.assert_array_equal(bent, frames)
    assert notes <= {"JPEG frames with a harmless fault"}
    for share in (0.3, 0.7, 0.9):
        cut = bend(streams[1][: int(len(streams[1]) * share)] + b"\xff\xd9")
        value = fragments([streams[0], cut, streams[2]])
        found = refusal(write_clip(path, FRAMES, JPEG[0], PixelData=value))
        assert (found.outcome, found.message) == (Outcome.CORRUPT_FRAME, "frame 2 cannot be decoded")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"])
def test_bytes_before_the_end_of_a_lossless_jpeg_are_harmless_too(path, syntax):
    content = write_clip(path, FRAMES, syntax).read_bytes()
    end = content.rindex(b"\xff\xd9")  # of the last frame, in the last item
    start = content.rindex(ITEM, 0, end)
    for extra in (b"\0\0", b"\x12\x34" * 9):
        size = struct.pack("<I", struct.unpack_from("<I", content, start + 4)[0] + len(extra))
        bent = content[: start + 4] + size + content[start + 8 : end] + extra + content[end:]
        np.testing.assert_array_equal(read(path, bent)[1], FRAMES)


def test_a_progressive_jpeg_without_an_end_may_lack_scans(path):
    streams = [jpeg(frame, progressive=True) for frame in FRAMES]
    streams[1] = streams[1][: streams[1].rindex(b"\xff\xda")]
    found = refusal(write_clip(path, FRAMES, JPEG[0], PixelData=fragments(streams)))
    assert found.outcome is Outcome.CORRUPT_FRAME


SEQUENCE = ITEM + struct.pack("<I", 12) + b"\x09\0\x11\x10" + struct.pack("<I", 4) + b"DATA" + END
ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
NESTED = ITEM + UNDEFINED + b"\x08\0\x50\x11" + struct.pack("<I", 2) + b"1\0" + ITEM_END + END
FRAGMENT = ITEM + bytes(4) + ITEM + struct.pack("<I", 5) + b"A\xff\xd9BC" + END


@pytest.mark.parametrize(
    "inserted",
    [
        PRIVATE + struct.pack("<I", 6) + b"ABCDEF",  # written without a VR
        PRIVATE + struct.pack("<I", 0),
        element(PRIVATE, b"UN", SEQUENCE, 0xFFFFFFFF),
        element(PRIVATE, b"UN", NESTED, 0xFFFFFFFF),
        element(PRIVATE, b"SQ", SEQUENCE, 0xFFFFFFFF),
        element(PRIVATE, b"OB", FRAGMENT, 0xFFFFFFFF),
        element(PRIVATE, b"UN", ITEM + struct.pack("<I", 7) + b"no item" + END, 0xFFFFFFFF),
        element(PRIVATE, b"ZZ", b"an unknown VR"),
        element(PRIVATE, b"LO", b"odd"),
        element(b"\x08\0\0\0", b"UL", b"\xff\xff\0\0"),  # a group length that lies
        END,  # left behind a sequence of known length
    ],
)
@pytest.mark.parametrize("place", [NAME, PIXEL_DATA])
def test_elements_that_are_bent_are_skipped(path, plain, inserted, place):
    header, frames, _ = read(path, before(plain, place, inserted))
    np.testing.assert_array_equal(frames, FRAMES)
    assert header.timing.source == "frame_time"


def _meta(content):
    return content[132 : content.index(b"\x08\x00\x16\x00")]


def test_a_second_set_of_file_meta_elements(path, plain):
    rest = plain[132 + len(_meta(plain)) :]
    for between in (b"", bytes(128) + b"DICM"):
        content = plain[:132] + _meta(plain) + between + _meta(plain) + rest
        _, frames, notes = read(path, content)
        np.testing.assert_array_equal(frames, FRAMES)
        assert notes == {"a second set of file-meta elements"}


@pytest.mark.parametrize("own_first", [False, True])
def test_of_two_transfer_syntaxes_the_pixel_data_tell_which(path, plain, own_first):
    packed = _meta(write_clip(path, FRAMES, RLE).read_bytes())
    implicit = _meta(write_clip(path, FRAMES, NATIVE[0]).read_bytes())
    rest = plain[132 + len(_meta(plain)) :]
    sets = [_meta(plain), packed] if own_first else [packed, _meta(plain)]
    _, frames, _ = read(path, plain[:132] + b"".join(sets) + rest)
    np.testing.assert_array_equal(frames, FRAMES)
    found = refusal(path, plain[:132] + implicit + _meta(plain) + rest)
    assert (found.outcome, "contradict" in found.message) == (Outcome.NOT_DICOM, True)


@pytest.mark.parametrize("syntax", NATIVE)
def test_a_file_without_meta_elements(path, syntax):
    content = write_clip(path, FRAMES, syntax).read_bytes()
    group = b"\x00\x08\x00\x16" if syntax == NATIVE[2] else b"\x08\x00\x16\x00"
    for start in (content.index(group), 132):
        _, frames, notes = read(path, content[start:])
        np.testing.assert_array_equal(frames, FRAMES)
        assert notes == ({"no transfer syntax"} if start != 132 else set())


def test_why_pixel_data_do_not_fit_their_transfer_syntax(path, plain):
    packed = write_clip(path, FRAMES, JPEG[0]).read_bytes()
    own, other = plain[132 + len(_meta(plain)) :], packed[132 + len(_meta(packed)) :]
    assert "no transfer syntax is given" in refusal(path, other).message
    called = refusal(path, plain[:132] + _meta(plain) + other).message
    assert "the transfer syntax says they are not" in called
    assert "the transfer syntax says they are" in refusal(path, plain[:132] + _meta(packed) + own).message


def test_an_element_twice_is_read_when_both_are_the_same(path, plain):
    rows = b"\x28\x00\x10\x00"
    _, frames, notes = read(path, before(plain, rows, element(rows, b"US", b"\x60\x00")))
    assert (len(frames), notes) == (3, {"an element twice"})


@pytest.mark.parametrize(
    ("keyword", "first", "last"), [("Manufacturer", b"A ", b"GE"), ("HeartRate", b"61", b"75")]
)
def test_of_an_element_twice_that_shapes_no_picture_the_last_counts(path, keyword, first, last):
    """As pydicom has it."""
    content = write_clip(path, FRAMES, **{keyword: last.decode()}).read_bytes()
    tag = struct.pack("<HH", *divmod(tag_for_keyword(keyword), 2**16))
    vr = content[content.index(tag, 132) + 4 :][:2]
    header, _, notes = read(path, before(content, tag, element(tag, vr, first)))
    assert notes == {f"{keyword} twice, the last taken"}
    assert header.manufacturer == ("GE" if keyword == "Manufacturer" else "")
    assert header.heart_rate == (75.0 if keyword == "HeartRate" else None)


@pytest.mark.parametrize("tag", [b"\x28\x00\x10\x00", FRAME_TIME])
def test_an_element_twice_that_shapes_the_picture_or_its_times_is_named(path, plain, tag):
    vr, name = (b"DS", "FrameTime") if tag == FRAME_TIME else (b"US", "Rows")
    refused = refusal(path, before(plain, tag, element(tag, vr, b"10")))
    assert (refused.outcome, refused.message.split()[0]) == (Outcome.NOT_DICOM, name)


def test_pixel_data_two_bytes_short_say_so(path):
    short = refusal(write_clip(path, FRAMES, PixelData=FRAMES.tobytes()[:-2]))
    assert short.message == "the header says 3 frames, 2 bytes of them are missing"


@pytest.mark.parametrize("vr", [b"OB", b"OW", b"UN"])
def test_pixel_data_of_another_vr(path, plain, vr):
    at = plain.index(PIXEL_DATA)
    np.testing.assert_array_equal(read(path, plain[: at + 4] + vr + plain[at + 6 :])[1], FRAMES)


def test_a_missing_photometric_interpretation_is_named(path):
    assert "photometric" in refusal(write_clip(path, FRAMES, PhotometricInterpretation=None)).message


DEFLATED = "1.2.840.10008.1.2.1.99"


def test_a_deflated_file_is_read_and_a_damaged_one_refused(path):
    content = write_clip(path, FRAMES, DEFLATED).read_bytes()
    header, frames, notes = read(path)
    np.testing.assert_array_equal(frames, FRAMES)
    assert (header.frames, header.timing.source, notes) == (3, "frame_time", set())
    np.testing.assert_array_equal(next(decode_rgb(header, [2]))[..., 1], FRAMES[2])
    assert refusal(path, content[: len(content) // 2]).outcome is Outcome.TRUNCATED
    start = _behind_meta(content)
    broken = content[:start] + b"\xff" * 20 + content[start:]
    assert refusal(path, broken).outcome is Outcome.NOT_DICOM


def _behind_meta(content):
    """Where a deflated file's meta elements end: the transfer syntax is the last one."""
    return content.index(DEFLATED.encode()) + len(DEFLATED)


def test_a_file_that_inflates_to_more_than_a_clip_has_is_refused(path, monkeypatch):
    black = np.zeros((40, 256, 256), np.uint8)
    found = refusal(write_clip(path, black, DEFLATED))
    assert (found.outcome, "inflates" in found.message) == (Outcome.TOO_LARGE, True)
    monkeypatch.setattr("cardio_mlflow.data.files.streams._MOST_INFLATED", FRAMES.nbytes)
    write_clip(path, FRAMES, DEFLATED)
    assert refusal(path).outcome is Outcome.TOO_LARGE


def test_of_a_deflated_set_and_another_the_pixel_data_tell_which(path, plain):
    deflated = write_clip(path, FRAMES, DEFLATED).read_bytes()
    packed = write_clip(path, FRAMES, RLE).read_bytes()
    rest = packed[132 + len(_meta(packed)) :]
    both = deflated[: _behind_meta(deflated)] + _meta(packed) + rest
    np.testing.assert_array_equal(read(path, both)[1], FRAMES)


RANGE = "samples of 16 bits scaled by the range used"


@pytest.mark.parametrize("syntax", [NATIVE[1], NATIVE[2], RLE])
@pytest.mark.parametrize(
    ("tags", "factor", "note"),
    [
        ({"WindowCenter": 128, "WindowWidth": 256}, 1.0, "samples of 16 bits scaled by the window"),
        ({}, 255 / 199, RANGE),
        ({"WindowCenter": 32768, "WindowWidth": 65536}, 255 / 199, RANGE),
        ({"WindowCenter": 64, "WindowWidth": 128, "RescaleSlope": "0.5", "RescaleIntercept": "0"}, 1.0,
         "samples of 16 bits scaled by the window"),
    ],
)  # fmt: skip
def test_eight_bits_in_sixteen_are_scaled_by_what_is_used(path, syntax, tags, factor, note):
    deep = np.zeros((3, 96, 96), np.uint16)
    deep[0, :, :50], deep[1, :, :50], deep[2, 40:, :] = 100, 150, 199
    _, frames, notes = read(write_clip(path, deep, syntax, **tags))
    assert np.abs(frames - deep * factor).max() <= 1.5  # one scale for all frames
    assert notes == {note}


def test_sixteen_bits_that_are_used_are_scaled_by_bits_stored(path):
    deep = FRAMES.astype(np.uint16) * 257
    _, frames, notes = read(write_clip(path, deep, WindowCenter=5, WindowWidth=10))
    np.testing.assert_array_equal(frames, FRAMES)
    assert not notes


DEEPER = {"samples scaled by the bits used, of which BitsStored says fewer"}


@pytest.mark.parametrize("syntax", [NATIVE[1], NATIVE[2], RLE, "1.2.840.10008.1.2.4.90"])
@pytest.mark.parametrize(
    ("dtype", "factor", "stored"), [(np.uint8, 1, 7), (np.uint16, 16, 10), (np.uint16, 16, 11)]
)
def test_bits_used_beyond_bits_stored_are_of_the_picture(path, syntax, dtype, factor, stored):
    """Cut off, every bright place of the picture would be dark, in silence."""
    deep = FRAMES.astype(dtype) * factor
    content = write_clip(path, deep, syntax).read_bytes()
    order = ">" if syntax == NATIVE[2] else "<"
    for number, value in ((0x0101, stored), (0x0102, stored - 1)):
        at = content.index(struct.pack(f"{order}HH", 0x28, number), 132) + 8
        content = content[:at] + struct.pack(f"{order}H", value) + content[at + 2 :]
    _, frames, notes = read(path, content)
    bits = int(deep.max()).bit_length()
    assert np.abs(frames - deep * (255 / (2**bits - 1))).max() <= 0.51
    assert notes == DEEPER
    rgb = next(decode_rgb(read_header(path), [1]))
    np.testing.assert_array_equal(rgb[..., 0], frames[1])


def test_a_jpeg_holds_eight_bits_whatever_the_header_says(path):
    whole = read(write_clip(path, FRAMES, JPEG[0]))[1]
    _, frames, notes = read(write_clip(path, FRAMES, JPEG[0], BitsStored=7, HighBit=6))
    np.testing.assert_array_equal(frames, whole)
    assert notes == DEEPER


@pytest.mark.parametrize(("dtype", "stored"), [(np.uint8, 7), (np.uint16, 8)])
def test_an_overlay_in_the_bits_beside_the_value_is_none_of_the_picture(path, dtype, stored):
    values = np.minimum(FRAMES, 2**stored - 1).astype(dtype)
    marked = values.copy()
    marked[:, 20:30, 10:60] |= 2**stored
    _, frames, notes = read(write_clip(path, marked, BitsStored=stored, HighBit=stored - 1))
    assert np.abs(frames - values * (255 / (2**stored - 1))).max() <= 0.51
    assert not notes


@pytest.mark.parametrize("number", ["7", "7.2", "7.4"])
def test_secondary_captures_of_ultrasound_are_read(path, number):
    colour = np.stack([FRAMES] * 3, axis=-1) if number == "7.4" else FRAMES
    uid = f"1.2.840.10008.5.1.4.1.1.{number}"
    np.testing.assert_array_equal(read(write_clip(path, colour, SOPClassUID=uid))[1], FRAMES)
    assert refusal(write_clip(path, colour, SOPClassUID=uid, Modality="OT")).outcome is Outcome.WRONG_MODALITY


def test_the_notes_stand_in_the_quality_row(path):
    write_clip(path, fan(), FrameTime="40", NumberOfFrames=None, PixelData=fan().tobytes() + b"\0\0")
    assert prepare_clip(path).quality.notes == "pixel data longer than the frames; number of frames not given"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    colour = np.stack([FRAMES] * 3, axis=-1)
    return [write_clip(folder / "a", frames, s).read_bytes() for s in SYNTAXES for frames in (FRAMES, colour)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_makes_the_reader_raise_anything_but_a_refusal(path, sound, data):
    content = bytearray(data.draw(st.sampled_from(sound)))
    header = content.index(PIXEL_DATA[:2] if PIXEL_DATA in content else b"\x7f\xe0", 132) + 60
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(128, header) | st.integers(128, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    path.write_bytes(bytes(content))
    with suppress(ClipRefused):
        header, frames, _ = read(path)
        assert frames.shape == (header.frames, header.rows, header.columns)
