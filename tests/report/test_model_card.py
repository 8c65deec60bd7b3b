from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from cardio_mlflow.analysis.results import Evidence, analyse
from cardio_mlflow.analysis.summary import mean_correlation
from cardio_mlflow.parameters import KEYS, PARAMETERS
from cardio_mlflow.report.contents import Evaluation
from cardio_mlflow.report.model_card import SHORT, model_card, shortened
from cardio_mlflow.report.participant_flow import flow_table

TAGS = {
    "study": "first", "preset": "study", "cohort": "clinic", "cohort_digest": "c0ffee", "champion": "mean",
    "settings_digest": "5e77", "patient_ids": "pseudonyms of the key 12ab",
}  # fmt: skip


@pytest.fixture(scope="module")
def judged(table):
    """Predictions, and what is made of them."""
    predictions = table(40)
    tables = dict(analyse(Evidence(predictions), 100, 0)) | {
        "participant_flow": flow_table(None, predictions)
    }
    return tables, mean_correlation(predictions, 100, 0)


@pytest.fixture(scope="module")
def card_of(judged, tiny_settings):
    def build(more=None, tags=TAGS, *, synthetic=False, **known):
        tables, mean = judged
        evaluation = Evaluation(
            "cohort1", "Cohort I, out of fold", tiny_settings(), tiny_settings(keep="best"), synthetic, 5,
            **known,
        )  # fmt: skip
        return model_card(tables | (more or {}), mean, evaluation, tags)

    return build


def sections(card):
    """Text by heading."""
    parts = re.split(r"^## (.*)$", card, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def cells(text):
    """The rows of the table in a text, whose lines all have as many cells."""
    lines = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert set(lines[1][0]) == {"-", "|"}
    assert {len(line) for line in lines if line is not lines[1]} == {lines[1][0].count("|") + 1}
    return [[cell.strip() for cell in line] for line in lines[2:]]


def test_a_synthetic_model_says_so_first(card_of):
    assert card_of(synthetic=True).splitlines()[0].startswith("> **SYNTHETIC COHORT.")
    assert "ynthetic" not in card_of()
    assert card_of().startswith("# ")


def test_the_results_are_those_of_the_table(card_of, judged):
    performance = judged[0]["performance"].set_index("parameter")
    rows = cells(sections(card_of())["Results"])
    assert [row[0] for row in rows] == list(KEYS)
    for key, n, r, mae, auc, criterion in rows:
        assert n == str(performance.loc[key, "n"])
        assert r.startswith(f"{performance.loc[key, 'r']:.2f} (")
        assert float(mae.split(" ")[0]) == pytest.approx(performance.loc[key, "mae"], rel=0.01)
        assert auc.startswith(f"{performance.loc[key, 'auc']:.2f} (")
        assert criterion == next(p.criterion for p in PARAMETERS if p.key == key)


def test_a_synthetic_model_has_its_ceiling_beside_it(card_of):
    rows = cells(sections(card_of(synthetic=True))["Results"])
    assert all(0.5 < float(row[-1]) < 1 for row in rows)


def test_intervals_and_missing_views_are_there_where_they_are_known(card_of):
    without = sections(card_of())
    assert "gives none" in without["Intervals"]
    assert "With missing views" not in without
    found = sections(card_of({
        "intervals": pd.DataFrame([
            {"parameter": "CO", "unit": "L/min", "n": 40, "coverage": 0.9, "coverage_low": 0.8,
             "coverage_high": 0.95, "width": 2.5},
            {"parameter": "CI", "unit": "L/min/m²", "n": 0, "coverage": np.nan, "coverage_low": np.nan,
             "coverage_high": np.nan, "width": np.nan},
        ]),
        "view_subset_accuracy": pd.DataFrame([
            {"views": "A4C+PLAX", "parameter": key, "n": 39, "r": 0.5, "mae": 0.6, "width_ratio": 1.25}
            for key in ("CO", "mean")
        ]),
    }))  # fmt: skip
    assert cells(found["Intervals"])[0] == ["CO", "90 (80 to 95)", "2.5 L/min", "40"]
    assert cells(found["Intervals"])[1][1] == "–"
    assert "over the parameters 90 %" in found["Intervals"]
    assert cells(found["With missing views"]) == [["A4C, PLAX", "39", "0.50", "0.60 SD", "1.25"]]


def test_settings_and_data_are_named_and_private_ones_are_not(card_of, judged):
    found = sections(card_of(folds_from="given"))
    assert ["`views`", "A4C, A2C, PSAX, PLAX"] in cells(found["Settings that matter"])
    assert "40 patients of the cohort clinic in 5 folds, given by the user" in found["Data"]
    assert "c0ffee" in found["Data"]
    assert "pseudonyms of the key 12ab" in found["Data"]
    assert "P000" not in card_of()


def test_limits_say_what_makes_results_optimistic(card_of):
    assert "the epoch was kept that was best" in sections(card_of())["Limits"]
    assert "chosen on the same patients" not in sections(card_of())["Limits"]
    assert "chosen on the same patients" in sections(card_of(tuned=True))["Limits"]


def test_what_it_is_for_and_how_it_is_used(card_of):
    card = card_of(tags=TAGS | {"champion": "best_fold"})
    assert "no medical device" in card
    assert "no medical device" in SHORT
    assert "the best of the networks of 5 folds" in card
    for name in ("ph_probability", "unfamiliar", "flags", "level", "refuse", "MIT licence"):
        assert name in card
    assert "\n\n\n" not in card


def test_a_model_whose_settings_are_not_known(judged, tiny_settings):
    tables, mean = judged
    evaluation = Evaluation("cohort1", "Cohort I, out of fold", tiny_settings(), None, False, 5)
    assert "Settings that matter" not in sections(model_card(tables, mean, evaluation, TAGS))


def test_a_description_that_is_too_long_does_without_some_sections(card_of):
    card = card_of(synthetic=True)
    assert shortened(card, len(card)) == card
    short = shortened(card, 4000)
    assert len(short) <= 4000
    assert short.startswith("> **SYNTHETIC")
    kept = sections(short)
    assert {"Intended use", "Results", "Limits"} <= set(kept) < set(sections(card))
    assert cells(kept["Results"]) == cells(sections(card)["Results"])
    assert "`model_card.md`" in short
    assert len(shortened(card, 300)) <= 300
