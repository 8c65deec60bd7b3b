"""Which tests a process gets, of several: whole files, those that share a study together, long ones first."""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest
from xdist.scheduler import LoadFileScheduling

STUDIED: Final = ("test_study.py", "test_evaluate.py", "test_fan_out.py")
"""Files that use one study, which is run once for them and takes longer than they do."""
LONG: Final = (
    *STUDIED, "test_clusters.py", "test_tune.py", "test_resume.py", "test_postgres.py", "test_visualize.py",
    "test_predict.py", "test_mlflow_run.py", "test_no_identity.py", "test_server.py", "test_no_home.py",
    "test_sort.py", "test_registry.py", "test_serving.py",
)  # fmt: skip
"""Files of few tests that take long: begun at the end, they would have the other processes wait."""


class Schedule(LoadFileScheduling):
    """Gives whole files to processes, in the order of the tests."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "the study" if file.endswith(STUDIED) else file


def put_long_ones_first(items: list[pytest.Item]) -> None:
    """Sort tests by their files: the long ones, then those with the most tests."""
    ranks, counts = {name: rank for rank, name in enumerate(LONG)}, Counter(item.path for item in items)
    items.sort(key=lambda item: (ranks.get(item.path.name, len(LONG)), -counts[item.path], item.path))
