"""The workbook: every number as it is, no formula, a sheet a table."""

from __future__ import annotations

import zipfile

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook

from cardio_mlflow.analysis.summary import performance_table
from cardio_mlflow.report.workbook import sheet_names, write_workbook

HOSTILE = [
    "=1+1",
    "+1",
    "-2",
    "@SUM(A1)",
    "#N/A",
    "a\x00b\x0bc",
    "01",
    "1e5",
    "TRUE",
    "\ud800x",
    "=HYPERLINK(1)",
]


def _read(path, sheet):
    rows = list(load_workbook(path)[sheet].iter_rows(values_only=True))
    return pd.DataFrame(rows[1:], columns=list(rows[0]))


def _same(read, table):
    assert list(read.columns) == list(table.columns)
    for name in table:
        for seen, given in zip(read[name].astype(object), table[name].astype(object), strict=True):
            if pd.isna(given) or given == "":
                assert pd.isna(seen)
            else:
                assert seen == given


def test_every_number_is_read_back_as_it_was(tmp_path, table):
    predictions = table()
    performance = performance_table(predictions, 100, 0)
    generator = np.random.default_rng(3)
    wild = pd.DataFrame({"value": generator.normal(size=500) * 10.0 ** generator.integers(-300, 300, 500)})
    sheets = {"predictions": predictions, "performance": performance, "wild": wild}
    write_workbook(tmp_path / "new" / "tables.xlsx", sheets, synthetic=False)
    for name, given in sheets.items():
        _same(_read(tmp_path / "new" / "tables.xlsx", name), given)
    assert load_workbook(tmp_path / "new" / "tables.xlsx").sheetnames == ["About", *sheets]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["tables.xlsx"]


def test_text_is_never_a_formula(tmp_path):
    path = tmp_path / "t.xlsx"
    write_workbook(
        path, {"ids": pd.DataFrame({"=patient": pd.Series(HOSTILE, dtype=object)})}, synthetic=False
    )
    sheet = load_workbook(path)["ids"]
    cells = [row[0] for row in sheet.iter_rows()]
    assert {cell.data_type for cell in cells} == {"s"}
    expected = ["=patient", *HOSTILE]
    expected[6], expected[10] = "a\ufffdb\ufffdc", "\ufffdx"
    assert [cell.value for cell in cells] == expected
    assert [cell.quotePrefix for cell in cells] == [text.startswith(tuple("=+-@")) for text in expected]
    with zipfile.ZipFile(path) as file:
        assert all(b"<f>" not in file.read(name) for name in file.namelist())


def test_missing_and_infinite_values(tmp_path):
    given = pd.DataFrame(
        {"fold": pd.array([1, None], dtype="Int64"), "threshold": [np.inf, np.nan], "used": [True, False]}
    )
    write_workbook(tmp_path / "t.xlsx", {"roc": given}, synthetic=False)
    rows = list(load_workbook(tmp_path / "t.xlsx")["roc"].iter_rows(min_row=2, values_only=True))
    assert rows == [(1, "inf", True), (None, None, False)]


def test_formats_widths_and_frames(tmp_path, table):
    performance = performance_table(table(), 100, 0).assign(bp_p=0.03)
    write_workbook(tmp_path / "t.xlsx", {"performance": performance}, synthetic=False)
    sheet = load_workbook(tmp_path / "t.xlsx")["performance"]
    second = {sheet.cell(1, i).value: sheet.cell(2, i).number_format for i in range(1, sheet.max_column + 1)}
    assert (second["n"], second["r"], second["auc_low"], second["bp_p"]) == ("0", "0.00", "0.00", "0.0000")
    assert second["mae"] == "0.000"
    assert (sheet.freeze_panes, sheet.auto_filter.ref.split(":")[0]) == ("B2", "A1")
    assert all(sheet.cell(1, i).font.bold for i in range(1, sheet.max_column + 1))
    assert 8 <= sheet.column_dimensions["A"].width <= 48


@pytest.mark.parametrize("synthetic", [True, False])
def test_about_says_what_it_is(tmp_path, synthetic):
    sheets = {"roc": pd.DataFrame({"fpr": [0.0]}), "my_table": pd.DataFrame()}
    write_workbook(tmp_path / "t.xlsx", sheets, synthetic=synthetic)
    book = load_workbook(tmp_path / "t.xlsx")
    text = "\n".join(str(cell) for row in book["About"].iter_rows(values_only=True) for cell in row if cell)
    assert ("SYNTHETIC" in text) is synthetic
    assert "Research only" in text
    assert "The points of the ROC curves" in text
    assert book["my_table"].max_row == 1


def test_names_that_excel_allows():
    names = sheet_names(["x" * 40, "X" * 40, "history", "a:b", "'"])
    assert names == ["x" * 31, "X" * 29 + " 2", "training history", "a_b", "table"]


def test_the_same_tables_give_the_same_sheets(tmp_path, table):
    contents = []
    for name in ("a.xlsx", "b.xlsx"):
        write_workbook(tmp_path / name, {"predictions": table()}, synthetic=True)
        with zipfile.ZipFile(tmp_path / name) as file:
            contents.append({n: file.read(n) for n in file.namelist() if n != "docProps/core.xml"})
    assert contents[0] == contents[1]
