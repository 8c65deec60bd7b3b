"""What this process may use of the machine: memory within its container's limit, and a folder for locks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

ROOT: Final = Path("/")
_VERSIONS: Final = {  # folder of the hierarchy; files of limit and use; the use that gives way
    "v2": ("", "memory.max", "memory.current", "inactive_file"),
    "v1": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_memory(root: Path = ROOT) -> int:
    """Bytes that are free to this process: of the machine, and within the limits of its control groups.

    Pages of files that were read and may be dropped count as free, as the machine's own figure has them.
    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory and .../cgroup-v1/memory.html.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    return min([int(psutil.virtual_memory().available), *_free_in_groups(root)])


def _free_in_groups(root: Path) -> Iterator[int]:
    """Bytes free within each limited group, from the process's own up to the topmost that is seen.

    A container sees its own group as the topmost one, whatever path the kernel gives for it.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and "memory" not in controllers.split(","):
            continue
        folder, limit, used, gives_way = _VERSIONS["v2" if number == "0" else "v1"]
        top = root / "sys/fs/cgroup" / folder
        own = top / path.lstrip("/")
        for group in [own, *own.parents]:
            most, now = _read(group / limit).strip(), _read(group / used).strip()
            if most.isdecimal() and now.isdecimal():
                yield max(0, int(most) - int(now) + _statistic(group / "memory.stat", gives_way))
            if group == top:
                break


def _statistic(file: Path, name: str) -> int:
    values = dict(line.partition(" ")[::2] for line in _read(file).splitlines())
    return int(values.get(name, 0))


def _read(file: Path) -> str:
    with suppress(OSError):
        return file.read_text(encoding="ascii", errors="replace")
    return ""


def lock_folder() -> Path:
    """A folder for locks between this user's processes on this machine, made if need be.

    It is named by the user's number, since the user of a container need not have a name, and is open to
    nobody else.
    """
    folder = Path(tempfile.gettempdir()) / f"cardio_mlflow-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
