from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.cohort.folds import assign_folds, parse_indices, read_folds
from cardio_mlflow.errors import InputError


def labels(pressures: list[float]) -> pd.DataFrame:
    ids = pd.Index([f"P{i}" for i in range(len(pressures))], name="patient_id", dtype="object")
    return pd.DataFrame({"meanPAP": pressures}, index=ids)


PRESSURES = st.lists(st.sampled_from([15.0, 20.0, 20.5, 40.0, np.nan]), min_size=5, max_size=60)


@given(PRESSURES, st.integers(2, 5), st.integers(0, 2**32))
def test_sizes_and_each_stratum_are_balanced_to_one_patient(pressures, num_folds, seed) -> None:
    table = labels(pressures)
    folds = assign_folds(table, num_folds, seed)
    assert list(folds.index) == list(table.index)
    strata = table["meanPAP"].gt(20).astype(int).mask(table["meanPAP"].isna(), 2)
    for group in [folds, *(folds[strata == s] for s in (0, 1, 2))]:
        counts = group.value_counts().reindex(range(1, num_folds + 1), fill_value=0)
        assert counts.max() - counts.min() <= 1


@given(PRESSURES, st.randoms())
def test_the_order_of_rows_does_not_matter(pressures, random) -> None:
    table = labels(pressures)
    shuffled = table.loc[random.sample(list(table.index), len(table))]
    assert assign_folds(shuffled, 3, 7).loc[table.index].equals(assign_folds(table, 3, 7))


def test_golden_folds_and_another_seed() -> None:
    table = labels([10.0, 30.0, 12.0, np.nan, 25.0, 18.0, 41.0, 20.0])
    golden = assign_folds(table, 3, 0)
    assert golden.tolist() == GOLDEN
    assert golden.dtype == np.int64
    assert golden.index.equals(table.index)
    assert assign_folds(table.set_axis(table.index.astype("str")), 3, 0).tolist() == GOLDEN
    assert any(assign_folds(table, 3, seed).tolist() != GOLDEN for seed in range(1, 5))


GOLDEN = [1, 2, 3, 2, 3, 2, 1, 1]


def test_too_few_patients_or_folds() -> None:
    with pytest.raises(InputError, match=r"3 patients, fewer than num_folds=5"):
        assign_folds(labels([10.0, 20.0, 30.0]), 5, 0)
    with pytest.raises(InputError, match="at least 2"):
        assign_folds(labels([10.0, 20.0, 30.0]), 1, 0)


def folds_file(folder: Path, text: str) -> Path:
    path = folder / "folds.csv"
    path.write_text(text)
    return path


def test_the_users_folds_come_back_in_cohort_order(tmp_path: Path) -> None:
    path = folds_file(tmp_path, "fold,patient_id\n2,b\n1,a\n2.0,c\n")
    assert read_folds(path, ["a", "b", "c"], 2).to_dict() == {"a": 1, "b": 2, "c": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("patient_id,fold\na,1\nb,3\n", r"row 3, column B .fold.: expected a whole number from 1 to 2"),
        ("patient_id,fold\na,1\nb,two\n", r"row 3, column B .fold."),
        (
            "patient_id,fold\na,1\na,2\nb,2\n",
            r"row 3, column A .patient_id.: this patient already has a fold",
        ),
        (
            "patient_id,fold\na,1\nb,2\nz,1\n",
            r"row 4, column A .patient_id.: no patient of Cohort I has this id",
        ),
        ("patient_id,fold\na,1\n", r"no fold to 1 patients of Cohort I: number 2"),
        ("patient_id,fold\na,1\nb,1\n", r"no patient in fold 2"),
        ("name,fold\na,1\nb,1\n", r"needs the columns patient_id and fold"),
    ],
)
def test_wrong_folds_are_refused_by_row(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        read_folds(folds_file(tmp_path, text), ["a", "b"], 2)


def test_the_studys_subset() -> None:
    positions = parse_indices("0-179,200,210-234", 235)
    assert len(positions) == 180 + 1 + 25
    assert positions[179:182] == (179, 200, 210)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("9-3", "reversed"), ("0-235", "235 does not exist"), ("a", "'a'"), ("", "''"), ("1,,2", "''"),
     ("-3", "'-3'"), ("1.5", "'1.5'"), ("1-2-3", "'1-2-3'")],
)  # fmt: skip
def test_wrong_ranges_are_refused(text: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        parse_indices(text, 235)


@given(st.sets(st.integers(0, 99), min_size=1))
def test_positions_round_trip(positions: set[int]) -> None:
    assert parse_indices(",".join(map(str, positions)), 100) == tuple(sorted(positions))


@given(st.text(alphabet="0123456789,- x", max_size=20))
def test_any_text_gives_sorted_positions_or_an_input_error(text: str) -> None:
    try:
        positions = parse_indices(text, 50)
    except InputError:
        return
    assert positions == tuple(sorted(set(positions)))
    assert 0 <= positions[0] <= positions[-1] < 50
