from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from cardio_mlflow.analysis.discrimination import area_under_curve
from cardio_mlflow.parameters import PARAMETERS, parameter

PAIRS = hnp.arrays(np.float64, st.tuples(st.just(2), st.integers(2, 30)), elements=st.integers(0, 9))


@given(PAIRS, st.sampled_from(["above", "below"]))
def test_equals_sklearn_in_both_directions_ties_included(pairs, side) -> None:
    reference, prediction = pairs
    abnormal = reference > 4 if side == "above" else reference < 4
    got = area_under_curve(reference, prediction, cutoff=4, abnormal=side)
    if abnormal.all() or not abnormal.any():
        assert np.isnan(got)
    else:
        score = prediction if side == "above" else -prediction
        assert got == pytest.approx(roc_auc_score(abnormal, score))


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda p: p.key)
def test_a_perfect_prediction_has_area_one_for_every_parameter(row) -> None:
    reference = row.cutoff * np.linspace(0.5, 1.5, 21)
    assert area_under_curve(reference, reference, cutoff=row.cutoff, abnormal=row.abnormal) == 1.0


def test_a_value_at_the_cutoff_is_normal() -> None:
    co = partial(area_under_curve, cutoff=parameter("CO").cutoff, abnormal="below")
    assert np.isnan(co(np.array([4.0, 5.0]), np.array([1.0, 2.0])))
    assert co(np.array([3.9, 4.0]), np.array([1.0, 2.0])) == 1.0


def test_works_along_the_last_axis() -> None:
    generator = np.random.default_rng(0)
    reference, prediction = generator.normal(size=(2, 6, 25))
    auc = partial(area_under_curve, cutoff=0.0, abnormal="above")
    expected = [roc_auc_score(r > 0, p) for r, p in zip(reference, prediction, strict=True)]
    np.testing.assert_allclose(auc(reference, prediction), expected)
