"""What is read from the header of a DICOM clip, and what is refused before a pixel is decoded."""

import numpy as np
import pytest

from cardio_mlflow.data.files.frames import LumaFrames
from cardio_mlflow.data.files.header import read_header
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from tests.data.small_clips import JPEG, NATIVE, PLANTED, fan, write_clip

FRAMES = fan(6, 96, 96)


def outcome(path):
    with pytest.raises(ClipRefused) as refused:
        list(LumaFrames(read_header(path)))
    assert PLANTED not in refused.value.message
    return refused.value.outcome


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"Modality": "CT"}, Outcome.WRONG_MODALITY),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, Outcome.WRONG_SOP),
        ({"PixelData": None}, Outcome.NO_PIXELS),
        ({"Rows": None}, Outcome.NO_PIXELS),
        *(({"NumberOfFrames": frames}, Outcome.FRAME_COUNT_MISMATCH) for frames in (0, 5, 7)),
        ({"NumberOfFrames": 2_000_000}, Outcome.TOO_LARGE),
        ({"Rows": 65535, "Columns": 65535}, Outcome.TOO_LARGE),
        ({"SamplesPerPixel": 2}, Outcome.CORRUPT_FRAME),
        ({"PhotometricInterpretation": PLANTED}, Outcome.CORRUPT_FRAME),
        ({"TransferSyntaxUID": "1.2.840.10008.1.2.4.100"}, Outcome.UNSUPPORTED_TRANSFER_SYNTAX),
        ({"TransferSyntaxUID": "1.2.3.4.5"}, Outcome.UNSUPPORTED_TRANSFER_SYNTAX),
    ],
)
def test_a_bad_header_is_refused_before_decoding(tmp_path, tags, expected):
    syntax = JPEG[0] if "TransferSyntaxUID" in tags else NATIVE[1]
    assert outcome(write_clip(tmp_path / "a.dcm", FRAMES, syntax, **tags)) == expected


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.6"])
def test_a_clip_under_the_class_for_stills_is_a_clip(tmp_path, sop_class):
    assert read_header(write_clip(tmp_path / "a.dcm", FRAMES, SOPClassUID=sop_class)).frames == 6
    for tags in ({}, {"NumberOfFrames": None}):
        still = write_clip(tmp_path / "a.dcm", FRAMES[:1], SOPClassUID=sop_class, **tags)
        assert outcome(still) == Outcome.SINGLE_FRAME


@pytest.mark.parametrize("syntax", [NATIVE[1], JPEG[0]])
def test_every_truncation_is_refused(tmp_path, syntax):
    whole = write_clip(tmp_path / "a.dcm", FRAMES, syntax).read_bytes()
    for length in (*range(0, 900, 37), *np.linspace(900, len(whole) - 1, 9).astype(int)):
        (tmp_path / "cut.dcm").write_bytes(whole[:length])
        assert outcome(tmp_path / "cut.dcm") == Outcome.TRUNCATED or length < 900


@pytest.mark.parametrize(
    ("text", "told"),
    [("GE Vingmed Ultrasound", "GE"), ("GENERAL ELECTRIC", "GE"), ("TOSHIBA_MEC", "Toshiba"),
     ("Esaote S.p.A. Genova", "Esaote"), ("PHILIPS Medical", "Philips"), ("Agfa Image", "other"),
     (PLANTED, "other")],
)  # fmt: skip
def test_only_listed_manufacturers_pass(tmp_path, text, told):
    assert read_header(write_clip(tmp_path / "a.dcm", FRAMES, Manufacturer=text)).manufacturer == told
