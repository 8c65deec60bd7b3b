"""Sheets of csv files and workbooks, read as their user sees them, or refused with what to do."""

import csv
import datetime
import io
import zipfile

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardio_mlflow.errors import InputError
from cardio_mlflow.sheets.cells import clean_text
from cardio_mlflow.sheets.sheet import read_sheet

SHEET1, BOOK = "xl/worksheets/sheet1.xml", "xl/workbook.xml"
FORMULA = '<c r="B2"><f>1+2</f><v /></c>'


def texts(sheet):
    return [tuple(cell.text for cell in row.cells) for row in sheet.rows]


def problem(sheet, row=0, column=1):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - its words are returned
        sheet.number(sheet.rows[row], column)
    return str(error.value)


@pytest.fixture
def read_csv(tmp_path):
    def read(text, encoding="utf-8"):
        (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
        return read_sheet(tmp_path / "labels.csv")

    return read


@pytest.fixture
def read_xlsx(tmp_path):
    """Reads a workbook of these rows, that ``change`` changes, and then texts within its parts."""

    def read(rows, change=lambda book: None, parts=()):
        path, book = tmp_path / "labels.xlsx", openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        change(book)
        book.save(path)
        with zipfile.ZipFile(path) as archive:
            content = {name: archive.read(name).decode() for name in archive.namelist()}
        for name, old, new in parts:
            assert old in content[name]
            content[name] = content[name].replace(old, new)
        with zipfile.ZipFile(path, "w") as archive:
            for name, part in content.items():
                archive.writestr(name, part)
        return read_sheet(path)

    return read


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_separators_and_encodings(read_csv, separator, encoding):
    sheet = read_csv(f"id{separator}Größe\r\né1{separator}2", encoding)
    assert (sheet.columns, texts(sheet)) == (("id", "Größe"), [("é1", "2")])


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"', "\ufeffsep=;", "sep=;;"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_the_line_that_names_the_separator_is_no_row(read_csv, line, end):
    sheet = read_csv(end.join([line, "id;CO", "a;4,5", ""]))
    assert sheet.columns == ("id", "CO")
    assert [(row.number, sheet.number(row, 1)) for row in sheet.rows] == [(2, 4.5)]


def test_rows_and_titles_of_a_csv_file(read_csv):
    sheet = read_csv("id;CO, L/min;CI\na;4,5;2,5\n")
    assert texts(sheet) == [("a", "4,5", "2,5")], "a comma in a heading does not win over semicolons"
    sheet = read_csv("id,CO,,\na,4\n\n,,,\nb\n")
    assert [row.number for row in sheet.rows] == [2, 5], "as a spreadsheet numbers them"
    assert texts(sheet) == [("a", "4"), ("b", "")]
    sheet = read_csv("Cohort of the clinic years\n\nid;CO;CI\na;4,5;2\n")
    assert (sheet.columns, sheet.rows[0].number) == (("id", "CO", "CI"), 4)
    assert sheet.notes == ("1 rows above the headings, of one cell each, were left out",)


def test_decimals_and_thousands(read_csv):
    sheet = read_csv('id,CO,CI\na,"4,5","2,125"\nb,"5,25",\n')
    assert [sheet.number(row, 1) for row in sheet.rows] == [4.5, 5.25]
    assert sheet.number(sheet.rows[0], 2) == 2.125
    assert "behind a comma can be thousands" in problem(read_csv("id;SVRI;CO\na;2,100;4.5\nb;2.100;4.6\n"))
    sheet = read_csv("id;SVRI;CO\na;2.100;4,5\nb;1,234;4,6\n")
    assert "behind a point can be thousands" in problem(sheet)
    assert sheet.number(sheet.rows[1], 1) == 1.234


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("labels.csv", b"\n \n", "labels.csv is empty"),
        ("labels.csv", b"id,CO\na,4\nb,4,5\n", r"row 3: 3 cells.*decimal comma"),
        ("labels.csv", b"patient_id,fold,Fold\na,1,2\n", "columns B and C have the same heading"),
        ("labels.xlsx", b"no zip", "labels.xlsx is not a readable xlsx"),
        ("old.xlsx", bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512), "an older or a protected workbook"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=expected):
        read_sheet(tmp_path / name).find(("fold",))


@pytest.mark.parametrize("name", ["labels.csv", "labels.xlsx"])
def test_what_cannot_be_opened_is_refused_without_its_path(tmp_path, name):
    (tmp_path / "Roe" / name).mkdir(parents=True)
    with pytest.raises(InputError, match="cannot be read") as error:
        read_sheet(tmp_path / "Roe" / name)
    assert "Roe" not in str(error.value)


@pytest.mark.parametrize("part", [BOOK, SHEET1, "[Content_Types].xml"])
def test_a_workbook_damaged_inside_is_refused(read_xlsx, part):
    with pytest.raises(InputError, match="not a readable xlsx"):
        read_xlsx([["id", "CO"], ["a", 4]], parts=[(part, "<", "<broken><")])


def test_a_strict_workbook_is_called_one(read_xlsx):
    plain = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    parts = [(part, plain, "http://purl.oclc.org/ooxml/spreadsheetml/main") for part in (BOOK, SHEET1)]
    with pytest.raises(InputError, match="Strict Open XML: save it as"):
        read_xlsx([["id", "CO"], ["a", 4]], parts=parts)


def test_a_workbook_is_known_by_its_content(read_xlsx, tmp_path):
    read_xlsx([["id", "CO"], ["a", 4]])
    (tmp_path / "labels.xlsx").rename(tmp_path / "labels.csv")
    assert texts(read_sheet(tmp_path / "labels.csv")) == [("a", "4")]


def test_numbers_of_a_workbook_look_as_their_format_shows_them(read_xlsx):
    def formats(book):
        for cell, form in (("A3", "000"), ("A4", '"P"000'), ("A5", "0.00E+00")):
            book.active[cell].number_format = form

    rows = [["id", "CO"], [12.0, 4.25], [7, None], [7, 4], [201812345678, 4]]
    assert texts(read_xlsx(rows, formats)) == [
        ("12", "4.25"), ("007", ""), ("P007", "4"), ("201812345678", "4")]  # fmt: skip


def test_a_result_counts_where_its_writer_has_computed_it(read_xlsx):
    rows, stored = [["id", "CO", "CI"], ["a", "=1+2", '=""']], FORMULA.replace("<v />", "<v>3</v>")
    assert "a formula whose result is not stored" in problem(read_xlsx(rows))
    computed, never = (SHEET1, FORMULA, stored), (BOOK, 'fullCalcOnLoad="1"', "")
    assert "result is not stored" in problem(read_xlsx(rows, parts=[never]))
    # XlsxWriter stores 0 for every formula, and asks Excel to compute it when the file is opened.
    assert "result is not stored" in problem(read_xlsx(rows, parts=[computed]))
    empty = (SHEET1, '<c r="C2"><f>""</f><v /></c>', '<c r="C2" t="str"><f>""</f><v /></c>')
    sheet = read_xlsx(rows, parts=[computed, empty, never])
    assert sheet.number(sheet.rows[0], 1) == 3.0
    assert texts(sheet)[0][2] == "", "an empty text is missing"


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_a_number_without_end_is_named_by_its_cell(read_xlsx, number):
    sheet = read_xlsx([["id", "CO"], ["a", 4]], parts=[(SHEET1, "<v>4</v>", f"<v>{number}</v>")])
    assert problem(sheet) == "not a finite number"


def test_rows_that_a_filter_hides_are_left_out_and_named(read_xlsx):
    def hide(book):
        book.active.auto_filter.ref = "A1:B6"
        book.active.auto_filter.add_filter_column(0, ["a", "c"])
        for row in (3, 5, 6, 9):
            book.active.row_dimensions[row].hidden = True

    sheet = read_xlsx([["id", "CO"], *([name, 4] for name in "abcde")], hide)
    assert [(row.number, row.cells[0].text) for row in sheet.rows] == [(2, "a"), (4, "c")]
    (note,) = sheet.notes
    assert note.startswith("3 rows that a filter or the user hides were left out (row 3, 5, 6)")


def test_the_first_visible_sheet_is_read_and_the_others_are_counted(read_xlsx):
    def more(book):
        book.active.sheet_state = "hidden"
        for name, rows in (("Roe", [["id", "CO"], ["a", 4]]), ("Doe", [["x"]]), ("empty", [])):
            for row in rows:
                (book[name] if name in book else book.create_sheet(name)).append(row)
        book.create_sheet("another")
        book.active = 1

    sheet = read_xlsx([["old id", "CO"], ["z", 1]], more)
    assert sheet.columns == ("id", "CO")
    assert sheet.notes == ("labels.xlsx: the first visible sheet was read, 2 others (1 hidden) not",)


def test_hidden_columns_are_read_and_counted(read_xlsx):
    hide = lambda book: book.active.column_dimensions.group("B", "C", hidden=True)  # noqa: E731
    sheet = read_xlsx([["id", "CO", "CI", "PVR"], ["a", 4, 2, 1]], hide)
    assert texts(sheet) == [("a", "4", "2", "1")]
    assert sheet.notes == ("2 hidden columns were read like the others",)


def test_merged_cells_are_named_and_a_merged_title_is_a_title(read_xlsx):
    def merge(book):
        for area in ("A1:B1", "B3:B4", "A7:B9"):
            book.active.merge_cells(area)

    sheet = read_xlsx([["A title", None], ["id", "CO"], ["a", 4], ["b", None], [None, None]], merge)
    assert (sheet.columns, len(sheet.rows), sheet.number(sheet.rows[0], 1)) == (("id", "CO"), 2, 4.0)
    assert "merged cell" in problem(sheet, 1)


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
def test_cells_that_are_no_numbers_are_named_for_what_they_are(read_xlsx, value, form, expected):
    def show(book):
        book.active["B2"].number_format = form

    assert expected in problem(read_xlsx([["id", "CO"], ["a", value]], show))


def test_empty_rows_and_columns_far_away_do_not_count_but_have_an_end(read_xlsx):
    def touch(cell):
        return lambda book: setattr(book.active[cell], "number_format", "0.0")

    assert texts(read_xlsx([["id", "CO"], ["a", 4]], touch("F40"))) == [("a", "4")]
    with pytest.raises(InputError, match="1048576 rows and 16384 columns: delete"):
        read_xlsx([["id", "CO"], ["a", 4]], touch("XFD1048576"))


@given(st.text())
def test_cleaning_is_idempotent_and_leaves_no_space_at_the_ends(text):
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned == cleaned.strip()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200) | st.text(";,\t\n\r\"'sep=ab12.\u00e9\0", max_size=80).map(str.encode))
def test_any_bytes_are_a_sheet_or_refused(tmp_path, content):
    (tmp_path / "labels.csv").write_bytes(content)
    try:
        sheet = read_sheet(tmp_path / "labels.csv")
    except InputError:
        return
    assert all(len(row.cells) == len(sheet.columns) for row in sheet.rows)


CELLS = st.lists(st.text('ab 12,;.\t"é%', max_size=6).map(clean_text), min_size=3, max_size=3)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"]),
    st.lists(CELLS, min_size=3),
)
def test_a_quoted_table_is_read_as_it_was_written(read_csv, separator, encoding, cells):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([["id", "CO", "CI"], *cells])
    assert texts(read_csv(text.getvalue(), encoding)) == [tuple(row) for row in cells if any(row)]
