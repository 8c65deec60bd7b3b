"""The items of a sequence in a header."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Final

from pydicom.dataelem import RawDataElement, empty_value_for_VR
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from cardio_mlflow.data.files.header_values import tag_of
from cardio_mlflow.data.parsing import PARSING_FAULTS

_ITEM: Final = 0xFFFEE000
_VRS: Final = {vr.encode(): str(vr) for vr in VR if len(vr) == 2}  # else two are possible
_LONG: Final = frozenset(map(str, EXPLICIT_VR_LENGTH_32))
_FORMS: Final = {little: [struct.Struct(f"{'><'[little]}{form}") for form in ("HHI", "H", "I")]
                 for little in (False, True)}  # fmt: skip


def items_of(dataset: Dataset, keyword: str, most: int) -> list[Dataset]:
    """The first items of a sequence; none where it is absent or cannot be read."""
    try:
        element = dataset.get_item(tag_of(keyword))
        items = _plain_items(element) if isinstance(element, RawDataElement) else None
        items = list(dataset.get(keyword) or []) if items is None else items
    except PARSING_FAULTS:
        return []
    return [item for item in items[:most] if isinstance(item, Dataset)]


def _plain_items(sequence: RawDataElement) -> list[Dataset] | None:
    """Items of which each, as each of its elements, has its length; None for others, which pydicom reads.

    Pydicom takes three times as long.
    """
    data, little = sequence.value or b"", sequence.is_little_endian
    items, at = [], 0
    with suppress(struct.error):
        while at < len(data) and sequence.VR in (None, "SQ"):
            group, number, length = _FORMS[little][0].unpack_from(data, at)
            at += 8
            elements = _plain_elements(data[at : at + length], sequence.is_implicit_VR, little)
            if group << 16 | number != _ITEM or at + length > len(data) or elements is None:
                return None
            items.append(Dataset(elements))
            items[-1].set_original_encoding(sequence.is_implicit_VR, little, "iso8859")
            at += length
    return items if at == len(data) else None


def _plain_elements(data: bytes, implicit: bool, little: bool) -> dict[BaseTag, RawDataElement] | None:
    whole, short, long = _FORMS[little]
    found, at = {}, 0
    while at < len(data):
        group, number, length = whole.unpack_from(data, at)
        vr = None if implicit else _VRS.get(data[at + 4 : at + 6], "")
        at += 8
        if vr in _LONG:
            (length,) = long.unpack_from(data, at)
            at += 4
        elif vr:
            (length,) = short.unpack_from(data, at - 2)
        if vr == "" or at + length > len(data) or group == _ITEM >> 16:
            return None
        tag, value = BaseTag(group << 16 | number), data[at : at + length]
        value = value or empty_value_for_VR(vr, raw=True)
        found[tag] = RawDataElement(tag, vr, length, value, at, implicit, little)
        at += length
    return found
