"""Who is explained: by id, by error, by pulmonary hypertension."""

from __future__ import annotations

import numpy as np
import pytest

from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.visualize import choose_patients


def test_the_choice_of_patients(table) -> None:
    one = table()
    errors = (one["prediction"] - one["reference"]).abs() / one.groupby("parameter")["reference"].transform(
        "std"
    )
    ranked = errors.groupby(one["patient_id"]).mean().sort_values(ascending=False)
    found = choose_patients("worst=2, best=1, P005", one)
    assert list(found)[:2] == list(ranked.index[:2])
    assert list(found.values())[:3] == ["worst 1", "worst 2", "best 1"]
    assert "P005" in found
    sick = choose_patients("ph,no_ph", one)
    values = one[one["parameter"] == "meanPAP"].set_index("patient_id")["reference"]
    assert [values[p] > 20 for p in sick] == [True, False]
    again = choose_patients(f"{ranked.index[0]},worst=1", one)
    assert again == {ranked.index[0]: "asked for"}, "nobody twice"
    with pytest.raises(InputError, match="neither a patient") as caught:
        choose_patients("SMITH^JOHN", one)
    assert "SMITH" not in str(caught.value)
    assert np.isfinite(ranked).all()
