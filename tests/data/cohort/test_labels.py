from __future__ import annotations

import datetime
from functools import partial

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.cohort.labels import read_labels, read_patients
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS

HEALTHY = {"RAP": 6.0, "SPAP": 24.0, "dPAP": 9.0, "meanPAP": 15.0, "PCWP": 9.0, "CO": 5.1, "CI": 2.9,
           "SVRI": 2100.0, "PVR": 1.2}  # fmt: skip


def sheet(patients=4, **columns):
    """A label sheet of healthy patients P1, P2, ..., with columns replaced or added."""
    base: dict[str, list[object]] = {"patient_id": [f"P{i}" for i in range(1, patients + 1)]}
    base |= {key: [HEALTHY[key]] * patients for key in KEYS}
    return pd.DataFrame(base | columns)


def write(folder, table, **options):
    table.to_csv(folder / "labels.csv", index=False, **options)
    return folder


def write_book(folder, rows, change=lambda book: None):
    """Write a workbook of these rows, which ``change`` changes."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    change(book.active)
    book.save(folder / "labels.xlsx")
    return folder


def refusal(folder, table):
    with pytest.raises(InputError) as error:
        read_labels(write(folder, table), 235)
    return str(error.value)


def test_the_table_is_complete_and_in_sheet_order(tmp_path):
    table = sheet(
        cohort=["II", "1", "Cohort I", "cohort 2"], HR=["72 bpm", 80, "", 61], sex=["f", "m", "", "f"]
    )
    read = read_labels(write(tmp_path, table), 235)
    labels = read.table
    assert list(labels.columns) == ["cohort", "person", *KEYS, "HR", "sex"]
    assert list(labels.index) == ["P1", "P2", "P3", "P4"]
    assert list(labels["cohort"]) == ["II", "I", "I", "II"]
    assert labels[list(KEYS)].dtypes.eq(np.float64).all()
    assert labels.loc["P3", "HR"] != labels.loc["P3", "HR"]
    assert labels["sex"].isna().tolist() == [False, False, True, False]
    assert read.notes == ()
    assert (read.name, read.rows) == ("labels.csv", {"P1": 2, "P2": 3, "P3": 4, "P4": 5})


def test_the_older_layout(tmp_path):
    head = ["E Number", *(key.replace("dPAP", "dpap") for key in HEALTHY)]
    rows = [[float(number + 1), *HEALTHY.values()] for number in range(308)]
    read = read_labels(write_book(tmp_path, [head, *rows]), 235)
    labels = read.table
    assert labels.index[0] == "1"
    assert labels.index[-1] == "308"
    assert (labels["cohort"] == "I").sum() == 235
    assert list(labels["cohort"][233:237]) == ["I", "I", "II", "II"]
    assert any("E Number" in note for note in read.notes)


def test_aliases_any_case_and_units_in_headings(tmp_path):
    names = {"patient_id": "Patient ID", "meanPAP": "mPAP (mmHg)", "dPAP": "DPAP", "PCWP": "PAWP",
             "RAP": "mean RAP", "CO": "Cardiac Output [L/min]"}  # fmt: skip
    labels = read_labels(write(tmp_path, sheet().rename(columns=names)), 2).table
    assert list(labels.columns[2:]) == list(KEYS)


def test_decimal_commas_between_semicolons(tmp_path):
    labels = read_labels(write(tmp_path, sheet(), sep=";", decimal=",", encoding="latin-1"), 2).table
    assert labels.loc["P1", "CO"] == 5.1


def test_missing_values_stay_missing_and_are_counted(tmp_path):
    read = read_labels(write(tmp_path, sheet(PCWP=["", "n/a", 9, "-"], CO=["NA", 5, 5, 5])), 2)
    assert read.table["PCWP"].isna().tolist() == [True, True, False, True]
    assert "PCWP 3, CO 1" in read.notes[-1]
    read = read_labels(write(tmp_path, sheet(2, **{key: ["", HEALTHY[key]] for key in KEYS})), 2)
    assert "1 patients without any value: row 2" in read.notes


def test_every_problem_is_named_by_row_and_column(tmp_path):
    table = sheet(patient_id=["Roe", "Roe", "", "P4"], PVR=[1, 240, 2, 1], RAP=[6, 6, "Jane Roe", "<5"])
    message = refusal(tmp_path, table)
    assert "labels.csv: 5 problems" in message
    assert "row 3, column A (patient_id): duplicate id: it is already in row 2" in message
    assert "row 4, column A (patient_id): no patient id" in message
    assert "row 3, column J (PVR): 240 is outside 0.05 to 40 Wood units" in message
    assert "divide by 80" in message
    assert "row 4, column B (RAP): not a number" in message
    assert "row 5, column B (RAP): a bound" in message
    assert "Jane" not in message
    assert "Roe" not in message


def test_only_ten_problems_are_shown(tmp_path):
    message = refusal(tmp_path, sheet(25, PVR=[500] * 25))
    assert [words in message for words in ("25 problems", "row 11", "row 12", "15 more")] == [1, 1, 0, 1]


def test_a_missing_column_is_named_with_the_nearest_unknown_one(tmp_path):
    message = refusal(tmp_path, sheet().rename(columns={"PCWP": "PCWPP", "CO": "zzz"}))
    assert "PCWP (pulmonary capillary wedge pressure, mmHg): is it column F (PCWPP)?" in message
    assert "cardiac output" not in message


def test_a_first_row_of_data_or_of_names_is_not_repeated(tmp_path):
    turned = "value,Jane Roe,John Doe\nRAP,6,7\nSPAP,24,25\n"
    for text in ("Jane Roe,6,24,9,15,9,5.1,2.9,2100,1.2\n" * 2, turned):
        (tmp_path / "labels.csv").write_text(text)
        with pytest.raises(InputError, match="must hold the names of the columns") as error:
            read_labels(tmp_path, 2)
        assert "Jane" not in str(error.value)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (sheet(mPAP=[1, 2, 3, 4]), "columns E (meanPAP) and K (mPAP) both hold meanPAP"),
        (sheet().rename(columns={"PVR": "PVR (dyn·s·cm-5)"}), "divide by 80"),
        (sheet().drop(columns="patient_id"), "no patient_id column"),
        (sheet(cohort=["I", "II", "train", ""]), "row 4, column K (cohort): write I or II"),
        (sheet(0), "no patient below"),
        (sheet(patient_id=["a", "../b", "c", "d"]), "row 3, column A (patient_id)"),
        (sheet(HR=["fast", 70, 70, 70]), "row 2, column K (HR): not a number"),
        (sheet(HR=[0, 70, 70, 70]), "row 2, column K (HR): 0 is outside 20 to 300 bpm; leave the cell empty"),
        (sheet(BSA=[1.8, 18500, 1.9, 2]), "row 3, column K (BSA): 18500 is outside 0.2 to 4 m²"),
        (sheet(MAP=[90, 95, 12.5, 80]), "row 4, column K (MAP): 12.5 is outside 20 to 250 mmHg"),
    ],
)
def test_sheets_that_cannot_be_used_say_why(tmp_path, table, expected):
    assert expected in refusal(tmp_path, table)


def test_a_parameter_without_a_column_is_a_column_of_missing_values_and_noted(tmp_path):
    table = sheet(SVR=[1500] * 4, PCWP=["", "n/a", "-", ""]).drop(columns=["SVRI", "CO"])
    read = read_labels(write(tmp_path, table), 2)
    assert list(read.table.columns) == ["cohort", "person", *KEYS]
    assert read.table[["SVRI", "CO", "PCWP"]].isna().all(axis=None)
    assert read.table[list(KEYS)].dtypes.eq(np.float64).all()
    assert "no patient has a value of PCWP, CO, SVRI" in read.notes
    assert not any(note.startswith("missing values") for note in read.notes)


def test_one_parameter_is_enough_and_none_is_not(tmp_path):
    assert read_labels(write(tmp_path, sheet()[["patient_id", "meanPAP"]]), 2).table["meanPAP"].eq(15).all()
    message = refusal(tmp_path, sheet(sex=["f"] * 4)[["patient_id", "sex"]])
    assert "must hold the names of the columns" in message


def test_a_row_of_units_is_no_patient_and_its_units_are_checked(tmp_path):
    units = dict(zip(KEYS, ["mmHg"] * 5 + ["l/min", "L/min/m2", "", "WU"], strict=True)) | {"HR": "bpm"}
    table = pd.concat([pd.DataFrame([{"patient_id": "unit"} | units]), sheet(HR=[70] * 4)])
    read = read_labels(write(tmp_path, table), 2)
    assert list(read.table.index) == ["P1", "P2", "P3", "P4"]
    assert read.rows["P1"] == 3
    assert "row 2 holds units, no patient" in read.notes
    table.iloc[0, 8] = "dyn·s·cm??·m²"  # as a Windows code page keeps superscripts
    assert any("was not understood" in note for note in read_labels(write(tmp_path, table), 2).notes)
    table.iloc[0, 4] = "kPa"
    assert "column E (meanPAP): meanPAP is wanted in mmHg; multiply by 7.5" in refusal(tmp_path, table)
    table.iloc[0, 4] = "L/min"
    assert "row 2, column E (meanPAP): a unit, but meanPAP is wanted in mmHg" in refusal(tmp_path, table)


@pytest.mark.parametrize(
    "words", [["Mean", "SD"], ["MEAN ± SD", ""], ["Median (IQR)", "n ="], ["Mittelwert"]]
)
def test_means_below_the_patients_are_named_as_no_patients(tmp_path, words):
    ids = [f"P{i}" for i in range(1, 5)] + words
    message = refusal(tmp_path, sheet(len(ids), patient_id=ids))
    assert ("row 6, column A (patient_id): a summary" in message) == bool(words[-1])
    assert "no patient" in message
    assert refusal(tmp_path, sheet(5, patient_id=["SD", *ids[:3], "P1"])).count("row") == 2, "only at the end"


def test_what_excel_made_of_a_number_is_named_by_row_and_column(tmp_path):
    def spoil(page):
        page["B2"], page["C3"], page["D4"] = datetime.datetime(2018, 5, 12), "12. May", "#DIV/0!"
        page["E5"], page["F6"] = "=AVERAGE(E2:E4)", "<5"
        page.merge_cells("G6:G7")

    rows = [[f"Roe{number}", *HEALTHY.values()] for number in range(6)]
    write_book(tmp_path, [["patient_id", *KEYS], *rows], spoil)
    with pytest.raises(InputError) as error:
        read_labels(tmp_path, 2)
    message = str(error.value)
    for expected in ("6 problems", "row 2, column B (RAP): a date", "row 3, column C (SPAP): a date",
                     "row 4, column D (dPAP): an error of", "row 5, column E (meanPAP): a formula whose",
                     "row 6, column F (PCWP): a bound", "row 7, column G (CO): part of a m"):  # fmt: skip
        assert expected in message
    for secret in ("Roe", "2018", "12. May", "AVERAGE"):
        assert secret not in message


def test_marks_beside_numbers_are_dropped_and_named(tmp_path):
    read = read_labels(write(tmp_path, sheet(CO=["5*", "5.1 L/min", 5, "~5.5"])), 4)
    assert list(read.table["CO"]) == [5, 5.1, 5, 5.5]
    note = next(note for note in read.notes if "mark" in note)
    assert note.endswith("row 2, column G (CO); row 5, column G (CO)")
    assert note.startswith("2 cells")


def hide(page, row):
    page.row_dimensions[row].hidden = True


def test_hidden_rows_are_no_patients_and_the_note_says_so(tmp_path):
    rows = [["patient_id", *KEYS], *([number, *HEALTHY.values()] for number in range(4))]
    read = read_labels(write_book(tmp_path, rows, partial(hide, row=3)), 4)
    assert read.rows == {"0": 2, "2": 4, "3": 5}
    assert any("left out (row 3)" in note for note in read.notes)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("hidden", [1, 3, 6])
def test_hidden_rows_move_nobody_into_the_other_cohort(tmp_path, size, hidden):
    rows = [["Title"], ["patient_id", *KEYS], *([number, *HEALTHY.values()] for number in range(4))]
    whole = read_labels(write_book(tmp_path, rows), size).table["cohort"]
    write_book(tmp_path, rows, partial(hide, row=hidden))
    if hidden == 3 and size < 4:  # else the border stays
        with pytest.raises(InputError, match="hides rows before the border of Cohort I"):
            read_labels(tmp_path, size)
    else:
        cohorts = read_labels(tmp_path, size).table["cohort"]
        assert cohorts.equals(whole[cohorts.index])


def test_ids_in_scientific_notation_that_fell_together_are_explained(tmp_path):
    message = refusal(tmp_path, sheet(patient_id=["2.018E+11", "2.018E+11", "c", "d"]))
    assert "row 3, column A (patient_id): duplicate id" in message
    assert "have lost digits: format the column as text" in message
    assert "2.018" not in message


def test_studies_and_days_of_catheterisation_stay_out_of_the_table(tmp_path):
    table = sheet(study=["20180512", "", "b", ""], rhc_date=["2018-05-12", "12.05.2018", "", "n/a"])
    read = read_labels(write(tmp_path, table), 2)
    assert list(read.table.columns) == ["cohort", "person", *KEYS]
    assert read.studies == {"P1": "20180512", "P3": "b"}
    assert read.dates == dict.fromkeys(("P1", "P2"), datetime.date(2018, 5, 12))
    table["rhc_date"] = ["2018-05-12", "05/12/2018", "", ""]
    assert list(read_labels(write(tmp_path, table), 2).dates) == ["P1"]
    table["rhc_date"] = ["2018/05/12", "2018-05-12 10:30", "12.05.2018 9:05", "2018-05-12T10:30:00"]
    assert set(read_labels(write(tmp_path, table), 2).dates.values()) == {datetime.date(2018, 5, 12)}


def test_no_sheet_two_sheets_no_folder(tmp_path):
    with pytest.raises(InputError, match="patient_id column"):
        read_labels(tmp_path, 235)
    with pytest.raises(InputError, match="no cohort folder"):
        read_labels(tmp_path / "absent", 235)
    write(tmp_path, sheet())
    (tmp_path / "labels.xlsx").write_bytes(b"")
    with pytest.raises(InputError, match="keep one"):
        read_labels(tmp_path, 235)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(st.text(max_size=8), min_size=11, max_size=11), min_size=1, max_size=4))
def test_any_cells_give_labels_or_an_input_error(tmp_path, cells):
    table = pd.DataFrame(cells, columns=["patient_id", *KEYS, "cohort"])
    table["patient_id"] = "Qx7" + table["patient_id"]
    table.to_csv(tmp_path / "labels.csv", index=False, errors="replace", escapechar="\\")
    try:
        labels = read_labels(tmp_path, 2).table
    except InputError as error:
        refused = str(error)
    else:
        refused = ""
        assert labels.index.is_unique
    assert len(refused.splitlines()) <= 14
    assert "Qx7" not in refused


def patients(tmp_path, text):
    path = tmp_path / "rhc 2018.csv"
    path.write_text(text)
    return read_patients(path, 2)


def test_a_sheet_for_sorting_needs_no_value_and_no_name_for_files(tmp_path):
    text = "rhc_date,MRN,accession,mPAP\n2018-05-12,12/345,A1,22\n05/12/2018,007,,\n,8,?,30\n"
    read = patients(tmp_path, text)
    assert list(read.table.index) == ["12/345", "007", "8"]
    assert (read.dates, read.accessions) == ({"12/345": datetime.date(2018, 5, 12)}, {"12/345": "A1"})
    assert read.given == {"rhc_date", "accession", "meanPAP", "patient_id"}
    assert "1 days of catheterisation cannot be read (row 3 of rhc 2018.csv)" in read.warnings[0]
    assert "no patient_id column: column B (MRN) holds the patient ids" in read.notes
    assert patients(tmp_path, "accession,rhc_date\nA1,2018-05-12\n").rows == {"A1": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "patient_id,RAP\n7,5\n8,6\n7,6\n",
            "row 4, column A (patient_id): duplicate id: it is already in row 2",
        ),
        ("id\n2.018E+11\n8\n", "row 2, column A (id): Ids like 2E+11 have lost digits"),
        ("id\n2E+11\n2E+11\n", "row 3, column A (id): duplicate id: it is already in row 2. Ids like 2E+11"),
        ("Jane Roe,12\nJohn Doe,13\n", "no heading in its 2 cells is known"),
        ("rhc_date,RAP\n2018-05-12,5\n", "no patient_id column, and the first one is no id either"),
        ("id,RAP\n7,Roe\n", "row 2, column B (RAP): not a number"),
    ],
)
def test_what_is_wrong_with_a_sheet_for_sorting(tmp_path, text, words):
    with pytest.raises(InputError) as error:
        patients(tmp_path, text)
    assert words in str(error.value)
    assert "Roe" not in str(error.value)
    with pytest.raises(InputError, match="no label sheet absent"):
        read_patients(tmp_path / "absent.csv", 2)
