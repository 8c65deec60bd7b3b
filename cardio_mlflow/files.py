"""Files that are whole at every moment: written under another name beside their own, then renamed."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from safetensors import SafetensorError

PART: Final = ".part"
"""Suffix of a file that is being written, or was when its process was killed."""
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def whole_file(path: Path, *, mode: int = 0o666, sync: bool = True) -> Iterator[Path]:
    """Yield an empty file to write to, which takes the name of ``path`` when the block ends.

    Whenever the process is killed or the disk fills up, ``path`` has its old content or the new one, whole.
    Several processes may write the same path: the last one to finish counts.

    Args:
        path: in a folder that exists.
        mode: permissions of the file from its first moment, less the umask.
        sync: whether the new content is on the disk before the old one goes, so that a loss of power
            leaves one of them too.

    Raises:
        OSError: it cannot be written; the old content stays.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PART}")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield part
        if sync:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        part.replace(path)
    except SafetensorError as error:  # how that library reports an OSError
        raise OSError(_errno_in(str(error)), "the tensors cannot be written") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str, *, mode: int = 0o666) -> None:
    """Write bytes or text (as UTF-8) so that ``path`` is whole at every moment, see ``whole_file``."""
    with whole_file(path, mode=mode) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def is_disk_full(error: OSError) -> bool:
    """Whether an error says that the disk, the quota or the file's largest size is reached."""
    return error.errno in _DISK_FULL


def _errno_in(message: str) -> int:
    """The error number in the words of an I/O error of safetensors: ``... (os error 28) ...``."""
    number = message.partition("(os error ")[2].partition(")")[0]
    return int(number) if number.isdecimal() else errno.EIO
