from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.clip_names import natural_key, split_name, view_prefix
from cardio_mlflow.data.cohort import Cohort, read_cohort
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, VIEW_CODES, VIEWS

PATIENTS = ("P_1", "P_2", "P_10")
VALUES = "6,24,9,15,9,5.1,2.9,2100,1.2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = "".join(f"{patient},{VALUES}\n" for patient in PATIENTS)
    (tmp_path / "labels.csv").write_text(f"patient_id,{','.join(KEYS)}\n{rows}")
    return tmp_path


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(cohort: Cohort) -> list[tuple[str, str, str]]:
    return [(c.patient_id, c.view, c.path.relative_to(cohort.folder).as_posix()) for c in cohort.clips]


def test_flat_and_nested_dicom_in_any_naming_and_in_sheet_order(folder: Path) -> None:
    put(
        folder,
        "dicom/P_2_PLAX.dcm",
        "dicom/P_1_SA.dcm",
        "dicom/P_1_A4C",
        "dicom/P_10/4CH_rest.DCM",
        "dicom/P_10/TC.1.2.84",
    )
    cohort = read_cohort(folder, 2)
    assert found(cohort) == [
        ("P_1", "FC", "dicom/P_1_A4C"),
        ("P_1", "SA", "dicom/P_1_SA.dcm"),
        ("P_2", "LA", "dicom/P_2_PLAX.dcm"),
        ("P_10", "FC", "dicom/P_10/4CH_rest.DCM"),
        ("P_10", "TC", "dicom/P_10/TC.1.2.84"),
    ]
    assert cohort.name == folder.name
    assert list(cohort.members("II").index) == ["P_10"]


@pytest.mark.parametrize("place", ["tensors/", ""])
def test_tensors_in_their_folder_or_beside_the_sheet(folder: Path, place: str) -> None:
    put(folder, f"{place}P_1_FC.pt", f"{place}P_2_PSAX.pt")
    assert found(read_cohort(folder, 2)) == [
        ("P_1", "FC", f"{place}P_1_FC.pt"),
        ("P_2", "SA", f"{place}P_2_PSAX.pt"),
    ]


def test_of_two_clips_dicom_then_natural_order_wins_and_the_user_is_told(folder: Path) -> None:
    put(folder, "dicom/P_1/FC10.dcm", "dicom/P_1/FC2.dcm", "tensors/P_1_FC.pt", "tensors/P_2_FC.pt")
    cohort = read_cohort(folder, 2)
    assert found(cohort) == [("P_1", "FC", "dicom/P_1/FC2.dcm"), ("P_2", "FC", "tensors/P_2_FC.pt")]
    assert any("P_1, view FC: 3 clips, FC2.dcm taken" in note for note in cohort.notes)


def test_the_user_is_told_of_ignored_files_strangers_and_missing_views(folder: Path) -> None:
    put(
        folder,
        "dicom/P_1_FC.dcm",
        "dicom/P_1_LAD.dcm",
        "dicom/P_1.jpg",
        "dicom/.DS_Store",
        "dicom/Q_9_FC.dcm",
    )
    notes = " | ".join(read_cohort(folder, 2).notes)
    assert "2 files whose name tells no view" in notes
    assert "1 clips of patients who are not in the label sheet" in notes
    assert "2 patients without any clip: P_2, P_10" in notes
    assert "1 patients lack one to three" in notes


def test_a_clip_sheet_is_the_only_source(folder: Path) -> None:
    put(folder, "raw/a.dcm", "raw/b", "dicom/P_10_FC.dcm")
    (folder / "clips.csv").write_text("View;Patient_ID;path\nA2C;P_1;raw/a.dcm\nLA;P_2;raw/b\n")
    assert found(read_cohort(folder, 2)) == [("P_1", "TC", "raw/a.dcm"), ("P_2", "LA", "raw/b")]


def test_errors_of_a_clip_sheet_name_row_and_column(folder: Path) -> None:
    put(folder, "a.dcm")
    (folder.parent / "outside.dcm").write_bytes(b"x")
    (folder / "clips.csv").write_text(
        "patient_id,view,path\nP_1,FC,a.dcm\nP_1,subcostal,a.dcm\nP_2,FC,../outside.dcm\nP_2,FC,no.dcm\n,FC,a.dcm\n"
    )
    with pytest.raises(InputError) as error:
        read_cohort(folder, 2)
    message = str(error.value)
    for expected in (
        "row 3, column view",
        "row 4, column path: the file must lie",
        "row 5, column path: there is no",
        "row 6, column patient_id",
    ):
        assert expected in message


@pytest.mark.parametrize("linked", ["dicom/P_1_FC.dcm", "tensors/P_1_FC.pt"])
def test_a_link_out_of_the_folder_is_refused(folder: Path, linked: str) -> None:
    target = folder.parent / f"{folder.name}-elsewhere"
    target.write_bytes(b"x")
    (folder / linked).parent.mkdir()
    (folder / linked).symlink_to(target)
    with pytest.raises(InputError, match="outside the cohort folder"):
        read_cohort(folder, 2)


def test_a_folder_linked_as_a_whole_is_fine(folder: Path) -> None:
    put(folder, "dicom/P_1_FC.dcm")
    link = folder.parent / f"{folder.name}-link"
    link.symlink_to(folder)
    assert len(read_cohort(link, 2).clips) == 1


def test_nothing_matched_shows_the_layouts(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no clip\. Expected dicom/<patient>_<view>\.dcm"):
        read_cohort(folder, 2)
    put(folder, "dicom/Q_FC.dcm")
    with pytest.raises(InputError, match="1 files were seen, but none belongs"):
        read_cohort(folder, 2)


def test_decomposed_file_names_match_composed_ids(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"id,{','.join(KEYS)}\nJos\u00e9,{VALUES}\n", encoding="utf-8")
    put(tmp_path, "dicom/Jose\u0301_FC.dcm")
    assert [c.patient_id for c in read_cohort(tmp_path, 2).clips] == ["Jos\u00e9"]


@given(
    st.from_regex(r"[A-Za-z0-9_\-]{1,12}", fullmatch=True),
    st.sampled_from([name for v in VIEWS for name in (v.code, v.name, *v.aliases)]),
)
def test_every_known_patient_and_view_name_is_split_right(patient: str, name: str) -> None:
    assert split_name(f"{patient}_{name}", {patient}) == (patient, view_prefix(name))


@given(st.text(max_size=15))
def test_any_name_gives_a_view_code_or_none(name: str) -> None:
    assert view_prefix(name) in {*VIEW_CODES, None}


@given(st.lists(st.text(max_size=6), max_size=8))
def test_natural_order_is_total(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)
