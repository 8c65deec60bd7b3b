"""How scanners name the view in a file's header: each vendor in another element and in other words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

OTHER_VIEWS = ("apical long axis", "subcostal", "great vessels", "vena cava")
"""Views that are none of the four."""

_CODES: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "FC": (("399214001", "SCT", "Apical four chamber"), ("G-A19C", "SRT", "Apical four chamber")),
    "TC": (("399232001", "SCT", "Apical two chamber"), ("G-A19B", "SRT", "Apical two chamber")),
    "SA": (("399271003", "SCT", "Parasternal short axis at the Papillary Muscle level"),
           ("G-0397", "SRT", "Parasternal short axis")),
    "LA": (("399139001", "SCT", "Parasternal long axis"), ("G-0396", "SRT", "Parasternal long axis")),
    "apical long axis": (("399339008", "SCT", "Apical long axis"), ("G-0395", "SRT", "Apical long axis")),
    "subcostal": (("399310008", "SCT", "Subcostal long axis"), ("G-0398", "SRT", "Subcostal long axis")),
    "great vessels": (("399239005", "SCT", "Parasternal short axis at the aortic valve level"),
                      ("G-0393", "SRT", "Parasternal short axis at the aortic valve level")),
    "vena cava": (("399310008", "SCT", "Subcostal long axis"), ("G-0398", "SRT", "Subcostal long axis")),
}  # fmt: skip
"""Two codes of each view, (value, scheme, meaning)."""

_WORDS: Mapping[str, Mapping[str, str]] = {
    "view_name": {
        "FC": "A4C", "TC": "A2C", "SA": "PSAX MID", "LA": "PLAX", "apical long axis": "APLAX",
        "subcostal": "SUBC 4CH", "great vessels": "PSAX AV", "vena cava": "IVC",
    },
    "stage_name": {
        "FC": "AP4 Rest", "TC": "AP2 Rest", "SA": "SAX PM Rest", "LA": "PLAX Rest",
        "apical long axis": "AP3 Rest", "subcostal": "Subcostal Rest", "great vessels": "SAX AV Rest",
        "vena cava": "IVC Rest",
    },
    "protocol": {
        "FC": "TTE Apical 4 Chamber", "TC": "TTE Apical 2 Chamber", "SA": "TTE Parasternal Short Axis",
        "LA": "TTE Parasternal Long Axis", "apical long axis": "TTE Apical 3 Chamber",
        "subcostal": "TTE Subcostal 4 Chamber", "great vessels": "TTE PSAX Aortic Valve",
        "vena cava": "TTE Subcostal IVC",
    },
    "series": {
        "FC": "apikaler 4-Kammerblick", "TC": "apikaler 2-Kammerblick", "SA": "parasternale kurze Achse",
        "LA": "parasternale lange Achse", "apical long axis": "apikaler 3-Kammerblick",
        "subcostal": "subkostaler 4-Kammerblick", "great vessels": "kurze Achse Aortenklappe",
        "vena cava": "VCI subkostal",
    },
    "comment": {
        "FC": "apical 4c view", "TC": "apical 2c view", "SA": "psax papillary", "LA": "plax view",
        "apical long axis": "a3c view", "subcostal": "subcostal view", "great vessels": "psax aortic level",
        "vena cava": "ivc view",
    },
}  # fmt: skip


def _codes(data: Dataset, view: str, scheme: int) -> None:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = _CODES[view][scheme]
    data.ViewCodeSequence = DicomSequence([item])


def _element(keyword: str, words: str) -> Callable[[Dataset, str], None]:
    return lambda data, view: setattr(data, keyword, _WORDS[words][view])


VENDORS: tuple[Callable[[Dataset, str], None], ...] = (
    lambda data, view: _codes(data, view, 0), lambda data, view: _codes(data, view, 1),
    _element("ViewName", "view_name"), _element("StageName", "stage_name"),
    _element("ProtocolName", "protocol"), _element("SeriesDescription", "series"),
    _element("ImageComments", "comment"),
)  # fmt: skip
"""Writes a view, a code or one of OTHER_VIEWS, into a header as one vendor does."""


def write_view(data: Dataset, view: str, vendor: int) -> None:
    """Name a view in a header; with no view, or before that, the elements say nothing of it."""
    data.SeriesDescription, data.ProtocolName = "Echo", "Adult Echo"
    if view:
        VENDORS[vendor % len(VENDORS)](data, view)
