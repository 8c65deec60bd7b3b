"""Holm's correction against statsmodels."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from cardio_mlflow.analysis.comparison import holm


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=12))
def test_as_statsmodels_has_it(values: list[float]) -> None:
    p = np.array(values, float)
    known = np.isfinite(p)
    found = holm(p)
    assert np.isnan(found[~known]).all()
    if known.any():
        with patch("gc.collect"):  # which statsmodels calls each time, and which takes long here
            expected = multipletests(p[known], method="holm")[1]
        np.testing.assert_allclose(found[known], expected)
