from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cardio_mlflow.data.cohort.neutral_places import Identities, neutral, tells_nobody

NOBODY = Identities()
KNOWN = Identities.of(
    ["0004711", "MRN 12-34", "12", "P0033", "AB12345"], ["MÖRK^Vera^^Dr.", "Series^Li", "王^伟"]
)


@pytest.mark.parametrize(
    "place",
    ["DICOM/ST000001/SE000003/IM_0012", "IM_0012", "DICOMDIR", "DICOM/PA01/ST01/SE01/IM000001.dcm",
     "Images/Study 3/file0001.DCM", "export.zip/12/IM1", "S1/3f2a9c01b7.dcm", "3f2a9c01b7/IM_1",
     "A1/B1A2C3D4E5F60718", "DICOM/3/18.dcm", "cd2/IM_10412", "DICOM/I0000012"],
)  # fmt: skip
def test_a_neutral_place(place):
    assert neutral(place, NOBODY)
    assert neutral(place, KNOWN) is (place != "export.zip/12/IM1")


@pytest.mark.parametrize(
    "place",
    ["", "/", "..", "../IM_1", "DICOM//IM_1", "/DICOM/IM_1", "ROE/IM_1", "DICOM/Roe_J/IM_1", "DICOM/JD/IM_1",
     "IM_1_ROE", "JD1947.dcm", "0004711/IM_1", "4711/IM_1", "P12345/IM_1", "A1234567.dcm", "1234AB56/IM_1",
     "20180512/IM_1", "2018-05-12/IM_1", "2018/05/12/IM_1", "18/05/12/IM_1", "12.05.2018/IM_1",
     "IM_2018_05/2", "STUDY2018/IM_1", "PAT_1947/IM_1", "1.2.840.113619.2.1/IM_1", "1.2.840.10008.7.dcm",
     "IM_1\n", "IM_1 ",
     "IM  1", "IM\\1", "=IM_1", "IM_१२", "ＩＭ_1", "DICOM/0123456789.dcm",
     "20180512a3f9b1c4", "ab12051947cd34ef", "export:0123456789abcdef", "IM_1\udc80"],
)  # fmt: skip
def test_a_place_that_may_tell_of_a_patient_who_is_not_known(place):
    assert not neutral(place, NOBODY)


@pytest.mark.parametrize(
    ("place", "alike"),
    [("P4711/IM_1", "P4712/IM_1"), ("IM_04711.dcm", "IM_04712.dcm"), ("12/IM_1", "13/IM_1"),
     ("PAT_012/IM_1", "PAT_013/IM_1"), ("P33/IM_1", "P34/IM_1"), ("SERIES1/IM_1", "STUDY1/IM_1"),
     ("DICOM/SERIES/IM_1", "SE12/IM_12"), ("0ab12345ffc9", "0ab12346ffc9"), ("a4711fc9d0", "IM_1")],
)  # fmt: skip
def test_known_identities_are_told_from_counters(place, alike):
    """An id of two digits is one only where a patient's number can stand: no counter is free of it."""
    assert neutral(place, NOBODY)
    assert not neutral(place, KNOWN)
    assert neutral(alike, KNOWN)


@pytest.mark.parametrize(
    ("text", "harmless"),
    [("Vivid E95", True), ("EPIQ 7C", True), ("sinus", True), ("", True), ("mork's", False),
     ("dr vera", False), ("AB 12345", False), ("room 004711", False), ("MRN-1234", False), ("伟", False),
     ("born 12.5.47", False), ("1947-02-11", False), ("serial 19370211", False)],
)  # fmt: skip
def test_a_short_text_of_a_sheet(text, harmless):
    assert tells_nobody(text, KNOWN) is harmless


parts = st.text(st.sampled_from("IMSTPAse019_-. /é王\0"), max_size=12)


@given(
    st.text("ABCDEFGHJKLMNOPQRSTUVWXYZ", min_size=3, max_size=9),
    st.integers(1000, 10**9).map(str),
    st.lists(parts, min_size=1, max_size=4),
    st.sampled_from(["{}", "IM_{}", "DICOM{}", "00{}", "se{}.dcm", "{}_1"]),
)
def test_no_place_that_holds_a_known_identity_is_neutral(name, number, around, form):
    known = Identities.of([number], [f"{name}^X"])
    for secret in (name, name.lower(), number, f"000{number}"):
        place = "/".join([*around[:-1], form.format(secret), around[-1]])
        assert not neutral(place, known)


@given(st.lists(parts, min_size=1, max_size=4).map("/".join))
@example("papapapapapapapapapapapapapapapapapapapapapapapapapapapapapapapapap!")
def test_what_is_neutral_is_short_words_and_counters(place):
    if neutral(place, NOBODY):
        assert place.isascii()
        assert ".." not in place.split("/")
