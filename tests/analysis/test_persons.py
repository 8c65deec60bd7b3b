"""Persons who have several examinations: all that is resampled goes by person."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cardio_mlflow.analysis.agreement import bias, pearson
from cardio_mlflow.analysis.bootstrap import bootstrap_interval, draw, expanded_level
from cardio_mlflow.analysis.comparison import differences, variant_table
from cardio_mlflow.analysis.decision_curve import decision_curve
from cardio_mlflow.analysis.discrimination import area_under_curve, delong_variance, discrimination_table
from cardio_mlflow.analysis.phenotype import phenotype_agreement, phenotype_table
from cardio_mlflow.analysis.predictions import check_folds, check_predictions, person_codes, pool_out_of_fold
from cardio_mlflow.analysis.subgroups import subgroup_table
from cardio_mlflow.analysis.summary import mean_correlation, performance_table
from cardio_mlflow.errors import InputError

PERSONS = st.lists(st.integers(0, 7), min_size=1, max_size=20).map(lambda p: pd.factorize(np.array(p))[0])


def slow_interval(statistic, reference, prediction, persons, resamples: int, seed: int) -> np.ndarray:
    """BCa of whole persons, one resample after another (Davison and Hinkley 1997; Efron 1987)."""
    names = list(dict.fromkeys(persons.tolist()))
    rows = {name: [i for i, p in enumerate(persons) if p == name] for name in names}
    generator = np.random.default_rng(seed)
    values = []
    for chosen in generator.integers(0, len(names), size=(resamples, len(names))):
        taken = [i for k in chosen for i in rows[names[k]]]
        values.append(float(statistic(reference[taken], prediction[taken])))
    without = []
    for name in names:
        kept = [i for i in range(len(persons)) if i not in rows[name]]
        without.append(float(statistic(reference[kept], prediction[kept])))
    estimate = float(statistic(reference, prediction))
    away = np.mean(without) - np.array(without)
    acceleration = np.sum(away**3) / (6 * np.sum(away**2) ** 1.5)
    shift = stats.norm.ppf(np.mean(np.array(values) < estimate))
    level = expanded_level(0.95, len(names))
    ends = shift + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    return np.quantile(values, stats.norm.cdf(shift + ends / (1 - acceleration * ends)))


@pytest.mark.parametrize("statistic", [pearson, bias])
def test_the_interval_is_that_of_a_plain_loop_over_persons(statistic) -> None:
    generator = np.random.default_rng(5)
    persons = pd.factorize(generator.integers(0, 30, 60))[0]
    effect = generator.normal(0, 4, 30)[persons]
    reference = generator.normal(20, 6, 60)
    prediction = 0.7 * reference + effect + generator.normal(0, 2, 60)
    got = bootstrap_interval(statistic, reference, prediction, 800, 3, persons=persons)
    expected = slow_interval(statistic, reference, prediction, persons, 800, 3)
    assert (got.low, got.high) == pytest.approx(tuple(expected), rel=1e-9)
    assert got.used == 800
    alone = bootstrap_interval(statistic, reference, prediction, 800, 3)
    assert (got.low, got.high) != (alone.low, alone.high)


@given(PERSONS, st.integers(0, 5))
def test_a_drawn_person_comes_with_all_examinations(persons, seed: int) -> None:
    sizes = np.bincount(persons)
    blocks = draw(persons, 20, seed)
    assert sum(len(block) for block in blocks) == 20
    for row in (row for block in blocks for row in block):
        times = np.bincount(row, minlength=persons.size)
        by_person = np.bincount(persons[row], minlength=sizes.size)
        assert (times * sizes[persons] == by_person[persons]).all()
        assert by_person.sum() == row.size
        assert (by_person / sizes).sum() == sizes.size


def test_persons_of_one_examination_change_nothing(table) -> None:
    one = table()
    with_persons = check_predictions(one.assign(person=[f"X{p}" for p in one["patient_id"]]))
    for step in (performance_table, discrimination_table, decision_curve):
        pd.testing.assert_frame_equal(step(with_persons, 100, 0), step(one, 100, 0), check_exact=True)


def twice(one: pd.DataFrame) -> pd.DataFrame:
    """Every patient as two equal examinations of one person, in the same order."""
    both = [one.assign(patient_id=one["patient_id"] + end, person=one["patient_id"]) for end in "ab"]
    return check_predictions(pd.concat(both, ignore_index=True))


def ends(table: pd.DataFrame, *names: str) -> np.ndarray:
    return table[[f"{name}{end}" for name in names for end in ("_low", "_high")]].to_numpy(float)


def test_a_copy_of_every_examination_adds_no_certainty(table) -> None:
    """The intervals are those of the persons, in every analysis that resamples."""
    one = table()
    two, people = twice(one), None
    close = partial(np.testing.assert_allclose, rtol=1e-7, atol=1e-9)
    names = ("r", "ccc", "mae", "rmse", "bias", "slope", "auc")
    close(ends(performance_table(two, 200, 0), *names), ends(performance_table(one, 200, 0), *names))
    as_many = performance_table(two.drop(columns="person"), 200, 0)
    assert (np.diff(ends(as_many, "mae")) < np.diff(ends(performance_table(one, 200, 0), "mae"))).all()
    mean = [mean_correlation(t, 200, 0) for t in (one, two)]
    close([mean[1].low, mean[1].high], [mean[0].low, mean[0].high])
    close(ends(discrimination_table(two, 200, 0), "auc", "auc_delong"),
          ends(discrimination_table(one, 200, 0), "auc", "auc_delong"))  # fmt: skip
    close(ends(subgroup_table(two, people, 200, 0), "r", "mae"),
          ends(subgroup_table(one, people, 200, 0), "r", "mae"))  # fmt: skip
    curve = ["model", "model_low", "model_high"]
    close(decision_curve(two, 200, 0)[curve], decision_curve(one, 200, 0)[curve], rtol=1e-4)
    kappa = [phenotype_agreement(phenotype_table(t), 200, 0) for t in (one, two)]
    close(ends(kappa[1], "kappa"), ends(kappa[0], "kappa"))


def test_variants_are_compared_by_person(table) -> None:
    pairs = {"full": [table(seed=1)], "no_fusion": [table(seed=1, variant="no_fusion")]}
    pairs["no_fusion"][0]["prediction"] += np.random.default_rng(0).normal(0, 3, len(pairs["full"][0]))
    copies = {name: [twice(t) for t in tables] for name, tables in pairs.items()}
    close = partial(np.testing.assert_allclose, rtol=1e-7, atol=1e-9)
    for step, names in ((variant_table, ("r", "mae")), (differences, ("r", "mae"))):
        one, two = step(pairs, 2000, 0), step(copies, 2000, 0)
        rows = one["parameter"] != "mean"  # whose SD has n - 1
        close(ends(two[rows], *names), ends(one[rows], *names))
    close(two.loc[rows, ["r_p", "mae_p"]], one.loc[rows, ["r_p", "mae_p"]])


def test_obuchowskis_variance_by_every_pair() -> None:
    """Obuchowski 1997, equations 3 to 6, with persons who have examinations on both sides."""
    generator = np.random.default_rng(4)
    persons = pd.factorize(generator.integers(0, 18, 44))[0]
    positive = generator.random(44) < 0.45
    score = np.round(generator.normal(size=44) + positive + 0.5 * persons / 18, 1)
    wins = {(i, j): float(score[i] > score[j]) + 0.5 * (score[i] == score[j])
            for i in np.flatnonzero(positive) for j in np.flatnonzero(~positive)}  # fmt: skip
    m, n, area = positive.sum(), (~positive).sum(), np.mean(list(wins.values()))
    assert area == pytest.approx(area_under_curve(positive * 1.0, score, cutoff=0.5, abnormal="above"))
    ten, one = np.zeros(18), np.zeros(18)
    for i in np.flatnonzero(positive):
        ten[persons[i]] += np.mean([w for (a, _), w in wins.items() if a == i]) - area
    for j in np.flatnonzero(~positive):
        one[persons[j]] += np.mean([w for (_, b), w in wins.items() if b == j]) - area
    with_ten, with_one = len(set(persons[positive])), len(set(persons[~positive]))
    s10 = with_ten / ((with_ten - 1) * m) * np.sum(ten**2)
    s01 = with_one / ((with_one - 1) * n) * np.sum(one**2)
    everybody = persons.max() + 1
    s11 = everybody / (everybody - 1) * np.sum(ten[:everybody] * one[:everybody])
    expected = s10 / m + s01 / n + 2 * s11 / (m * n)
    assert delong_variance(positive, score, persons) == pytest.approx(expected, rel=1e-10)


def test_a_table_of_predictions_names_its_persons(table) -> None:
    one = table(4)
    persons = one["patient_id"].map(dict(zip(one["patient_id"].unique(), ["A", "A", "", None], strict=True)))
    checked = check_predictions(one.assign(person=persons))
    first = checked.drop_duplicates("patient_id")
    assert person_codes(first).tolist() == [0, 0, 1, 2]
    assert first["person"].tolist()[2:] == first["patient_id"].tolist()[2:]
    with pytest.raises(InputError, match="more than one person"):
        check_predictions(one.assign(person=[str(i) for i in range(len(one))]))


def test_a_person_in_two_folds_is_refused(table) -> None:
    one = check_predictions(table(6).assign(person="A"))
    tables = dict(iter(one.groupby("fold")))
    with pytest.raises(InputError, match="1 person is in two folds"):
        pool_out_of_fold(tables)
    check_folds(one.assign(fold=1))
    check_folds(one.drop(columns="person"))
