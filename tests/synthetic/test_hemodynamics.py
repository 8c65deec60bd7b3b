from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cardio_mlflow.parameters import KEYS, PARAMETERS, PULMONARY_HYPERTENSION
from cardio_mlflow.synthetic.hemodynamics import EXTRA_COLUMNS, draw_hemodynamics


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return draw_hemodynamics(2000, seed=5)


def test_columns_and_index(table: pd.DataFrame) -> None:
    assert list(table.columns) == [*KEYS, *EXTRA_COLUMNS]
    assert table.index[0] == "P0001"
    assert table.index.name == "patient_id"


def test_more_patients_do_not_change_the_first(table: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(draw_hemodynamics(7, seed=5), table.head(7))


def test_another_seed_gives_other_patients(table: pd.DataFrame) -> None:
    assert not draw_hemodynamics(7, seed=6).equals(table.head(7))


@pytest.mark.parametrize("p", PARAMETERS, ids=lambda p: p.key)
def test_values_are_plausible(table: pd.DataFrame, p) -> None:
    assert table[p.key].between(*p.plausible).all()


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


def test_pressures_are_in_order(table: pd.DataFrame) -> None:
    assert (table["SPAP"] > table["meanPAP"]).all()
    assert (table["meanPAP"] > table["dPAP"]).all()
    assert (table["meanPAP"] > table["PCWP"]).all()


def test_heart_rates_span_their_range_and_know_nothing(table: pd.DataFrame) -> None:
    rate = table["HR"]
    assert rate.between(48, 120).all()
    assert rate.min() <= 50
    assert rate.max() >= 115
    assert 70 < rate.median() < 82
    assert max(abs(rate.corr(table[key])) for key in KEYS) < 0.07  # nine of 2000: P < 0.02 together
