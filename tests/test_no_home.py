"""A user without a name, without a home, and with packages that can only be read, as in many containers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

PROJECT = Path(__file__).resolve().parents[1]
FEATURES = """
import logging
import numpy as np, pandas as pd
from cardio_mlflow.pipelines.evaluate import _maps
logging.basicConfig()
values = pd.DataFrame(np.random.default_rng(0).normal(size=(12, 3)), columns=["f0", "f1", "f2"])
print("left out:", _maps(values.assign(patient_id=[f"P{i}" for i in range(12)], network="1"), 0))
"""


READABLE: Final = "import mlflow, os; assert os.access(mlflow.__file__, os.R_OK); import cardio_mlflow"
"""What a user can run who may enter the folders of the packages, not only by a right to read everything."""

NOBODY: Final = 54321
AS_NOBODY: Final = [
    "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
]  # fmt: skip
"""A command as that user, who may read everything, wherever the project and its Python lie."""

COMPILED: Final = "import entry_points, numba, statistics; numba.njit(cache=True)(statistics.mean)"
"""What numba refuses where it can keep nothing."""


def as_nobody(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(PROJECT),
                   "OMP_NUM_THREADS": "1"}  # fmt: skip
    return subprocess.run([*AS_NOBODY, sys.executable, *words], cwd=folder, env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is theirs."""
    made = tmp_path_factory.mktemp("theirs")
    try:
        os.chown(made, NOBODY, NOBODY)
        tried = as_nobody(["-c", f"import os; assert os.access({str(PROJECT)!r}, os.R_OK)"], made)
        tried = tried if tried.returncode else as_nobody(["-c", READABLE], made)
    except OSError as error:
        pytest.skip(f"no process of another user can be started here: {error}")
    if tried.returncode:
        pytest.skip(f"no process of another user can be started here: {tried.stderr[-200:]}")
    return made


def test_commands_work_for_a_user_without_name_and_home(folder: Path) -> None:
    asked = ["-m", "entry_points.train_fold", "--fold=9"]
    without, with_cache = (as_nobody([*asked, *more], folder) for more in ([], [f"--cache={folder}/cache"]))
    assert without.returncode == with_cache.returncode == 1
    assert "this folder cannot be made" in without.stderr
    assert "-P cache=" in without.stderr
    assert "fold=9 is not allowed" in with_cache.stderr
    assert "Traceback" not in without.stderr + with_cache.stderr
    assert (folder / "cache" / "matplotlib").is_dir()


def test_the_maps_are_left_out_where_nothing_compiled_can_be_kept(folder: Path) -> None:
    found = as_nobody(["-c", FEATURES], folder)
    assert found.stdout.startswith("left out: UMAP cannot be used on this machine"), found.stderr
    kept = as_nobody(["-c", COMPILED, f"--cache={folder}/cache"], folder)
    assert kept.returncode == 0, kept.stderr
