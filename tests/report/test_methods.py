"""The methods section says what the settings say, and nothing that is not known."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import get_args

import pytest

from cardio_mlflow.model.motion import HARMONICS
from cardio_mlflow.parameters import PARAMETERS
from cardio_mlflow.report.method_training import has_gates, has_motion
from cardio_mlflow.report.methods import MethodFacts, methods_paragraphs
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.training.fit import AVERAGED
from cardio_mlflow.variants import VARIANTS, Variant

FACTS = MethodFacts("I", 96, 4321, 17, 5, {"cardio_mlflow": "1.2", "torch": "2.13.0"}, True, "", None)


def test_the_settings_are_in_the_text():
    given = {"epochs": "37", "seed": "11", "bootstrap": "500", "task_lr": "0.00071", "stages": "2",
             "training_frames": "8", "augmented_copies": "2", "rotation": "8", "shift": "0.05"}  # fmt: skip
    settings = load_settings(given, {})
    text = "\n".join(methods_paragraphs(settings, FACTS))
    for words in (
        "37 epochs", "seed was 11", "4321 resamples, seed 17", "(BCa)", "Hesterberg", "0.00071", "5 folds",
        "96 synthetic patients",
        "In 2 further stages", "network saw 8", "2 augmented copies", "torch 2.13.0",
        "Carkeet",
        "Vickers and Elkin", "8° of rotation", "5% of the image side",
    ):  # fmt: skip
        assert words in text
    assert all(p.criterion in text for p in PARAMETERS)


def test_the_study_preset():
    facts = dataclasses.replace(
        FACTS, cohort="II", patients=1, synthetic=False, model_version="3", uses_of_cohort2=2, champion="mean"
    )
    text = "\n".join(methods_paragraphs(load_settings({"preset": "study"}, {}), facts))
    for words in (
        "Cohort II: 1 patient was", "evaluated 2 times", "mean of the folds' predictions", "model version 3",
        "Clips were not augmented.", "google/vit-base-patch16-224", "In 12 further stages",
    ):  # fmt: skip
        assert words in text
    assert "synthetic" not in text


def test_without_settings_only_what_is_known():
    facts = dataclasses.replace(FACTS, folds=None, versions={}, synthetic=False)
    text = "\n".join(methods_paragraphs(None, facts))
    for unknown in ("AdamW", "transformer", "seed was", "augment", "winsor", "fold the epoch"):
        assert unknown not in text
    assert "predictions were given as a table" in text
    assert "versions of the software are not known" in text
    assert "4321 resamples, seed 17" in text
    assert "the table gives no folds" in text
    assert "not trained on that patient" not in text
    told = "\n".join(methods_paragraphs(None, dataclasses.replace(FACTS)))
    assert "taken from the table's folds and was not checked" in told
    second = "\n".join(methods_paragraphs(None, dataclasses.replace(facts, cohort="II")))
    assert "Whether they were used for training is not known." in second


def test_the_decision_curve_is_told_as_it_was_made():
    settings = load_settings({}, {})
    first = "\n".join(methods_paragraphs(settings, FACTS))
    second = "\n".join(methods_paragraphs(settings, dataclasses.replace(FACTS, cohort="II", folds=None)))
    assert "without the patient's own fold" in first
    assert "calibrated to the cohort that it is judged on" in second
    assert "own fold" not in second


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"stages": "0"}, "The backbone stayed frozen throughout"),
        ({"stages": "1", "stage_epochs": "3"}, "In 1 further stage,"),
        ({"stages": "1", "stage_epochs": "3"}, "trained as well, 3 epochs per stage but the last."),
        ({"stage_epochs": "30,4,4"}, "trained as well; the stages took 30, 4 and 4 epochs."),
        ({"stage_epochs": "30,4,4"}, "Training took 38 epochs"),
        ({"scale": "physical"}, "a field of 200 mm across and down with the sector's apex top centre"),
        ({"scale": "sector"}, "cropped to the sector, so their scale went with the depth"),
        ({"motion": "true"}, "first two harmonics of the frames' features over the cycle"),
        ({"motion": "true", "variant": "no_motion"}, "were pooled over time by gated attention"),
        (
            {"identities": "true"},
            "from the clips' own R–R intervals, the median over the views, else from the",
        ),
        ({"identities": "true"}, "at least 20 mmHg above the predicted RAP, SVRI was 80 (MAP − RAP) / CI."),
        ({"identities": "true"}, "were winsorised at 2 and 98, and their logarithms standardised."),
        (
            {"gate_lr": "0.03", "task_lr": "0.001"},
            "was 0.001 outside the backbone, of the gates 0.03 without",
        ),
        (
            {"keep": "last"},
            "mean of the weights over the last half of the last stage's epochs was kept, so no",
        ),
        ({}, "one cardiac cycle where its beats were found, else over the clip"),
        ({"variant": "no_fusion"}, "the variant no_fusion"),
        ({"views": "A4C"}, "One echocardiography clip per patient was used: apical four-chamber (A4C)."),
        ({"views": "A4C,PLAX"}, "Up to two echocardiography clips per patient were used"),
        ({"unfreezing": "at_once"}, "The top 2 transformer blocks of it were trained from the first epoch"),
        ({"train_indices": "0-9"}, "Only patients in rows 0-9 (from 0) of Cohort I were trained on."),
        ({"backbone": "/models/my_vit"}, "A vision transformer (my_vit) encoded"),
        ({"backbone": "google/vit-base-patch16-224"}, "(google/vit-base-patch16-224) encoded"),
        (
            {"lr_schedule": "cosine", "warmup_epochs": "2"},
            "was lowered along a cosine, after 2 epochs of linear warm-up",
        ),
        ({"augmented_copies": "1"}, "1 augmented copy of each training patient stood"),
    ],
)
def test_other_settings(given, words):
    text = "\n".join(methods_paragraphs(load_settings(given, {}), dataclasses.replace(FACTS, cohort="II")))
    assert words in text


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"cohort": "II", "champion": "best_fold"}, "was the network of one fold"),
        ({"cohort": "II", "champion": "mean"}, "was the mean of the folds' predictions"),
        ({"folds_from": "given"}, "the folds were given by the user"),
        ({"folds_from": "drawn"}, "the folds were drawn with the seed and balanced on PH"),
        ({"tuned": True}, "were chosen by the validation loss of these same patients"),
    ],
)
def test_what_the_settings_do_not_know_comes_from_the_runs(facts, words):
    """The champion may be registered with other settings than its folds were trained with."""
    settings = load_settings({"champion": "mean", "folds": ""}, {})
    assert words in "\n".join(methods_paragraphs(settings, dataclasses.replace(FACTS, **facts)))
    unknown = "\n".join(methods_paragraphs(settings, dataclasses.replace(FACTS, cohort="II")))
    for silent in ("registered model was", "folds were", "these same patients"):
        assert silent not in unknown


@pytest.mark.parametrize(
    ("gating", "said"),
    [
        ({"trace": 21, "periodicity": 3}, "in 24 of 24 clips, by the drawn ECG (21), the picture's own per"),
        ({"tags": 5, "clip": 2}, "in 5 of 7 clips, by R-wave times in the file (5); over the clip or its "
         "first 1.2 s in 2 of 7, whose beats were not found; the network saw 8"),
        ({"tensor": 4}, "spaced over the whole tensor in 4 of 4, which came as tensors without times; the"),
    ],
)  # fmt: skip
def test_one_cardiac_cycle_is_said_only_of_clips_that_were_gated_so(gating, said):
    text = "\n".join(methods_paragraphs(load_settings({}, {}), replace(FACTS, gating=gating)))
    assert said in text
    assert text.count("cardiac cycle") == (0 if "tensor" in gating else 1)


def test_a_frozen_start_is_told_where_there_is_one():
    for given, starts in (({}, True), ({"unfreezing": "at_once"}, False), ({"stages": "0"}, False)):
        text = "\n".join(methods_paragraphs(load_settings(given, {}), FACTS))
        assert ("at first with a frozen backbone" in text) == starts


def test_no_view_dropout_is_not_told():
    assert "Training hid" in "".join(methods_paragraphs(load_settings({}, {}), FACTS))
    assert "Training hid" not in "".join(methods_paragraphs(load_settings({"view_dropout": "0"}, {}), FACTS))


def test_the_paragraphs_are_whole_sentences():
    for settings in (None, load_settings({}, {}), load_settings({"preset": "study", "epochs": "1"}, {})):
        for paragraph in methods_paragraphs(settings, FACTS):
            assert paragraph.endswith(".")
            assert "  " not in paragraph
            assert "None" not in paragraph


def test_persons_and_parameters_that_were_left_out():
    facts = replace(FACTS, persons=71, left_out=["CO", "PVR"])
    text = "\n".join(methods_paragraphs(load_settings({}, {}), facts))
    assert "They are examinations of 71 persons; all examinations of a person were in one cohort" in text
    assert "the bootstrap drew persons" in text
    assert "take examinations for independent" in text
    assert "CO and PVR were not predicted." in text
    assert "PVR, pulmonary vascular resistance" not in text
    assert "logarithm was taken of SVRI," in text
    plain = "\n".join(methods_paragraphs(load_settings({}, {}), FACTS))
    assert "person" not in plain.replace("personal", "")
    assert "not predicted" not in plain


def test_what_is_switched_off_is_not_told():
    off = {"motion": "false", "identities": "false", "scale": "sector", "variant": "no_attention"}
    text = "\n".join(methods_paragraphs(load_settings(off, {}), FACTS))
    for silent in ("harmonics", "troke volume", "physical", "gate", "arterial", "heart rate"):
        assert silent not in text
    without = load_settings(off | {"motion": "true", "variant": "no_motion"}, {})
    assert "harmonics" not in "\n".join(methods_paragraphs(without, FACTS))
    moved = load_settings(off | {"motion": "true"}, {})
    assert "of the gates" in "\n".join(methods_paragraphs(moved, FACTS)), "that of motion"


def test_only_an_epoch_chosen_on_the_judged_is_called_optimistic():
    text = {keep: "\n".join(methods_paragraphs(load_settings({"keep": keep}, {}), FACTS))
            for keep in ("best", "last")}  # fmt: skip
    assert "optimistic" in text["best"]
    assert "lowest validation loss" not in text["last"]
    assert "optimistic" not in text["last"]
    tuned = replace(FACTS, tuned=True)
    told = "\n".join(methods_paragraphs(load_settings({"keep": "last"}, {}), tuned))
    assert "makes out-of-fold results somewhat optimistic" in told


def test_the_words_go_with_the_network():
    """What the text says as words and numbers is what the code does."""
    assert HARMONICS == 2
    assert AVERAGED == 0.5
    for variant in get_args(Variant):
        for motion in (False, True):
            if variant == "no_motion" and not motion:
                continue
            settings = load_settings({"variant": variant, "motion": str(motion).lower()}, {})
            stages = VARIANTS[variant]
            moves = motion and stages.motion
            assert has_motion(settings) == moves
            assert has_gates(settings) == (moves or "gated" in (stages.temporal, stages.fusion))


def test_the_intervals_of_predictions_are_told_where_there_are_any():
    settings = load_settings({}, {})
    assert "CV+" not in "\n".join(methods_paragraphs(settings, FACTS))
    with_them = dataclasses.replace(FACTS, with_intervals=True)
    assert "CV+" not in "\n".join(methods_paragraphs(None, with_them))  # a table of a user's: nobody knows
    first = "\n".join(methods_paragraphs(settings, with_them))
    assert "from the errors on all other patients of Cohort I" in first
    assert "of logarithms for SVRI and PVR" in first
    second = "\n".join(methods_paragraphs(settings, dataclasses.replace(with_them, cohort="II")))
    assert "Cohort II had no part in them" in second
