from __future__ import annotations

import time

import pytest

from cardio_mlflow.parameters import KEYS
from cardio_mlflow.synthetic.hemodynamics import anatomical_ceiling


@pytest.mark.parametrize("facts", [False, True])
def test_ceilings_leave_room_and_are_repeatable(facts: bool) -> None:
    ceiling = anatomical_ceiling(facts=facts, patients=6000, seed=1)
    assert tuple(ceiling) == KEYS
    assert all(0.75 <= r <= 0.95 for r in ceiling.values()), ceiling


def test_facts_raise_the_ceiling_of_what_follows_from_them_and_lower_none() -> None:
    without, known = (anatomical_ceiling(facts=facts) for facts in (False, True))
    gained = {key: known[key] - without[key] for key in KEYS}
    assert all(gain > -0.002 for gain in gained.values()), gained
    assert all(gained[key] > 0.02 for key in ("CO", "CI", "SVRI")), gained


def test_ceilings_are_simulated_once_and_each_caller_has_its_own() -> None:
    first = anatomical_ceiling()
    start = time.perf_counter()
    for _ in range(20):
        again = anatomical_ceiling()
    assert time.perf_counter() - start < 0.1
    again.clear()
    assert anatomical_ceiling() == first
