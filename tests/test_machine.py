"""Memory within the limits of control groups: a real group, and files laid out as the kernel does."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cardio_mlflow.machine import free_memory, lock_folder

MIB = 2**20
V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")
ASK = "import sys; sys.stdin.readline(); from cardio_mlflow.machine import free_memory; print(free_memory())"


def laid_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "free"),
    [
        pytest.param(
            {
                "proc/self/cgroup": "0::/pods/one\n",
                "sys/fs/cgroup/pods/one/memory.max": "max\n",
                "sys/fs/cgroup/pods/one/memory.current": f"{700 * MIB}\n",
                "sys/fs/cgroup/pods/memory.max": f"{900 * MIB}\n",
                "sys/fs/cgroup/pods/memory.current": f"{800 * MIB}\n",
                "sys/fs/cgroup/pods/memory.stat": f"anon 5\ninactive_file {150 * MIB}\n",
            },
            250,
            id="v2, limited above",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/as/the/host/sees/it\n",
                "sys/fs/cgroup/memory.max": f"{64 * MIB}\n",
                "sys/fs/cgroup/memory.current": f"{80 * MIB}\n",
            },
            0,
            id="v2 in a container, over its limit",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "9:cpu,cpuacct:/x\n4:hugetlb,memory:/docker/abc\n0::/\n",
                "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": f"{512 * MIB}\n",
                "sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": f"{100 * MIB}\n",
                "sys/fs/cgroup/memory/docker/abc/memory.stat": f"total_inactive_file {20 * MIB}\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{900 * MIB}\n",
            },
            432,
            id="v1",
        ),
    ],
)
def test_memory_is_that_of_the_tightest_group(tmp_path: Path, files: dict[str, str], free: int) -> None:
    assert free_memory(laid_out(tmp_path, files)) == free * MIB


def test_without_groups_it_is_the_machines(tmp_path: Path) -> None:
    assert free_memory(tmp_path) == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_a_process_in_a_real_group_sees_its_limit() -> None:
    """A process of some 30 MiB in a group of 300 MiB, on a machine with more."""
    is_v1 = (V1 / "memory.limit_in_bytes").exists()
    top, limit = (V1, "memory.limit_in_bytes") if is_v1 else (V2, "memory.max")
    group = top / f"cardio-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(300 * MIB))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group with a limit can be made here: {error}")
    try:
        with subprocess.Popen(
            [sys.executable, "-c", ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as asked:
            (group / "cgroup.procs").write_text(str(asked.pid))
            free = int(asked.communicate("go\n")[0])
        assert 100 * MIB < free < 300 * MIB < psutil.virtual_memory().available
    finally:
        group.rmdir()


def test_the_folder_of_locks_is_this_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a user without a name, as in many containers, and under any umask."""
    before = os.umask(0)
    try:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        folder = lock_folder()
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert lock_folder() == folder
