from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.parameters import FACTS, KEYS
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics
from cardio_mlflow.training.scaling import TargetScaler, fit_scaler
from cardio_mlflow.training.stroke_volume import SMALLEST_GRADIENT, by_identities, stroke_volumes

TABLE = draw_hemodynamics(60, 3)
REFERENCES = TABLE[list(KEYS)].to_numpy(np.float64)
KNOWN = TABLE[list(FACTS)].to_numpy(np.float64)
DERIVED = [KEYS.index(key) for key in ("CO", "CI", "SVRI")]


def test_the_true_stroke_volume_gives_the_catheters_own_values():
    """To the rounding of the references, of which CO and CI have two digits."""
    found = by_identities(REFERENCES, stroke_volumes(REFERENCES, KNOWN), KNOWN)
    assert found.derived.sum(0).tolist() == [60 if i in DERIVED else 0 for i in range(9)]
    assert found.predictions == pytest.approx(REFERENCES, rel=0.01)
    assert np.array_equal(found.direct, REFERENCES)


@given(st.lists(st.booleans(), min_size=3, max_size=3))
def test_what_is_not_known_is_left_to_the_direct_head(known):
    facts = np.where(known, KNOWN[:1], np.nan)
    direct = np.full((1, 9), 7.0)
    found = by_identities(direct, np.array([[80.0, 40.0]]), facts)
    rate, surface, arterial = known
    expected = {"CO": rate, "CI": rate, "SVRI": rate and arterial}
    assert {key: bool(found.derived[0, KEYS.index(key)]) for key in expected} == expected
    assert (found.predictions[~found.derived] == 7).all()
    if rate:
        beats, area = KNOWN[0, 0], KNOWN[0, 1]
        flow = np.sqrt(80 * 40 * area) * beats / 1000 / area if surface else 40 * beats / 1000
        assert found.predictions[0, KEYS.index("CI")] == pytest.approx(flow)


def test_no_resistance_follows_from_a_gradient_that_nobody_lives_with():
    direct = REFERENCES[:1].copy()
    direct[0, KEYS.index("RAP")] = KNOWN[0, 2] - SMALLEST_GRADIENT + 1
    found = by_identities(direct, np.array([[80.0, 40.0]]), KNOWN[:1])
    assert not found.derived[0, KEYS.index("SVRI")]
    assert found.predictions[0, KEYS.index("SVRI")] == direct[0, KEYS.index("SVRI")]


def test_a_scaler_with_stroke_volume_gives_back_what_it_scaled():
    scaler = fit_scaler(REFERENCES, KNOWN)
    targets = scaler.targets(REFERENCES, KNOWN)
    assert targets.shape == (60, 11)
    assert targets[:, 9:].mean(0) == pytest.approx([0, 0], abs=1e-9)
    whole = np.concatenate([REFERENCES, stroke_volumes(REFERENCES, KNOWN)], 1)
    limits = np.array([(scale.low, scale.high) for scale in (*scaler.scales, *scaler.stroke)])
    inside = ((whole > limits[:, 0]) & (whole < limits[:, 1])).all(1)
    assert inside.sum() > 10
    again = scaler.predicted(targets, KNOWN)
    assert again.predictions[inside] == pytest.approx(REFERENCES[inside], rel=0.01)
    assert TargetScaler.from_json(scaler.to_json()) == scaler


def test_a_patient_without_a_heart_rate_has_no_stroke_volume_to_learn():
    facts = KNOWN.copy()
    facts[3, 0] = np.nan
    targets = fit_scaler(REFERENCES, facts).targets(REFERENCES, facts)
    assert np.isnan(targets[3, 9:]).all()
    assert np.isfinite(np.delete(targets, 3, 0)).all()
    assert np.isfinite(targets[3, :9]).all()


def test_without_stroke_volume_everything_is_direct():
    scaler = fit_scaler(REFERENCES)
    found = scaler.predicted(scaler.targets(REFERENCES, KNOWN), KNOWN)
    assert not found.derived.any()
    assert np.array_equal(found.predictions, found.direct)
