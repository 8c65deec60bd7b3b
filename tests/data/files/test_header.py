"""Header checks, timing and luma of DICOM clips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from cardio_mlflow.data.files.frames import LumaFrames, decode_luma
from cardio_mlflow.data.files.header import read_header
from cardio_mlflow.data.files.regions import pixel_aspect, region_bound
from cardio_mlflow.data.files.timing import frame_timing, heart_rate, tagged_r_waves
from cardio_mlflow.data.outcomes import ClipRefused, Outcome

SINGLE_FRAME_SOPS = ("1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.6")
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def _outcome(path):
    with pytest.raises(ClipRefused) as refused:
        list(LumaFrames(read_header(path)))
    assert "Nobody" not in refused.value.message
    return refused.value.outcome


def test_uncompressed_frames_come_back_exactly(tmp_path, fan, write_dicom):
    frames = fan(6)
    header = read_header(write_dicom(tmp_path / "a.dcm", frames))
    assert (header.rows, header.columns, header.frames) == (240, 320, 6)
    np.testing.assert_array_equal(np.stack(list(LumaFrames(header))), frames)
    np.testing.assert_array_equal(np.stack(list(decode_luma(header, [1, 4]))), frames[[1, 4]])


def test_jpeg_frames_come_back_nearly(tmp_path, write_dicom):
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8), (3, 64, 64)).copy()
    header = read_header(write_dicom(tmp_path / "a.dcm", ramp, jpeg=True))
    assert np.abs(np.stack(list(LumaFrames(header))).astype(int) - ramp).max() <= 4


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_becomes_bt601_luma(tmp_path, write_dicom, planar):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]], np.uint8)
    frames = np.tile(colours, (2, 64, 16, 1))
    stored = frames.transpose(0, 3, 1, 2).copy() if planar else frames
    path = write_dicom(tmp_path / "a.dcm", frames, PlanarConfiguration=planar, PixelData=stored.tobytes())
    luma = next(iter(LumaFrames(read_header(path))))
    assert luma[0, :4].tolist() == [76, 150, 29, 90]


def test_ybr_422_gives_its_y_channel(tmp_path, write_dicom):
    y = np.arange(64, dtype=np.uint8)
    row = np.stack([y[::2], y[1::2], np.full(32, 99, np.uint8), np.full(32, 7, np.uint8)], axis=1).ravel()
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    path = write_dicom(
        tmp_path / "a.dcm",
        frames,
        PhotometricInterpretation="YBR_FULL_422",
        PixelData=np.tile(row, 128).tobytes(),
    )
    np.testing.assert_array_equal(next(iter(LumaFrames(read_header(path))))[5], y)


def test_monochrome1_is_inverted(tmp_path, fan, write_dicom):
    frames = fan(2)
    path = write_dicom(tmp_path / "a.dcm", frames, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(next(iter(LumaFrames(read_header(path)))), 255 - frames[0])


def test_sixteen_bits_are_scaled_by_bits_stored(tmp_path, write_dicom):
    frames = np.full((2, 64, 64), 1023, np.uint16)
    path = write_dicom(tmp_path / "a.dcm", frames, BitsStored=10, HighBit=9)
    assert set(np.unique(next(iter(LumaFrames(read_header(path)))))) == {255}


def test_palette_goes_through_its_table(tmp_path, write_dicom):
    frames = np.tile(np.array([0, 1, 2, 3], np.uint8), (2, 64, 16))
    table = np.array([0, 1000, 30000, 65535] + [0] * 252, np.uint16)
    tags = {f"{c}PaletteColorLookupTableDescriptor": [256, 0, 16] for c in ("Red", "Green", "Blue")}
    tags |= {f"{c}PaletteColorLookupTableData": table.tobytes() for c in ("Red", "Green", "Blue")}
    path = write_dicom(tmp_path / "a.dcm", frames, PhotometricInterpretation="PALETTE COLOR", **tags)
    assert next(iter(LumaFrames(read_header(path))))[0, :4].tolist() == [0, 4, 117, 255]


@pytest.mark.parametrize(
    ("tags", "outcome"),
    [
        ({"Modality": "CT"}, Outcome.WRONG_MODALITY),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, Outcome.WRONG_SOP),
        ({"PixelData": None}, Outcome.NO_PIXELS),
        ({"Rows": None}, Outcome.NO_PIXELS),
        ({"NumberOfFrames": 0}, Outcome.FRAME_COUNT_MISMATCH),
        ({"NumberOfFrames": 7}, Outcome.FRAME_COUNT_MISMATCH),
        ({"NumberOfFrames": 5}, Outcome.FRAME_COUNT_MISMATCH),
        ({"NumberOfFrames": 2_000_000}, Outcome.TOO_LARGE),
        ({"Rows": 65535, "Columns": 65535}, Outcome.TOO_LARGE),
        ({"SamplesPerPixel": 2}, Outcome.CORRUPT_FRAME),
        ({"PhotometricInterpretation": "Nobody"}, Outcome.CORRUPT_FRAME),
        ({"TransferSyntaxUID": "1.2.840.10008.1.2.4.100"}, Outcome.UNSUPPORTED_TRANSFER_SYNTAX),
        ({"TransferSyntaxUID": "1.2.3.4.5"}, Outcome.UNSUPPORTED_TRANSFER_SYNTAX),
    ],
)
def test_a_bad_header_is_refused_before_decoding(tmp_path, fan, write_dicom, tags, outcome):
    compressed = "TransferSyntaxUID" in tags
    assert _outcome(write_dicom(tmp_path / "a.dcm", fan(6), jpeg=compressed, **tags)) == outcome


@pytest.mark.parametrize("sop_class", SINGLE_FRAME_SOPS)
def test_a_clip_under_the_class_for_stills_is_a_clip(tmp_path, fan, write_dicom, sop_class):
    assert read_header(write_dicom(tmp_path / "a.dcm", fan(6), SOPClassUID=sop_class)).frames == 6
    for tags in ({}, {"NumberOfFrames": None}):
        still = write_dicom(tmp_path / "a.dcm", fan(1), SOPClassUID=sop_class, **tags)
        assert _outcome(still) == Outcome.SINGLE_FRAME


@pytest.mark.parametrize("content", [b"", b"Nobody^Known, a text file\n" * 50, b"\0" * 128 + b"DICM"])
def test_what_is_no_dicom_is_refused(tmp_path, content):
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    assert _outcome(path) in (Outcome.NOT_DICOM, Outcome.WRONG_MODALITY)


@pytest.mark.parametrize("jpeg", [False, True])
def test_every_truncation_is_refused(tmp_path, fan, write_dicom, jpeg):
    whole = write_dicom(tmp_path / "a.dcm", fan(6), jpeg=jpeg).read_bytes()
    cut = tmp_path / "cut.dcm"
    for share in (0.999, 0.9, 0.5, 0.2, 0.02):
        cut.write_bytes(whole[: int(len(whole) * share)])
        assert _outcome(cut) == Outcome.TRUNCATED
    for length in range(0, 900, 37):
        cut.write_bytes(whole[:length])
        assert _outcome(cut) is not Outcome.OK


def test_a_damaged_jpeg_frame_is_named(tmp_path, fan, write_dicom):
    path = write_dicom(tmp_path / "a.dcm", fan(3), jpeg=True)
    data = bytearray(path.read_bytes())
    second = data.index(b"\xff\xd8", data.index(b"\xff\xd8") + 2)
    data[second : second + 40] = b"\0" * 40
    path.write_bytes(bytes(data))
    with pytest.raises(ClipRefused, match="frame 2") as refused:
        list(LumaFrames(read_header(path)))
    assert refused.value.outcome is Outcome.CORRUPT_FRAME


def test_only_listed_manufacturers_pass(tmp_path, fan, write_dicom):
    tags = {"GE Vingmed Ultrasound": "GE", "GENERAL ELECTRIC": "GE", "TOSHIBA_MEC": "Toshiba",
            "Esaote S.p.A. Genova": "Esaote", "Agfa Image": "other"}  # fmt: skip
    for text, told in tags.items():
        path = write_dicom(tmp_path / "c.dcm", fan(2), Manufacturer=text)
        assert read_header(path).manufacturer == told
    named = write_dicom(tmp_path / "a.dcm", fan(2), Manufacturer="PHILIPS Medical Systems")
    strange = write_dicom(tmp_path / "b.dcm", fan(2), Manufacturer="Nobody^Known")
    assert (read_header(named).manufacturer, read_header(strange).manufacturer) == ("Philips", "other")


def test_the_first_entry_of_the_vector_counts_as_zero():
    assert frame_timing({"FrameTimeVector": [33, 20, 30]}, 3).times_s.tolist() == [0, 0.02, 0.05]


@given(
    st.dictionaries(st.sampled_from(["FrameTimeVector", "FrameTime", "CineRate"]), st.lists(NUMBERS)),
    st.data(),
)
def test_times_rise_from_zero_or_are_absent(numbers, data):
    frames = data.draw(st.integers(2, 12))
    times = frame_timing(numbers, frames).times_s
    if times is not None:
        assert times.shape == (frames,)
        assert times[0] == 0
        assert (np.diff(times) > 0).all()


def test_a_rate_too_small_to_divide_by_is_no_rate():
    assert frame_timing({"CineRate": [1e-307]}, 2).times_s is None


def test_one_time_does_not_hide_two_pointers():
    found = tagged_r_waves({"RWaveTimeVector": [120], "RWavePointer": [4, 28]}, np.arange(50) * 0.04)
    assert found.tolist() == pytest.approx([0.12, 1.08])


@given(st.lists(NUMBERS), st.lists(NUMBERS))
def test_r_waves_rise_or_are_absent(vector, pointer):
    found = tagged_r_waves({"RWaveTimeVector": vector, "RWavePointer": pointer}, np.arange(50) * 0.04)
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()


def test_r_wave_pointers_count_frames_from_one():
    np.testing.assert_allclose(tagged_r_waves({"RWavePointer": [1, 21]}, np.arange(30) * 0.04), [0, 0.8])


@given(NUMBERS)
def test_a_heart_rate_is_plausible_or_absent(value):
    rate = heart_rate({"HeartRate": [value]})
    assert rate is None or 25 <= rate <= 250


def _region(left, top, right, bottom, x=0.05, y=0.05):
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType = 1, 1
    region.RegionLocationMinX0, region.RegionLocationMinY0 = left, top
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = right, bottom
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = x, y
    header = Dataset()
    header.SequenceOfUltrasoundRegions = [region]
    return header


def test_a_stale_region_is_not_used():
    assert region_bound(_region(84, 31, 595, 414), 240, 320) is None
    assert region_bound(_region(10, 20, 300, 200), 240, 320) == (10, 20, 301, 201)


def test_pixel_aspect_needs_sensible_deltas():
    assert pixel_aspect(_region(0, 0, 9, 9, x=0.06, y=0.05)) == pytest.approx(1.2)
    assert pixel_aspect(_region(0, 0, 9, 9, x=5.0, y=0.05)) == 1.0
    assert pixel_aspect(Dataset()) == 1.0
