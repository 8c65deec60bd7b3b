"""The synthetic patients: references that fit together, an anatomy that follows them, a heart that beats."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.parameters import KEYS, PARAMETERS, PULMONARY_HYPERTENSION
from cardio_mlflow.synthetic.anatomy import LATENT_NAMES, LATENTS, draw_anatomy
from cardio_mlflow.synthetic.hemodynamics import EXTRA_COLUMNS, anatomical_ceiling, draw_hemodynamics
from cardio_mlflow.synthetic.scene import cardiac_cycle

PHASES = np.linspace(0, 1, 201)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return draw_hemodynamics(2000, seed=5)


@pytest.fixture(scope="module")
def anatomy(table: pd.DataFrame) -> pd.DataFrame:
    return draw_anatomy(table, seed=5)


def test_a_seed_names_patients_whatever_their_number(table: pd.DataFrame, anatomy: pd.DataFrame) -> None:
    assert list(table.columns) == [*KEYS, *EXTRA_COLUMNS]
    assert (table.index[0], table.index.name) == ("P0001", "patient_id")
    first = draw_hemodynamics(7, seed=5)
    pd.testing.assert_frame_equal(first, table.head(7))
    pd.testing.assert_frame_equal(draw_anatomy(first, seed=5), anatomy.head(7))
    assert not draw_hemodynamics(7, seed=6).equals(first)


def test_values_are_plausible_and_pressures_in_order(table: pd.DataFrame) -> None:
    for p in PARAMETERS:
        assert table[p.key].between(*p.plausible).all(), p.key
    assert (table["SPAP"] > table["meanPAP"]).all()
    assert (table["meanPAP"] > table[["dPAP", "PCWP"]].max(axis=1)).all()


def test_identities_hold_to_the_rounding(table: pd.DataFrame) -> None:
    gradient = table["meanPAP"] - table["PCWP"]
    assert np.abs(gradient - table["PVR"] * table["CO"]).max() < 0.1
    assert np.abs(table["meanPAP"] - (table["SPAP"] + 2 * table["dPAP"]) / 3).max() <= 0.5
    assert np.abs(table["CI"] - table["CO"] / table["BSA"]).max() <= 0.0051
    assert np.abs(table["SVRI"] - 80 * (table["MAP"] - table["RAP"]) / table["CI"]).max() <= 0.51


def test_pulmonary_hypertension_in_all_its_forms(table: pd.DataFrame) -> None:
    hypertension = table["meanPAP"] > PULMONARY_HYPERTENSION.cutoff
    wedge, resistance = table["PCWP"] > 15, table["PVR"] > 2
    assert 0.55 <= hypertension.mean() <= 0.65
    for form in (~wedge & resistance, wedge & ~resistance, wedge & resistance):
        assert (hypertension & form).mean() > 0.10


def test_heart_rates_span_their_range_and_know_nothing(table: pd.DataFrame) -> None:
    rate = table["HR"]
    assert 48 <= rate.min() <= 50
    assert 115 <= rate.max() <= 120
    assert 70 < rate.median() < 82
    assert max(abs(rate.corr(table[key])) for key in KEYS) < 0.07  # nine of 2000: P < 0.02 together


def test_latents_stay_within_their_limits(anatomy: pd.DataFrame) -> None:
    assert tuple(anatomy.columns) == LATENT_NAMES
    for latent in LATENTS:
        assert anatomy[latent.name].between(*latent.limits).all()


@pytest.mark.parametrize(
    ("latent", "key", "sign"),
    [
        ("ra_area", "RAP", 1),
        ("la_area", "PCWP", 1),
        ("rv_area", "meanPAP", 1),
        ("rv_wall", "SPAP", 1),
        ("systolic_flattening", "SPAP", 1),
        ("diastolic_flattening", "PVR", 1),
        ("rv_shortening", "PVR", -1),
        ("tricuspid_motion", "CI", 1),
        ("aortic_opening", "CI", 1),
        ("lv_wall", "MAP", 1),
        ("systole", "HR", 1),
    ],
)
def test_anatomy_follows_hemodynamics(table, anatomy, latent: str, key: str, sign: int) -> None:
    assert 0.4 < sign * anatomy[latent].corr(table[key], method="spearman") < 0.97


@pytest.mark.parametrize("facts", [False, True])
def test_ceilings_leave_room(facts: bool) -> None:
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


@given(st.floats(0.24, 0.50), st.floats(0.35, 0.90))
def test_a_cycle_closes_and_its_valves_take_turns(systole: float, early: float) -> None:
    cycle = cardiac_cycle(PHASES, systole, early)
    for curve in (cycle.contraction, cycle.right_contraction, cycle.atrial, cycle.mitral, cycle.aortic):
        assert curve.min() >= -1e-9
        assert curve.max() <= 1 + 1e-9
        assert abs(curve[0] - curve[-1]) < 1e-9
    assert abs(PHASES[cycle.contraction.argmax()] - systole) < 0.01
    assert (np.minimum(cycle.mitral, cycle.aortic) < 0.05).all()
