"""Files stay whole, whatever ends the process that writes them."""

from __future__ import annotations

import errno
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cardio_mlflow.files import is_disk_full, whole_file, write_whole

WRITER = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np
from safetensors.numpy import save_file
from cardio_mlflow.files import is_disk_full, whole_file
path, what, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
seen = [0]
def kill(event, arguments):
    if what == "kill" and event in ("open", "os.rename", "os.remove"):
        seen[0] += 1
        if seen[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
if what == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
sys.addaudithook(kill)
try:
    with whole_file(path) as part:
        if path.suffix == ".txt":
            part.write_bytes(b"new" * 100_000)
        else:
            save_file({"x": np.ones(75_000, np.float32)}, part)
except OSError as error:
    sys.exit(3 if is_disk_full(error) else f"{error.errno}: {error}")
"""
OLD, NEW = np.zeros(75_000, np.float32), np.ones(75_000, np.float32)


def write_in_child(path: Path, what: str, number: int) -> int:
    return subprocess.run(
        [sys.executable, "-c", WRITER, str(path), what, str(number)], check=False
    ).returncode


def old_file(folder: Path, suffix: str) -> Path:
    path = folder / f"x{suffix}"
    if suffix == ".txt":
        path.write_bytes(b"old" * 100_000)
    else:
        save_file({"x": OLD}, path)
    return path


def is_old(path: Path) -> bool:
    """Whether the file has its old content; it must have that or the new one, whole."""
    if path.suffix == ".txt":
        assert path.read_bytes() in (b"old" * 100_000, b"new" * 100_000)
        return path.read_bytes().startswith(b"old")
    found = load_file(path)["x"]
    assert np.array_equal(found, OLD) or np.array_equal(found, NEW)
    return np.array_equal(found, OLD)


@pytest.mark.parametrize("suffix", [".txt", ".safetensors"])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_content(tmp_path: Path, suffix: str) -> None:
    path, kept = old_file(tmp_path, suffix), []
    for moment in range(1, 10):
        killed = write_in_child(path, "kill", moment)
        kept.append(is_old(path))
        if not killed:
            break
        assert killed == -9
    assert kept == sorted(kept, reverse=True), "once it is new, it stays"
    assert kept[:3] == [True] * 3
    assert not kept[-1]


@pytest.mark.parametrize("suffix", [".txt", ".safetensors"])
@pytest.mark.parametrize("limit", [0, 70_000])
def test_a_full_disk_leaves_the_old_content_and_no_part(tmp_path: Path, suffix: str, limit: int) -> None:
    path = old_file(tmp_path, suffix)
    assert write_in_child(path, "full", limit) == 3
    assert is_old(path)
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_disk_says_when_it_is_full() -> None:
    assert all(is_disk_full(OSError(number, "")) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
    assert not is_disk_full(OSError(errno.EACCES, ""))


def test_a_failure_of_the_writer_leaves_no_part(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "x") as part:
        part.write_text(str(1 // 0))
    assert not list(tmp_path.iterdir())


def test_text_is_utf8_and_private_files_are_private(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "é\n", mode=0o600)
    write_whole(tmp_path / "b", b"\xff")
    assert (tmp_path / "a").read_bytes() == "é\n".encode()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert (tmp_path / "b").read_bytes() == b"\xff"
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "missing" / "c", "")
