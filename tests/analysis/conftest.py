from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from cardio_mlflow.analysis.predictions import check_predictions
from cardio_mlflow.parameters import PARAMETERS

Table = Callable[..., pd.DataFrame]


def make_table(patients: int = 40, seed: int = 0, cohort: str = "I", variant: str = "full") -> pd.DataFrame:
    """Predictions of correlation about 0.7 around each parameter's cut-off, in five folds."""
    generator = np.random.default_rng(seed)
    rows = []
    for p in PARAMETERS:
        reference = p.cutoff * generator.lognormal(0, 0.4, patients)
        prediction = 0.6 * reference + 0.4 * p.cutoff + 0.25 * p.cutoff * generator.normal(size=patients)
        for i in range(patients):
            fold = i % 5 + 1 if cohort == "I" else None
            rows.append((f"P{i:03d}", cohort, fold, variant, p.key, p.unit, reference[i], prediction[i]))
    columns = ["patient_id", "cohort", "fold", "variant", "parameter", "unit", "reference", "prediction"]
    return check_predictions(pd.DataFrame(rows, columns=columns))


@pytest.fixture
def table() -> Table:
    return make_table
