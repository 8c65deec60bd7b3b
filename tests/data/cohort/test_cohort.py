from __future__ import annotations

import os
from pathlib import Path

import pytest

from cardio_mlflow.data.cohort.cohort import Cohort, read_cohort
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS

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


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        read_cohort(folder, 2)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "patient", "view"),
    [
        ("dicom/P_2_PLAX.dcm", "P_2", "LA"),
        ("dicom/P_1_A4C", "P_1", "FC"),
        ("dicom/P_10/4CH_rest.DCM", "P_10", "FC"),
        ("dicom/P_10/TC.1.2.84", "P_10", "TC"),
        ("dicom/P_10/P_10_TC.dcm", "P_10", "TC"),
        ("dicom/P_10/IM_0012_A4C_rest.dcm", "P_10", "FC"),
        ("dicom/P_1/A4C/1.2.840.113.dcm", "P_1", "FC"),
        ("dicom/P_1/PSAX-PM/IM000001", "P_1", "SA"),
        ("dicom/A4C/P_1.dcm", "P_1", "FC"),
        ("dicom/A4C/P_1/loop.dcm", "P_1", "FC"),
        ("DICOM/p_1_a4c.dcm", "P_1", "FC"),
        ("dicom/P_1-A4C.dcm", "P_1", "FC"),
        ("dicom/P_1 - apical 4 chamber.dcm", "P_1", "FC"),
        ("dicom/P_1.A2C.avi", "P_1", "TC"),
        ("dicom/A4C_P_1.dcm", "P_1", "FC"),
        ("dicom/psax-P_10.dcm", "P_10", "SA"),
        ("P_1/A4C.dcm", "P_1", "FC"),
        ("P_1/dicom/A4C.dcm", "P_1", "FC"),
        ("P_1_A4C.dcm", "P_1", "FC"),
        ("P_1_A4C", "P_1", "FC"),
        ("cohort1/P_1/A4C.dcm", "P_1", "FC"),
        ("Cohort II/dicom/P_2_LA.dcm", "P_2", "LA"),
        ("dicom/cohort_1/P_1/LA.dcm", "P_1", "LA"),
        ("video/P_1_FC.mp4", "P_1", "FC"),
        ("P_2/PLAX.AVI", "P_2", "LA"),
        ("tensors/P_1_FC.pt", "P_1", "FC"),
        ("P_2_PSAX.pt", "P_2", "SA"),
    ],
)
def test_a_layout(folder: Path, name: str, patient: str, view: str) -> None:
    put(folder, name)
    cohort = read_cohort(folder, 2)
    assert found(cohort) == [(patient, view, name)]
    assert not any("ignored" in note for note in cohort.notes)


def test_clips_are_in_sheet_order_and_view_order(folder: Path) -> None:
    put(folder, "dicom/P_10_FC.dcm", "dicom/P_2_LA.dcm", "dicom/P_2_TC.dcm", "dicom/P_1_SA.dcm")
    assert [(p, v) for p, v, _ in found(read_cohort(folder, 2))] == [
        ("P_1", "SA"),
        ("P_2", "TC"),
        ("P_2", "LA"),
        ("P_10", "FC"),
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dicom/P_1_LAD.dcm", "whose name tells no view"),
        ("dicom/P_1/subcostal_four_chamber.dcm", "whose name tells no view"),
        ("dicom/P_1/IM_apical_long_axis.dcm", "whose name tells no view"),
        ("dicom/P_1/A4C_and_A2C/x.dcm", "whose name contradicts"),
        ("dicom/P_1/A4C/A2C.dcm", "whose name contradicts"),
        ("dicom/P_1/P_2_A4C.dcm", "whose name contradicts"),
        ("dicom/A4C/P_1_A2C.dcm", "whose name contradicts"),
        ("dicom/P_1_FC.jpg", "no DICOM, video or tensor"),
        ("dicom/P_1/excluded/A4C.dcm", "folders that name no patient"),
        ("old/P_1_FC.dcm", "folders that name no patient"),
        ("dicom/Q_9_FC.dcm", "patients who are not in the label sheet"),
        ("dicom/Q_9/FC.dcm", "patients who are not in the label sheet"),
        ("dicom/Q_9/P_1_FC.dcm", "patients who are not in the label sheet"),
        ("dicom/P_1_2_FC.dcm", "patients who are not in the label sheet"),
    ],
)
def test_what_is_left_out_is_counted_by_reason(folder: Path, name: str, reason: str) -> None:
    put(folder, name, "dicom/P_10_SA.dcm")
    if "and" in name:
        put(folder, "dicom/P_1/A4C_and_A2C/A2C.dcm")
        (folder / name).unlink()
    cohort = read_cohort(folder, 2)
    assert found(cohort) == [("P_10", "SA", "dicom/P_10_SA.dcm")]
    (note,) = [note for note in cohort.notes if "ignored" in note]
    assert note.startswith("1 ")
    assert reason in note


def test_what_systems_leave_is_skipped_without_a_word(folder: Path) -> None:
    put(folder, "dicom/P_1_FC.dcm", "dicom/.DS_Store", "dicom/Thumbs.db", "dicom/DICOMDIR", "DICOMDIR",
        "dicom/._P_1_LA.dcm", "__MACOSX/P_1_TC.dcm", "README", "notes.txt", "folds.csv")  # fmt: skip
    cohort = read_cohort(folder, 2)
    assert len(cohort.clips) == 1
    assert not any("ignored" in note for note in cohort.notes)


def test_of_several_clips_dicom_then_video_then_natural_order_wins_and_the_user_is_told(folder: Path) -> None:
    put(folder, "dicom/P_1/FC10.dcm", "dicom/P_1/FC2.dcm", "tensors/P_1_FC.pt", "video/P_1_FC.avi",
        "tensors/P_2_FC.pt", "dicom/P_2_FC.avi")  # fmt: skip
    cohort = read_cohort(folder, 2)
    assert found(cohort) == [("P_1", "FC", "dicom/P_1/FC2.dcm"), ("P_2", "FC", "dicom/P_2_FC.avi")]
    assert "row 2 of labels.csv, view FC: 4 clips, the first was taken" in cohort.notes
    assert "row 3 of labels.csv, view FC: 2 clips, the first was taken" in cohort.notes
    assert any("DICOM before video before tensor" in note for note in cohort.notes)


def test_ids_that_differ_in_case_only_are_told_apart(tmp_path: Path) -> None:
    rows = "".join(f"{patient},{VALUES}\n" for patient in ("p1", "P1"))
    (tmp_path / "labels.csv").write_text(f"id,{','.join(KEYS)}\n{rows}")
    put(tmp_path, "dicom/p1_FC.dcm", "tensors/P1_LA.pt")
    assert [(p, v) for p, v, _ in found(read_cohort(tmp_path, 2))] == [("p1", "FC"), ("P1", "LA")]


def test_no_note_holds_an_id_or_a_file_name(folder: Path) -> None:
    put(folder, "dicom/P_1/FC_roe.dcm", "dicom/P_1/FC_doe.dcm", "dicom/P_1/roe.dcm", "dicom/roe_FC.dcm",
        "dicom/P_1/roe/x.dcm")  # fmt: skip
    notes = " | ".join(read_cohort(folder, 2).notes)
    assert "2 patients without any clip: row 3, 4 of labels.csv" in notes
    assert "1 patients lack one to three" in notes
    for secret in ("P_", "roe", "doe"):
        assert secret not in notes


@pytest.mark.parametrize("header", ["View;Patient_ID;path", "view;Patient;File", "VIEW;id;File Name"])
def test_a_clip_sheet_is_the_only_source(folder: Path, header: str) -> None:
    put(folder, "raw/a.dcm", "raw/b", "raw/c.mp4", "dicom/P_10_FC.dcm")
    absolute = folder / "raw" / "b"
    (folder / "Clips.CSV").write_text(
        f"{header}\nA2C;P_1;raw\\a.dcm\nLA;p_2;{absolute}\napical 4 chamber;P_2;raw/c.mp4\nFC;Q;raw/b\n",
        encoding="utf-8-sig",
    )
    cohort = read_cohort(folder, 2)
    assert found(cohort) == [
        ("P_1", "TC", "raw/a.dcm"),
        ("P_2", "FC", "raw/c.mp4"),
        ("P_2", "LA", "raw/b"),
    ]
    assert "1 clips of patients who are not in the label sheet were ignored" in cohort.notes


def test_of_several_patient_columns_the_plainest_name_wins(folder: Path) -> None:
    put(folder, "a.dcm")
    (folder / "clips.csv").write_text("id,patient_id,view,path\nP_2,P_1,FC,a.dcm\n")
    assert found(read_cohort(folder, 2)) == [("P_1", "FC", "a.dcm")]


def test_errors_of_a_clip_sheet_name_row_and_column_and_no_cell(folder: Path) -> None:
    put(folder, "a.dcm")
    (folder.parent / "outside.dcm").write_bytes(b"x")
    (folder / "linked.dcm").symlink_to(folder.parent / "outside.dcm")
    (folder / "clips.csv").write_text(
        "patient_id,view,path\nP_1,FC,a.dcm\nP_1,subcostal,a.dcm\nP_2,FC,../outside.dcm\nP_2,FC,no.dcm\n"
        f",FC,a.dcm\nP_2,FC,linked.dcm\nP_2,FC,{'x' * 5000}\n"
    )
    message = refusal(folder)
    for expected in (
        "row 3, column B (view)",
        "row 4, column C (path): the file must lie",
        "row 5, column C (path): there is no",
        "row 6, column A (patient_id)",
        "row 7, column C (path): the file must lie",
        "row 8, column C (path): there is no",
    ):
        assert expected in message
    for cell in ("P_", "outside", "no.dcm", "linked", "subcostal", "xxx"):
        assert cell not in message


def test_a_clip_sheet_without_a_column_says_which(folder: Path) -> None:
    (folder / "clips.csv").write_text("patient_id,path\nP_1,a.dcm\n")
    assert "clips.csv lacks the column view" in refusal(folder)


@pytest.mark.parametrize("linked", ["dicom/P_1_FC.dcm", "tensors/P_1_FC.pt"])
def test_a_link_out_of_the_folder_is_refused(folder: Path, linked: str) -> None:
    target = folder.parent / f"{folder.name}-elsewhere"
    target.write_bytes(b"x")
    (folder / linked).parent.mkdir()
    (folder / linked).symlink_to(target)
    message = refusal(folder)
    assert "row 2 of labels.csv, view FC: the clip is a link to a place outside" in message
    assert "P_1" not in message


@pytest.mark.parametrize("linked", ["dicom", "P_1"])
def test_a_folder_linked_from_outside_is_refused_with_what_to_do(folder: Path, linked: str) -> None:
    target = folder.parent / f"{folder.name}-elsewhere"
    put(target, "FC.dcm", "P_1_FC.dcm")
    (folder / linked).symlink_to(target)
    message = refusal(folder)
    assert "is a link to a place outside" in message
    assert "give that place as data" in message
    assert "P_1" not in message


def test_a_link_inside_the_folder_is_followed_and_a_loop_ends(folder: Path) -> None:
    put(folder, "store/x.dcm", "dicom/P_2_FC.dcm")
    (folder / "dicom" / "P_1_FC.dcm").symlink_to(folder / "store" / "x.dcm")
    (folder / "dicom" / "dicom").symlink_to(folder / "dicom")
    assert [p for p, _, _ in found(read_cohort(folder, 2))] == ["P_1", "P_2"]


def test_nothing_matched_shows_the_layouts(folder: Path) -> None:
    assert "no clip. Expected dicom/<patient>_<view>.dcm" in refusal(folder)
    put(folder, "dicom/Q_FC.dcm")
    message = refusal(folder)
    assert "no clip of a patient of the label sheet (1 clips of patients who are not" in message
    assert "Q_" not in message


def test_decomposed_file_names_match_composed_ids(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"id,{','.join(KEYS)}\nJos\u00e9,{VALUES}\n", encoding="utf-8")
    put(tmp_path, "dicom/Jose\u0301_FC.dcm")
    assert [c.patient_id for c in read_cohort(tmp_path, 2).clips] == ["Jos\u00e9"]


def test_a_pipe_is_never_opened(folder: Path) -> None:
    put(folder, "dicom/P_10_SA.dcm")
    os.mkfifo(folder / "dicom" / "P_1_FC.dcm")
    cohort = read_cohort(folder, 2)
    assert found(cohort) == [("P_10", "SA", "dicom/P_10_SA.dcm")]
    assert any(note.startswith("1 ") and "ignored" in note for note in cohort.notes)


def changed_ids(folder: Path, *ids: str) -> None:
    rows = "".join(f"{patient},{VALUES}\n" for patient in ids)
    (folder / "labels.csv").write_text(f"patient_id,{','.join(KEYS)}\n{rows}")


@pytest.mark.parametrize(
    "names",
    [
        ("dicom/007_A4C.dcm", "dicom/201812345678_A4C.dcm"),
        ("dicom/A4C-007.dcm", "dicom/A4C_201812345678.dcm"),
        ("dicom/007/A4C.dcm", "201812345678/A4C/x"),
        ("dicom/A4C/007.dcm", "dicom/A4C/201812345678/x.dcm"),
        ("007/20180512/A4C.dcm", "dicom/201812345678/study/A4C.dcm"),
    ],
)
def test_ids_that_a_spreadsheet_changed_are_matched_and_the_user_is_told(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    changed_ids(tmp_path, "7", "2.018E+11", "9")
    (tmp_path / "dicom").mkdir()
    put(tmp_path, *names)
    cohort = read_cohort(tmp_path, 2)
    assert found(cohort) == [("7", "FC", names[0]), ("2.018E+11", "FC", names[1])]
    notes = " | ".join(cohort.notes)
    assert "differ only by leading zeros, and were matched: 1 patient (row 2 of labels.csv)" in notes
    assert "differ only by a power of ten (2E+11), and were matched: 1 patient (row 3 of" in notes
    assert "ignored" not in notes
    assert "007" not in notes
    assert "2018" not in notes


def test_changed_ids_are_matched_through_a_clip_sheet_and_the_other_way_round(tmp_path: Path) -> None:
    changed_ids(tmp_path, "007", "1234567890123450000")
    put(tmp_path, "a", "b")
    (tmp_path / "clips.csv").write_text("id,view,path\n7.0,FC,a\n1234567890123456789,LA,b\n")
    assert found(read_cohort(tmp_path, 2)) == [("007", "FC", "a"), ("1234567890123450000", "LA", "b")]


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (("7", "P"), ("007_A4C.dcm", "07_A4C.dcm")),  # two clips' patients for one of the sheet
        (("7", "0007", "P"), ("007_A4C.dcm",)),  # two of the sheet for one of the clips
        (("7", "P"), ("7_A4C.dcm", "007_A2C.dcm")),  # its own clips are there
        (("2.018E+11", "P"), ("201812345678_A4C.dcm", "201801111111_A4C.dcm")),
        (("2.018E+11", "201812345679", "P"), ("201812345678_A4C.dcm", "201801111111_A4C.dcm")),
        (("2E+11", "P"), ("201812345678_A4C.dcm",)),  # too few digits: it could be anybody's
        (("2.02e11", "P"), ("201812345678_A4C.dcm",)),
    ],
)
def test_changed_ids_that_could_be_several_are_never_guessed(
    tmp_path: Path, ids: tuple[str, ...], names: tuple[str, ...]
) -> None:
    changed_ids(tmp_path, *ids)
    put(tmp_path, "P_LA.dcm", *names)
    cohort = read_cohort(tmp_path, 2)
    assert {clip.path.name for clip in cohort.clips} == {"P_LA.dcm"} | {n for n in names if n[:2] == "7_"}
    assert any("so they were not matched" in note for note in cohort.notes)


def test_why_ids_were_not_matched_is_said_where_nothing_else_matches(tmp_path: Path) -> None:
    changed_ids(tmp_path, "2.018E+11")
    put(tmp_path, "201812345678_A4C.dcm", "201801111111_A4C.dcm")
    message = refusal(tmp_path)
    assert "were ignored; ids of sheet and clips differ only by" in message
    assert "1 patient (row 2 of labels.csv). Write the ids as" in message
    assert "2018" not in message


def test_a_link_to_nowhere_passes_as_a_clip(folder: Path) -> None:
    put(folder, "dicom/P_10_SA.dcm")
    (folder / "dicom" / "P_1_FC.dcm").symlink_to("not there")
    (folder / "dicom" / "P_2_FC.dcm").symlink_to(folder / "dicom" / "P_2_FC.dcm")
    (folder / "dicom" / "P_2_LA.dcm").symlink_to("/not/there/either")
    assert [(p, v) for p, v, _ in found(read_cohort(folder, 2))] == [
        ("P_1", "FC"),
        ("P_2", "FC"),
        ("P_2", "LA"),
        ("P_10", "SA"),
    ]
    (folder / "clips.csv").write_text("id,view,path\nP_1,FC,dicom/P_1_FC.dcm\n")
    assert [p for p, _, _ in found(read_cohort(folder, 2))] == ["P_1"]


@pytest.fixture
def three(folder: Path) -> Path:
    """Three patients with a clip each; the last one is Cohort II."""
    changed_ids(folder, "P3", "P1", "P2")
    put(folder, *(f"dicom/P{i}_FC.dcm" for i in (1, 2, 3)))
    return folder


def test_labels_and_clips_in_sheet_order(three: Path) -> None:
    cohort = read_cohort(three, 2)
    assert (cohort.name, cohort.folder) == (three.name, three)
    assert [c.patient_id for c in cohort.clips] == list(cohort.labels.index) == ["P3", "P1", "P2"]
    assert list(cohort.members("II").index) == ["P2"]


def test_a_renamed_cohort_has_new_ids_everywhere_and_the_same_order(three: Path) -> None:
    cohort = read_cohort(three, 2)
    renamed = cohort.renamed({"P1": "a", "P2": "b", "P3": "c"})
    assert [c.patient_id for c in renamed.clips] == list(renamed.labels.index) == ["c", "a", "b"]
    assert renamed.labels.index.name == "patient_id"
    assert [c.path for c in renamed.clips] == [c.path for c in cohort.clips]
    assert list(renamed.labels["person"]) == ["c", "a", "b"]
    kept = [labels.drop(columns="person").to_numpy() for labels in (renamed.labels, cohort.labels)]
    assert (kept[0] == kept[1]).all()
    assert list(cohort.labels.index) == ["P3", "P1", "P2"]
    with pytest.raises(KeyError):
        cohort.renamed({"P1": "a"})


def test_a_folder_linked_as_a_whole_is_fine(three: Path) -> None:
    link = three.parent / f"{three.name}-link"
    link.symlink_to(three)
    assert len(read_cohort(link, 2).clips) == 3
