"""Whence a request's clip files may be read: the request itself, or a folder that is open to requests."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cardio_mlflow.errors import InputError

MOST_BYTES: Final = 256 * 1024**2
"""Bytes of a clip's file that is sent in base64; of one that lies here, the limits of preparation hold."""

_LONGEST_PATH: Final = 4096
_MARK: Final = slice(128, 132), b"DICM"


@dataclass(frozen=True)
class Sent:
    """A clip's file as it came with the request, in base64."""

    text: str

    def content(self) -> bytes:
        """The file's bytes."""
        content = _decoded(self.text)
        assert content is not None, "checked when the request was read"
        return content


ClipFile = Path | Sent
"""A clip's file on this machine, or sent along."""


@dataclass(frozen=True)
class Places:
    """Where files that a request names may lie.

    Attributes:
        folder: below which they must lie; None: nowhere in a server, elsewhere anywhere.
        is_server: whether requests come from outside of this process.
    """

    folder: Path | None = None
    is_server: bool = False

    def file(self, cell: object, where: str) -> ClipFile:
        """The clip file that a cell gives, by its path or in base64.

        Args:
            cell: of a table, not empty.
            where: the cell's row and column, for what is said.

        Raises:
            InputError: it is neither, too large, or not open to requests.
        """
        if not isinstance(cell, str | Path):
            raise InputError(
                f"{where}: a clip is the path of its file or base64 text, not {type(cell).__name__}."
            )
        text = str(cell)
        if len(text) > _LONGEST_PATH and 3 * len(text) > 4.2 * MOST_BYTES:  # line ends included
            raise InputError(
                f"{where}: a file sent in base64 may have {MOST_BYTES // 2**20} MiB, and this has "
                f"{len(text)} characters."
            )
        if _is_sent(text):
            return Sent(text)
        if len(text) > _LONGEST_PATH or "\0" in text:
            raise InputError(f"{where}: {len(text)} characters that are neither base64 nor a path.")
        return self._open(text, where)

    def _open(self, text: str, where: str) -> Path:
        """The file of this path, links followed, if it is open to requests."""
        if self.folder is None:
            if self.is_server:
                raise InputError(f"{where}: this server reads no files by path: send the file in base64.")
            return Path(text)
        try:
            root = self.folder.resolve()
            path = (root / text).resolve()
        except (OSError, RuntimeError):  # a loop of links
            path = root = Path()
        if path == root or not path.is_relative_to(root):
            raise InputError(f"{where}: the path leads out of the folder that is open to requests.")
        return path


def _is_sent(text: str) -> bool:
    """Whether a text is a file in base64; one as short as a path can be must be a DICOM file's."""
    content = _decoded(text)
    place, mark = _MARK
    return content is not None and (len(text) > _LONGEST_PATH or content[place] == mark)


def _decoded(text: str) -> bytes | None:
    """Bytes from base64, which may have line ends; None where it is none."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
