import pytest

from cardio_mlflow.data.cohort.clip import Clip
from cardio_mlflow.data.cohort.clip_folders import _study_moment
from cardio_mlflow.data.cohort.cohort import read_cohort
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS
from tests.data.small_clips import fan, write_clip

STILL = fan(1, 8, 8)

VALUES = "6,24,9,15,9,5.1,2.9,2100,1.2"


def labels(folder, **columns):
    """A sheet of P1 and P2; columns are added to the row of P1."""
    head = ",".join(("patient_id", *KEYS, *columns))
    rows = [f"P1,{VALUES},{','.join(columns.values())}", f"P2,{VALUES},{',' * (len(columns) - 1)}"]
    (folder / "labels.csv").write_text("\n".join([head, *(row.rstrip(",") for row in rows)]))


def clip(path, date="", time=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_clip(path, STILL, StudyDate=date, StudyTime=time, PatientName="Roe")


def found(cohort):
    return [c.path.relative_to(cohort.folder).as_posix() for c in cohort.clips]


def refusal(folder, studies):
    with pytest.raises(InputError) as error:
        read_cohort(folder, 2, studies)
    message = str(error.value)
    assert not any(secret in message for secret in ("2018", "2019", "P1", "Roe"))
    return message


@pytest.mark.parametrize(
    "name",
    ["dicom/P1/20180512/A4C.dcm", "P1/study 1/A4C_rest.dcm", "dicom/P1/1.2.840.113619.2/A4C/IM_1",
     "dicom/P1/ST000000/IM_0012_A4C", "P1/dicom/TTE/P1_A4C.dcm", "dicom/A4C/P1/baseline/x.dcm"],
)  # fmt: skip
def test_the_one_study_of_a_patient_is_looked_into(tmp_path, name):
    labels(tmp_path)
    clip(tmp_path / name)
    cohort = read_cohort(tmp_path, 2)
    assert found(cohort) == [name]
    assert not any("ignored" in note for note in cohort.notes)


@pytest.mark.parametrize(
    "name", ["excluded", "excluded 2", "old_2018", "not used", "reports", "20180512/deep1"]
)
def test_folders_set_aside_stay_aside(tmp_path, name):
    labels(tmp_path)
    clip(tmp_path / "dicom/P2/A4C.dcm")
    clip(tmp_path / "dicom" / "P1" / name / "A4C.dcm")
    cohort = read_cohort(tmp_path, 2)
    assert found(cohort) == ["dicom/P2/A4C.dcm"]
    assert any(note.startswith("1 folders that name no patient") for note in cohort.notes)


def test_clips_beside_a_study_go_first_and_the_study_is_counted(tmp_path):
    labels(tmp_path)
    clip(tmp_path / "dicom/P1/A4C.dcm")
    clip(tmp_path / "dicom/P1/20180512/A2C.dcm")
    cohort = read_cohort(tmp_path, 2)
    assert found(cohort) == ["dicom/P1/A4C.dcm"]
    assert "1 folders of a study of patients who have clips beside it were ignored" in cohort.notes


@pytest.fixture
def two_studies(tmp_path):
    """The folder called "a 1" is the newer one by date, "b 2" the nearer one to 2018-06-01."""
    labels(tmp_path)
    for view in ("A4C", "A2C"):
        clip(tmp_path / "dicom" / "P1" / "a 1" / f"{view}.dcm", "20190512", "080000")
        clip(tmp_path / "dicom" / "P1" / "b 2" / f"{view}.dcm", "20180512", "090000.5")
    clip(tmp_path / "dicom/P2/c 3/A4C.dcm")
    return tmp_path


def test_several_studies_ask_for_a_choice(two_studies):
    message = refusal(two_studies, "ask")
    for words in ("1 patient (row 2 of labels.csv) with several", "-P studies=newest", "column `study`"):
        assert words in message


def test_the_newest_study_is_told_by_its_header(two_studies):
    cohort = read_cohort(two_studies, 2, "newest")
    assert found(cohort) == ["dicom/P1/a 1/A4C.dcm", "dicom/P1/a 1/A2C.dcm", "dicom/P2/c 3/A4C.dcm"]
    assert "1 patient (row 2 of labels.csv) with several studies: the newest was taken" in cohort.notes
    assert not any("201" in note for note in cohort.notes)


def test_on_one_day_the_time_decides_and_without_one_nothing_is_guessed(two_studies):
    clip(two_studies / "dicom/P1/a 1/A4C.dcm", "20180512", "080000")
    clip(two_studies / "dicom/P1/a 1/A2C.dcm", "20180512", "080000")
    assert "dicom/P1/b 2/A4C.dcm" in found(read_cohort(two_studies, 2, "newest"))
    for view in ("A4C", "A2C"):
        clip(two_studies / "dicom" / "P1" / "a 1" / f"{view}.dcm", "20180512", "090000")
    assert "row 2 of labels.csv: 2 studies are equally new." in refusal(two_studies, "newest")


@pytest.mark.parametrize("content", [None, b"", b"no DICOM at all", b"\0" * 128 + b"DICM" + b"\xff" * 400])
def test_a_study_without_a_readable_date_is_named(two_studies, content):
    for view in ("A4C", "A2C"):
        path = two_studies / "dicom" / "P1" / "b 2" / f"{view}.dcm"
        clip(path) if content is None else path.write_bytes(content)
    assert "the date of one of 2 studies cannot be read. Name the folder" in refusal(two_studies, "newest")


def test_a_damaged_header_is_no_date_and_nothing_of_it_is_logged(two_studies, caplog, capfd):
    path = two_studies / "dicom/P1/b 2/A4C.dcm"
    whole = path.read_bytes()
    whole = whole[: whole.index(b"\x10\0\x10\0PN")]  # what stands behind the study's time is not read
    length = whole.index(b"\x02\0\x10\0UI") + 6
    changed = [whole[:i] + bytes([v]) + whole[i + 1 :] for i in range(128, len(whole)) for v in (0, 173)]
    assert whole[:length] + b"\xad" + whole[length + 1 :] in changed
    for content in (*changed, *(whole[:i] for i in range(len(whole)))):
        path.write_bytes(content)
        _study_moment(Clip("P1", "FC", path))
    assert caplog.text == "".join(capfd.readouterr()) == ""


def test_the_study_nearest_to_the_catheterisation(two_studies):
    for day in ("", "05/12/2018", "unknown"):
        labels(two_studies, rhc_date=day)
        assert "row 2 of labels.csv: studies=nearest needs a column rhc_date" in refusal(
            two_studies, "nearest"
        )
        assert found(read_cohort(two_studies, 2, "newest"))
    labels(two_studies, rhc_date="2018-06-01")
    cohort = read_cohort(two_studies, 2, "nearest")
    assert found(cohort)[:2] == ["dicom/P1/b 2/A4C.dcm", "dicom/P1/b 2/A2C.dcm"]
    assert not any("201" in note for note in cohort.notes)
    for view in ("A4C", "A2C"):
        clip(two_studies / "dicom" / "P1" / "a 1" / f"{view}.dcm", "20180621", "0900")
    assert "2 studies are equally near." in refusal(two_studies, "nearest")


@pytest.mark.parametrize(("told", "folder"), [("B 2", "b 2"), ("2018-05-12", "20180512"), ("aside", "aside")])
def test_the_sheet_names_the_study(two_studies, told, folder):
    clip(two_studies / "dicom" / "P1" / folder / "PLAX.dcm")
    clip(two_studies / "dicom/P1/PSAX.dcm")
    labels(two_studies, study=told)
    assert f"dicom/P1/{folder}/PLAX.dcm" in found(read_cohort(two_studies, 2))
    assert all(f"P1/{folder}/" in path for path in found(read_cohort(two_studies, 2)) if "P1" in path)


def test_a_study_that_is_not_there_is_refused_by_its_row_and_a_missing_one_is_not_looked_for(two_studies):
    labels(two_studies, study="20180513")
    message = refusal(two_studies, "newest")
    assert "row 2 of labels.csv, column study: the patient has no such folder" in message
    for told in ("NA", "-", "?", "unknown"):
        labels(two_studies, study=told)
        assert "dicom/P1/a 1/A4C.dcm" in found(read_cohort(two_studies, 2, "newest"))


def test_a_study_named_for_clips_in_no_such_folder_is_noted_by_its_row(tmp_path):
    labels(tmp_path, study="20180513")
    clip(tmp_path / "dicom/P1/A4C.dcm")
    notes = [note for note in read_cohort(tmp_path, 2).notes if "column study" in note]
    assert notes == ["1 patient (row 2 of labels.csv) with clips, but none of the study in column study"]


def test_a_study_linked_from_outside_is_refused(tmp_path):
    cohort, elsewhere = tmp_path / "cohort", tmp_path / "elsewhere"
    clip(elsewhere / "A4C.dcm")
    (cohort / "dicom" / "P1").mkdir(parents=True)
    labels(cohort)
    (cohort / "dicom" / "P1" / "study 1").symlink_to(elsewhere)
    assert "is a link to a place outside" in refusal(cohort, "ask")
