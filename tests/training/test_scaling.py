from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, PARAMETERS
from cardio_mlflow.training.scaling import TargetScaler, fit_scaler

RNG = np.random.default_rng(0)
REFERENCES = np.stack([p.cutoff * RNG.lognormal(0, 0.4, 60) for p in PARAMETERS], 1)


def targets_of(scaler, references):
    """Scaled targets without stroke volume."""
    return scaler.targets(references, np.full((len(references), 3), np.nan))


def unscaled(scaler, targets):
    """The predictions that targets stand for."""
    return scaler.predicted(targets, np.full((len(targets), 3), np.nan)).predictions


def test_standardised_after_winsorising_and_logarithm():
    scaled = targets_of(fit_scaler(REFERENCES), REFERENCES)
    for i, p in enumerate(PARAMETERS):
        low, high = np.percentile(REFERENCES[:, i], p.winsor)
        expected = np.clip(REFERENCES[:, i], low, high)
        expected = np.log(expected) if p.log else expected
        expected = (expected - expected.mean()) / np.sqrt(np.mean((expected - expected.mean()) ** 2))
        assert np.allclose(scaled[:, i], expected), p.key


def test_only_what_it_is_fitted_on_counts():
    training, others = REFERENCES[:40], REFERENCES[40:]
    scaler = fit_scaler(training)
    assert fit_scaler(np.concatenate([training, others * 5])) != scaler
    outlier = np.full((1, 9), 1e6)
    assert np.array_equal(
        targets_of(scaler, np.concatenate([others, outlier]))[:20], targets_of(scaler, others)
    )
    assert targets_of(scaler, outlier)[0].tolist() == pytest.approx(
        targets_of(scaler, training).max(0).tolist()
    )


def test_references_are_not_changed():
    before = REFERENCES.copy()
    targets_of(fit_scaler(REFERENCES), REFERENCES)
    assert np.array_equal(before, REFERENCES)


def test_missing_values_stay_missing_and_are_not_fitted_on():
    holes = REFERENCES.copy()
    holes[::7, 3] = np.nan
    scaler = fit_scaler(holes)
    scaled = targets_of(scaler, holes)
    assert np.array_equal(np.isnan(scaled), np.isnan(holes))
    low, high = np.percentile(holes[~np.isnan(holes[:, 3]), 3], PARAMETERS[3].winsor)
    assert (scaler.scales[3].low, scaler.scales[3].high) == (low, high)


@given(st.integers(0, 8), st.floats(0, 1))
def test_round_trip_inside_the_bounds(column, share):
    scaler = fit_scaler(REFERENCES)
    scale = scaler.scales[column]
    values = np.full((2, 9), np.nan)
    values[:, column] = scale.low + share * (scale.high - scale.low)
    assert np.allclose(unscaled(scaler, targets_of(scaler, values)), values, rtol=1e-9, equal_nan=True)


@given(st.integers(0, 8), st.floats(-1e4, 1e4))
def test_what_lies_outside_comes_back_as_the_bound(column, value):
    scale = fit_scaler(REFERENCES).scales[column]
    back = scale.unscale(scale.scale(np.array([value])))[0]
    assert back == pytest.approx(min(max(value, scale.low), scale.high))


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_unscaling_keeps_the_order_and_logarithms_stay_positive(one, two):
    low, high = sorted((one, two))
    for p, scale in zip(PARAMETERS, fit_scaler(REFERENCES).scales, strict=True):
        a, b = scale.unscale(np.array([low, high]))
        assert a <= b
        assert a > 0 or not p.log


def test_log_parameters_are_the_tables():
    assert [s.log for s in fit_scaler(REFERENCES).scales] == [p.log for p in PARAMETERS]


def test_json_is_keyed_by_parameter():
    scaler = fit_scaler(REFERENCES)
    fields = json.loads(scaler.to_json())
    assert set(fields) == set(KEYS)
    shuffled = json.dumps({key: fields[key] for key in reversed(KEYS)})
    assert TargetScaler.from_json(shuffled) == scaler
    del fields["PVR"]
    with pytest.raises(KeyError, match="PVR"):
        TargetScaler.from_json(json.dumps(fields))


@pytest.mark.parametrize("value", [3.0, np.nan])
def test_a_column_that_does_not_vary_is_left_out(value):
    constant = REFERENCES.copy()
    constant[:, 4] = value
    scaler = fit_scaler(constant)
    assert scaler.left_out == ("PCWP",)
    assert scaler.learned == tuple(key for key in KEYS if key != "PCWP")
    for table in (targets_of(scaler, REFERENCES), unscaled(scaler, np.zeros((60, 9)))):
        assert np.isnan(table).any(0).tolist() == [key == "PCWP" for key in KEYS]
        assert np.isnan(table[:, 4]).all()
    text = scaler.to_json()
    assert json.loads(text)["PCWP"] is None
    again = TargetScaler.from_json(text)
    assert again.left_out == ("PCWP",)
    assert again.to_json() == text


def test_a_logarithm_can_be_left_out_too_but_not_everything():
    constant = np.ones_like(REFERENCES)
    with pytest.raises(InputError, match="nothing can be learned"):
        fit_scaler(constant)
    constant[:, 0] = REFERENCES[:, 0]
    scaler = fit_scaler(constant)
    assert scaler.learned == ("RAP",)
    assert np.isnan(unscaled(scaler, np.full((1, 9), 1e9))[0, 1:]).all()


def test_one_different_value_among_many_is_enough():
    nearly = REFERENCES.copy()
    nearly[:, 4] = 10
    nearly[0, 4] = 30
    scale = fit_scaler(nearly).scales[4]
    assert (scale.low, scale.high) == (10, 30)
    assert scale.sd > 0
