from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cardio_mlflow.analysis.bootstrap import resample
from cardio_mlflow.analysis.comparison import MEAN, differences, in_words, paths_in_words, variant_table
from cardio_mlflow.analysis.predictions import reference_and_prediction
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS


def noisier(one: pd.DataFrame, variant: str, noise: float, seed: int = 1) -> pd.DataFrame:
    """The same table with noise on the predictions, in SDs of each parameter's references."""
    spread = one.groupby("parameter")["reference"].transform("std")
    added = noise * spread * np.random.default_rng(seed).normal(size=len(one))
    return one.assign(variant=variant, prediction=one["prediction"] + added)


@pytest.fixture
def tables(table) -> dict[str, list[pd.DataFrame]]:
    one = table()
    return {
        "full": [one],
        "no_attention": [noisier(one, "no_attention", 1.5).sample(frac=1, random_state=0)],
        "frozen": [noisier(one, "frozen", 0.05)],
    }


def row(found: pd.DataFrame, variant: str, parameter: str, against: str = "full") -> pd.Series:
    chosen = found[(found["variant"] == variant) & (found["parameter"] == parameter)]
    if "against" in found:
        chosen = chosen[chosen["against"] == against]
    (only,) = [r for _, r in chosen.iterrows()]
    return only


def test_each_variant_as_scipy_has_it(tables) -> None:
    found = variant_table(tables, 200, 0)
    assert list(found["variant"].unique()) == ["full", "no_attention", "frozen"]
    assert list(found["parameter"][:10]) == [*KEYS, MEAN]
    for variant, (one,) in tables.items():
        pairs = {key: reference_and_prediction(one, key) for key in KEYS}
        r = [stats.pearsonr(*pair)[0] for pair in pairs.values()]
        mae = [np.abs(a - b).mean() for a, b in pairs.values()]
        scaled = [np.abs(a - b).mean() / np.std(a, ddof=1) for a, b in pairs.values()]
        own = found[found["variant"] == variant]
        np.testing.assert_allclose(own["r"], [*r, np.mean(r)])
        np.testing.assert_allclose(own["mae"], [*mae, np.mean(scaled)])
        assert (own["n"] == 40).all()
        assert ((own["r_low"] < own["r"]) & (own["r"] < own["r_high"])).all()
        assert own["r_seed_sd"].isna().all()


def test_paired_differences_equal_a_plain_loop_over_resamples(tables) -> None:
    found = differences(tables, 1, 3)
    drawn = resample(40, 10_000, 3)[:400]
    for key in ("RAP", "PVR"):
        x, full = reference_and_prediction(tables["full"][0], key)
        _, other = reference_and_prediction(tables["no_attention"][0], key)
        got = row(found, "no_attention", key)
        assert got["r_difference"] == pytest.approx(stats.pearsonr(x, other)[0] - stats.pearsonr(x, full)[0])
        loop = [stats.pearsonr(x[i], other[i])[0] - stats.pearsonr(x[i], full[i])[0] for i in drawn]
        assert got["r_low"] == pytest.approx(np.quantile(loop, 0.025), abs=0.06)
        assert got["r_high"] == pytest.approx(np.quantile(loop, 0.975), abs=0.06)
        error = np.abs(other - x) - np.abs(full - x)
        assert got["mae_difference"] == pytest.approx(error.mean())
        reach = (got["mae_high"] - got["mae_low"]) / 2
        assert reach == pytest.approx(1.96 * error.std(ddof=1) / np.sqrt(40), rel=0.1)
        t = stats.ttest_1samp(error, 0)
        assert got["mae_p"] == pytest.approx(t.pvalue, abs=0.02)


def test_pairing_tells_what_two_intervals_do_not(tables) -> None:
    alone = variant_table(tables, 1000, 0)
    paired = row(differences(tables, 1000, 0), "frozen", MEAN)
    own = row(alone, "full", MEAN)
    assert paired["r_high"] - paired["r_low"] < 0.3 * (own["r_high"] - own["r_low"])


def test_holm_by_hand_and_p_with_its_interval(tables) -> None:
    found = differences(tables, 1000, 0)
    assert set(zip(found["variant"], found["against"], strict=True)) == {
        ("no_attention", "full"), ("frozen", "full"), ("full", "no_attention"), ("frozen", "no_attention")
    }  # fmt: skip
    means = found[(found["against"] == "full") & (found["parameter"] == MEAN)].sort_values("r_p")
    small, large = means["r_p"]
    assert list(means["r_p_holm"]) == pytest.approx([min(1, 2 * small), min(1, max(2 * small, large))])
    single = found[(found["against"] == "full") & (found["parameter"] != MEAN)]
    assert single["r_p"].min() * 18 == pytest.approx(single["r_p_holm"].min())
    for name in ("r", "mae"):
        away = (found[f"{name}_low"] > 0) | (found[f"{name}_high"] < 0)
        assert (away == (found[f"{name}_p"] < 0.05)).all()
    back = row(found, "full", "CO", against="no_attention")
    assert back["r_difference"] == -row(found, "no_attention", "CO")["r_difference"]


def test_seeds_are_averaged_and_their_spread_is_told(table) -> None:
    one = table()
    seeds = [noisier(one, "full", 0.5, seed) for seed in (1, 2, 3)]
    found = row(variant_table({"full": seeds}, 200, 0), "full", "CI")
    r = [stats.pearsonr(*reference_and_prediction(t, "CI"))[0] for t in seeds]
    assert found["r"] == pytest.approx(np.mean(r))
    assert found["r_seed_sd"] == pytest.approx(np.std(r, ddof=1))


def test_only_patients_that_both_judged_are_compared(tables) -> None:
    fewer = tables["frozen"][0]
    fewer = fewer[~fewer["patient_id"].isin(["P003", "P004"])]
    found = differences(tables | {"frozen": [fewer]}, 100, 0)
    got = row(found, "frozen", "SPAP")
    assert got["n"] == 38
    full = tables["full"][0]
    kept = full[full["patient_id"].isin(fewer["patient_id"])]
    expected = [stats.pearsonr(*reference_and_prediction(t, "SPAP"))[0] for t in (fewer, kept)]
    assert got["r_difference"] == pytest.approx(expected[0] - expected[1])
    assert row(found, "no_attention", "SPAP")["n"] == 40


def test_missing_references_are_left_out(tables) -> None:
    holes = {
        v: [t.assign(reference=t["reference"].mask(t["patient_id"].eq("P001") & t["parameter"].eq("CO")))]
        for v, (t,) in tables.items()
    }
    assert row(differences(holes, 100, 0), "frozen", "CO")["n"] == 39
    assert row(variant_table(holes, 100, 0), "frozen", "CO")["n"] == 39


def test_other_folds_or_references_are_refused(tables) -> None:
    def changed(**columns: object) -> dict[str, list[pd.DataFrame]]:
        return tables | {"frozen": [tables["frozen"][0].assign(**columns)]}

    one = tables["frozen"][0]
    with pytest.raises(InputError, match="not trained on the same folds: only one has 5"):
        differences(tables | {"frozen": [one[one["fold"] != 5]]}, 100, 0)
    with pytest.raises(InputError, match="differ in folds or references"):
        differences(changed(fold=one["fold"].mask(one["patient_id"] == "P007", 5)), 100, 0)
    with pytest.raises(InputError, match="differ in folds or references"):
        variant_table(changed(reference=1.0), 100, 0)


def test_a_collapsed_variant_has_no_mean(tables) -> None:
    one = tables["frozen"][0]
    flat = one.assign(prediction=one["prediction"].mask(one["parameter"] == "RAP", 1.0))
    found = differences(tables | {"frozen": [flat]}, 100, 0)
    for key in ("RAP", MEAN):
        got = row(found, "frozen", key)
        assert np.isnan([got["r_difference"], got["r_p"], got["r_p_holm"]]).all()
        assert np.isfinite(got["mae_difference"])
    assert np.isfinite(row(found, "no_attention", MEAN)["r_p_holm"])


def test_one_variant_alone_has_no_difference(tables) -> None:
    found = differences({"full": tables["full"]}, 100, 0)
    assert found.empty
    assert in_words(found) == []


def test_the_sentence_says_what_is_larger_than_its_uncertainty(tables) -> None:
    against_full, against_none = in_words(differences(tables, 100, 0))
    assert against_full.startswith("Against full, on 40 patients: the mean r differs by more than")
    assert "no_attention −0." in against_full.partition("do not tell")[0]
    assert "frozen" in against_full.partition("do not tell")[2]
    assert "Against no_attention" in against_none
    same = {"full": tables["full"], "twin": [tables["full"][0].assign(variant="twin")]}
    (none,) = in_words(differences(same, 100, 0))
    assert "no difference in mean r is larger than its uncertainty: twin +0.00" in none


@pytest.mark.parametrize(("patients", "carry"), [(9, False), (10, True)])
def test_nine_patients_carry_no_difference_and_ten_do(table, patients: int, carry: bool) -> None:
    one = table(patients)
    spread = one.groupby("parameter")["reference"].transform("std")
    tables = {"full": [one.assign(prediction=one["reference"] + 0.01 * spread * one["prediction"])],
              "no_fusion": [noisier(one, "no_fusion", 3.0)]}  # fmt: skip
    found = differences(tables, 100, 0)
    means = found[found["parameter"] == MEAN]
    assert (means["r_high"] < 0).all(), "the interval itself leaves 0 out"
    assert found[["r_p", "r_p_holm", "mae_p", "mae_p_holm"]].notna().all(axis=None) == carry
    (sentence,) = in_words(found)
    assert ("differs by more than its uncertainty" in sentence) == carry
    assert ("fewer than 10 patients tell no difference: no_fusion −" in sentence) != carry
    assert bool(paths_in_words(found, alphas())) == carry


def test_a_variant_without_a_correlation_is_said_to_have_none() -> None:
    rows = [{"variant": v, "against": "full", "parameter": MEAN, "n": 20, "r_difference": d, "r_low": d - 0.1,
             "r_high": d + 0.1, "r_p_holm": p}
            for v, d, p in (("no_fusion", 0.02, 0.8), ("flat", np.nan, np.nan))]  # fmt: skip
    (sentence,) = in_words(pd.DataFrame(rows))
    assert "nan" not in sentence
    assert "no_fusion +0.02" in sentence
    assert sentence.endswith("flat: the mean r is not defined.")
    (alone,) = in_words(pd.DataFrame(rows[1:]))
    assert alone == "Against full: flat: the mean r is not defined."


def alphas(**gates: list[float]) -> pd.DataFrame:
    columns = {f"alpha_{path}": gates.get(path, [np.nan] * 2) for path in ("temporal", "fusion", "motion")}
    return pd.DataFrame({"variant": "full"} | columns)


def test_what_each_path_adds_is_full_minus_the_variant_without_it() -> None:
    rows = [{"variant": v, "against": a, "parameter": p, "n": n, "r_difference": d, "r_low": d - 0.01,
             "r_high": d + 0.03}
            for v, a, p, n, d in (
                ("no_temporal", "full", MEAN, 96, -0.02), ("no_motion", "full", MEAN, 95, -0.05),
                ("no_fusion", "full", MEAN, 96, np.nan), ("no_fusion", "full", "CO", 96, 9.0),
                ("no_fusion", "no_attention", MEAN, 96, 9.0),
            )]  # fmt: skip
    added, stand = paths_in_words(pd.DataFrame(rows), alphas(temporal=[0.6, 0.64], motion=[0.3, 0.3]))
    assert added == (
        "On 95 to 96 patients, each path adds to the mean r: temporal attention +0.02 (−0.01 to +0.03), "
        "motion +0.05 (+0.02 to +0.06) (full minus the variant without it)."
    )
    assert stand == (
        "The gates of full started at α = 0.50 and stand at 0.62 ± 0.03 (temporal attention, +0.12), "
        "0.30 ± 0.00 (motion, −0.20): mean and SD over trainings, and how far the mean has moved."
    )


def test_no_path_is_told_of_what_was_not_trained(tables) -> None:
    apart = differences(tables, 100, 0)
    assert paths_in_words(apart, alphas().assign(variant="frozen")) == []
    (one,) = paths_in_words(apart, alphas(fusion=[0.51, np.nan]))
    assert "stand at 0.51 (view fusion, +0.01): mean" in one
