import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.cohort.clip import natural_key
from cardio_mlflow.data.cohort.clip_names import (
    KnownPatients,
    difference,
    split_name,
    view_prefix,
    view_within,
)
from cardio_mlflow.parameters import VIEW_CODES, VIEWS

NAMES = st.sampled_from([name for v in VIEWS for name in (v.code, v.name, *v.aliases)])
LONG = st.integers(10**11, 10**15 - 1).map(str)
IDS = st.from_regex(r"[A-Za-z0-9_\-]{1,12}", fullmatch=True)


@given(IDS, NAMES, st.sampled_from(["_", "-", ".", " "]))
def test_a_known_patient_before_any_view_is_split_right(patient, name, separator):
    read = split_name(f"{patient}{separator}{name}", KnownPatients([patient]))
    assert read == (patient, view_prefix(name))


@given(st.from_regex(r"[QX][A-Z0-9_\-]{0,6}", fullmatch=True), NAMES, st.sampled_from(["_", "-", ".", " "]))
def test_a_known_patient_behind_any_view_is_split_right(patient, name, separator):
    read = split_name(f"{name}{separator}{patient}", KnownPatients([patient]))
    assert read == (patient, view_prefix(name))


@pytest.mark.parametrize(
    ("stem", "read"),
    [
        ("P_1_A4C", ("P_1", "FC")),
        ("P_1_A4C_rest_2", ("P_1", "FC")),
        ("P_2_A4C", ("P_2", "FC")),  # a stranger, though P is known
        ("A4C_P_1", ("P_1", "FC")),
        ("A4C_P_2", ("P_2", "FC")),
        ("P1", None),
        ("LAD_P", None),
    ],
)
def test_the_longest_known_id_wins_and_strangers_stay_strangers(stem, read):
    assert split_name(stem, KnownPatients(["P", "P_1"])) == read


def test_a_name_with_two_readings_is_none():
    assert split_name("A4C_P_A2C", KnownPatients(["P_A2C", "A4C_P"])) is None
    assert KnownPatients(["Ab", "aB"]).find("ab") is None


@given(st.text(max_size=15))
def test_any_name_gives_a_view_code_or_none(name):
    assert view_prefix(name) in {*VIEW_CODES, None}
    assert view_within(name) in {*VIEW_CODES, None}
    read = split_name(name, KnownPatients(["P"]))
    assert read is None or read[1] in VIEW_CODES


@given(st.lists(st.text(max_size=6), max_size=8))
def test_natural_order_is_total(names):
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


@given(st.text("0123456789", min_size=1, max_size=12))
def test_an_id_read_as_a_number_is_the_same_id(clip):
    shown = str(int(clip))
    assert difference(shown, clip) == (None if shown == clip else "leading zeros")
    assert difference(clip, f"{shown}.0") == "a decimal .0"


@given(LONG, st.integers(0, 6), st.sampled_from([".", ","]))
def test_a_long_id_shown_as_a_power_of_ten_is_the_same_id(clip, decimals, mark):
    shown = f"{int(clip):.{decimals}E}".replace(".", mark)
    if int(float(shown.replace(",", "."))) < 10 ** len(clip):  # not rounded up to one more digit
        assert difference(shown, clip) == "a power of ten (2E+11)"


def test_ids_of_any_length_can_be_compared():
    assert difference(f"1.{'2' * 29}E+29", f"1{'2' * 29}") == "a power of ten (2E+11)"


@given(st.text("123456789", min_size=16, max_size=19))
def test_an_id_cut_at_fifteen_digits_is_the_same_id(clip):
    shown = clip[:15] + "0" * (len(clip) - 15)
    assert difference(shown, clip) == "the digits behind the fifteenth"


@given(LONG, LONG, st.integers(3, 6))
def test_ids_whose_shown_digits_differ_are_different(ours, theirs, decimals):
    if abs(int(ours) - int(theirs)) > 2 * 10 ** (len(theirs) - 1 - decimals):
        assert difference(f"{int(ours):.{decimals}E}", theirs) is None
        assert difference(ours, theirs) is None


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_texts_can_be_compared_and_equal_ones_do_not_differ(ours, theirs):
    assert difference(ours, ours) is None
    difference(ours, theirs)
