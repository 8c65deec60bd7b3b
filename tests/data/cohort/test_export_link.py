from __future__ import annotations

import json
import shutil
from zipfile import ZipFile

import pytest

from cardio_mlflow.data.cohort.cohort import read_cohort
from cardio_mlflow.data.cohort.export_link import ExportLink, read_link, reference, remember, write_link
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS

SECRET = "ROE_JANE"
NAMED = f"{SECRET}/19370211/IM_1"
SALT = "0f" * 32


@pytest.fixture
def place(tmp_path):
    """A cohort folder sorted from an export, with a member of a zip file and a file of a telling name."""
    export, cohort = tmp_path / "export", tmp_path / "cohort"
    for name in ("DICOM/IM_1", "DICOM/IM_2", NAMED):
        (export / name).parent.mkdir(parents=True, exist_ok=True)
        (export / name).write_bytes(name.encode())
    with ZipFile(export / "IMG.zip", "w") as archive:
        archive.writestr("SE1/IM_1.dcm", b"x")
    cohort.mkdir()
    (cohort / "labels.csv").write_text(f"patient_id,{KEYS[0]}\\nR0002,5\\n".replace("\\n", "\n"))
    write_link(cohort, ExportLink(SALT))
    remember(cohort, SALT, {"root": export}, tmp_path / "cache")
    return tmp_path


def written(place, *paths):
    rows = "".join(
        f"R0002,{view},{path}\n" for view, path in zip(("FC", "TC", "SA", "LA"), paths, strict=False)
    )
    (place / "cohort" / "clips.csv").write_text(f"patient_id,view,path\n{rows}")


def read(place, export=None, cache="cache", folder="cohort"):
    found = read_cohort(place / folder, 2, "ask", export, place / cache)
    return [clip.path.relative_to(place).as_posix() for clip in found.clips]


def refusal(place, *paths, **given):
    if paths:
        written(place, *paths)
    with pytest.raises(InputError) as error:
        read(place, **given)
    message = str(error.value)
    assert not any(word in message for word in (SECRET, "19370211", "IM_", "export/", "secret"))
    return message


def test_places_members_and_references_are_found_in_the_export(place):
    written(place, "DICOM/IM_1", "IMG.zip/SE1/IM_1.dcm", reference(SALT, NAMED), place / "export/DICOM/IM_2")
    found = ["export/DICOM/IM_1", "export/IMG.zip/SE1/IM_1.dcm", f"export/{NAMED}", "export/DICOM/IM_2"]
    assert read(place) == found
    shutil.move(place / "export", place / "moved")
    assert "is not there" in refusal(place)
    written(place, "DICOM/IM_1", reference(SALT, NAMED))
    assert read(place, place / "moved") == ["moved/DICOM/IM_1", f"moved/{NAMED}"]


def test_the_export_can_be_a_zip_file(place):
    shutil.make_archive(str(place / "all"), "zip", place / "export")
    written(place, "DICOM/IM_1", reference(SALT, NAMED))
    assert read(place, place / "all.zip") == ["all.zip/DICOM/IM_1", f"all.zip/{NAMED}"]


def test_a_link_holds_no_path_and_is_for_its_owner_alone(place):
    assert str(place).encode() not in (place / "cohort" / "export.json").read_bytes()
    (memory,) = (place / "cache" / "exports").iterdir()
    for path in (place / "cohort" / "export.json", memory):
        assert path.stat().st_mode & 0o077 == 0


def test_a_folder_from_elsewhere_is_followed_only_when_the_user_says_so(place):
    written(place, "DICOM/IM_1")
    shutil.copytree(place / "cohort", place / "copy")
    for given in ({"folder": "copy"}, {"cache": "emptied"}):
        assert "Where you trust the folder" in refusal(place, **given)
        assert read(place, place / "export", **given) == ["export/DICOM/IM_1"]
    (place / "copy" / "DICOM").mkdir()
    (place / "copy" / "DICOM" / "IM_1").write_bytes(b"x")  # with its clips: nothing to follow
    assert read(place, folder="copy") == ["copy/DICOM/IM_1"]


@pytest.mark.parametrize(
    "content",
    [json.dumps({"salt": "1e" * 32, "root": "/", "written": {}}), '{"root": "/"}', "[", "", "[1]",
     '{"salt": "../../x", "written": {}}', '{"salt": 5}', json.dumps({"salt": SALT, "written": 3})],
)  # fmt: skip
def test_a_link_that_sort_did_not_write_here_leads_nowhere(place, content):
    (place / "secret").write_bytes(b"x")
    (place / "cohort" / "export.json").write_text(content)
    said = refusal(place, str(place / "secret"), "../secret", "DICOM/IM_1", "/etc/passwd")
    assert "Where you trust the folder" in said or said.count("must lie in the cohort folder, also") == 3


def test_a_memory_of_another_folder_or_salt_or_a_damaged_one_is_none(place):
    written(place, "DICOM/IM_1")
    (memory,) = (place / "cache" / "exports").iterdir()
    write_link(place / "cohort", ExportLink("1f" * 32))
    assert "Where you trust" in refusal(place)
    write_link(place / "cohort", ExportLink(SALT))
    for content in ("", "[]", '{"root": 3}', '{"toor": "/"}'):
        memory.write_text(content)
        assert "Where you trust" in refusal(place)


def test_nothing_outside_the_export_is_reached(place):
    (place / "secret").write_bytes(b"x")
    (place / "secrets").mkdir()
    (place / "secrets" / "IM_3").write_bytes(b"x")
    (place / "export" / "IM_9").symlink_to(place / "secret")
    (place / "export" / "linked").symlink_to(place / "secrets")
    with ZipFile(place / "outside.zip", "w") as archive:
        archive.writestr("IM_1", b"x")
    (place / "export" / "IM.zip").symlink_to(place / "outside.zip")
    for name in ("../secret", place / "secret", "", "DICOM/../../secret", "IMG.zip/../../secret"):
        assert "the file must lie in the cohort folder or the export" in refusal(place, name)
    for name in ("IM_9", "linked/IM_3", "IM.zip/IM_1", "IMG.zip/SE1", "DICOM", "IMG.zip/SE1/IM_1.dcm/x",
                 "DICOM/IM_1/..", "DICOM/IM_1/x", "x" * 5000, "x/" * 999):  # fmt: skip
        assert "row 2, column C (path): there is no such file in the cohort f" in refusal(place, name)


def test_a_reference_that_fits_no_file_or_one_that_cannot_be_read(place):
    (place / "export" / SECRET / "IM_9").symlink_to(place / "secret")
    said = refusal(place, reference("00" * 32, NAMED), reference(SALT, f"{SECRET}/IM_9"), "export:zz")
    assert "row 2, column C (path): no file of the export has this reference" in said
    assert "row 3, column C (path): the file in the export cannot be read: a link " in said
    assert "row 4, column C (path): there is no such file" in said


def test_a_stopped_sort_is_told(place):
    assert "Run sort again" in refusal(place)


def test_a_sheet_by_hand_may_name_files_of_an_export_that_is_given(place):
    (place / "cohort" / "export.json").unlink()
    assert read_link(place / "cohort") is None
    written(place, "DICOM/IM_2")
    assert read(place, place / "export") == ["export/DICOM/IM_2"]
    assert "no such file" in refusal(place)
    assert "There is no such export" in refusal(place, export=place / "nowhere")


def test_a_memory_keeps_any_path(place):
    root = place / "x\udc80"
    remember(place / "cohort", SALT, {"root": root}, place / "cache")
    (memory,) = (place / "cache" / "exports").iterdir()
    assert json.loads(memory.read_text())["root"] == str(root)
