from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.cohort.cohort import Cohort
from cardio_mlflow.data.cohort.new_patients import read_new_patients
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEW_CODES, VIEWS

UNKNOWN = pytest.approx(math.nan, nan_ok=True)


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(cohort: Cohort) -> list[tuple[str, str, str]]:
    return [(c.patient_id, c.view, c.path.relative_to(cohort.folder).as_posix()) for c in cohort.clips]


def refusal(place: Path) -> str:
    with pytest.raises(InputError) as error:
        read_new_patients(place)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "patient", "view"),
    [("P_2_PLAX.dcm", "P_2", "LA"), ("dicom/P_1_A4C", "P_1", "FC"), ("dicom/A4C_P_1.dcm", "P_1", "FC"),
     ("P_10/4CH_rest.DCM", "P_10", "FC"), ("dicom/P_10/TC.1.2.84", "P_10", "TC"),
     ("P_10/P_10_TC.dcm", "P_10", "TC"), ("P_10/P_10_FC.dcm", "P_10", "FC"),
     ("dicom/P_10/IM_0012_A4C_rest.dcm", "P_10", "FC"), ("P_1/A4C/1.2.840.113.dcm", "P_1", "FC"),
     ("dicom/A4C/P_1.dcm", "P_1", "FC"), ("dicom/A4C/P_1/loop.dcm", "P_1", "FC"),
     ("P_1/dicom/A4C.dcm", "P_1", "FC"), ("cohort1/P_1/A4C.dcm", "P_1", "FC"),
     ("P_1/2018-05-12/A4C.dcm", "P_1", "FC"), ("video/P_1_FC.mp4", "P_1", "FC"),
     ("tensors/P_1_FC.pt", "P_1", "FC"), ("Müller/PSAX.dcm", "Müller", "SA")],
)  # fmt: skip
def test_a_layout_of_cohort_folders_needs_no_label_sheet(tmp_path, name, patient, view):
    put(tmp_path, name)
    cohort = read_new_patients(tmp_path)
    assert found(cohort) == [(patient, view, name)]
    assert list(cohort.labels.index) == [patient]
    assert not cohort.notes or cohort.notes == ("1 patients lack one to three of the four views",)


def test_the_folder_of_one_patient(tmp_path):
    put(tmp_path, "Q7/A4C.dcm", "Q7/PLAX_rest.dcm", "Q7/notes.txt", "Q7/README")
    cohort = read_new_patients(tmp_path / "Q7")
    assert found(cohort) == [("Q7", "FC", "A4C.dcm"), ("Q7", "LA", "PLAX_rest.dcm")]


IDS = st.text(st.sampled_from("aB7é-_. "), min_size=1, max_size=6).filter(
    lambda name: name.strip(" ._-") == name and not name.isspace()
)


@given(
    places=st.dictionaries(
        IDS, st.sets(st.sampled_from(VIEW_CODES), min_size=1), min_size=1, max_size=4
    ).filter(lambda ids: len({name.casefold() for name in ids}) == len(ids)),
    data=st.data(),
)
def test_whoever_has_a_clip_is_found_in_either_layout_with_all_views(
    places, data, tmp_path_factory: pytest.TempPathFactory
):
    folder = tmp_path_factory.mktemp("input")
    names = {view.code: data.draw(st.sampled_from([view.code, view.name])) for view in VIEWS}
    for patient, views in places.items():
        nested = data.draw(st.booleans())
        for view in views:
            put(folder, f"{patient}/{names[view]}.dcm" if nested else f"dicom/{patient}_{names[view]}.dcm")
    cohort = read_new_patients(folder)
    assert {(clip.patient_id, clip.view) for clip in cohort.clips} == {
        (patient, view) for patient, views in places.items() for view in views
    }
    assert set(cohort.labels.index) == set(places)
    shutil.rmtree(folder)


def test_patients_stand_in_natural_order_and_no_note_names_one(tmp_path):
    put(tmp_path, "P10_A4C.dcm", "P2_A4C_10.dcm", "P2_A4C_9.dcm", "P2_A4C.avi", "p2_A2C.dcm", "P2/A2C.dcm")
    cohort = read_new_patients(tmp_path)
    assert list(cohort.rows.items()) == [("P2", 1), ("p2", 2), ("P10", 3)]
    assert ("P2", "FC", "P2_A4C_9.dcm") in found(cohort)
    said = "\n".join(cohort.notes)
    assert "patient 1 of the input, view FC: 3 clips, the first was taken" in said
    assert "ids differ only in case or leading zeros: 2 patients (number 1, 2 of the input)" in said
    assert not {"P2", "p2", "P10"} & set(said.split())


def test_files_of_several_patients_in_one_folder_are_never_mixed(tmp_path):
    put(tmp_path, "batch_1/P1_A4C.dcm", "batch_1/P2_A2C.dcm")
    message = refusal(tmp_path)
    assert "1 patient (number 1 of the input): the files in a folder begin with different names" in message
    assert "P1" not in message
    (tmp_path / "batch_1").rename(tmp_path / "dicom")
    assert [(p, v) for p, v, _ in found(read_new_patients(tmp_path))] == [("P1", "FC"), ("P2", "TC")]
    put(tmp_path, "Q/IM_0012_A4C.dcm", "Q/IM_0013_A2C.dcm")
    assert len(read_new_patients(tmp_path).labels) == 3


def test_several_studies_ask(tmp_path):
    put(tmp_path, "P1/2018-05-12/A4C.dcm", "P1/2019-05-12/A4C.dcm")
    assert "studies=newest" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["1.2.840.113.dcm", "dicom/loop.dcm", "P1/loop.dcm", "a.jpg", ""])
def test_what_names_nobody_shows_the_layouts_and_sort(tmp_path, name):
    if name:
        put(tmp_path, name)
    message = refusal(tmp_path)
    assert "dicom/<patient>_<view>.dcm" in message
    assert "-e sort" in message
    assert "loop" not in message


def test_a_place_that_is_not_there_and_a_file_that_is_no_sheet(tmp_path):
    put(tmp_path, "P1_A4C.dcm")
    assert "nothing that is there" in refusal(tmp_path / "elsewhere")
    assert "no clips.csv" in refusal(tmp_path / "P1_A4C.dcm")


def test_ids_that_no_file_name_can_hold_are_refused_by_number(tmp_path):
    put(tmp_path, "clips/one.dcm")
    (tmp_path / "clips.csv").write_text("patient_id,view,path\n../evil,A4C,clips/one.dcm\n")
    message = refusal(tmp_path)
    assert message.startswith("patient 1 of the input: a patient id may not")
    assert "evil" not in message
    (tmp_path / "clips.csv").unlink()
    put(tmp_path, "P\n1_A4C.dcm")
    assert "patient 1 of the input" in refusal(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="links")
@pytest.mark.parametrize("linked", ["in/P1/A4C.dcm", "in/P1"])
def test_links_out_are_not_followed(tmp_path, linked):
    put(tmp_path, "outside/A4C.dcm", "in/P2_A4C.dcm")
    (tmp_path / linked).parent.mkdir(exist_ok=True)
    target = tmp_path / "outside" / ("A4C.dcm" if linked.endswith("dcm") else "")
    (tmp_path / linked).symlink_to(target)
    assert "a place outside" in refusal(tmp_path / "in")


def test_a_clip_sheet_is_the_only_source_wherever_it_is_given(tmp_path):
    put(tmp_path, "a/1.dcm", "a/2.dcm", "P9_A4C.dcm")
    (tmp_path / "my clips.csv").write_text("id;view;file\n7;A4C;a/1.dcm\n007;LA;a/2.dcm\n")
    cohort = read_new_patients(tmp_path / "my clips.csv")
    assert found(cohort) == [("007", "LA", "a/2.dcm"), ("7", "FC", "a/1.dcm")]
    (tmp_path / "my clips.csv").write_text("id;view;file\n7;A4C;../x.dcm\n7;apex;a/2.dcm\n")
    message = refusal(tmp_path / "my clips.csv")
    assert "row 2, column C (file)" in message
    assert "row 3, column B (view): not one of" in message


def test_facts_come_from_clips_csv_then_patients_csv_then_labels_csv(tmp_path):
    put(tmp_path, "a.dcm", "b.dcm", "c.dcm", "d.dcm")
    (tmp_path / "clips.csv").write_text(
        "patient_id,view,path,HR\nP1,A4C,a.dcm,61\nP1,A2C,b.dcm,61\nP2,A4C,c.dcm,\nP3,A4C,d.dcm,na\n"
    )
    (tmp_path / "patients.csv").write_text("patient_id,heart rate,BSA (m²)\nP1,99,1.8\nP2,72,1.9\nQ,60,1\n")
    (tmp_path / "labels.csv").write_text("patient_id,BSA,MAP,RAP\nP1,1.1,90,wrong\nP3,2.1,95,7\n")
    cohort = read_new_patients(tmp_path)
    assert cohort.labels.to_dict("index") == {
        "P1": {"HR": 61, "BSA": 1.8, "MAP": 90}, "P2": {"HR": 72, "BSA": 1.9, "MAP": UNKNOWN},
        "P3": {"HR": UNKNOWN, "BSA": 2.1, "MAP": 95},
    }  # fmt: skip
    assert "HR, BSA of 2 of 3 patients are in patients.csv" in cohort.notes


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("patient_id,BSA\nP1,178\n", "row 2, column B (BSA): 178 is outside"),
        ("patient_id,BSA\nP1,1.7\nP1,1.8\n", "row 3, column B (BSA): another value"),
        ("patient_id,HR\nP1,fast\n", "row 2, column B (HR): not a number"),
    ],
)
def test_facts_that_cannot_be_are_refused_by_row_and_column(tmp_path, text, problem):
    put(tmp_path, "P1_A4C.dcm")
    (tmp_path / "patients.csv").write_text(text, encoding="utf-8")
    assert problem in refusal(tmp_path)


@given(st.binary(max_size=200))
def test_any_clip_sheet_is_read_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, content):
    folder = tmp_path_factory.mktemp("sheet")
    (folder / "clips.csv").write_bytes(b"patient_id,view,path\n" + content)
    with pytest.raises(InputError):
        read_new_patients(folder / "clips.csv")
    shutil.rmtree(folder)


def test_a_folder_of_which_sort_has_written_no_clips_yet_says_so(tmp_path):
    put(tmp_path, "P1_A4C.dcm")
    (tmp_path / "export.json").write_text(json.dumps({"salt": "0" * 64, "root": "", "written": {}}))
    assert "Run sort again" in refusal(tmp_path)
