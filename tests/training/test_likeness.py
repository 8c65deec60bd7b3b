from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf

from cardio_mlflow.training.likeness import LEAST_MEMBERS, Groups, shrunk_covariance


def draw(seed, count, width=6, at=0.0):
    rng = np.random.default_rng(seed)
    return at + rng.normal(size=(count, width)) * np.linspace(1, 3, width)


@given(st.integers(0, 1000), st.integers(3, 60), st.integers(2, 12))
def test_the_covariance_is_ledoit_and_wolfs(seed, count, width):
    values = draw(seed, count, width)
    assert shrunk_covariance(values) == pytest.approx(ledoit_wolf(values)[0], rel=1e-6, abs=1e-6)


def test_values_that_never_vary_have_an_invertible_covariance():
    assert np.isfinite(np.linalg.inv(shrunk_covariance(np.ones((5, 3))))).all()


@pytest.fixture(scope="module")
def two():
    """Two groups far apart, and a third of too few members."""
    values = np.concatenate([draw(0, 60), draw(1, 60, at=20.0), draw(2, LEAST_MEMBERS - 1, at=-20.0)])
    group = np.repeat([0, 1, 2], [60, 60, LEAST_MEMBERS - 1])
    return Groups.fit(values, group, 3)


def test_members_are_nearest_to_their_own_group(two):
    new = np.concatenate([draw(3, 30), draw(4, 30, at=20.0)])
    assert np.array_equal(np.nanargmin(two.distances(new), axis=1), np.repeat([0, 1], 30))


def test_a_group_of_too_few_is_not_described(two):
    assert two.described.tolist() == [True, True, False]
    assert np.isnan(two.distances(draw(3, 4))[:, 2]).all()


def test_distances_are_those_of_mahalanobis():
    """With all components and hardly any shrinkage they are those of the sample covariance."""
    values = draw(0, 4000)
    found = Groups.fit(values, np.zeros(4000, dtype=np.int64), 1).distances(values[:50])[:, 0]
    away = values[:50] - values.mean(0)
    expected = np.einsum("ni,ij,nj->n", away, np.linalg.inv(np.cov(values.T)), away)
    assert np.exp(2 * found) == pytest.approx(expected, rel=0.02)


def test_what_varies_where_nothing_did_is_far():
    rng = np.random.default_rng(0)
    flat = np.c_[rng.normal(size=(200, 3)) @ rng.normal(size=(3, 40)), np.zeros((200, 1))]
    groups = Groups.fit(flat, np.zeros(200, dtype=np.int64), 1)
    strange = flat.copy()
    strange[:, -1] = 1.0
    assert groups.distances(strange).min() > groups.distances(flat).max() + 1


def test_too_few_are_no_groups():
    assert Groups.fit(draw(0, 5), np.zeros(5, dtype=np.int64), 1) is None
    assert Groups.fit(np.empty((0, 4)), np.zeros(0, dtype=np.int64), 1) is None


def test_what_is_missing_has_no_distance(two):
    assert np.isnan(two.distances(np.full((2, 6), np.nan))).all()


def test_arrays_give_the_same_distances(two):
    again = Groups.from_arrays(two.to_arrays())
    assert again.distances(draw(5, 9)) == pytest.approx(two.distances(draw(5, 9)), abs=1e-4, nan_ok=True)
    assert two.to_arrays()["basis"].dtype == np.float16
