from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from cardio_mlflow.analysis.conformal import SUBSET_COLUMNS, calibrate, mean_over_networks
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, PARAMETERS
from cardio_mlflow.prediction.answers import (
    COLUMNS,
    OUTSIDE,
    answer,
    answer_table,
    check_level,
)
from cardio_mlflow.training.ensemble import evaluate

UNKNOWN = np.full((4, 3), np.nan)


class Calibration:
    """Intervals as wide as the level says, and of RAP a training range that nothing lies in."""

    def intervals(self, by_network, present, level=0.9):
        mean = mean_over_networks(by_network)
        width = level * present.sum(1)[:, None]
        return mean - width, mean + width

    def probability_above(self, key, cutoff, by_network, present):
        assert (key, cutoff) == ("meanPAP", 20)
        return np.full(len(present), 0.25)

    def training_range(self):
        return {"RAP": (1e6, 2e6), "CO": (-1e9, 1e9)}


class Familiarity:
    """Finds whoever has all four views unlike, and cannot judge one view."""

    not_judged = ("PSAX",)

    def judge(self, frames, features, clips, present):
        assert set(frames) == set(features) == {"fold-1", "fold-2"}
        return [("unlike",) if bool(views.all()) else () for views in present]


@pytest.fixture(scope="module")
def judged(tiny_ensemble):
    return tiny_ensemble({"calibration": Calibration(), "familiarity": Familiarity()})


def test_the_prediction_is_the_mean_of_the_networks(tiny_ensemble, tiny_clips) -> None:
    ensemble, clips = tiny_ensemble(), tiny_clips(4)
    found, alone = answer(ensemble, clips, UNKNOWN), evaluate(ensemble, clips, UNKNOWN)
    of_networks = [alone.predicted[name].predictions for name in ("fold-1", "fold-2")]
    assert not np.allclose(*of_networks)
    np.testing.assert_array_equal(found["predictions"], np.mean(of_networks, axis=0))
    for name, values in alone.features.items():
        np.testing.assert_array_equal(found["features"][name], values)
    assert np.isnan(found["lower"]).all()
    assert np.isnan(found["ph_probability"]).all()
    assert not found["unfamiliar"].any()


def test_others_make_no_difference(judged, tiny_clips) -> None:
    clips = tiny_clips(4)
    together = answer(judged, clips, UNKNOWN)
    for i in range(4):
        own = slice(i, i + 1)
        one = replace(
            clips, patient_ids=("x",), clips=clips.clips[own], present=clips.present[own],
            placement=clips.placement[own], phased=clips.phased[own], rr_ms=clips.rr_ms[own],
        )  # fmt: skip
        alone = answer(judged, one, UNKNOWN[own])
        for name in ("predictions", "direct", "lower", "upper", "ph_probability"):
            np.testing.assert_array_equal(alone[name], together[name][own])
        assert alone["flags"][0] == together["flags"][i]


def test_what_speaks_against_a_value_is_said_and_refused(judged, tiny_clips) -> None:
    clips = tiny_clips(4)  # the second lacks a view, and the fourth has one only
    found = answer(judged, clips, UNKNOWN)
    rap = KEYS.index("RAP")
    assert [texts[rap] for texts in found["flags"]] == [
        f"unlike; {OUTSIDE}", OUTSIDE, f"unlike; {OUTSIDE}", OUTSIDE,
    ]  # fmt: skip
    assert found["flags"][1][rap + 1] == ""
    refused = answer(judged, clips, UNKNOWN, refuse=True)
    gone = np.isnan(refused["predictions"])
    assert gone[[0, 2]].all()
    assert gone[[1, 3]].tolist() == [[key == "RAP" for key in KEYS]] * 2
    assert np.array_equal(gone, np.isnan(refused["lower"]))
    assert np.isnan(refused["ph_probability"]).tolist() == [True, False, True, False]


def test_intervals_have_the_level_and_the_views_that_are_asked_for(judged, tiny_clips) -> None:
    found = answer(judged, tiny_clips(4), UNKNOWN, level=0.5)
    assert (found["upper"] - found["lower"])[:, 0] == pytest.approx([4, 3, 4, 1])
    check_level(0.5)
    for level in (0, 1, float("nan")):
        with pytest.raises(InputError, match="level"):
            check_level(level)


def test_a_patient_without_a_view_is_told_so_and_others_are_answered(judged, tiny_clips) -> None:
    clips = tiny_clips(4)
    present = clips.present.clone()
    present[1] = False
    refused = [{}, {"FC": Outcome.NO_SECTOR, "SA": Outcome.NOT_DICOM}, {}, {}]
    found = answer(judged, replace(clips, present=present), UNKNOWN, refused=refused)
    assert np.isnan(found["predictions"]).all(1).tolist() == [False, True, False, False]
    assert set(found["flags"][1]) == {"no view to predict from"}
    assert found["notes"][1] == (
        "A4C: refused, NO_SECTOR (no sector found); A2C: missing; "
        "PSAX: refused, NOT_DICOM (not a DICOM file); PLAX: missing"
    )
    assert found["unfamiliar"][1]
    assert len(found["features"]["fold-1"]) == 4
    table = answer_table(found, "abcd")
    assert table.loc[table["patient"] == "b", "abnormal"].isna().all()


def test_views_that_a_model_does_not_use(tiny_ensemble, tiny_clips) -> None:
    ensemble, clips = tiny_ensemble(views="FC,SA"), tiny_clips(4)
    found = answer(ensemble, clips, UNKNOWN)
    assert (
        found["notes"][0]
        == "A2C: not used by this model; PLAX: not used by this model; familiarity not judged: A4C, PSAX"
    )
    assert found["notes"][3] == "A4C: missing; familiarity not judged: PSAX"
    assert not np.isnan(found["predictions"]).any()


def test_black_clips_and_one_clip_twice_are_seen_without_a_model(tiny_ensemble, tiny_clips) -> None:
    clips = tiny_clips(4)
    pixels = clips.clips.clone()
    pixels[0, 1] = 0
    pixels[0, 3] = pixels[0, 2]
    pixels[3, 2] = 0
    found = answer(tiny_ensemble(), replace(clips, clips=pixels), UNKNOWN)
    assert found["flags"][0] == ["A2C: is black; PSAX and PLAX: the same clip"] * 9
    assert found["flags"][3] == ["PSAX: is black"] * 9
    assert found["unfamiliar"].tolist() == [True, False, False, True]


def test_notes_say_what_the_model_would_have_used(tiny_ensemble, tiny_clips) -> None:
    clips = tiny_clips(4, frames=8)
    phased = clips.present.clone()
    phased[0, 3] = False
    clips = replace(clips, phased=phased)
    parts = {"familiarity": Familiarity()}
    ensemble = tiny_ensemble(parts, motion="true", identities="true", training_frames=4)
    facts = np.array([[70, np.nan, 90], [70, 1.8, 90], [70, 1.8, 90], [np.nan] * 3])
    unsure = "familiarity not judged: PSAX"
    assert answer(ensemble, clips, facts)["notes"] == [
        f"phase not verified: PLAX; not known: BSA; {unsure}", f"A2C: missing; {unsure}", unsure,
        f"A4C: missing; A2C: missing; PLAX: missing; not known: HR, BSA, MAP; {unsure}",
    ]  # fmt: skip
    plain = answer(tiny_ensemble(parts), clips, UNKNOWN)["notes"]
    assert plain[0] == plain[2] == unsure


def test_the_table(judged, tiny_clips) -> None:
    found = answer(judged, tiny_clips(4), UNKNOWN)
    table = answer_table(found, ["a", "b", "a", "4"])
    assert tuple(table.columns) == COLUMNS
    assert table["parameter"].tolist() == [*KEYS] * 4
    assert table["unit"].tolist() == [p.unit for p in PARAMETERS] * 4
    assert table["patient"].tolist() == [name for name in "aba4" for _ in KEYS]
    for row in table.itertuples():
        place = row.Index // 9, row.Index % 9
        assert row.prediction == found["predictions"][place]
        assert (row.lower, row.upper) == (found["lower"][place], found["upper"][place])
        assert row.abnormal == PARAMETERS[place[1]].is_abnormal(row.prediction)
        assert row.unfamiliar == bool(row.flags)
        assert row.ph_probability == 0.25


def test_nobody_gives_an_empty_table(judged, tiny_clips) -> None:
    found = answer(judged, tiny_clips(0), UNKNOWN[:0], refuse=True)
    table = answer_table(found, [])
    assert table.empty
    assert tuple(table.columns) == COLUMNS
    assert found["predictions"].shape == found["derived"].shape == (0, 9)


def test_a_network_sees_the_same_whatever_lies_under_a_missing_view(tiny_ensemble, tiny_clips) -> None:
    clips = tiny_clips(4)
    other = clips.clips.clone()
    other[~clips.present] = 99
    one, two = (answer(tiny_ensemble(), replace(clips, clips=c), UNKNOWN) for c in (clips.clips, other))
    assert torch.equal(torch.from_numpy(one["predictions"]), torch.from_numpy(two["predictions"]))


def test_intervals_of_a_calibration_as_it_is_made(tiny_ensemble, tiny_clips) -> None:
    rng, rows = np.random.default_rng(3), []
    for patient in range(60):
        for p in PARAMETERS:
            reference = p.cutoff * rng.lognormal(0, 0.3)
            rows += [
                (f"P{patient}", patient % 2 + 1, views, p.key, reference, reference * rng.lognormal(0, 0.1))
                for views in ("A4C+A2C+PSAX+PLAX", "A4C+PSAX+PLAX", "PSAX")
            ]
    calibration = calibrate(pd.DataFrame(rows, columns=list(SUBSET_COLUMNS)))
    found = answer(tiny_ensemble({"calibration": calibration}), tiny_clips(4), UNKNOWN)
    assert (found["lower"] < found["predictions"]).all()
    assert (found["predictions"] < found["upper"]).all()
    assert ((found["ph_probability"] > 0) & (found["ph_probability"] < 1)).all()
    low, high = calibration.training_range()["PVR"]
    outside = (found["predictions"][:, -1] < low) | (found["predictions"][:, -1] > high)
    assert [OUTSIDE in texts[-1] for texts in found["flags"]] == outside.tolist()
