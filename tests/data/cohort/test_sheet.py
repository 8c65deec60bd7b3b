from __future__ import annotations

import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.cohort.sheet import clean_text, read_sheet
from cardio_mlflow.errors import InputError


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_separators_and_encodings(tmp_path: Path, separator: str, encoding: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(f"id{separator}Größe\r\né1{separator}2".encode(encoding))
    sheet = read_sheet(path)
    assert sheet.columns == ("id", "Größe")
    assert sheet.rows[0].cells == ("é1", "2")


def test_a_comma_in_a_heading_does_not_win_over_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id;CO, L/min;CI\na;4,5;2,5\n")
    assert read_sheet(path).rows[0].cells == ("a", "4,5", "2,5")


def test_row_numbers_are_those_of_the_spreadsheet_and_empty_rows_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,CO,,\na,4\n\n,,,\nb\n")
    sheet = read_sheet(path)
    assert [(row.number, row.cells) for row in sheet.rows] == [(2, ("a", "4")), (5, ("b", ""))]


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
    assert [row.cells for row in read_sheet(path).rows] == [("12", "4.25"), ("007", "")]


def test_a_formula_without_a_stored_result_is_not_taken_for_a_missing_value(tmp_path: Path) -> None:
    workbook(tmp_path / "labels.xlsx", [["id", "CO"], ["a", "=1+2"]])
    with pytest.raises(InputError, match="row 2: a formula"):
        read_sheet(tmp_path / "labels.xlsx")


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


@given(st.text())
def test_cleaning_is_idempotent_and_leaves_no_space_at_the_ends(text: str) -> None:
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned == cleaned.strip()
