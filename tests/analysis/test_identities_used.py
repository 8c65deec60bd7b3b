"""With and without identities, against a plain loop over resampled persons."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cardio_mlflow.analysis.bland_altman import bland_altman_table
from cardio_mlflow.analysis.identities import (
    USED_COLUMNS,
    has_identities,
    identities_in_words,
    identities_used_table,
)
from cardio_mlflow.analysis.predictions import BY_IDENTITY, check_predictions, read_predictions
from cardio_mlflow.analysis.results import Evidence, notes, steps
from cardio_mlflow.analysis.summary import mean_correlation, performance_table
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, VIEW_CODES
from cardio_mlflow.report.contents import Evaluation, report_content, workbook_sheets
from cardio_mlflow.report.page import write_report
from cardio_mlflow.report.participant_flow import flow_table
from cardio_mlflow.settings_reading import load_settings


def with_ways(table: pd.DataFrame, known: int = 30, of_pressure: int = 25) -> pd.DataFrame:
    """CO and CI of the first patients by identity, SVRI of fewer, all better than their own heads say."""
    patient = table["patient_id"].str[1:].astype(int)
    limit = table["parameter"].map({"CO": known, "CI": known, "SVRI": of_pressure}).fillna(0)
    derived = patient < limit
    better = 0.5 * (table["prediction"] + table["reference"].fillna(table["prediction"]))
    changed = table.assign(
        way=np.where(derived, "identity", "direct"),
        direct=table["prediction"],
        prediction=table["prediction"].mask(derived, better),
    )
    return check_predictions(changed)


@pytest.mark.parametrize("shared", [False, True])
def test_differences_are_those_of_a_plain_loop_over_persons(table, shared: bool) -> None:
    one = with_ways(table())
    if shared:  # patients 0 and 1 are one person, 2 and 3 the next, and so on
        one = one.assign(person="Q" + (one["patient_id"].str[1:].astype(int) // 2).astype(str))
    one.loc[(one["patient_id"] == "P003") & (one["parameter"] == "CO"), "reference"] = np.nan
    found = identities_used_table(one, 10_000, 5).set_index("parameter")
    assert list(found.index) == list(BY_IDENTITY)
    assert found["patients"].tolist() == [40, 40, 40]
    assert found["by_identity"].tolist() == [30, 30, 25]
    assert found["n"].tolist() == [29, 30, 25]
    generator = np.random.default_rng(11)
    for key in BY_IDENTITY:
        rows = one[(one["parameter"] == key) & (one["way"] == "identity") & one["reference"].notna()]
        x, y, z = (rows[name].to_numpy() for name in ("reference", "prediction", "direct"))
        who = rows["person"].to_numpy() if shared else np.arange(len(rows))
        groups = [np.flatnonzero(who == name) for name in np.unique(who)]

        def apart(i: np.ndarray, x=x, y=y, z=z) -> tuple[float, float]:
            return (stats.pearsonr(x[i], y[i])[0] - stats.pearsonr(x[i], z[i])[0],
                    np.abs(x - y)[i].mean() - np.abs(x - z)[i].mean())  # fmt: skip

        loop = []
        for _ in range(1500):
            drawn = generator.integers(len(groups), size=len(groups))
            loop.append(apart(np.concatenate([groups[g] for g in drawn])))
        got = found.loc[key]
        assert got["r"] == pytest.approx(stats.pearsonr(x, y)[0])
        assert got["r_direct"] == pytest.approx(stats.pearsonr(x, z)[0])
        assert got["mae"] == pytest.approx(np.abs(x - y).mean())
        assert got["mae_direct"] == pytest.approx(np.abs(x - z).mean())
        for name, value, values in zip(
            ("r", "mae"), apart(np.arange(len(x))), np.transpose(loop), strict=True
        ):
            assert got[f"{name}_difference"] == pytest.approx(value)
            spread = values.std()
            for end, level in (("low", 0.025), ("high", 0.975)):
                expected = np.quantile(values, level)
                assert got[f"{name}_difference_{end}"] == pytest.approx(expected, abs=0.25 * spread)
        assert got["note"] == ""


def test_nobody_or_too_few_by_identity_is_said_and_not_guessed(table) -> None:
    found = identities_used_table(with_ways(table(), known=2, of_pressure=0), 100, 0)
    assert tuple(found.columns) == USED_COLUMNS
    assert found["by_identity"].tolist() == [2, 2, 0]
    assert found["n"].tolist() == [2, 2, 0]
    assert found[["r", "r_difference", "mae_difference_low"]].isna().all(axis=None)
    assert found["note"].str.startswith("too few patients").all()
    (only,) = identities_in_words(found)
    assert "nan" not in only


@pytest.mark.parametrize("lost", ["all", "column"])
def test_what_has_no_head_of_its_own_is_not_compared(table, lost: str) -> None:
    """A sheet without CI: CI = CO / BSA is predicted, and nothing stands beside it."""
    one = with_ways(table())
    if lost == "all":
        found = identities_used_table(check_predictions(one.drop(columns="direct")), 100, 0)
        assert found["by_identity"].tolist() == [30, 30, 25]
        assert found["n"].tolist() == [0, 0, 0]
        return
    bare = one["parameter"].eq("CI")
    changed = one.assign(direct=one["direct"].mask(bare), reference=one["reference"].mask(bare))
    found = identities_used_table(check_predictions(changed), 100, 0)
    assert found["by_identity"].tolist() == [30, 30, 25]
    assert found["n"].tolist() == [30, 0, 25]


def test_a_fit_by_identity_alone_has_no_difference(table) -> None:
    one = with_ways(table())
    found = identities_used_table(one.assign(direct=one["prediction"]), 100, 0)
    assert found["r_difference"].eq(0).all()
    assert found["mae_difference_high"].eq(0).all()


def test_the_sentences_say_what_was_known_and_what_it_brought(table) -> None:
    found = identities_used_table(with_ways(table()), 100, 0)
    first, second = identities_in_words(found)
    assert "CO of 30 of 40 patients, CI of 30 of 40 patients, SVRI of 25 of 40 patients." in first
    row = found.iloc[0]
    assert f"CO {row['r']:.2f} against {row['r_direct']:.2f} (difference +" in second
    assert "; n = 30); CI " in second
    surfaces = pd.Series([1.9, np.nan, 2.0])
    assert "Body surface was known of 2 of 3 patients" in identities_in_words(found, surfaces)[0]


@pytest.mark.parametrize(("patients", "carry"), [(9, False), (10, True)])
def test_nine_patients_carry_no_sentence_on_a_difference(table, patients: int, carry: bool) -> None:
    found = identities_used_table(with_ways(table(), known=patients, of_pressure=patients), 100, 0)
    _, said = identities_in_words(found)
    assert said.count("difference") == (3 if carry else 0)
    assert said.count("(n = 9, too few to compare)") == (0 if carry else 3)


def test_the_table_is_made_where_something_followed_by_identity(table) -> None:
    plain, derived = table(), with_ways(table())
    assert not has_identities(plain)
    assert not has_identities(with_ways(plain, known=0, of_pressure=0))
    assert "identities_used" not in steps(Evidence(plain), 100, 0)
    assert "identities_used" in steps(Evidence(derived), 100, 0)
    few = identities_used_table(with_ways(plain, known=2), 100, 0)
    told = notes(Evidence(derived), {"identities_used": few})
    assert any(note.startswith("With and without identities, CO and CI: too few") for note in told)


def test_report_and_workbook_show_with_and_without(table, tmp_path) -> None:
    one = with_ways(table())
    people = pd.DataFrame({"patient_id": [f"P{i:03d}" for i in range(50)], "cohort": "I", "bsa": 1.8})
    people.loc[:3, "bsa"] = np.nan
    people = people.assign(used=True, **dict.fromkeys(VIEW_CODES, "OK"))
    evidence = Evidence(one, people)
    tables = {
        "performance": performance_table(one, 100, 0), "bland_altman": bland_altman_table(one),
        "participant_flow": flow_table(None, one), "identities_used": identities_used_table(one, 100, 0),
    }  # fmt: skip
    settings = load_settings({"identities": "true"}, {})
    evaluation = Evaluation("cohort1", "Cohort I, out of fold", settings, settings, synthetic=True, folds=5)
    mean = mean_correlation(one, 100, 0)
    write_report(tmp_path / "report.html", report_content(evidence, tables, evaluation, mean, {}))
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Body surface was known of 36 of 40 patients" in page, "of those judged"
    assert "<p>Signed r with the identities, and by the own head alone: CO " in page
    assert ">With and without identities <span" in page
    sheets = workbook_sheets(one, tables, evaluation, mean)
    pd.testing.assert_frame_equal(sheets["identities_used"], tables["identities_used"])
    assert {"way", "direct"} <= set(sheets["predictions"].columns)
    del tables["identities_used"]
    plain = Evidence(table(), people)
    assert report_content(plain, tables, evaluation, mean, {}).sentences == []


def test_ways_survive_a_file_and_folds_without_them(table, tmp_path) -> None:
    one = with_ways(table(6))
    one.to_csv(tmp_path / "predictions.csv", index=False)
    pd.testing.assert_frame_equal(
        read_predictions(tmp_path / "predictions.csv"), one, check_dtype=False, rtol=1e-14
    )
    older = table(6).assign(patient_id=lambda t: "Q" + t["patient_id"])
    both = check_predictions(pd.concat([one, older]))
    assert both["way"].iloc[-len(older) :].eq("direct").all()
    assert both["direct"].iloc[-len(older) :].isna().all()


@pytest.mark.parametrize(
    ("key", "changes", "said"),
    [
        ("CO", {"way": "guessed"}, r"column way must hold identity or direct: see row 6\."),
        ("CO", {"way": "Identity"}, "column way must hold identity or direct"),
        ("PVR", {"way": "identity"}, "Only CO, CI, SVRI can come by an identity; another does in row 9"),
        ("CI", {"direct": np.inf}, "column direct is infinite in row 7"),
    ],
)
def test_ways_that_cannot_be_are_refused(table, key: str, changes: dict[str, object], said: str) -> None:
    broken = with_ways(table(1), known=1, of_pressure=1)
    for name, value in changes.items():
        broken.loc[broken["parameter"] == key, name] = value
    with pytest.raises(InputError, match=said) as refused:
        check_predictions(broken)
    assert "P000" not in str(refused.value)


@given(st.lists(st.sampled_from(["identity", "direct", "", " direct", None]), min_size=9, max_size=9))
def test_an_empty_way_is_direct(ways: list[str | None]) -> None:
    rows = pd.DataFrame({"patient_id": [f"P{i}" for i in range(9)], "cohort": "II", "fold": pd.NA,
                         "variant": "full", "parameter": "CO", "unit": "L/min", "reference": 4.0,
                         "prediction": 5.0, "direct": 4.5, "way": ways})  # fmt: skip
    checked = check_predictions(rows)
    assert checked["way"].tolist() == [(way or "direct").strip() for way in ways]
    assert list(KEYS)[5] == "CO"
