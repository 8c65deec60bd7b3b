import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.cohort.labels import read_labels
from cardio_mlflow.data.cohort.persons import numbered_alike, shared_persons
from cardio_mlflow.errors import InputError

VALUES = "RAP,SPAP,dPAP,meanPAP,PCWP,CO,CI,SVRI,PVR"
HEALTHY = "6,24,9,15,9,5.1,2.9,2100,1.2"


def read(folder, heading, rows, cohort1_size=99):
    lines = [f"{heading},{VALUES}", *(f"{row},{HEALTHY}" for row in rows)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return read_labels(folder, cohort1_size)


@pytest.mark.parametrize(
    ("heading", "rows", "persons"),
    [
        *((f"patient_id,{name}", ["S1_a,77.0", "S1_b,77", "S2,", "S3,n/a"], ["77", "77", "S2", "S3"])
          for name in ("person", "Person ID", "MRN", "medical_record_number")),
        ("patient_id,person", ["a,?", "b,unknown", "c,Unknown", "d,", "e,n/a", "x,y"], [*"abcdey"]),
        ("patient_id", ["p1", "P1", "7", "007"], ["p1", "P1", "7", "007"]),  # never joined in silence
        ("MRN", ["1", "2"], ["1", "2"]),  # in the first column it is the patient's id
    ],
)  # fmt: skip
def test_a_person_of_each_row(tmp_path, heading, rows, persons):
    sheet = read(tmp_path, heading, rows)
    assert sheet.table["person"].tolist() == persons
    shared = shared_persons(sheet.table)
    assert shared is None if len(set(persons)) == len(persons) else shared.tolist() == persons
    assert not sheet.warnings
    assert shared_persons(pd.DataFrame(index=["S1"])) is None


@pytest.mark.parametrize(
    ("heading", "rows", "advice"),
    [
        ("patient_id,person,cohort", ["a1,Roe,I", "b,Doe,I", "a2,Roe,II"], "give both rows one cohort"),
        ("patient_id,person", ["a1,Roe", "b,Doe", "a2,Roe"], "cohort1_size parts the sheet there"),
    ],
)
def test_a_person_in_both_cohorts_is_refused(tmp_path, heading, rows, advice):
    with pytest.raises(InputError, match="row 4, as row 2: one person in Cohort I and in Cohort II") as error:
        read(tmp_path, heading, rows, cohort1_size=2)
    assert advice in str(error.value)
    assert "Roe" not in str(error.value)


@pytest.mark.parametrize("other", ["7", "7.0", "007", "07,0"])
def test_a_person_spelt_in_two_ways_is_one_and_the_user_is_warned(tmp_path, other):
    sheet = read(tmp_path, "patient_id,person", ["a,007", "b,ab12", f'c,"{other}"', "d,AB12", "e,8"])
    assert sheet.table["person"].tolist() == ["007", "ab12", "007", "ab12", "8"]
    (warning,) = sheet.warnings
    assert warning.startswith("row 5 of" if other == "007" else "row 4, 5 of")
    assert "ab12" not in warning.lower()


def test_an_unknown_person_is_never_taken_for_another_in_silence(tmp_path):
    sheet = read(tmp_path, "patient_id,person", ["a,", "b,A", "c,c", "d,c"])
    assert sheet.table["person"].tolist() == ["A", "A", "c", "c"]
    assert [warning.partition(":")[0] for warning in sheet.warnings] == ["row 2 of labels.csv"]


def test_persons_that_have_lost_digits_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"row 2, column B \(person\): Ids like 2E\+11 have lost digits"):
        read(tmp_path, "patient_id,person", ["a,2.018E+11", "b,2.018E+11"])


NUMBERED = {
    "visits": ["S1_visit1", "S1_visit2", "S2_visit1", "S3"],
    "short visits": ["P7-v1", "P7-v2", "P8-v1"],
    "leading zeros": ["01_Exam01", "01_Exam02", "02_Exam01"],
    "follow-up": ["12 FU1", "12 FU2", "13"],
    "letters": ["P01a", "P01b", "P02a", "P03a"],
    "visits of names": ["Smith_visit1", "Smith_visit2", "Jones_visit1", "Doe"],
    "before and after": ["S1_pre", "S1_post", "S2_pre", "S3_post"],
    "baseline": ["Roe-baseline", "Roe-followup", "Doe-baseline"],
    "dates": ["S1_20180101", "S1_20190101", "S2_20180101"],
    "dates with dashes": ["S1 2018-01-01", "S1 2019-12-31", "S2 2018-01-01"],
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
    "volunteers of a study": [f"PH-HV{i}" for i in range(1, 10)],
    "subjects of a study": [f"PH_T{i}" for i in range(1, 40)],
    "days of one hospital": [f"UKE_201801{i:02}" for i in range(1, 32)],
    "groups": [f"{group}_{i:03}" for group in ("pre", "post") for i in range(1, 9)],
    "scans": [f"scan_{i}" for i in range(1, 10)],
    "years": ["2019-17", "2019-18", "2020-17"],
    "hashes": ["a1b2c3", "a1b2c4", "9f8e7d", "0a"],
}


@pytest.mark.parametrize("name", NUMBERED)
def test_ids_that_look_numbered_are_told(tmp_path, name):
    ids = NUMBERED[name]
    assert numbered_alike(ids) == [0, 1]
    (note,) = read(tmp_path, "patient_id,cohort", [f"{i},I" for i in ids]).warnings
    assert "2 patient ids look like examinations" in note
    assert "rows 2 and 3 first" in note
    assert "column 'person'" in note
    with_column = read(tmp_path, "patient_id,cohort,person", [f"{i},I,{k}" for k, i in enumerate(ids)])
    assert not with_column.warnings


@pytest.mark.parametrize("name", PLAIN)
def test_other_ids_are_not(name):
    assert numbered_alike(PLAIN[name]) == []


@given(st.lists(st.text(max_size=12), unique=True, max_size=12))
def test_any_ids_can_be_looked_at(ids):
    found = numbered_alike(ids)
    assert found == sorted(set(found))
    assert len(found) != 1
