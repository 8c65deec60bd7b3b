from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.cohort.clip import natural_key
from cardio_mlflow.data.cohort.clip_folders import (
    KnownPatients,
    split_name,
    view_prefix,
    view_within,
)
from cardio_mlflow.parameters import VIEW_CODES, VIEWS

NAMES = st.sampled_from([name for v in VIEWS for name in (v.code, v.name, *v.aliases)])
IDS = st.from_regex(r"[A-Za-z0-9_\-]{1,12}", fullmatch=True)


@given(IDS, NAMES, st.sampled_from(["_", "-", ".", " "]))
def test_a_known_patient_before_any_view_is_split_right(patient: str, name: str, separator: str) -> None:
    read = split_name(f"{patient}{separator}{name}", KnownPatients([patient]))
    assert read == (patient, view_prefix(name))


@given(st.from_regex(r"[QX][A-Z0-9_\-]{0,6}", fullmatch=True), NAMES, st.sampled_from(["_", "-", ".", " "]))
def test_a_known_patient_behind_any_view_is_split_right(patient: str, name: str, separator: str) -> None:
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
def test_the_longest_known_id_wins_and_strangers_stay_strangers(stem: str, read: object) -> None:
    assert split_name(stem, KnownPatients(["P", "P_1"])) == read


def test_a_name_with_two_readings_is_none() -> None:
    assert split_name("A4C_P_A2C", KnownPatients(["P_A2C", "A4C_P"])) is None


@given(st.text(max_size=15))
def test_any_name_gives_a_view_code_or_none(name: str) -> None:
    assert view_prefix(name) in {*VIEW_CODES, None}
    assert view_within(name) in {*VIEW_CODES, None}
    read = split_name(name, KnownPatients(["P"]))
    assert read is None or read[1] in VIEW_CODES


@given(st.lists(st.text(max_size=6), max_size=8))
def test_natural_order_is_total(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)
