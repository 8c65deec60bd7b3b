"""What a header says of whose file it is and what it shows, in any character set, and why it is refused."""

import io
import zipfile
from dataclasses import astuple, replace

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.sorting.facts import HeaderFacts, Identity, ViewTags
from cardio_mlflow.data.sorting.header_facts import read_facts, shown
from tests.data.hostile import write_corpus
from tests.data.small_clips import JPEG, NATIVE, PLANTED, SYNTAXES, dataset, fan, region, write_clip

FRAMES = fan(3, 96, 96)


def code(value: str, scheme: str, meaning: str, **more: object) -> Dataset:
    return dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning, **more)


TAGS = {
    "PatientID": " 000123 ", "PatientName": "Doe^Jane", "PatientBirthDate": "19500203", "PatientSex": "F",
    "AccessionNumber": "A-77", "StudyInstanceUID": "1.2.840.4.5", "StudyDate": "20240102",
    "StudyTime": "0910", "ViewName": "A4C", "StageName": "Rest", "ProtocolName": "Adult",
    "SeriesDescription": "apical", "ImageComments": "good\r\none",
    "ViewCodeSequence": [
        code("399214001", "SCT", "apical four chamber",
             ViewModifierCodeSequence=[code("1", "99X", "zoom")])],
}  # fmt: skip


@pytest.mark.parametrize("syntax", [*NATIVE, JPEG[0], "1.2.840.10008.1.2.1.99"])
def test_identity_views_and_pictures_are_read_in_every_encoding(tmp_path, syntax):
    regions = [region((0, 0, 40, 40)), region((45, 0, 90, 40)), region((0, 0, 40, 40), RegionDataType=2),
               region((0, 50, 90, 90), RegionSpatialFormat=3), region((0, 0, 9, 9), RegionSpatialFormat=5),
               region((0, 0, 999, 40))]  # fmt: skip
    path = tmp_path / "clip"
    if syntax.endswith(".99"):
        write_clip(path, FRAMES, **TAGS, SequenceOfUltrasoundRegions=regions)
        read = pydicom.dcmread(path)
        read.file_meta.TransferSyntaxUID = syntax
        read.save_as(path)
    else:
        write_clip(path, FRAMES, syntax, **TAGS, SequenceOfUltrasoundRegions=regions)
    facts = read_facts(path)
    assert (facts.outcome, facts.kind, facts.frames) == (Outcome.OK, "cine", 3)
    assert facts.pictures == ("2-D", "2-D", "colour", "spectral")
    codes = (("399214001", "SCT", "apical four chamber"), ("1", "99X", "zoom"))
    assert facts.tags == ViewTags(codes, "A4C", "Rest", "Adult", "apical", "good one")
    study = facts.identity.study
    expected = Identity("000123", "Doe^Jane", "19500203", "F", "A-77", study, "20240102091000")
    assert facts.identity == expected
    assert len(study) == 32


CHARACTER_SETS = {
    "ISO_IR 100": ("latin-1", "Müller^Jörg"), "ISO_IR 192": ("utf-8", "山田^太郎 Ωß"),
    "ISO_IR 144": ("iso8859_5", "Люкceмбypг"), "GB18030": ("gb18030", "王^小东"),
}  # fmt: skip


@pytest.mark.parametrize("named", CHARACTER_SETS)
def test_texts_are_decoded_in_their_character_set(tmp_path, named):
    encoding, name = CHARACTER_SETS[named]
    path = write_clip(tmp_path / "x", FRAMES, SpecificCharacterSet=named, PatientName="N" * 24, PatientID="I")
    field = name.encode(encoding)
    path.write_bytes(path.read_bytes().replace(b"N" * 24, field + b" " * (24 - len(field))))
    assert read_facts(path).identity.name == name


def test_a_name_in_several_writings(tmp_path):
    """The example of PS3.5, H.3.1."""
    path = tmp_path / "x"
    japanese = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"
    write_clip(path, FRAMES, SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="N" * len(japanese))
    path.write_bytes(path.read_bytes().replace(b"N" * len(japanese), japanese))
    assert read_facts(path).identity.name == "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.mark.parametrize("named", ["ISO_IR 999", "\\".join(["ISO 2022 IR 87"] * 40), "\xff", "ISO_IR 192"])
def test_a_character_set_that_is_wrong_costs_no_file(tmp_path, named, caplog, recwarn):
    path = write_clip(tmp_path / "x", FRAMES, PatientName="N" * 8)
    content = path.read_bytes().replace(b"N" * 8, b"\xff\xfe\x1b$Bab^")
    at = content.index(b"\x08\x00\x16\x00")  # before the SOP class
    field = named.encode("latin-1").ljust(len(named) + len(named) % 2)
    element = b"\x08\x00\x05\x00CS" + len(field).to_bytes(2, "little") + field
    path.write_bytes(content[:at] + element + content[at:])
    facts = read_facts(path)
    assert facts.outcome is Outcome.OK
    assert facts.identity.name.isprintable()
    assert not caplog.records
    assert not recwarn.list


@given(st.text(max_size=600))
def test_what_is_shown_is_one_short_line(text):
    seen = shown(text)
    assert seen.isprintable()
    assert len(seen) <= 256
    assert seen == seen.strip() == shown(seen)


REFUSED = {
    "WRONG_MODALITY": {"Modality": "MR"}, "WRONG_SOP": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11"},
    "NO_PIXELS": {"PixelData": None}, "NO_TIMING": {"FrameTime": None}, "TOO_LARGE": {"NumberOfFrames": 2001},
    "UNSUPPORTED_TRANSFER_SYNTAX": {"TransferSyntaxUID": "1.2.840.10008.1.2.4.100"},
    "FRAME_COUNT_MISMATCH": {"NumberOfFrames": 7}, "CORRUPT_FRAME": {"PhotometricInterpretation": None},
}  # fmt: skip


@pytest.mark.parametrize("outcome", REFUSED)
def test_whose_a_refused_file_is_is_read_too(tmp_path, outcome):
    syntax = JPEG[0] if outcome == "UNSUPPORTED_TRANSFER_SYNTAX" else NATIVE[1]
    path = write_clip(tmp_path / "x", FRAMES, syntax, PatientID="Q1", ViewName="A2C", **REFUSED[outcome])
    facts = read_facts(path)
    assert (facts.outcome, facts.identity.patient_id, facts.tags.view_name) == (outcome, "Q1", "A2C")
    assert facts.kind == ("no picture" if outcome == "NO_PIXELS" else "cine")
    assert facts.message


def test_a_still_is_fine(tmp_path):
    for tags in ({}, {"NumberOfFrames": None}):
        facts = read_facts(write_clip(tmp_path / "x", FRAMES[:1], FrameTime=None, **tags))
        assert (facts.outcome, facts.kind, facts.frames) == (Outcome.OK, "still", 1)


def test_a_file_that_calls_its_data_synthetic_is_known(tmp_path):
    assert read_facts(write_clip(tmp_path / "x", FRAMES, SyntheticData="YES")).synthetic
    assert not read_facts(write_clip(tmp_path / "y", FRAMES, SyntheticData="NO")).synthetic
    assert not read_facts(write_clip(tmp_path / "z", FRAMES)).synthetic


def test_other_files_are_named(tmp_path):
    (tmp_path / "clip.avi").write_bytes(b"RIFF")
    assert read_facts(tmp_path / "clip.avi") == HeaderFacts(kind="cine")
    (tmp_path / "text").write_text("PATIENT")
    assert read_facts(tmp_path / "text").outcome is Outcome.NOT_DICOM
    none = read_facts(tmp_path / "none")
    assert (none.outcome, none.message) == (
        Outcome.UNREADABLE, "the file cannot be read (No such file or directory)",
    )  # fmt: skip


def test_the_header_refuses_what_preparation_refuses(tmp_path):
    """A hostile file is OK here or has one of its codes; three sound frames would come to later refusals."""
    for path, allowed in write_corpus(tmp_path):
        facts = read_facts(path)
        later = allowed - {Outcome.OK, Outcome.NOT_DICOM}  # what a look at the pixel data tells
        fine = facts.outcome in allowed | {Outcome.UNREADABLE, Outcome.NO_TIMING}
        assert fine or (facts.outcome is Outcome.OK and (later or Outcome.SINGLE_FRAME in allowed)), path.stem
        for word in (*PLANTED.split("^"), path.stem):
            assert word.lower() not in facts.message.lower()


@pytest.mark.parametrize("syntax", SYNTAXES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_header_is_facts_and_no_other_error(tmp_path, syntax, data):
    path = tmp_path / "x"
    if not path.exists():
        write_clip(path, np.ascontiguousarray(FRAMES), syntax, **TAGS)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(128, min(1500, len(content) - 1)))] = data.draw(st.integers(0, 255))
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content[: data.draw(st.integers(100, len(content)))])
    facts = read_facts(damaged)
    assert all(text.isprintable() and len(text) <= 256 for text in astuple(facts.identity))


def test_a_member_of_a_zip_file_gives_what_the_file_gives(tmp_path):
    path = write_clip(tmp_path / "clip.dcm", fan(), **TAGS)
    archive = tmp_path / "all.zip"
    stored = io.BytesIO()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(archive, "w", method) as file:
            file.write(path, "ST1/clip.dcm")
        member = archive / "ST1" / "clip.dcm"
        assert read_facts(member) == read_facts(path)
        found, expected = prepare_clip(member), prepare_clip(path)
        assert found.frames.tobytes() == expected.frames.tobytes()
        assert replace(found, frames=stored) == replace(expected, frames=stored)
    damaged = bytearray(archive.read_bytes())
    damaged[200:400] = bytes(200)
    archive.write_bytes(damaged)
    assert read_facts(member).outcome in (Outcome.UNREADABLE, Outcome.NOT_DICOM, Outcome.TRUNCATED)
    with pytest.raises(ClipRefused):
        prepare_clip(member)
