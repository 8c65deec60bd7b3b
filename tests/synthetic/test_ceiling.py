from __future__ import annotations

import pytest

from cardio_mlflow.parameters import KEYS
from cardio_mlflow.synthetic.ceiling import anatomical_ceiling


def test_ceilings_leave_room_and_are_repeatable() -> None:
    ceiling = anatomical_ceiling(6000, seed=1)
    assert tuple(ceiling) == KEYS
    assert all(0.75 <= r <= 0.95 for r in ceiling.values()), ceiling
    assert anatomical_ceiling(6000, seed=1) == pytest.approx(ceiling, abs=1e-12)
