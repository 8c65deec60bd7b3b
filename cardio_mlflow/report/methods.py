"""A methods section in the past tense, filled from the settings and the parameters' table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cardio_mlflow.parameters import PARAMETERS, PULMONARY_HYPERTENSION
from cardio_mlflow.report.method_training import (
    augmentation_paragraph,
    network_paragraph,
    plural,
    scaling_paragraph,
    training_paragraph,
)
from cardio_mlflow.settings import Settings

_KEPT: Final = {
    "best": "Of each fold the epoch with the lowest validation loss was kept. It was chosen on the patients "
    "the fold is judged on, so out-of-fold results are somewhat optimistic.",
    "last": "The mean of the weights over the last half of the last stage's epochs was kept, so no epoch was "
    "chosen on the patients that a fold is judged on.",
}
"""Which weights were kept, by the setting ``keep``."""


@dataclass(frozen=True)
class MethodFacts:
    """What the settings do not know about the predictions.

    Attributes:
        cohort: "I" (out-of-fold predictions) or "II" (the held-out cohort).
        patients: analysed patients.
        resamples: of the analysis's bootstrap.
        seed: of the analysis, which may be another than the training's.
        folds: folds of Cohort I; None when not known.
        versions: software names and their versions.
        model_version: the model that predicted; empty when not known.
        uses_of_cohort2: how often Cohort II is on record as used; None when not known.
        champion: what the registered model is, ``mean`` or ``best_fold``; empty when not known.
        folds_from: whether the folds were ``given`` or ``drawn``; empty when not known.
        persons: how many persons the patients are examinations of; None where each is one.
        left_out: parameters that were not predicted, for want of references.
        tuned: whether settings were chosen by how well these patients were predicted.
        gating: prepared clips by the way their cycle was found; None when not known.
        with_intervals: whether predictions have intervals.
    """

    cohort: Literal["I", "II"]
    patients: int
    resamples: int
    seed: int
    folds: int | None
    versions: Mapping[str, str]
    synthetic: bool
    model_version: str
    uses_of_cohort2: int | None
    champion: str = ""
    folds_from: str = ""
    tuned: bool = False
    persons: int | None = None
    left_out: Sequence[str] = ()
    gating: Mapping[str, int] | None = None
    with_intervals: bool = False


def methods_paragraphs(settings: Settings | None, facts: MethodFacts) -> list[str]:
    """Write the methods section.

    Args:
        settings: of the run that trained the network; None when the user gave the predictions, so that only
            the analysis is described.
        facts: the rest.

    Returns:
        Paragraphs of plain text.
    """
    paragraphs = [_cohort(facts, settings), _targets(facts)]
    if settings is None:
        paragraphs.append(
            "The predictions were given as a table. How the clips were prepared and how the network was "
            "built and trained is not known here and is not described."
        )
    else:
        paragraphs += [
            network_paragraph(settings, facts.gating), scaling_paragraph(settings, facts.left_out),
            training_paragraph(settings), augmentation_paragraph(settings), _validation(settings, facts),
        ]  # fmt: skip
        if facts.with_intervals:
            paragraphs.append(_of_predictions(facts))
    statistics = (_agreement(), _classification(facts), _further_analyses(), _intervals(facts))
    return [*paragraphs, *statistics, _software(facts)]


def _cohort(facts: MethodFacts, settings: Settings | None) -> str:
    patients = plural(facts.patients, "synthetic patient" if facts.synthetic else "patient")
    were = "was" if facts.patients == 1 else "were"
    if facts.cohort == "I":
        folds = f" in {plural(facts.folds, 'fold')}" if facts.folds else ""
        text = f"Cohort I: {patients} {were} analysed by cross-validation{folds}; "
        text += (
            "each patient was predicted by a network that was not trained on that patient."
            if settings is not None
            else "that no network predicted a patient it was trained on is taken from the table's folds and "
            "was not checked."
            if facts.folds
            else "the table gives no folds, so whether patients were predicted by networks that were trained "
            "on them is not known."
        )
    else:
        text = f"Cohort II: {patients} {were} analysed. "
        text += (
            "No patient of Cohort II was used for training."
            if settings is not None
            else "Whether they were used for training is not known."
        )
        if facts.uses_of_cohort2 is not None:
            text += f" Cohort II is on record as evaluated {plural(facts.uses_of_cohort2, 'time')}."
    if facts.persons is not None and settings is not None:
        text += (
            f" They are examinations of {facts.persons} persons; all examinations of a person were in one "
            "cohort and one fold."
        )
    if facts.synthetic:
        seed = f" (seed {settings.synthetic_seed})" if settings is not None else ""
        text += f" The cohort was synthetic, made by a program{seed}: the numbers say nothing about patients."
    return text


def _targets(facts: MethodFacts) -> str:
    kept = [p for p in PARAMETERS if p.key not in facts.left_out]
    listed = "; ".join(f"{p.key}, {p.meaning} ({p.criterion})" for p in kept)
    left_out = " and ".join(filter(None, [", ".join(facts.left_out[:-1]), *facts.left_out[-1:]]))
    told = f" {left_out} {'was' if len(facts.left_out) == 1 else 'were'} not predicted." if left_out else ""
    ph = PULMONARY_HYPERTENSION
    return (
        "The reference was right-heart catheterisation. The parameters, with the criterion of an abnormal "
        f"value that was fixed beforehand, were: {listed}. Pulmonary hypertension (PH) was {ph.key} "
        f"{ph.criterion} (ESC/ERS 2022; Humbert M et al., Eur Heart J 2022;43:3618-3731). A patient without "
        "a reference for a parameter was left out of that parameter's analysis; no reference was imputed."
        f"{told}"
    )


def _validation(settings: Settings, facts: MethodFacts) -> str:
    folds = facts.folds or settings.num_folds
    origin = {
        "given": "; the folds were given by the user",
        "drawn": "; the folds were drawn with the seed and balanced on PH",
    }.get(facts.folds_from, "")
    text = f"Patients of Cohort I were split into {plural(folds, 'fold')}{origin}. {_KEPT[settings.keep]}"
    if settings.train_indices:
        text += f" Only patients in rows {settings.train_indices} (from 0) of Cohort I were trained on."
    if facts.tuned:
        text += (
            " Learning rates, layer decay, weight decay and dropout were chosen by the validation loss of "
            "these same patients, which makes out-of-fold results "
            f"{'more optimistic still' if settings.keep == 'best' else 'somewhat optimistic'}."
        )
    if facts.cohort == "II" and facts.champion == "mean":
        text += " The registered model was the mean of the folds' predictions."
    elif facts.cohort == "II" and facts.champion == "best_fold":
        text += " The registered model was the network of one fold, the best."
    if facts.model_version:
        text += f" The predictions came from model version {facts.model_version}."
    return text


def _agreement() -> str:
    return (
        "Agreement was described by the signed Pearson correlation r (with Fisher's interval as well), "
        "Spearman's rank correlation, Lin's concordance correlation coefficient (Biometrics "
        "1989;45:255-268), the intraclass correlation coefficient for absolute agreement of single "
        "measurements (Shrout and Fleiss, Psychol Bull 1979;86:420-428; McGraw and Wong, Psychol Methods "
        "1996;1:30-46), the mean absolute error, the root mean squared error, and bias and 95 % limits of "
        "agreement of prediction − reference (Bland and Altman, Lancet 1986;327:307-310) with exact "
        "intervals (Carkeet, Optom Vis Sci 2015;92:e71-e80). Standard deviations had n − 1 in the "
        "denominator."
    )


def _classification(facts: MethodFacts) -> str:
    others = (
        "was fitted without the patient's own fold"
        if facts.cohort == "I" and facts.folds
        else "was fitted within the cohort itself, in five parts, each patient without the own part; so it "
        "is calibrated to the cohort that it is judged on"
    )
    low = " and ".join(p.key for p in PARAMETERS if p.abnormal == "below")
    return (
        "Discrimination was described by the area under the ROC curve (AUC; Hanley and McNeil, Radiology "
        "1982;143:29-36) with intervals by the bootstrap and by DeLong (Biometrics 1988;44:837-845), at each "
        f"parameter's own cut-off and for PH; for {low} lower predictions counted as more abnormal. "
        "Sensitivity, specificity, predictive values and accuracy have Wilson intervals (J Am Stat Assoc "
        "1927;22:209-212), likelihood ratios intervals by the log method (Simel, J Clin Epidemiol "
        "1991;44:763-770). Net benefit followed Vickers and Elkin (Med Decis Making 2006;26:565-574); the "
        f"probability of PH came from a logistic regression on the predicted meanPAP that {others}."
    )


def _further_analyses() -> str:
    return (
        "Further analyses, given where they could be done: haemodynamic phenotypes (ESC/ERS 2022) with "
        "Cohen's kappa; the spread of residuals over the predictions (Breusch and Pagan, Econometrica "
        "1979;47:1287-1294, in Koenker's form; White, Econometrica 1980;48:817-838); formulas that tie "
        "parameters together; subgroups; the patients with the largest errors; and maps and clusters of the "
        "network's features."
    )


def _intervals(facts: MethodFacts) -> str:
    return (
        "Where no other method is named, 95 % intervals are bias-corrected and accelerated (BCa) intervals "
        f"of a patient bootstrap ({facts.resamples} resamples, seed {facts.seed}; Efron, J Am Stat Assoc "
        "1987;82:171-185). Those of the mean r, of subgroups and of the decision curve are percentile "
        "intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993). All but the decision "
        "curve's are widened for few patients (Hesterberg, Am Stat 2015;69:371-386). No correction was made "
        f"for multiple comparisons.{_persons(facts)}"
    )


def _of_predictions(facts: MethodFacts) -> str:
    """How the intervals of the predictions were made."""
    source = (
        "For each patient they were made from the errors on all other patients of Cohort I, about the "
        "patient's own out-of-fold prediction."
        if facts.cohort == "I"
        else "They were made from the out-of-fold errors on Cohort I; Cohort II had no part in them."
    )
    logs = " and ".join(p.key for p in PARAMETERS if p.log)
    return (
        "Predictions have 90 % conformal intervals by CV+ (Barber, Ann Stat 2021;49:486-507) from absolute "
        f"out-of-fold errors, of logarithms for {logs}. Errors were divided by a line over the prediction "
        "where they grew with it (Glejser, J Am Stat Assoc 1969;64:316-323), and were those of patients on "
        "the same side of predicted pulmonary hypertension where 30 or more were, by the same views. "
        f"{source} Coverage has Wilson intervals."
    )


def _persons(facts: MethodFacts) -> str:
    if facts.persons is None:
        return ""
    return (
        f" The {facts.patients} examinations were of {facts.persons} persons: the bootstrap drew persons, "
        "each with all examinations (cluster bootstrap; Davison and Hinkley, Bootstrap Methods and their "
        "Application, 1997), and DeLong's variance was summed by person (Obuchowski, Biometrics "
        "1997;53:567-578). The intervals of Fisher, Wilson and of likelihood ratios, those of bias and "
        "limits of agreement by the t distribution, and the tests of the residuals' spread take "
        "examinations for independent."
    )


def _software(facts: MethodFacts) -> str:
    if not facts.versions:
        return "The versions of the software are not known."
    return "Software: " + ", ".join(f"{name} {version}" for name, version in facts.versions.items()) + "."
