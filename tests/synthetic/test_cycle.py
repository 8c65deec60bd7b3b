from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.synthetic.scene import cardiac_cycle

PHASES = np.linspace(0, 1, 201)
SYSTOLE = st.floats(0.24, 0.50)
EARLY = st.floats(0.35, 0.90)


@given(SYSTOLE, EARLY)
def test_fractions_stay_fractions_and_the_cycle_closes(systole: float, early: float) -> None:
    cycle = cardiac_cycle(PHASES, systole, early)
    for curve in (cycle.contraction, cycle.right_contraction, cycle.atrial, cycle.mitral, cycle.aortic):
        assert curve.min() >= -1e-9
        assert curve.max() <= 1 + 1e-9
        assert abs(curve[0] - curve[-1]) < 1e-9


@given(SYSTOLE, EARLY)
def test_end_systole_stands_where_it_is_said(systole: float, early: float) -> None:
    cycle = cardiac_cycle(PHASES, systole, early)
    assert abs(PHASES[cycle.contraction.argmax()] - systole) < 0.01


@given(SYSTOLE, EARLY)
def test_inlet_and_outlet_valves_are_never_open_together(systole: float, early: float) -> None:
    cycle = cardiac_cycle(PHASES, systole, early)
    assert (np.minimum(cycle.mitral, cycle.aortic) < 0.05).all()
