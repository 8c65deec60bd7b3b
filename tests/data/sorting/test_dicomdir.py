"""The DICOMDIR of an export: what it names, what is missing, and files that only look like one."""

import shutil
from pathlib import Path

import pydicom
import pytest

from cardio_mlflow.data.outcomes import ClipRefused
from cardio_mlflow.data.sorting.dicomdir import find_files, read_dicomdir
from cardio_mlflow.errors import InputError

REAL = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests"


@pytest.fixture
def export(tmp_path) -> Path:
    return Path(shutil.copytree(REAL / "98892003", tmp_path / "98892003").parent)


def test_files_that_are_named_and_not_there_are_counted(export):
    shutil.copy(REAL / "DICOMDIR", export)
    (export / "98892003" / "beside").touch()
    listing = find_files(export)
    assert len(listing.files) == 19
    assert listing.notes == ("14 of 31 files that a DICOMDIR names are not there",)
    alone = find_files(export / "DICOMDIR")
    assert alone.root == export
    assert len(alone.files) == 17
    assert alone.notes == listing.notes


def test_names_differ_in_case_and_version_as_copies_of_discs_do(export):
    (export / "98892003" / "MR1").rename(export / "98892003" / "mr1")
    (export / "98892003" / "mr1" / "4919").rename(export / "98892003" / "mr1" / "4919.;1")
    shutil.copy(REAL / "DICOMDIR", export / "dicomdir")
    assert len(find_files(export / "dicomdir").files) == 17


@pytest.mark.parametrize(
    "content", [b"", b"no", bytes(128) + b"DICM", bytes(128) + b"DICM" + b"\2\0\x10\0UI\4\0"]
)
def test_a_broken_one_is_a_note_and_as_the_export_an_error(export, content):
    (export / "DICOMDIR").write_bytes(content)
    with pytest.raises(ClipRefused):
        read_dicomdir(export / "DICOMDIR")
    listing = find_files(export)
    assert len(listing.files) == 18
    assert listing.notes == ("1 DICOMDIR files could not be read",)
    with pytest.raises(InputError, match="DICOMDIR"):
        find_files(export / "DICOMDIR")


def test_a_name_that_leads_out_finds_nothing(export):
    content = (REAL / "DICOMDIR").read_bytes().replace(b"98892003\\MR1\\4919", b"..\\..\\..\\passwd   ")
    (export / "DICOMDIR").write_bytes(content.replace(b"98892003\\", b"98892004\\"))
    assert "../../../passwd" in read_dicomdir(export / "DICOMDIR").files
    with pytest.raises(InputError, match="names files which are there"):
        find_files(export / "DICOMDIR")
