import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.cohort.folds import assign_folds, parse_indices, read_folds
from cardio_mlflow.errors import InputError


def labels(pressures):
    ids = pd.Index([f"P{i}" for i in range(len(pressures))], name="patient_id", dtype="object")
    return pd.DataFrame({"meanPAP": pressures}, index=ids)


PRESSURES = st.lists(st.sampled_from([15.0, 20.0, 20.5, 40.0, np.nan]), min_size=5, max_size=60)


@settings(max_examples=40)
@given(PRESSURES, st.integers(2, 5), st.integers(0, 2**32))
def test_sizes_and_each_stratum_are_balanced_to_one_patient(pressures, num_folds, seed):
    table = labels(pressures)
    folds = assign_folds(table, num_folds, seed)
    assert list(folds.index) == list(table.index)
    strata = table["meanPAP"].gt(20).astype(int).mask(table["meanPAP"].isna(), 2)
    for group in [folds, *(folds[strata == s] for s in (0, 1, 2))]:
        counts = group.value_counts().reindex(range(1, num_folds + 1), fill_value=0)
        assert counts.max() - counts.min() <= 1


@settings(max_examples=40)
@given(PRESSURES, st.data(), st.integers(2, 4), st.integers(0, 99))
def test_no_person_is_in_two_folds_and_the_folds_stay_balanced(pressures, data, num_folds, seed):
    persons = data.draw(st.lists(st.integers(0, 40), min_size=len(pressures), max_size=len(pressures)))
    table = labels(pressures).assign(person=[f"S{p}" for p in persons])
    if len(set(persons)) < num_folds:
        with pytest.raises(InputError, match="fewer than num_folds"):
            assign_folds(table, num_folds, seed)
        return
    folds = assign_folds(table, num_folds, seed)
    assert set(folds) == set(range(1, num_folds + 1))
    assert len(set(zip(folds, table["person"], strict=True))) == len(set(persons))
    assert assign_folds(table.iloc[::-1], num_folds, seed).loc[table.index].equals(folds)
    largest = table["person"].value_counts().max()
    for group in (folds, folds[table["meanPAP"] > 20]):
        counts = group.value_counts().reindex(range(1, num_folds + 1), fill_value=0)
        assert counts.max() - counts.min() <= BOUND * largest


BOUND = 2
"""How many largest persons two folds may differ by."""


@settings(max_examples=40)
@given(PRESSURES, st.randoms())
def test_the_order_of_rows_does_not_matter(pressures, random):
    table = labels(pressures)
    shuffled = table.loc[random.sample(list(table.index), len(table))]
    assert assign_folds(shuffled, 3, 7).loc[table.index].equals(assign_folds(table, 3, 7))


def test_golden_folds_and_another_seed():
    table = labels([10.0, 30.0, 12.0, np.nan, 25.0, 18.0, 41.0, 20.0])
    golden = assign_folds(table, 3, 0)
    assert golden.tolist() == GOLDEN
    assert golden.dtype == np.int64
    assert golden.index.equals(table.index)
    assert assign_folds(table.set_axis(table.index.astype("str")), 3, 0).tolist() == GOLDEN
    persons = [f"person {i % 7} of {patient}" for i, patient in enumerate(table.index)]  # each of one visit
    assert assign_folds(table.assign(person=persons), 3, 0).tolist() == GOLDEN
    assert any(assign_folds(table, 3, seed).tolist() != GOLDEN for seed in range(1, 5))


GOLDEN = [1, 2, 3, 2, 3, 2, 1, 1]


def test_a_second_visit_of_some_leaves_ph_balanced():
    """The study's size: 235 patients, every sixth of whom came twice or three times."""
    generator = np.random.default_rng(0)
    visits = generator.choice([1, 1, 1, 1, 1, 2, 3], 200)
    pressures = np.repeat(generator.normal(25, 10, 200), visits) + generator.normal(0, 3, visits.sum())
    table = labels(pressures.tolist()).assign(person=np.repeat([f"S{i}" for i in range(200)], visits))
    folds = assign_folds(table, 5, 0)
    for group in (folds, folds[table["meanPAP"] > 20], folds[table["meanPAP"] <= 20]):
        counts = group.value_counts()
        assert counts.max() - counts.min() <= 2


def test_too_few_patients_or_folds():
    with pytest.raises(InputError, match=r"3 patients, fewer than num_folds=5"):
        assign_folds(labels([10.0, 20.0, 30.0]), 5, 0)
    with pytest.raises(InputError, match="at least 2"):
        assign_folds(labels([10.0, 20.0, 30.0]), 1, 0)


def folds_file(folder, text):
    path = folder / "folds.csv"
    path.write_text(text)
    return path


def test_the_users_folds_come_back_in_cohort_order(tmp_path):
    path = folds_file(tmp_path, "fold,patient_id\n2,b\n1,a\n2.0,c\n")
    assert read_folds(path, ["a", "b", "c"], 2).to_dict() == {"a": 1, "b": 2, "c": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,1 b,3", "row 3, column B .fold.: expected a whole number from 1 to 2"),
        ("a,1 b,two", "row 3, column B .fold."),
        ("a,1 a,2 b,2", "row 3, column A .patient_id.: this patient already has a fold"),
        ("a,1 b,2 z,1", "row 4, column A .patient_id.: no patient of Cohort I has this id"),
        ("a,1", "no fold to 1 patients of Cohort I: number 2"),
        ("a,1 b,1", "no patient in fold 2"),
    ],
)
def test_wrong_folds_are_refused_by_row(tmp_path, text, expected):
    rows = text.replace(" ", "\n")
    with pytest.raises(InputError, match=expected):
        read_folds(folds_file(tmp_path, f"patient_id,fold\n{rows}\n"), ["a", "b"], 2)
    with pytest.raises(InputError, match="needs the columns patient_id and fold"):
        read_folds(folds_file(tmp_path, f"name,fold\n{rows}\n"), ["a", "b"], 2)


def test_the_studys_subset():
    positions = parse_indices("0-179,200,210-234", 235)
    assert len(positions) == 180 + 1 + 25
    assert positions[179:182] == (179, 200, 210)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("9-3", "reversed"), ("0-235", "235 does not exist"), ("a", "'a'"), ("", "''"), ("1,,2", "''"),
     ("-3", "'-3'"), ("1.5", "'1.5'"), ("1-2-3", "'1-2-3'")],
)  # fmt: skip
def test_wrong_ranges_are_refused(text, expected):
    with pytest.raises(InputError, match=expected):
        parse_indices(text, 235)


@given(st.sets(st.integers(0, 99), min_size=1))
def test_positions_round_trip(positions):
    assert parse_indices(",".join(map(str, positions)), 100) == tuple(sorted(positions))


@given(st.text(alphabet="0123456789,- x", max_size=20))
def test_any_text_gives_sorted_positions_or_an_input_error(text):
    try:
        positions = parse_indices(text, 50)
    except InputError:
        return
    assert positions == tuple(sorted(set(positions)))
    assert 0 <= positions[0] <= positions[-1] < 50


def test_given_folds_that_part_a_person_name_the_rows(tmp_path):
    path = folds_file(tmp_path, "patient_id,fold\nS1_a,1\nS2,2\nS1_b,2\n")
    persons = {"S1_a": "S1", "S1_b": "S1", "S2": "S2"}
    with pytest.raises(InputError, match="row 4, as row 2: one person in fold 1 and in fold 2") as error:
        read_folds(path, list(persons), 2, persons)
    assert "S1" not in str(error.value)
    assert read_folds(path, list(persons), 2).tolist() == [1, 2, 2]
