"""Files inside zip files, read where they lie: a path may go through a zip file as through a folder.

Nothing is unpacked to a disk. Zip files are hostile: what they say of themselves is bounded before it is
believed, and a member that breaks a bound has a fault, in fixed words, and cannot be opened.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import SEEK_CUR, SEEK_END, SEEK_SET, FileIO, RawIOBase
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

NOT_REGULAR: Final = "no regular file"
UNREADABLE_ZIP: Final = "zip cannot be read"
_MAX_DIRECTORY: Final = 32 * 1024**2  # bytes of a zip file's list of members, read and kept at once
_MAX_BYTES: Final = 2 * 1024**3  # of a member when inflated, as of any clip file
_MAX_RATIO: Final = 200
_SMALL: Final = 1024**2  # bytes that may be inflated from any number of them
_MAX_NAME, _MAX_PART = 1024, 255
_LOCAL_HEADER: Final = 30  # bytes before a member's name and data
_UNIX: Final = 3
_ENCRYPTED: Final = 1
_DRIVE: Final = re.compile("[A-Za-z]:")
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)  # a pipe put in the file's place must not block
_FAULTS: Final = (
    BadZipFile, OSError, EOFError, ValueError, RuntimeError, OverflowError, MemoryError, struct.error,
    zlib.error,
)  # fmt: skip
"""What `zipfile` raises on damaged or hostile files; NotImplementedError is a RuntimeError."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a zip file.

    Attributes:
        name: its path in the zip file, "/" separated; of one whose own cannot be used, "member" and a number.
        size: bytes when inflated, as the zip file says.
        fault: why it cannot be opened, in fixed words; empty where it can.
    """

    name: str
    size: int
    fault: str = ""


def member_of(path: Path) -> tuple[Path, str] | None:
    """The file that a path goes through as if it were a folder, and the rest of it; None for any other path.

    It need be no zip file, and need have no such member: that is found out when it is opened.
    """
    if os.path.lexists(path):
        return None
    for parent in path.parents:
        if parent.is_file():
            return parent, path.relative_to(parent).as_posix()
        if os.path.lexists(parent):
            break
    return None


def is_member(path: Path) -> bool:
    """Whether a path goes through a zip file to a member that can be opened."""
    found = member_of(path)
    try:
        return found is not None and not _archive(found[0]).member(found[1]).fault
    except OSError:
        return False


def zip_members(archive: Path) -> Sequence[Member]:
    """The files in a zip file, in its order, with those that cannot be opened.

    Raises:
        OSError: it is no zip file that can be read.
    """
    return list(_archive(archive).members.values())


class MemberFile(RawIOBase):
    """A member of a zip file, open for reading from any place; reading on is quick, going back is not.

    Attributes:
        size: bytes.
    """

    def __init__(self, archive: Path, name: str) -> None:
        """Open a member; OSError where it is not there, has a fault, or is damaged."""
        super().__init__()
        opened = _archive(archive)
        self.size = opened.member(name).size
        with _as_os_errors():
            self._content = opened.file.open(opened.infos[name])
        self._at = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """Any place can be gone to."""
        return True

    def tell(self) -> int:
        """Where it stands."""
        return self._at

    def seek(self, offset: int, whence: int = SEEK_SET, /) -> int:
        """Go to a place, without reading yet."""
        start = {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, "a place before the start")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read on; OSError where the member is damaged."""
        view = memoryview(buffer).cast("B")
        if self._at >= self.size:
            return 0
        with _as_os_errors():
            if self._content.tell() != self._at:
                self._content.seek(self._at)
            data = self._content.read(len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Close it; its zip file stays open for others."""
        if not self.closed:
            self._content.close()
        super().close()


class _Archive:
    """A zip file that is open, and what its list of members says."""

    def __init__(self, path: Path) -> None:
        with _as_os_errors():
            self.file = ZipFile(_Bounded(path, opener=lambda name, flags: os.open(name, flags | _NO_WAIT)))
            entangled = _entangled(self.file)
        self.members: dict[str, Member] = {}
        self.infos: dict[str, ZipInfo] = {}
        for number, info in enumerate(self.file.infolist(), start=1):
            if info.is_dir():
                continue
            name = _sound_name(info.filename)
            fault = _fault(info) if name else "a name that leads out of its zip file, or that no file has"
            fault = "overlaps another member of its zip file" if info.header_offset in entangled else fault
            name = name or f"member {number}"
            if name in self.members:
                fault = "a name that its zip file has twice"
            self.members[name], self.infos[name] = Member(name, info.file_size, fault), info

    def member(self, name: str) -> Member:
        """A member that can be opened; OSError for any other."""
        found = self.members.get(name)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "not in the zip file")
        if found.fault:
            raise OSError(errno.EIO, found.fault)
        return found


class _Bounded(FileIO):
    """A file of which no more is read at once than any sound zip file's list of members has."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MAX_DIRECTORY:
            raise BadZipFile
        return super().read(-1 if size is None else size) or b""

    def __del__(self) -> None:
        self.close()  # quietly: Python's warning would name the file


def _archive(path: Path) -> _Archive:
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EIO, NOT_REGULAR)
    return _opened(path, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


@lru_cache(maxsize=4)  # lists of members are long, and files are read in the order of their archives
def _opened(path: Path, *_mark: int) -> _Archive:
    return _Archive(path)


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Turn what `zipfile` raises, whose words may repeat a member's name, into an OSError of fixed words."""
    try:
        yield
    except _FAULTS:
        raise OSError(errno.EIO, UNREADABLE_ZIP) from None


def _entangled(file: ZipFile) -> frozenset[int]:
    """Where members start that share bytes, or run into the list of members, as in some zip bombs."""
    infos = sorted(file.infolist(), key=lambda info: info.header_offset)
    places = [(i.header_offset, i.header_offset + _LOCAL_HEADER + i.compress_size) for i in infos]
    pairs = pairwise([*places, (file.start_dir, file.start_dir)])
    return frozenset(start for a, b in pairs if a[1] > b[0] for start in (a[0], b[0]))


def _sound_name(name: str) -> str:
    """A member's name with "/" between its parts; empty for one that leads out, or that no file has."""
    name = name.replace("\\", "/")  # as some programs write under Windows
    parts = [part for part in name.split("/") if part not in ("", ".")]
    leads_out = name.startswith("/") or _DRIVE.match(name) or ".." in parts
    long = len(name) > _MAX_NAME or any(len(part.encode(errors="replace")) > _MAX_PART for part in parts)
    return "" if leads_out or long or "\0" in name else "/".join(parts)


def _fault(info: ZipInfo) -> str:
    """What a member's entry in the list says against it."""
    kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == _UNIX else 0
    found = {
        NOT_REGULAR: kind not in (0, stat.S_IFREG),
        "encrypted zip member": info.flag_bits & _ENCRYPTED,
        "zip member of a compression that is not read": info.compress_type not in (ZIP_STORED, ZIP_DEFLATED),
        "zip within a zip": info.filename.lower().endswith(".zip"),
        f"inflates to more than {_MAX_BYTES} bytes": info.file_size > _MAX_BYTES,
        f"inflates to more than {_MAX_RATIO} times its size":
            info.file_size > max(_SMALL, _MAX_RATIO * info.compress_size),
    }  # fmt: skip
    return next((words for words, is_so in found.items() if is_so), "")
