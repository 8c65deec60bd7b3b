"""The files of an export: folders, zip files, links, and what wants to break out or to flood."""

import os
import struct
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.cohort import export_files
from cardio_mlflow.data.cohort.export_files import list_export
from cardio_mlflow.data.cohort.zip_members import MemberFile, is_member, member_of, zip_members
from cardio_mlflow.errors import InputError


def zipped(path: Path, method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    """A zip file with members by name."""
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def faults(export: Path) -> dict[str, str]:
    return {file.place: file.fault for file in list_export(export).files}


@pytest.fixture
def export(tmp_path):
    folder = tmp_path / "export"
    (folder / "DICOM" / "ST1").mkdir(parents=True)
    for name in ("IM_10", "IM_2"):
        (folder / "DICOM" / "ST1" / name).write_bytes(b"x")
    return folder


def test_files_of_folders_and_zip_files_are_listed_once_in_natural_order(export):
    zipped(export / "B.ZIP", **{"a/IM1": b"1", "__MACOSX/x": b"", "a/IM0": b"0"})
    for name in (".DS_Store", "Thumbs.db", "DICOM/._IM_2"):
        (export / name).touch()
    listing = list_export(export)
    places = ["B.ZIP/a/IM0", "B.ZIP/a/IM1", "DICOM/ST1/IM_2", "DICOM/ST1/IM_10"]
    assert [file.place for file in listing.files] == places
    assert all(file.path == export / file.place and not file.fault for file in listing.files)
    assert [note.split()[0] for note in listing.notes] == ["4", "1"]
    inside = list_export(export / "B.ZIP")
    assert [file.place for file in inside.files] == ["a/IM0", "a/IM1"]
    assert MemberFile(*member_of(inside.files[1].path)).read() == b"1"


def test_a_link_is_never_followed_out_nor_round(export, tmp_path):
    (tmp_path / "secret").write_bytes(b"s")
    out = {"out": tmp_path / "secret", "up": tmp_path, "loop": export / "loop", "gone": export / "none"}
    for name, target in {**out, "same": export / "DICOM", "round": export, "twin": "DICOM/ST1/IM_2"}.items():
        (export / name).symlink_to(target)
    found = faults(export)
    assert {name: found[name] for name in out} == {
        "out": "a link out of the export", "up": "a link out of the export",
        "loop": "a link to nowhere", "gone": "a link to nowhere",
    }  # fmt: skip
    assert len(found) == len(out) + 2
    assert any(note.startswith("3 links") for note in list_export(export).notes)


def test_what_is_no_file_or_cannot_be_read_is_a_row(export, monkeypatch):
    os.mkfifo(export / "pipe")
    (export / "broken.zip").write_bytes(b"PK\3\4 and no more")
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda p: scandir(p) if Path(p).name != "ST1" else scandir("/none"))
    assert faults(export) == {
        "DICOM/ST1": "a folder that cannot be read", "pipe": "no regular file",
        "broken.zip": "zip cannot be read",
    }  # fmt: skip


def test_members_that_lead_out_or_are_no_files_have_a_fault(tmp_path):
    archive = tmp_path / "x.zip"
    names = ["../up", "/etc/passwd", "a/../../up", r"..\up", r"C:\up", "n" * 300, "in.zip", r"dir\fine"]
    with zipfile.ZipFile(archive, "w") as file:
        for name in names:
            file.writestr(name, b"x")
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        file.writestr(link, "/etc/passwd")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("in.zip", b"x")
    found = faults(archive)
    assert ".." not in "".join(found)
    outside = "a name that leads out of its zip file, or that no file has"
    expected = {outside: 6, "a name that its zip file has twice": 1, "no regular file": 1, "": 1}
    assert Counter(found.values()) == expected
    assert found["dir/fine"] == ""
    assert not is_member(archive / "link")
    assert not is_member(tmp_path / "x.zip" / ".." / "up")


def patched(path: Path, mark: bytes, offset: int, value: bytes) -> None:
    """Change every record of a zip file that begins with a mark."""
    data, at = bytearray(path.read_bytes()), -1
    while (at := data.find(mark, at + 1)) >= 0:
        data[at + offset : at + offset + len(value)] = value
    path.write_bytes(data)


def test_bombs_encrypted_members_and_other_compressions_cannot_be_opened(tmp_path):
    bomb = zipped(tmp_path / "bomb.zip", a=bytes(2**22), fine=os.urandom(2**12))
    assert faults(bomb) == {"a": "inflates to more than 200 times its size", "fine": ""}
    huge = zipped(tmp_path / "huge.zip", a=os.urandom(100))
    patched(huge, b"PK\1\2", 24, struct.pack("<I", 2**31 + 1))
    locked = zipped(tmp_path / "locked.zip", a=b"x")
    patched(locked, b"PK\1\2", 8, b"\1")
    other = zipped(tmp_path / "other.zip", zipfile.ZIP_BZIP2, a=b"x")
    overlapping = zipped(tmp_path / "overlap.zip", a=b"x" * 99, b=b"y" * 99)
    patched(overlapping, b"PK\1\2", 42, struct.pack("<I", 0))
    words = ["inflates to more than 2147483648 bytes", "encrypted", "compression", "overlaps"]
    for path, word in zip((huge, locked, other, overlapping), words, strict=True):
        assert all(word in fault for fault in faults(path).values())
        for name in faults(path):
            with pytest.raises(OSError, match=word):
                MemberFile(path, name)


def test_a_list_of_members_that_would_fill_the_memory_is_not_read(tmp_path, monkeypatch):
    path = zipped(tmp_path / "many.zip", **{f"m{i}": b"" for i in range(1000)})
    monkeypatch.setattr("cardio_mlflow.data.cohort.zip_members._MAX_DIRECTORY", 10_000)
    assert faults(path) == {"many.zip": "zip cannot be read"}


@given(data=st.binary(min_size=1, max_size=3000), moves=st.lists(st.integers(0, 3200), max_size=8),
       method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))  # fmt: skip
def test_a_member_is_read_from_any_place_as_the_file_is(tmp_path_factory, data, moves, method):
    folder = tmp_path_factory.mktemp("zip")
    member = MemberFile(zipped(folder / "x.zip", method, a=data), "a")
    for move in moves:
        member.seek(move)
        assert member.read(100) == data[move : move + 100]
        assert member.tell() == min(move + 100, max(move, len(data)))
    assert member.size == member.seek(0, os.SEEK_END) == len(data)


@given(where=st.integers(0, 400), bit=st.integers(0, 7))
def test_a_damaged_zip_file_is_a_fault_and_no_other_error(tmp_path_factory, where, bit):
    path = zipped(tmp_path_factory.mktemp("zip") / "x.zip", a=b"abc" * 40, b=b"x" * 30)
    content = bytearray(path.read_bytes())
    content[where % len(content)] ^= 1 << bit
    path.write_bytes(content)
    try:
        members = zip_members(path)
        for member in members:
            MemberFile(path, member.name).readall()
    except OSError as fault:
        assert "\\x" not in str(fault)  # noqa: PT017


def test_a_member_of_what_is_no_zip_file_is_none(export):
    assert member_of(export / "DICOM" / "ST1" / "IM_2") is None
    assert member_of(export / "none" / "IM_2") is None
    assert not is_member(export / "DICOM" / "ST1" / "IM_2" / "inside")


def test_an_export_that_is_none_or_too_large_is_one_error(export, monkeypatch):
    with pytest.raises(InputError, match="no such export"):
        list_export(export / "none")
    with pytest.raises(InputError, match="neither a zip file nor a DICOMDIR"):
        list_export(export / "DICOM" / "ST1" / "IM_2")
    (export / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    assert len(list_export(export / "DICOMDIR").files) == 3
    monkeypatch.setattr(export_files, "MAX_FILES", 2)
    with pytest.raises(InputError, match="more than 2 files"):
        list_export(export)
