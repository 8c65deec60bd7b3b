import datetime
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.parameters import PARAMETERS, parameter
from cardio_mlflow.sheets.cells import Cell, canonical_id, decimal_mark, id_problem, parse_date, parse_number
from cardio_mlflow.sheets.units import range_problem, wrong_unit


@pytest.mark.parametrize(
    ("text", "value"),
    [("12.5 mmHg", 12.5), (" 14*", 14.0), ("12,5", 12.5), ("−2", -2.0), ("(8)", 8.0), ("~12 MMHG †", 12.0),
     ("1.234,5", 1234.5), ("1,234.5", 1234.5), ("1,234,567", 1234567.0), (".5", 0.5), ("7.", 7.0),
     ("1.2e1", 12.0)],
)  # fmt: skip
def test_stray_characters_are_cleaned(text, value):
    assert parse_number(text, ("mmHg",)) == value


@pytest.mark.parametrize("text", ["", "NA", "n/a", "-", "nan", "None", ".", "#N/A", "—"])
def test_missing_markers_give_nan(text):
    assert math.isnan(parse_number(text))


@pytest.mark.parametrize(
    "text", ["<5", ">= 40", "12-15", "12/8", "high", "1,23,4.5", "12 mL", "1e999", "3 4", "12 apples"]
)
def test_what_is_no_plain_number_is_refused_without_repeating_the_cell(text):
    with pytest.raises(ValueError, match=r"not a|bound") as error:
        parse_number(text, ("mmHg",))
    assert text not in str(error.value)


def test_a_foreign_unit_in_a_cell_is_named_with_its_conversion():
    with pytest.raises(ValueError, match="divide by 80"):
        parse_number("240 dyn·s/cm5", ("Wood units",))


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda p: p.key)
def test_each_parameters_own_unit_is_accepted_and_never_taken_for_a_wrong_one(row):
    assert parse_number(f"3 {row.unit}", (row.unit,)) == 3.0
    assert wrong_unit(row.unit, row.unit) is None


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [("PVR", 320.0, "divide by 80"), ("meanPAP", 2.7, "multiply by 7.5"), ("CO", 4500.0, "divide by 1000"),
     ("CI", 2400.0, "divide by 1000"), ("SVRI", 25.0, "multiply by 80"), ("SVRI", 2.4, "thousands"),
     ("CO", 43232.0, "may be a date")],
)  # fmt: skip
def test_values_out_of_range_hint_at_the_likely_unit(key, value, hint):
    assert hint in str(range_problem(value, parameter(key)))


def test_the_plausible_range_includes_its_ends_and_nan_is_no_problem():
    for row in PARAMETERS:
        assert [range_problem(v, row) for v in (*row.plausible, math.nan)] == [None] * 3


@given(st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 3)))
def test_a_number_survives_any_decimal_mark(value):
    text = f"{value:.3f}"
    assert parse_number(text) == value
    assert parse_number(text.replace(".", ","), decimal=",") == value


@given(st.text(max_size=20))
def test_any_text_gives_a_finite_number_nan_or_a_value_error(text):
    try:
        value = parse_number(text, ("mmHg",))
    except ValueError:
        return
    assert math.isnan(value) or math.isfinite(value)


def test_ids_are_spelled_as_in_file_names_and_cannot_leave_a_folder():
    assert canonical_id("12.0") == "12"
    assert canonical_id("12.5") == "12.5"
    ids = ("E-1 b", "", "../x", "a/b", "a" * 101, "#REF!")
    assert [bool(id_problem(Cell(i))) for i in ids] == [False, *[True] * 5]
    assert "a date where a patient id" in str(id_problem(Cell("2018-05-12", datetime.datetime(2018, 5, 12))))
    assert id_problem(Cell("", fault="why")) == "why"


MONTHS = ("May", "Mai", "Jan", "Feb.", "Sept", "März", "Okt.", "Dec", "dez", "avr", "juil", "ago", "ene")
DAYS = ("{d}. {m}", "{d}-{m}", "{m}-{d}", "{m} {d}", "{d} {m} 2018", "{d}-{m}-18")


@given(
    st.dates(datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)),
    st.sampled_from(["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%y", "%m/%d/%Y", "%d-%m-%Y", "%Y-%m-%d %H:%M",
                     "%Y-%m-%dT%H:%M:%S", "%H:%M:%S", "%d.%m.%Y %H:%M"]),
)  # fmt: skip
def test_a_date_is_never_taken_for_a_number(day, form):
    text = datetime.datetime.combine(day, datetime.time(9, 30)).strftime(form)
    with pytest.raises(ValueError, match="a date or a time where a number belongs") as error:
        parse_number(text, ("mmHg",))
    assert text not in str(error.value)


@given(st.integers(1, 31), st.sampled_from(MONTHS), st.sampled_from(DAYS))
def test_days_of_months_are_dates(day, month, form):
    with pytest.raises(ValueError, match="a date or a time"):
        parse_number(form.format(d=day, m=month))


def test_a_catheterisations_day_is_read_or_missing():
    day = datetime.date(2018, 5, 12)
    for cell in (Cell("2018-05-12"), Cell("20180512"), Cell("12.05.2018"),
                 Cell("", datetime.datetime(2018, 5, 12, 9))):  # fmt: skip
        assert parse_date(cell) == day
    assert parse_date(Cell("n/a")) is None
    for text in ("05/12/2018", "May 2018", "43232"):
        assert parse_date(Cell(text)) is None


@pytest.mark.parametrize("text", ["#DIV/0!", "#REF!", "#WERT!", "####", "Err:502", "#NAME?"])
def test_errors_of_a_spreadsheet_are_named(text):
    with pytest.raises(ValueError, match="an error of the spreadsheet"):
        parse_number(text)


@given(st.integers(1, 999), st.integers(0, 999), st.sampled_from([".", ","]))
def test_three_digits_behind_a_mark_are_read_only_where_the_mark_is_known(whole, rest, mark):
    text = f"{whole}{mark}{rest:03d}"
    for decimal in ("", ".", ","):
        if (mark == ",") == (decimal == ","):
            assert parse_number(text, decimal=decimal) == float(f"{whole}.{rest:03d}")
        else:
            with pytest.raises(ValueError, match="thousands or decimals"):
                parse_number(text, decimal=decimal)


@given(st.lists(st.floats(0, 999).map(lambda v: f"{v:.2f}"), min_size=1), st.sampled_from([".", ","]))
def test_the_decimal_mark_of_a_sheet_is_proved_by_its_numbers(numbers, mark):
    written = [text.replace(".", mark) for text in numbers]
    assert decimal_mark(["P1", "7", f"5{mark}125", *written]) == mark
    assert decimal_mark([*numbers, *(text.replace(".", ",") for text in numbers)]) == ""
