"""Items of a sequence are those that pydicom finds, however they are written or broken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_sequence
from pydicom.sequence import Sequence

from cardio_mlflow.data.files.header_values import tag_of
from cardio_mlflow.data.files.sequence_items import items_of
from cardio_mlflow.data.parsing import PARSING_FAULTS, pydicom_silenced

KEYWORD = "SequenceOfUltrasoundRegions"


def sequence(implicit: bool, little: bool, open_items: bool) -> bytes:
    """Two items with a number, a text, an empty element and an item of their own."""
    items = []
    for number in (1, 3):
        item, inner = Dataset(), Dataset()
        item.RegionSpatialFormat, item.CodeMeaning, item.PhysicalDeltaX = number, "four chamber", None
        inner.CodeValue = "1"
        item.ViewModifierCodeSequence = [inner]
        item.is_undefined_length_sequence_item = open_items
        items.append(item)
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = implicit, little
    write_sequence(file, DataElement(tag_of(KEYWORD), "SQ", Sequence(items)), ["iso8859"])
    return file.getvalue()


def values(items: list[Dataset]) -> list[dict[int, object]]:
    return [{int(tag): item.get_item(tag, keep_deferred=True).value for tag in item.keys()} for item in items]  # noqa: SIM118


@pytest.mark.parametrize("open_items", [False, True])
@pytest.mark.parametrize(("implicit", "little"), [(False, True), (True, True), (False, False)])
@given(place=st.integers(0, 200), byte=st.integers(0, 255), cut=st.integers(0, 40))
def test_items_are_those_that_pydicom_reads(implicit, little, open_items, place, byte, cut):
    data = bytearray(sequence(implicit, little, open_items))
    if place < len(data):
        data[place] = byte
    data = data[: len(data) - max(0, cut - 20)]
    raw = RawDataElement(
        tag_of(KEYWORD), None if implicit else "SQ", len(data), bytes(data), 0, implicit, little
    )
    with pydicom_silenced():
        try:
            expected = values(Dataset({raw.tag: raw})[KEYWORD].value)
        except PARSING_FAULTS:
            expected = []
        assert values(items_of(Dataset({raw.tag: raw}), KEYWORD, 16)) == expected


def test_a_sequence_that_is_not_there_or_is_none_has_no_items():
    text = RawDataElement(tag_of(KEYWORD), "OB", 8, b"\xfe\xff\x00\xe0\0\0\0\0", 0, False, True)
    assert items_of(Dataset(), KEYWORD, 16) == items_of(Dataset({text.tag: text}), KEYWORD, 16) == []
