import os

import pytest

from cardio_mlflow.data.cohort.cohort import read_cohort
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS

VALUES = "6,24,9,15,9,5.1,2.9,2100,1.2"


def changed_ids(folder, *ids):
    rows = "".join(f"{patient},{VALUES}\n" for patient in ids)
    (folder / "labels.csv").write_text(f"patient_id,{','.join(KEYS)}\n{rows}", encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    changed_ids(tmp_path, "P_1", "P_2", "P_10")
    return tmp_path


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(cohort):
    return [(c.patient_id, c.view, c.path.relative_to(cohort.folder).as_posix()) for c in cohort.clips]


def refusal(folder):
    with pytest.raises(InputError) as error:
        read_cohort(folder, 2)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "patient", "view"),
    [("dicom/P_2_PLAX.dcm", "P_2", "LA"), ("dicom/P_1_A4C", "P_1", "FC"),
     ("dicom/P_10/4CH_rest.DCM", "P_10", "FC"), ("dicom/P_10/TC.1.2.84", "P_10", "TC"),
     ("dicom/P_10/P_10_TC.dcm", "P_10", "TC"), ("dicom/P_10/IM_0012_A4C_rest.dcm", "P_10", "FC"),
     ("dicom/P_1/A4C/1.2.840.113.dcm", "P_1", "FC"), ("dicom/P_1/PSAX-PM/IM000001", "P_1", "SA"),
     ("dicom/A4C/P_1.dcm", "P_1", "FC"), ("dicom/A4C/P_1/loop.dcm", "P_1", "FC"),
     ("DICOM/p_1_a4c.dcm", "P_1", "FC"), ("dicom/P_1-A4C.dcm", "P_1", "FC"),
     ("dicom/P_1 - apical 4 chamber.dcm", "P_1", "FC"), ("dicom/P_1.A2C.avi", "P_1", "TC"),
     ("dicom/A4C_P_1.dcm", "P_1", "FC"), ("dicom/psax-P_10.dcm", "P_10", "SA"),
     ("P_1/A4C.dcm", "P_1", "FC"), ("P_1/dicom/A4C.dcm", "P_1", "FC"), ("P_1_A4C.dcm", "P_1", "FC"),
     ("P_1_A4C", "P_1", "FC"), ("cohort1/P_1/A4C.dcm", "P_1", "FC"),
     ("Cohort II/dicom/P_2_LA.dcm", "P_2", "LA"), ("dicom/cohort_1/P_1/LA.dcm", "P_1", "LA"),
     ("video/P_1_FC.mp4", "P_1", "FC"), ("P_2/PLAX.AVI", "P_2", "LA"), ("tensors/P_1_FC.pt", "P_1", "FC"),
     ("P_2_PSAX.pt", "P_2", "SA")],
)  # fmt: skip
def test_a_layout(folder, name, patient, view):
    put(folder, name)
    cohort = read_cohort(folder, 2)
    assert found(cohort) == [(patient, view, name)]
    assert not any("ignored" in note for note in cohort.notes)


def places(folder):
    return [f"{patient} {view}" for patient, view, _ in found(read_cohort(folder, 2))]


def test_clips_are_in_sheet_order_and_view_order(folder):
    put(folder, "dicom/P_10_FC.dcm", "dicom/P_2_LA.dcm", "dicom/P_2_TC.dcm", "dicom/P_1_SA.dcm")
    assert places(folder) == ["P_1 SA", "P_2 TC", "P_2 LA", "P_10 FC"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (name, reason)
        for reason, names in {
            "whose name tells no view": ("P_1_LAD.dcm", "P_1/subcostal_four_chamber.dcm",
                                         "P_1/IM_apical_long_axis.dcm"),
            "whose name contradicts": ("P_1/A4C_and_A2C/A2C.dcm", "P_1/A4C/A2C.dcm", "P_1/P_2_A4C.dcm",
                                       "A4C/P_1_A2C.dcm"),
            "no DICOM, video or tensor": ("P_1_FC.jpg",),
            "folders that name no patient": ("P_1/excluded/A4C.dcm", "P_1/P_2/A4C.dcm",
                                              "../old/P_1_FC.dcm"),
            "patients who are not in the label sheet": ("Q_9_FC.dcm", "Q_9/FC.dcm", "Q_9/P_1_FC.dcm",
                                                        "P_1_2_FC.dcm"),
        }.items()
        for name in names
    ],
)  # fmt: skip
def test_what_is_left_out_is_counted_by_reason(folder, name, reason):
    put(folder, "dicom/P_10_SA.dcm", f"dicom/{name}")
    cohort = read_cohort(folder, 2)
    assert found(cohort) == [("P_10", "SA", "dicom/P_10_SA.dcm")]
    (note,) = [note for note in cohort.notes if "ignored" in note]
    assert note.startswith("1 ")
    assert reason in note


def test_what_systems_leave_is_skipped_without_a_word(folder):
    put(folder, "dicom/P_1_FC.dcm", "dicom/.DS_Store", "dicom/Thumbs.db", "dicom/DICOMDIR", "DICOMDIR",
        "dicom/._P_1_LA.dcm", "__MACOSX/P_1_TC.dcm", "README", "notes.txt", "folds.csv")  # fmt: skip
    cohort = read_cohort(folder, 2)
    assert len(cohort.clips) == 1
    assert not any("ignored" in note for note in cohort.notes)


def test_of_several_clips_dicom_then_video_then_natural_order_wins_and_the_user_is_told(folder):
    put(folder, "dicom/P_1/FC10.dcm", "dicom/P_1/FC2.dcm", "tensors/P_1_FC.pt", "video/P_1_FC.avi",
        "tensors/P_2_FC.pt", "dicom/P_2_FC.avi")  # fmt: skip
    cohort = read_cohort(folder, 2)
    assert found(cohort) == [("P_1", "FC", "dicom/P_1/FC2.dcm"), ("P_2", "FC", "dicom/P_2_FC.avi")]
    assert "row 2 of labels.csv, view FC: 4 clips, the first was taken" in cohort.notes
    assert "row 3 of labels.csv, view FC: 2 clips, the first was taken" in cohort.notes
    assert any("DICOM before video before tensor" in note for note in cohort.notes)


def test_ids_that_differ_in_case_only_are_told_apart(folder):
    changed_ids(folder, "p1", "P1")
    put(folder, "dicom/p1_FC.dcm", "tensors/P1_LA.pt")
    assert places(folder) == ["p1 FC", "P1 LA"]


def test_no_note_holds_an_id_or_a_file_name(folder):
    put(folder, "dicom/P_1/FC_roe.dcm", "dicom/P_1/FC_doe.dcm", "dicom/P_1/roe.dcm", "dicom/roe_FC.dcm",
        "dicom/P_1/roe/x.dcm")  # fmt: skip
    notes = " | ".join(read_cohort(folder, 2).notes)
    assert "2 patients without any clip: row 3, 4 of labels.csv" in notes
    assert "1 patients lack one to three" in notes
    for secret in ("P_", "roe", "doe"):
        assert secret not in notes


@pytest.mark.parametrize("header", ["View;Patient_ID;path", "view;Patient;File", "VIEW;id;File Name"])
def test_a_clip_sheet_is_the_only_source(folder, header):
    put(folder, "raw/a.dcm", "raw/b", "raw/c.mp4", "dicom/P_10_FC.dcm")
    absolute = folder / "raw" / "b"
    (folder / "Clips.CSV").write_text(
        f"{header}\nA2C;P_1;raw\\a.dcm\nLA;p_2;{absolute}\napical 4 chamber;P_2;raw/c.mp4\nFC;Q;raw/b\n",
        encoding="utf-8-sig",
    )
    cohort = read_cohort(folder, 2)
    assert found(cohort) == [("P_1", "TC", "raw/a.dcm"), ("P_2", "FC", "raw/c.mp4"), ("P_2", "LA", "raw/b")]
    assert "1 clips of patients who are not in the label sheet were ignored" in cohort.notes


def test_of_several_patient_columns_the_plainest_name_wins_and_a_missing_column_is_named(folder):
    put(folder, "a.dcm")
    (folder / "clips.csv").write_text("id,patient_id,view,path\nP_2,P_1,FC,a.dcm\n")
    assert found(read_cohort(folder, 2)) == [("P_1", "FC", "a.dcm")]
    (folder / "clips.csv").write_text("patient_id,path\nP_1,a.dcm\n")
    assert "clips.csv lacks the column view" in refusal(folder)


def test_errors_of_a_clip_sheet_name_row_and_column_and_no_cell(folder):
    put(folder, "a.dcm")
    (folder.parent / "outside.dcm").write_bytes(b"x")
    (folder / "linked.dcm").symlink_to(folder.parent / "outside.dcm")
    (folder / "clips.csv").write_text(
        "patient_id,view,path\nP_1,FC,a.dcm\nP_1,subcostal,a.dcm\nP_2,FC,../outside.dcm\nP_2,FC,no.dcm\n"
        f",FC,a.dcm\nP_2,FC,linked.dcm\nP_2,FC,{'x' * 5000}\n"
    )
    message = refusal(folder)
    outside, absent = "column C (path): the file must lie", "column C (path): there is no"
    for row, expected in enumerate(
        ("column B (view)", outside, absent, "column A (patient_id)", outside, absent), start=3
    ):
        assert f"row {row}, {expected}" in message
    for cell in ("P_", "outside", "no.dcm", "linked", "subcostal", "xxx"):
        assert cell not in message


@pytest.mark.parametrize(
    ("linked", "target"),
    [("dicom/P_1_FC.dcm", "FC.dcm"), ("tensors/P_1_FC.pt", "FC.dcm"), ("dicom", ""), ("P_1", "")],
)
def test_a_link_out_of_the_folder_is_refused_with_what_to_do(folder, linked, target):
    put(elsewhere := folder.parent / f"{folder.name}-elsewhere", "FC.dcm", "P_1_FC.dcm")
    (folder / linked).parent.mkdir(exist_ok=True)
    (folder / linked).symlink_to(elsewhere / target)
    message = refusal(folder)
    assert "is a link to a place outside" in message
    assert message.startswith("row 2 of labels.csv, view FC: the clip" if target else "A folder of clips, 1")
    assert "give that place as data" in message
    assert "P_1" not in message


def test_a_link_inside_the_folder_is_followed_and_a_loop_ends(folder):
    put(folder, "store/x.dcm", "dicom/P_2_FC.dcm")
    (folder / "dicom" / "P_1_FC.dcm").symlink_to(folder / "store" / "x.dcm")
    (folder / "dicom" / "dicom").symlink_to(folder / "dicom")
    assert [p for p, _, _ in found(read_cohort(folder, 2))] == ["P_1", "P_2"]


def test_nothing_matched_shows_the_layouts(folder):
    assert "no clip. Expected dicom/<patient>_<view>.dcm" in refusal(folder)
    put(folder, "dicom/Q_FC.dcm")
    message = refusal(folder)
    assert "no clip of a patient of the label sheet (1 clips of patients who are not" in message
    assert "Q_" not in message


def test_decomposed_file_names_match_composed_ids(folder):
    changed_ids(folder, "Jos\u00e9")
    put(folder, "dicom/Jose\u0301_FC.dcm")
    assert places(folder) == ["Jos\u00e9 FC"]


def test_a_pipe_is_never_opened(folder):
    put(folder, "dicom/P_10_SA.dcm")
    os.mkfifo(folder / "dicom" / "P_1_FC.dcm")
    cohort = read_cohort(folder, 2)
    assert found(cohort) == [("P_10", "SA", "dicom/P_10_SA.dcm")]
    assert any(note.startswith("1 ") and "ignored" in note for note in cohort.notes)


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
def test_ids_that_a_spreadsheet_changed_are_matched_and_the_user_is_told(tmp_path, names):
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


def test_changed_ids_are_matched_through_a_clip_sheet_and_the_other_way_round(tmp_path):
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
def test_changed_ids_that_could_be_several_are_never_guessed(tmp_path, ids, names):
    changed_ids(tmp_path, *ids)
    put(tmp_path, "P_LA.dcm", *names)
    cohort = read_cohort(tmp_path, 2)
    assert {clip.path.name for clip in cohort.clips} == {"P_LA.dcm"} | {n for n in names if n[:2] == "7_"}
    assert any("so they were not matched" in note for note in cohort.notes)


def test_why_ids_were_not_matched_is_said_where_nothing_else_matches(tmp_path):
    changed_ids(tmp_path, "2.018E+11")
    put(tmp_path, "201812345678_A4C.dcm", "201801111111_A4C.dcm")
    message = refusal(tmp_path)
    assert "were ignored; ids of sheet and clips differ only by" in message
    assert "1 patient (row 2 of labels.csv). Write the ids as" in message
    assert "2018" not in message


def test_a_link_to_nowhere_passes_as_a_clip(folder):
    put(folder, "dicom/P_10_SA.dcm")
    (folder / "dicom" / "P_1_FC.dcm").symlink_to("not there")
    (folder / "dicom" / "P_2_FC.dcm").symlink_to(folder / "dicom" / "P_2_FC.dcm")
    (folder / "dicom" / "P_2_LA.dcm").symlink_to("/not/there/either")
    assert places(folder) == ["P_1 FC", "P_2 FC", "P_2 LA", "P_10 SA"]
    (folder / "clips.csv").write_text("id,view,path\nP_1,FC,dicom/P_1_FC.dcm\n")
    assert places(folder) == ["P_1 FC"]


def test_a_renamed_cohort_has_new_ids_everywhere_and_the_same_order(folder):
    changed_ids(folder, "P3", "P1", "P2")
    put(folder, *(f"dicom/P{i}_FC.dcm" for i in (1, 2, 3)))
    (link := folder.parent / f"{folder.name}-link").symlink_to(folder)  # as a whole: it is fine
    cohort = read_cohort(link, 2)
    assert (cohort.name, cohort.folder) == (folder.name, link)
    assert [c.patient_id for c in cohort.clips] == list(cohort.labels.index) == ["P3", "P1", "P2"]
    assert list(cohort.members("II").index) == ["P2"]
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
