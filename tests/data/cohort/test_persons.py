from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.cohort.cohort import Cohort
from cardio_mlflow.data.cohort.labels import LabelSheet, read_labels
from cardio_mlflow.data.cohort.persons import numbered_alike, shared_persons
from cardio_mlflow.errors import InputError

VALUES = "RAP,SPAP,dPAP,meanPAP,PCWP,CO,CI,SVRI,PVR"
HEALTHY = "6,24,9,15,9,5.1,2.9,2100,1.2"


def read(folder: Path, heading: str, rows: list[str], cohort1_size: int = 99) -> LabelSheet:
    lines = [f"{heading},{VALUES}", *(f"{row},{HEALTHY}" for row in rows)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return read_labels(folder, cohort1_size)


@pytest.mark.parametrize("heading", ["person", "Person ID", "MRN", "medical_record_number"])
def test_a_person_of_each_row(tmp_path: Path, heading: str) -> None:
    sheet = read(tmp_path, f"patient_id,{heading}", ["S1_a,77.0", "S1_b,77", "S2,", "S3,n/a"])
    assert sheet.table["person"].tolist() == ["77", "77", "S2", "S3"]
    shared = shared_persons(sheet.table)
    assert shared is not None
    assert shared.tolist() == ["77", "77", "S2", "S3"]


def test_without_the_column_everybody_is_a_person(tmp_path: Path) -> None:
    sheet = read(tmp_path, "patient_id", ["S1", "S2"])
    assert sheet.table["person"].tolist() == ["S1", "S2"]
    assert shared_persons(sheet.table) is None
    assert shared_persons(pd.DataFrame(index=["S1"])) is None


def test_a_first_column_of_record_numbers_is_the_patient_id(tmp_path: Path) -> None:
    sheet = read(tmp_path, "MRN", ["1", "2"])
    assert sheet.table.index.tolist() == sheet.table["person"].tolist() == ["1", "2"]


@pytest.mark.parametrize(
    ("heading", "rows", "advice"),
    [
        ("patient_id,person,cohort", ["a1,Roe,I", "b,Doe,I", "a2,Roe,II"], "give both rows one cohort"),
        ("patient_id,person", ["a1,Roe", "b,Doe", "a2,Roe"], "cohort1_size parts the sheet there"),
    ],
)
def test_a_person_in_both_cohorts_is_refused(
    tmp_path: Path, heading: str, rows: list[str], advice: str
) -> None:
    with pytest.raises(InputError, match="row 4, as row 2: one person in Cohort I and in Cohort II") as error:
        read(tmp_path, heading, rows, cohort1_size=2)
    assert advice in str(error.value)
    assert "Roe" not in str(error.value)


NUMBERED = {
    "visits": ["S1_visit1", "S1_visit2", "S2_visit1", "S3"],
    "short visits": ["P7-v1", "P7-v2", "P8-v1"],
    "leading zeros": ["01_Exam01", "01_Exam02", "02_Exam01"],
    "follow-up": ["12 FU1", "12 FU2", "13"],
    "letters": ["P01a", "P01b", "P02a", "P03a"],
    "digits": ["123-1", "123-2", "124-1", "125-1"],
}
PLAIN = {
    "numbers": [f"P{i:03}" for i in range(1, 40)],
    "dashes": [f"P-{i:03}" for i in range(1, 40)],
    "short dashes": [f"P-{i}" for i in range(1, 40)],
    "one hospital": [f"RHC1-{i}" for i in range(1, 40)],
    "three hospitals": [f"{h:02}-{i}" for h in range(1, 4) for i in range(1, 10)],
    "hospital and patient": [f"{h}-{i:03}" for h in range(1, 4) for i in range(1, 30)],
    "volunteers": [f"HV{i}" for i in range(1, 10)],
    "scans": [f"scan_{i}" for i in range(1, 10)],
    "years": ["2019-17", "2019-18", "2020-17"],
    "hashes": ["a1b2c3", "a1b2c4", "9f8e7d", "0a"],
}


@pytest.mark.parametrize("name", NUMBERED)
def test_ids_that_look_numbered_are_told(tmp_path: Path, name: str) -> None:
    ids = NUMBERED[name]
    assert numbered_alike(ids) == [0, 1]
    (note,) = read(tmp_path, "patient_id,cohort", [f"{i},I" for i in ids]).notes
    assert "2 patient ids look like examinations" in note
    assert "rows 2 and 3 first" in note
    assert "column 'person'" in note
    with_column = read(tmp_path, "patient_id,cohort,person", [f"{i},I,{k}" for k, i in enumerate(ids)])
    assert not with_column.notes


@pytest.mark.parametrize("name", PLAIN)
def test_other_ids_are_not(name: str) -> None:
    assert numbered_alike(PLAIN[name]) == []


@given(st.lists(st.text(max_size=12), unique=True, max_size=12))
def test_any_ids_can_be_looked_at(ids: list[str]) -> None:
    found = numbered_alike(ids)
    assert found == sorted(set(found))
    assert len(found) != 1


def test_other_ids_of_patients_and_persons(tmp_path: Path) -> None:
    labels = read(tmp_path, "patient_id,person", ["a1,Roe", "a2,Roe", "b,"]).table
    cohort = Cohort("c", tmp_path, labels, (), ())
    renamed = cohort.renamed({"a1": "X", "a2": "Y", "b": "Z", "Roe": "R"}).labels
    assert renamed["person"].tolist() == ["R", "R", "Z"]
    assert labels["person"].tolist() == ["Roe", "Roe", "b"]
    with pytest.raises(KeyError):
        cohort.renamed({"a1": "X", "a2": "Y", "b": "Z"})
