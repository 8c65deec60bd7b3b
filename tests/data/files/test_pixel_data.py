"""Frames found in the file and decoded, in every syntax and colour space."""

import itertools
import struct
import warnings
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import apply_color_lut, iter_pixels

from cardio_mlflow.data.files.frames import LumaFrames, decode_rgb
from cardio_mlflow.data.files.header import read_header
from cardio_mlflow.data.files.header_elements import ClipFile
from cardio_mlflow.data.files.header_values import Codec
from cardio_mlflow.data.files.pixel_data import read_frame
from cardio_mlflow.data.files.streams import stream_facts
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.sector import collect
from tests.data.small_clips import JPEG, NATIVE, SYNTAXES, fan, fragments, jpeg, write_clip

BT601 = [0.299, 0.587, 0.114]
LOSSY = (*JPEG, "1.2.840.10008.1.2.4.91")
# 64 × 64, rows of 0, 4, 8 ... 252, made with OpenJPH.
HTJ2K = b64decode(
    "/0//UQApQAAAAABAAAAAQAAAAAAAAAAAAAAAQAAAAEAAAAAAAAAAAAABBwEB/1AACAACAAAAAv9SAAwAAgABAAUEBEAB/1wA"
    "EyBIUFBQUFBQUFBQUFBQSEhI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAHUAAf+TwCoA/38i0QBBlADAEwAQ"
    "yAECdADAFQAIgiCqcIJ1AMAVoEIIIYQQ58p6enACeADAFqgAAAAAAAAAAPn/AKenp6enp6fCfQDALdCqqqqqqqqqqv6//Cnp"
    "6enp6enp6enp6enp6eJ1Af/Z"
)
REAL = [
    "OBXXXX1A_2frame", "OBXXXX1A_rle_2frame", "OBXXXX1A", "OBXXXX1A_rle", "gdcm-US-ALOKA-16",
    "gdcm-US-ALOKA-16_big", "US1_J2KR", "US1_J2KI", "US1_UNCR", "US1_UNCI", "examples_palette",
    "JPGLosslessP14SV1_1s_1f_8b", "examples_rgb_color", "examples_jpeg2k",
]  # fmt: skip


def _real(name):
    return Path(get_testdata_file(f"{name}.dcm"))


def _luma(path, count=None):
    header = read_header(path, stills=True)
    return np.stack(list(LumaFrames(header).pick(range(count or header.frames))))


def _expected_rgb(path, count):
    """RGB of the first frames by pydicom's own ways, float 0 to 255."""
    dataset = dcmread(path)
    for frame in iter_pixels(path, indices=list(range(count))):
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            colours = apply_color_lut(frame, dataset)
            yield colours / (257.0 if colours.dtype == np.uint16 else 1.0)
        else:
            yield frame.astype(float) if frame.ndim == 3 else np.stack([frame.astype(float)] * 3, axis=-1)


@pytest.mark.parametrize("name", REAL)
def test_real_files_match_pydicoms_own_decoding(name):
    path = _real(name)
    header = read_header(path, stills=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.stack(list(_expected_rgb(path, header.frames)))
    assert np.abs(_luma(path) - expected @ BT601).max() <= 1.01
    colours = np.stack(list(decode_rgb(header, range(header.frames))))
    assert np.abs(colours - expected).max() <= 0.51


@pytest.mark.parametrize("name", ["examples_ybr_color", "color3d_jpeg_baseline"])
def test_real_jpeg_clips_match_pydicoms_own_decoding(name):
    path = _real(name)
    header = read_header(path)
    chosen = [0, 3, header.frames - 1]
    whole = list(iter_pixels(path, indices=chosen))
    for luma, colours, expected in zip(
        LumaFrames(header).pick(chosen), decode_rgb(header, chosen), whole, strict=True
    ):
        np.testing.assert_array_equal(colours, expected)
        difference = np.abs(luma - np.rint(expected @ BT601))
        assert difference.mean() < 0.02
        assert difference[(expected > 0).all(-1) & (expected < 255).all(-1)].max() <= 2  # not clipped


def test_the_big_endian_file_equals_the_little_endian_one():
    for count in ("", "_2frame"):
        np.testing.assert_array_equal(_luma(_real(f"OBXXXX1A_expb{count}")), _luma(_real(f"OBXXXX1A{count}")))


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_syntax_gives_its_frames(tmp_path, syntax, colour):
    gray = fan(3, 96, 128)
    frames = np.stack([gray, gray, gray // 2], axis=-1) if colour else gray
    header = read_header(write_clip(tmp_path / "a.dcm", frames, syntax))
    expected = np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) if colour else f for f in frames])
    difference = np.abs(np.stack(list(LumaFrames(header).pick(range(3)))).astype(int) - expected)
    assert difference.max() <= (20 if syntax in LOSSY else 0)
    assert difference.mean() < 1
    colours = np.stack(list(decode_rgb(header, [0, 2]))).astype(int)
    expected = frames[[0, 2]] if colour else np.stack([frames[[0, 2]]] * 3, axis=-1)
    assert np.abs(colours - expected).mean() < (4 if syntax in LOSSY else 0.01)
    assert header.has_colour == colour


@pytest.mark.parametrize("syntax", [f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203)])
def test_high_throughput_jpeg_2000(tmp_path, syntax):
    content = write_clip(
        tmp_path / "a.dcm", np.zeros((2, 64, 64), np.uint8), JPEG[0], PixelData=fragments([HTJ2K] * 2)
    ).read_bytes()
    old = struct.pack("<H", 22) + JPEG[0].encode()
    new = struct.pack("<H", 24) + syntax.encode() + b"\0" * (24 - len(syntax))
    (tmp_path / "b.dcm").write_bytes(content.replace(old, new))
    assert set(map(tuple, _luma(tmp_path / "b.dcm")[1])) == {tuple(range(0, 256, 4))}


STREAMS = [jpeg(frame) for frame in fan(3, 64, 64)]
HALVES = [half for s in STREAMS for half in (s[: len(s) // 4 * 2], s[len(s) // 4 * 2 :])]
QUARTERS = [part for s in STREAMS for part in (s[:100], s[100:200], b"", s[200:])]


def _offsets(pieces, starts, kind="I"):
    lengths = [8 + len(piece) + len(piece) % 2 for piece in pieces]
    return struct.pack(f"<{len(starts)}{kind}", *(sum(lengths[:i]) for i in starts))


@pytest.mark.parametrize(
    "value",
    [
        fragments(STREAMS),
        fragments([b"", STREAMS[0], b"", b"", STREAMS[1], STREAMS[2], b""]),
        fragments(HALVES),
        fragments(HALVES, _offsets(HALVES, [0, 2, 4])),
        fragments(HALVES, _offsets(HALVES, [0, 1, 4])[:-2]),
        fragments(HALVES, b"\xff" * 12),
        fragments(QUARTERS),
        fragments(QUARTERS, _offsets(QUARTERS, [0, 4, 8])),
        fragments(STREAMS, b"\x05" * 12),
        encapsulate(STREAMS, fragments_per_frame=3, has_bot=True),
        encapsulate(STREAMS, fragments_per_frame=3, has_bot=False),
    ],
)
def test_fragments_are_joined_into_frames(tmp_path, value):
    path = write_clip(tmp_path / "a.dcm", fan(3, 64, 64), JPEG[0], PixelData=value)
    expected = [cv2.imdecode(np.frombuffer(s, np.uint8), cv2.IMREAD_GRAYSCALE) for s in STREAMS]
    np.testing.assert_array_equal(_luma(path), expected)
    one = write_clip(tmp_path / "b.dcm", fan(1, 64, 64), JPEG[0], PixelData=fragments(HALVES[:2]))
    np.testing.assert_array_equal(_luma(one), expected[:1])


def test_the_extended_offset_table_tells_frames_apart(tmp_path):
    frames = fan(3, 64, 64)
    value, offsets, lengths = encapsulate_extended(STREAMS)
    tags = {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}
    path = write_clip(tmp_path / "a.dcm", frames, JPEG[0], PixelData=value, **tags)
    assert _luma(path).shape == frames.shape
    # Frames without a mark of their own: only the table can part them.
    rle = "1.2.840.10008.1.2.5"
    whole = dcmread(write_clip(tmp_path / "b.dcm", frames, rle))
    header = read_header(tmp_path / "b.dcm")
    with ClipFile(tmp_path / "b.dcm") as file:
        streams = [read_frame(file, spans) for spans in header.spans]
    parts = [part for stream in streams for part in (stream[:500], stream[500:])]
    whole.PixelData = fragments(parts)
    whole.save_as(tmp_path / "c.dcm")
    with pytest.raises(ClipRefused, match="told apart"):
        read_header(tmp_path / "c.dcm")
    whole.ExtendedOffsetTable = _offsets(parts, [0, 2, 4], "Q")
    whole.save_as(tmp_path / "c.dcm")
    np.testing.assert_array_equal(_luma(tmp_path / "c.dcm"), frames)


@pytest.mark.parametrize("pieces", [STREAMS[:2], [*STREAMS, STREAMS[0]], HALVES[:4], [STREAMS[0], *HALVES]])
def test_another_number_of_frames_is_refused(tmp_path, pieces):
    path = write_clip(tmp_path / "a.dcm", fan(3, 64, 64), JPEG[0], PixelData=fragments(pieces))
    with pytest.raises(ClipRefused) as refused:
        list(LumaFrames(read_header(path)))
    assert refused.value.outcome in (Outcome.FRAME_COUNT_MISMATCH, Outcome.CORRUPT_FRAME)


@pytest.mark.parametrize("syntax", SYNTAXES[3:])
def test_a_frame_cut_in_its_middle_is_refused_even_when_it_is_closed(tmp_path, syntax):
    path = write_clip(tmp_path / "a.dcm", fan(2, 96, 96), syntax)
    header = read_header(path)
    with ClipFile(path) as file:
        data = read_frame(file, header.spans[1])
    for share, end in itertools.product((0.5, 0.8, 0.95), (b"", b"\xff\xd9")):
        cut = data[: int(len(data) * share)] + end
        (tmp_path / "cut").write_bytes(cut)
        with pytest.raises(ClipRefused, match="CORRUPT_FRAME: frame 2"):
            list(LumaFrames(replace(header, path=tmp_path / "cut", spans=(((0, len(cut)),),) * 2)).pick([1]))


def _segment(marker, body):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


ADOBE = {kind: _segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([kind])) for kind in (0, 1)}
JFIF = _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")


@pytest.mark.parametrize(
    ("marks", "photometric", "stored_rgb"),
    [
        (b"", "RGB", True), (b"", "YBR_FULL", False), (b"", "YBR_FULL_422", False),
        (JFIF, "RGB", False), (JFIF, "YBR_FULL_422", False),
        (ADOBE[0], "YBR_FULL_422", True), (ADOBE[0], "RGB", True),
        (ADOBE[1], "RGB", False), (ADOBE[1], "YBR_FULL", False),
        (_segment(0xFE, b"a comment") + ADOBE[0], "YBR_FULL", True),
    ],
)  # fmt: skip
def test_the_marks_of_a_jpeg_go_before_the_header(tmp_path, marks, photometric, stored_rgb):
    colours = np.full((64, 64, 3), (200, 90, 30), np.uint8)
    stream = cv2.imencode(".jpg", colours, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111])[1].tobytes()
    bare = b"\xff\xd8" + marks + stream[2 + len(JFIF) :]
    assert stream[2 : 2 + len(JFIF)][:4] == JFIF[:4]
    samples = cv2.cvtColor(colours, cv2.COLOR_BGR2YCrCb)[0, 0, [0, 2, 1]].astype(float)  # Y Cb Cr
    path = write_clip(
        tmp_path / "a.dcm", np.stack([colours] * 2), JPEG[0], PixelData=fragments([bare] * 2),
        PhotometricInterpretation=photometric,
    )  # fmt: skip
    expected = samples if stored_rgb else np.array([30.0, 90, 200])
    assert abs(_luma(path)[0, 9, 9] - expected @ BT601) <= 2
    found = next(decode_rgb(read_header(path), [0]))[9, 9]
    assert np.abs(found - expected).max() <= 3


RGB = np.tile(np.array([[200, 30, 40], [10, 220, 60], [90, 90, 90], [1, 2, 250]], np.uint8), (2, 64, 16, 1))


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_by_pixel_or_by_plane(tmp_path, planar):
    stored = RGB.transpose(0, 3, 1, 2) if planar else RGB
    path = write_clip(tmp_path / "a.dcm", RGB, PlanarConfiguration=planar, PixelData=stored.tobytes())
    np.testing.assert_array_equal(_luma(path)[0, 0, :4], [82, 139, 90, 30])
    np.testing.assert_array_equal(next(decode_rgb(read_header(path), [0])), RGB[0])


def test_native_ybr_full_gives_its_y_and_its_colours(tmp_path):
    ybr = np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]] for f in RGB])
    path = write_clip(tmp_path / "a.dcm", ybr, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_array_equal(_luma(path), ybr[..., 0])
    assert np.abs(np.stack(list(decode_rgb(read_header(path), [0, 1]))).astype(int) - RGB).max() <= 2
    # The same samples under the name of a subsampled format: their number tells that they are not.
    path = write_clip(tmp_path / "b.dcm", ybr, PhotometricInterpretation="YBR_FULL_422")
    np.testing.assert_array_equal(_luma(path), ybr[..., 0])


@pytest.mark.parametrize(("kind", "dark", "bright"), [("PARTIAL", 0, 255), ("FULL", 16, 235)])
def test_subsampled_colours_and_partial_range_which_is_stretched(tmp_path, kind, dark, bright):
    value = np.tile(np.array([16, 235, 128, 128], np.uint8), (2, 64, 32)).tobytes()  # Y Y Cb Cr
    tags = {"PhotometricInterpretation": f"YBR_{kind}_422", "PixelData": value}
    path = write_clip(tmp_path / "a.dcm", np.zeros((2, 64, 64, 3), np.uint8), **tags)
    assert _luma(path)[0, 0, :4].tolist() == [dark, bright, dark, bright]
    assert next(decode_rgb(read_header(path), [0]))[0, :2].tolist() == [[dark] * 3, [bright] * 3]


SIGNED_12 = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}


@pytest.mark.parametrize(
    ("dtype", "values", "tags", "expected"),
    [
        (np.uint8, [0, 16, 31], {"BitsStored": 5, "HighBit": 4}, [0, 132, 255]),
        (np.uint8, [0xE0, 0xF0, 0xFF], {"BitsStored": 5, "HighBit": 4}, [0, 132, 255]),
        (np.int8, [-128, 0, 127], {"PixelRepresentation": 1}, [0, 128, 255]),
        (np.uint16, [0, 2048, 4095], {"BitsStored": 12, "HighBit": 11}, [0, 128, 255]),
        (np.uint16, [0, 2048 << 4, 4095 << 4], {"BitsStored": 12, "HighBit": 15}, [0, 128, 255]),
        (np.int16, [-2048, 0, 2047], SIGNED_12, [0, 128, 255]),
        (np.uint16, [0, 32768, 65535], {"PhotometricInterpretation": "MONOCHROME1"}, [255, 127, 0]),
        (np.uint8, [0, 100, 255], {"PhotometricInterpretation": "MONOCHROME1"}, [255, 155, 0]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("syntax", NATIVE)
def test_samples_are_scaled_by_their_stored_bits(tmp_path, syntax, dtype, values, tags, expected):
    frames = np.tile(np.array([*values, values[0]], dtype), (2, 64, 16))
    stored = frames.view(f"u{frames.dtype.itemsize}")
    assert _luma(write_clip(tmp_path / "a.dcm", stored, syntax, **tags))[1, 5, :3].tolist() == expected


def _palette(entries, first, bits, **data):
    tags = {f"{c}PaletteColorLookupTableDescriptor": [entries, first, bits] for c in ("Red", "Green", "Blue")}
    return {"PhotometricInterpretation": "PALETTE COLOR"} | tags | data


def _same(value, segmented=False):
    word = "Segmented{}PaletteColorLookupTableData" if segmented else "{}PaletteColorLookupTableData"
    return {word.format(colour): value for colour in ("Red", "Green", "Blue")}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (_palette(4, 0, 8, **_same(bytes([0, 50, 100, 200]))), [0, 50, 100, 200]),
        (_palette(4, 1, 8, **_same(bytes([7, 50, 100, 200]))), [7, 7, 50, 100]),
        (_palette(2, 1, 8, **_same(bytes([7, 50]))), [7, 7, 50, 50]),
        (_palette(4, 0, 16, **_same(struct.pack("<4H", 0, 257, 25700, 65535))), [0, 1, 100, 255]),
        (_palette(4, 0, 8, **_same(struct.pack("<4H", 0, 50, 100, 200))), [0, 50, 100, 200]),
        (_palette(4, 0, 16, **_same(struct.pack("<4H", 0, 50, 100, 200))), [0, 50, 100, 200]),
        (_palette(4, 0, 16, **_same(struct.pack("<6H", 0, 1, 0, 1, 3, 65535), True)), [0, 85, 170, 255]),
        (_palette(4, 0, 8, **_same(bytes([0, 1, 10, 1, 3, 40]), True)), [10, 20, 30, 40]),
        (
            _palette(4, 0, 16, **_same(struct.pack("<8H", 0, 2, 257, 65535, 2, 1, 0, 0), True)),
            [1, 255, 1, 255],
        ),
    ],
)
def test_palettes(tmp_path, tags, expected):
    frames = np.tile(np.array([0, 1, 2, 3], np.uint8), (2, 64, 16))
    path = write_clip(tmp_path / "a.dcm", frames, **tags)
    assert _luma(path)[0, 0, :4].tolist() == expected
    assert not read_header(path).has_colour


def test_a_palette_with_colours_has_colour(tmp_path):
    frames = np.tile(np.array([0, 1, 2, 3], np.uint8), (2, 64, 16))
    tags = _palette(4, 0, 8, **_same(bytes([0, 50, 100, 200])))
    tags["RedPaletteColorLookupTableData"] = bytes([0, 50, 100, 255])
    header = read_header(write_clip(tmp_path / "a.dcm", frames, **tags))
    assert header.has_colour
    assert next(decode_rgb(header, [0]))[0, 3].tolist() == [255, 200, 200]


@pytest.mark.parametrize("syntax", [NATIVE[1], JPEG[0]])
@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reduced_colours_are_averages(tmp_path, syntax, reduction):
    ramp = np.linspace(10, 240, 120)[None, :, None] * np.array([1, 0.5, 0.2]) * np.ones((90, 1, 1))
    frames = np.stack([ramp.astype(np.uint8)] * 2)
    header = read_header(write_clip(tmp_path / "a.dcm", frames, syntax))
    small = next(decode_rgb(header, [1], reduction))
    assert small.shape == (-(-90 // reduction), -(-120 // reduction), 3)
    expected = cv2.resize(frames[1], small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected).mean() < 3
    with pytest.raises(ValueError, match="not by 3"):
        next(decode_rgb(header, [1], 3))


def test_large_frames_are_made_smaller(tmp_path):
    values = np.array([10, 40, 30], np.uint8)
    frames = np.broadcast_to(values[:, None, None], (3, 1200, 2560))
    given = LumaFrames(read_header(write_clip(tmp_path / "a.dcm", frames)))
    statistics = collect(given)
    assert (given.scale, given.rows, given.columns) == (0.5, 600, 1280)
    assert statistics.maximum.shape == statistics.activity.shape == (600, 1280)
    assert (statistics.maximum.max(), statistics.minimum.min(), statistics.activity.mean()) == (40, 10, 20)
    assert [int(frame.mean()) for frame in given.pick([0, 2])] == [10, 30]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([Codec.JPEG, Codec.JPEG_LOSSLESS, Codec.JPEG_LS, Codec.JPEG_2000, Codec.RLE]),
    st.binary(max_size=120),
    st.integers(0, 200),
)
def test_no_stream_breaks_the_reading_of_its_header(codec, noise, at):
    start = {Codec.JPEG_2000: HTJ2K, Codec.RLE: struct.pack("<16I", 1, 64, *[0] * 14)}.get(codec, STREAMS[0])
    data = start[:at] + noise + start[at + len(noise) :]
    try:
        facts = stream_facts(codec, data, 64, 64, 1, 8)
    except (ValueError, struct.error):
        return
    assert facts.rows > 0
    assert facts.samples in (1, 3)
