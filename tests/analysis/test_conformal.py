"""Conformal intervals, against the formula of the paper in plain loops, and on simulated patients."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from cardio_mlflow.analysis.conformal import (
    SUBSET_COLUMNS,
    Calibration,
    calibrate,
    mean_over_networks,
    views_shown,
)
from cardio_mlflow.analysis.scores import smallest
from cardio_mlflow.parameters import KEYS, PARAMETERS, VIEWS

ALL = "A4C+A2C+PSAX+PLAX"
FOLDS = 5


def simulated(patients: int, seed: int, noise: float = 0.05) -> pd.DataFrame:
    """Out-of-fold predictions of every parameter from all views, errors of one size for each."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(patients):
        for p in PARAMETERS:
            low, high = p.plausible
            prediction, error = 0.3 * high + 0.7 * low, noise * rng.standard_normal()
            reference = prediction * math.exp(error) if p.log else prediction + error * (high - low)
            rows.append((f"P{number}", number % FOLDS + 1, ALL, p.key, reference, prediction))
    return pd.DataFrame(rows, columns=list(SUBSET_COLUMNS))


def networks(table: pd.DataFrame, patients: int, seed: int) -> dict[str, np.ndarray]:
    """Predictions by five networks that differ a little."""
    rng = np.random.default_rng(seed)
    of = table.drop_duplicates("parameter").set_index("parameter")["prediction"]
    middles = np.array([of[key] for key in KEYS])
    return {
        f"fold-{k}": middles * (1 + 0.02 * rng.standard_normal((patients, 9))) for k in range(1, FOLDS + 1)
    }


def everything(patients: int) -> np.ndarray:
    return np.ones((patients, len(VIEWS)), dtype=bool)


def plain_cv_plus(table: pd.DataFrame, key: str, by_network, patient: int, level: float):
    """Barber et al. 2021, section 3: the (1 − α)(n + 1)-th of what each fold's error makes of the patient."""
    column, log = KEYS.index(key), PARAMETERS[KEYS.index(key)].log
    uppers, lowers = [], []
    for row in table[table["parameter"] == key].itertuples():
        at = by_network[f"fold-{row.fold}"][patient, column]
        if log:
            error = abs(math.log(row.reference) - math.log(row.prediction))
            uppers.append(at * math.exp(error))
            lowers.append(at / math.exp(error))
        else:
            error = abs(row.reference - row.prediction)
            uppers.append(at + error)
            lowers.append(at - error)
    rank = math.ceil(level * (len(uppers) + 1) - 1e-9)
    low, high = PARAMETERS[column].plausible
    return (
        min(max(sorted(lowers)[len(lowers) - rank], low), high),
        min(max(sorted(uppers)[rank - 1], low), high),
    )


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_intervals_are_those_of_the_paper_where_errors_are_of_one_size(level):
    table = simulated(25, seed=1)
    by_network = networks(table, 4, seed=2)
    lower, upper = calibrate(table).intervals(by_network, everything(4), level)
    for patient in range(4):
        for column, key in enumerate(KEYS):
            expected = plain_cv_plus(table, key, by_network, patient, level)
            assert (lower[patient, column], upper[patient, column]) == pytest.approx(expected, rel=1e-9)


def test_fewer_patients_than_a_level_needs_give_no_interval():
    table = simulated(9, seed=3)
    by_network = networks(table, 2, seed=4)
    calibration = calibrate(table)
    assert smallest(0.9) == 9
    assert np.isfinite(calibration.intervals(by_network, everything(2), 0.9)[0]).all()
    assert np.isnan(calibration.intervals(by_network, everything(2), 0.95)).all()


def test_a_calibration_comes_back_from_json_and_names_nobody():
    calibration = calibrate(simulated(40, seed=5))
    text = calibration.to_json()
    by_network = networks(simulated(1, seed=5), 3, seed=6)
    again = Calibration.from_json(text)
    for given, back in zip(
        calibration.intervals(by_network, everything(3)),
        again.intervals(by_network, everything(3)),
        strict=True,
    ):
        np.testing.assert_allclose(back, given, rtol=1e-4)
    assert again.training_range() == calibration.training_range()
    assert "P1" not in text
    errors = json.loads(text)["scores"][ALL]["RAP"]["errors"]
    assert errors != [float(f"{e:.5g}") for e in calibration.scores[ALL]["RAP"].errors]


def test_the_mean_over_networks_leaves_out_what_a_network_has_not_learned():
    by_network = {"fold-1": np.array([[1.0, np.nan]]), "fold-2": np.array([[3.0, np.nan]])}
    np.testing.assert_array_equal(mean_over_networks(by_network), [[2.0, np.nan]])


def test_views_are_named_in_the_order_of_the_table():
    assert views_shown(np.array([[True, True, False, True]])) == ["A4C+A2C+PLAX"]


def test_views_that_too_few_had_take_the_errors_of_as_many_views_then_of_any():
    whole = simulated(40, seed=8)
    two = simulated(12, seed=9, noise=0.1).assign(views="A4C+PLAX")
    one = simulated(3, seed=10).assign(views="A2C")
    calibration = calibrate(pd.concat([whole, two, one]))
    by_network = networks(whole, 1, seed=11)

    def upper(*views: str) -> np.ndarray:
        present = np.array([[v.name in views for v in VIEWS]])
        return calibration.intervals(by_network, present)[1]

    of_two = calibrate(two).intervals(by_network, everything(1))[1]
    np.testing.assert_allclose(upper("A4C", "PLAX"), of_two)
    np.testing.assert_allclose(upper("PSAX", "PLAX"), of_two)  # as many views
    of_any = calibrate(pd.concat([whole, two, one]).assign(views=ALL, patient_id=range(55 * 9)))
    np.testing.assert_allclose(upper("A2C"), of_any.intervals(by_network, everything(1))[1])


def test_a_network_alone_takes_the_errors_of_all_folds_about_its_own_prediction():
    table = simulated(40, seed=12)
    one = {"fold-2": networks(table, 1, seed=13)["fold-2"]}
    alone = calibrate(table).intervals(one, everything(1))
    same = calibrate(table).intervals({f"fold-{k}": one["fold-2"] for k in range(1, 6)}, everything(1))
    np.testing.assert_allclose(alone, same)


def test_each_side_of_predicted_hypertension_has_its_own_errors():
    table = simulated(120, seed=14)
    ids = table["patient_id"].str[1:].astype(int)
    pressure = table["parameter"] == "meanPAP"
    table.loc[pressure, "prediction"] = np.where(ids[pressure] < 60, 15.0, 35.0)
    rap = table["parameter"] == "RAP"
    error = table["reference"] - table["prediction"]
    table.loc[rap & (ids < 60), "reference"] = (table["prediction"] + 0.2 * error)[rap & (ids < 60)]
    calibration = calibrate(table)
    by_network = networks(table, 2, seed=15)
    for values in by_network.values():
        values[:, KEYS.index("meanPAP")] = [15.0, 35.0]
    lower, upper = calibration.intervals(by_network, everything(2))
    width = (upper - lower)[:, KEYS.index("RAP")]
    assert width[0] < 0.5 * width[1]


def test_probability_goes_from_sure_to_sure_and_is_calibrated():
    rng = np.random.default_rng(16)
    prediction = rng.uniform(10, 40, 300)
    table = pd.DataFrame({
        "patient_id": [f"P{i}" for i in range(300)], "fold": np.arange(300) % FOLDS + 1, "views": ALL,
        "parameter": "meanPAP", "reference": prediction + rng.normal(0, 5, 300), "prediction": prediction,
    })  # fmt: skip
    calibration = calibrate(table)
    values = np.full((4, 9), np.nan)
    values[:, KEYS.index("meanPAP")] = [0.0, 20.0, 25.0, 60.0]
    found = calibration.probability_above("meanPAP", 20, {"fold-1": values}, everything(4))
    assert found[0] < 0.02
    assert found[3] > 0.98
    assert found[1] == pytest.approx(0.5, abs=0.08)
    assert found[2] == pytest.approx(0.841, abs=0.06)  # Φ(1)
    assert np.isnan(calibration.probability_above("RAP", 8, {"fold-1": values}, everything(4))).all()


@pytest.mark.parametrize("seed", range(5))
def test_new_patients_are_held_as_often_as_promised(seed):
    """150 calibrated, 400 new ones: the share has an SD of about 3 %."""
    rng = np.random.default_rng(seed)

    def cohort(count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        true = rng.uniform(15, 45, count)
        common, own = rng.normal(0, 3, count), rng.normal(0, 1, (FOLDS, count))
        return true, {f"fold-{k}": true + common + own[k - 1] for k in range(1, FOLDS + 1)}

    true, predicted = cohort(150)
    folds = np.arange(150) % FOLDS + 1
    table = pd.DataFrame({
        "patient_id": [f"P{i}" for i in range(150)], "fold": folds, "views": ALL, "parameter": "meanPAP",
        "reference": true, "prediction": [predicted[f"fold-{f}"][i] for i, f in enumerate(folds)],
    })  # fmt: skip
    new, by_network = cohort(400)
    as_nine = {}
    for name, values in by_network.items():
        as_nine[name] = np.full((400, 9), np.nan)
        as_nine[name][:, KEYS.index("meanPAP")] = values
    lower, upper = (
        ends[:, KEYS.index("meanPAP")] for ends in calibrate(table).intervals(as_nine, everything(400))
    )
    assert 0.83 <= np.mean((lower <= new) & (new <= upper)) <= 0.98
    assert (upper - lower).mean() < 1.35 * 2 * 1.645 * np.hypot(3, 1 / np.sqrt(5))


def test_subsets_of_the_same_few_patients_are_not_taken_for_many_patients():
    few = pd.concat([simulated(6, seed=17).assign(views=views) for views in (ALL, "A4C", "PLAX")])
    by_network = networks(few, 1, seed=18)
    calibration = calibrate(few)
    assert np.isnan(calibration.intervals(by_network, everything(1))).all()
    assert np.isnan(calibration.probability_above("meanPAP", 20, by_network, everything(1))).all()
