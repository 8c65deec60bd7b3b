from __future__ import annotations

import csv
import datetime
import io
import math
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardio_mlflow.errors import InputError
from cardio_mlflow.sheets.cells import clean_text
from cardio_mlflow.sheets.sheet import Sheet, read_sheet


def texts(sheet: Sheet) -> list[tuple[str, ...]]:
    return [tuple(cell.text for cell in row.cells) for row in sheet.rows]


def number_problem(sheet: Sheet, row: int, column: int) -> str:
    try:
        return f"no problem but {sheet.number(sheet.rows[row], column)}"
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_separators_and_encodings(tmp_path: Path, separator: str, encoding: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(f"id{separator}Größe\r\né1{separator}2".encode(encoding))
    sheet = read_sheet(path)
    assert sheet.columns == ("id", "Größe")
    assert texts(sheet) == [("é1", "2")]


def test_a_comma_in_a_heading_does_not_win_over_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id;CO, L/min;CI\na;4,5;2,5\n")
    assert texts(read_sheet(path)) == [("a", "4,5", "2,5")]


def test_row_numbers_are_those_of_the_spreadsheet_and_empty_rows_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,CO,,\na,4\n\n,,,\nb\n")
    sheet = read_sheet(path)
    assert [row.number for row in sheet.rows] == [2, 5]
    assert texts(sheet) == [("a", "4"), ("b", "")]


def test_an_unquoted_decimal_comma_is_told_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,CO\na,4\nb,4,5\n")
    with pytest.raises(InputError, match=r"row 3: 3 cells.*decimal comma"):
        read_sheet(path)


def workbook(path: Path, rows: list[list[object]]) -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return book


def test_excel_numbers_become_the_text_that_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    book = workbook(path, [["id", "CO"], [12.0, 4.25], [7, None]])
    book.active["A3"].number_format = "000"
    book.save(path)
    assert texts(read_sheet(path)) == [("12", "4.25"), ("007", "")]


def test_a_formula_without_a_stored_result_is_not_taken_for_a_missing_value(tmp_path: Path) -> None:
    workbook(tmp_path / "labels.xlsx", [["id", "CO"], ["a", "=1+2"]])
    assert "a formula whose result is not stored" in number_problem(
        read_sheet(tmp_path / "labels.xlsx"), 0, 1
    )


@pytest.mark.parametrize(("name", "content"), [("labels.xlsx", b"no zip"), ("labels.csv", b"\n \n")])
def test_broken_and_empty_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_sheet(tmp_path / name)


@pytest.mark.parametrize("name", ["labels.csv", "labels.xlsx"])
def test_what_cannot_be_opened_is_refused_without_its_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "Roe" / name).mkdir(parents=True)
    with pytest.raises(InputError, match="cannot be read") as error:
        read_sheet(tmp_path / "Roe" / name)
    assert "Roe" not in str(error.value)


@pytest.mark.parametrize("part", ["xl/workbook.xml", "xl/worksheets/sheet1.xml", "[Content_Types].xml"])
def test_a_workbook_damaged_inside_is_refused(tmp_path: Path, part: str) -> None:
    workbook(tmp_path / "sound.xlsx", [["id", "CO"], ["a", 4]])
    with (
        zipfile.ZipFile(tmp_path / "sound.xlsx") as sound,
        zipfile.ZipFile(tmp_path / "x.xlsx", "w") as broken,
    ):
        for name in sound.namelist():
            broken.writestr(name, b"<broken><" if name == part else sound.read(name))
    with pytest.raises(InputError, match="not a readable xlsx"):
        read_sheet(tmp_path / "x.xlsx")


def rewritten(path: Path, change: dict[str, tuple[str, str]]) -> None:
    """Change texts within the parts of a workbook, as a spreadsheet program would have written them."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for name, (old, new) in change.items():
        assert old.encode() in parts[name]
        parts[name] = parts[name].replace(old.encode(), new.encode())
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def test_a_stored_result_is_read_and_an_empty_text_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    workbook(path, [["id", "CO", "CI"], ["a", "=1+2", '=""']])
    part = "xl/worksheets/sheet1.xml"
    never = {"xl/workbook.xml": ('fullCalcOnLoad="1"', "")}
    rewritten(path, never | {part: ('<c r="B2"><f>1+2</f><v /></c>', '<c r="B2"><f>1+2</f><v>3</v></c>')})
    rewritten(path, {part: ('<c r="C2"><f>""</f><v /></c>', '<c r="C2" t="str"><f>""</f><v /></c>')})
    sheet = read_sheet(path)
    assert sheet.number(sheet.rows[0], 1) == 3.0
    assert math.isnan(sheet.number(sheet.rows[0], 2))


def test_a_result_that_its_writer_did_not_compute_is_not_believed(tmp_path: Path) -> None:
    """XlsxWriter stores 0 for every formula, and asks Excel to compute it when the file is opened."""
    path = tmp_path / "labels.xlsx"
    workbook(path, [["id", "CO"], ["a", "=1+2"]])
    old = '<c r="B2"><f>1+2</f><v /></c>'
    rewritten(path, {"xl/worksheets/sheet1.xml": (old, old.replace("<v />", "<v>0</v>"))})
    assert "result is not stored" in number_problem(read_sheet(path), 0, 1)


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_a_number_without_end_is_named_by_its_cell(tmp_path: Path, number: str) -> None:
    path = tmp_path / "labels.xlsx"
    workbook(path, [["id", "CO"], ["a", 4]])
    rewritten(path, {"xl/worksheets/sheet1.xml": ("<v>4</v>", f"<v>{number}</v>")})
    assert number_problem(read_sheet(path), 0, 1) == "not a finite number"


def test_a_strict_workbook_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    workbook(path, [["id", "CO"], ["a", 4]])
    plain, strict = (
        "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
        "http://purl.oclc.org/ooxml/spreadsheetml/main",
    )
    rewritten(path, {"xl/workbook.xml": (plain, strict), "xl/worksheets/sheet1.xml": (plain, strict)})
    with pytest.raises(InputError, match="Strict Open XML: save it as"):
        read_sheet(path)


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"', "\ufeffsep=;", "sep=;;"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_the_line_that_names_the_separator_is_no_row(tmp_path: Path, line: str, end: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(end.join([line, "id;CO", "a;4,5", ""]).encode())
    sheet = read_sheet(path)
    assert sheet.columns == ("id", "CO")
    assert [(row.number, sheet.number(row, 1)) for row in sheet.rows] == [(2, 4.5)]


def test_quoted_decimal_commas_between_commas(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text('id,CO,CI\na,"4,5","2,125"\nb,"5,25",\n')
    sheet = read_sheet(path)
    assert [sheet.number(row, 1) for row in sheet.rows] == [4.5, 5.25]
    assert sheet.number(sheet.rows[0], 2) == 2.125


def test_thousands_are_not_told_from_decimals_by_guessing(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id;SVRI;CO\na;2,100;4.5\nb;2.100;4.6\n")
    assert "behind a comma can be thousands" in number_problem(read_sheet(path), 0, 1)
    path.write_text("id;SVRI;CO\na;2.100;4,5\nb;1,234;4,6\n")
    sheet = read_sheet(path)
    assert "behind a point can be thousands" in number_problem(sheet, 0, 1)
    assert sheet.number(sheet.rows[1], 1) == 1.234


def test_titles_above_the_headings_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("Cohort of the clinic, all years\n\nid;CO;CI\na;4,5;2\n".replace(", all", ""))
    sheet = read_sheet(path)
    assert (sheet.columns, sheet.rows[0].number) == (("id", "CO", "CI"), 4)
    assert sheet.notes == ("1 rows above the headings, of one cell each, were left out",)


def test_rows_that_a_filter_hides_are_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    book = workbook(path, [["id", "CO"], *([name, 4] for name in "abcde")])
    book.active.auto_filter.ref = "A1:B6"
    book.active.auto_filter.add_filter_column(0, ["a", "c"])
    for row in (3, 5, 6, 9):
        book.active.row_dimensions[row].hidden = True
    book.save(path)
    sheet = read_sheet(path)
    assert [(row.number, row.cells[0].text) for row in sheet.rows] == [(2, "a"), (4, "c")]
    (note,) = sheet.notes
    assert note.startswith("3 rows that a filter or the user hides were left out (row 3, 5, 6)")


def test_the_first_visible_sheet_is_read_and_the_others_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    book = workbook(path, [["old id", "CO"], ["z", 1]])
    book.active.sheet_state = "hidden"
    for name in ("Roe", "Doe", "empty"):
        book.create_sheet(name)
    book["Roe"].append(["id", "CO"])
    book["Roe"].append(["a", 4])
    book["Doe"].append(["x"])
    book.active = 1
    book.save(path)
    sheet = read_sheet(path)
    assert sheet.columns == ("id", "CO")
    assert sheet.notes == ("labels.xlsx: the first visible sheet was read, 2 others (1 hidden) not",)


def test_hidden_columns_are_read_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    book = workbook(path, [["id", "CO", "CI", "PVR"], ["a", 4, 2, 1]])
    book.active.column_dimensions.group("B", "C", hidden=True)
    book.save(path)
    sheet = read_sheet(path)
    assert texts(sheet) == [("a", "4", "2", "1")]
    assert sheet.notes == ("2 hidden columns were read like the others",)


def test_merged_cells_are_named_and_a_merged_title_is_a_title(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    book = workbook(path, [["A title", None], ["id", "CO"], ["a", 4], ["b", None], [None, None]])
    for area in ("A1:B1", "B3:B4", "A7:B9"):
        book.active.merge_cells(area)
    book.save(path)
    sheet = read_sheet(path)
    assert sheet.columns == ("id", "CO")
    assert len(sheet.rows) == 2
    assert sheet.number(sheet.rows[0], 1) == 4.0
    assert "merged cell" in number_problem(sheet, 1, 1)


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        (datetime.datetime(2018, 5, 12), "d. mmm", "a date or a time"),
        (datetime.date(2018, 5, 12), "yyyy-mm-dd", "a date or a time"),
        (12.5, "d/m/yyyy", "a date or a time"),
        (datetime.time(12, 30), "h:mm", "a date or a time"),
        (datetime.timedelta(hours=30), "[h]:mm", "a date or a time"),
        ("#DIV/0!", "General", "an error of the spreadsheet"),
        (True, "General", "not a number"),
    ],
)
def test_cells_that_are_no_numbers_are_named_for_what_they_are(
    tmp_path: Path, value: object, form: str, expected: str
) -> None:
    path = tmp_path / "labels.xlsx"
    book = workbook(path, [["id", "CO"], ["a", value]])
    book.active["B2"].number_format = form
    book.save(path)
    assert expected in number_problem(read_sheet(path), 0, 1)


def test_ids_look_as_their_format_shows_them(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    book = workbook(path, [["id", "CO"], [7, 4], [201812345678, 4], [8, 4]])
    book.active["A2"].number_format = '"P"000'
    book.active["A3"].number_format = "0.00E+00"
    book.save(path)
    assert [row[0] for row in texts(read_sheet(path))] == ["P007", "201812345678", "8"]


def test_empty_rows_and_columns_far_away_do_not_count_but_have_an_end(tmp_path: Path) -> None:
    path = tmp_path / "labels.xlsx"
    book = workbook(path, [["id", "CO"], ["a", 4]])
    book.active["F40"].number_format = "0.0"
    book.save(path)
    assert texts(read_sheet(path)) == [("a", "4")]
    book.active["XFD1048576"].number_format = "0.0"
    book.save(path)
    with pytest.raises(InputError, match="1048576 rows and 16384 columns: delete"):
        read_sheet(path)


def test_a_workbook_is_known_by_its_content_and_an_older_one_is_named(tmp_path: Path) -> None:
    workbook(tmp_path / "labels.xlsx", [["id", "CO"], ["a", 4]])
    (tmp_path / "labels.xlsx").rename(tmp_path / "labels.csv")
    assert texts(read_sheet(tmp_path / "labels.csv")) == [("a", "4")]
    (tmp_path / "old.xlsx").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512))
    with pytest.raises(InputError, match="an older or a protected workbook"):
        read_sheet(tmp_path / "old.xlsx")


def test_two_columns_of_one_heading_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folds.csv").write_text("patient_id,fold,Fold\na,1,2\n")
    with pytest.raises(InputError, match="columns B and C have the same heading"):
        read_sheet(tmp_path / "folds.csv").find(("fold",))


@given(st.text())
def test_cleaning_is_idempotent_and_leaves_no_space_at_the_ends(text: str) -> None:
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned == cleaned.strip()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200) | st.text(";,\t\n\r\"'sep=ab12.\u00e9\0", max_size=80).map(str.encode))
def test_any_bytes_are_a_sheet_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    try:
        sheet = read_sheet(path)
    except InputError:
        return
    assert all(len(row.cells) == len(sheet.columns) for row in sheet.rows)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"]),
    st.lists(
        st.lists(st.text('ab 12,;.\t"é%', max_size=6).map(clean_text), min_size=3, max_size=3), min_size=3
    ),
)
def test_a_quoted_table_is_read_as_it_was_written(
    tmp_path: Path, separator: str, encoding: str, cells: list[list[str]]
) -> None:
    path, text = tmp_path / "labels.csv", io.StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([["id", "CO", "CI"], *cells])
    path.write_bytes(text.getvalue().encode(encoding))
    assert texts(read_sheet(path)) == [tuple(row) for row in cells if any(row)]
