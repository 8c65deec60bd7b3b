from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.cohort.same_ids import difference

LONG = st.integers(10**11, 10**15 - 1).map(str)


@given(st.text("0123456789", min_size=1, max_size=12))
def test_an_id_read_as_a_number_is_the_same_id(clip: str) -> None:
    shown = str(int(clip))
    assert difference(shown, clip) == (None if shown == clip else "leading zeros")
    assert difference(clip, f"{shown}.0") == "a decimal .0"


@given(LONG, st.integers(0, 6), st.sampled_from([".", ","]))
def test_a_long_id_shown_as_a_power_of_ten_is_the_same_id(clip: str, decimals: int, mark: str) -> None:
    shown = f"{int(clip):.{decimals}E}".replace(".", mark)
    if int(float(shown.replace(",", "."))) < 10 ** len(clip):  # not rounded up to one more digit
        assert difference(shown, clip) == "a power of ten (2E+11)"


@given(st.text("123456789", min_size=16, max_size=19))
def test_an_id_cut_at_fifteen_digits_is_the_same_id(clip: str) -> None:
    shown = clip[:15] + "0" * (len(clip) - 15)
    assert difference(shown, clip) == "the digits behind the fifteenth"


@given(LONG, LONG, st.integers(3, 6))
def test_ids_whose_shown_digits_differ_are_different(ours: str, theirs: str, decimals: int) -> None:
    if abs(int(ours) - int(theirs)) > 2 * 10 ** (len(theirs) - 1 - decimals):
        assert difference(f"{int(ours):.{decimals}E}", theirs) is None
        assert difference(ours, theirs) is None


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_texts_can_be_compared_and_equal_ones_do_not_differ(ours: str, theirs: str) -> None:
    assert difference(ours, ours) is None
    difference(ours, theirs)
