"""A methods section in the past tense, filled from the settings and the parameters' table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cardio_mlflow.parameters import PARAMETERS, PULMONARY_HYPERTENSION, VIEWS, Parameter
from cardio_mlflow.settings import Settings


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
        synthetic: whether the patients are synthetic.
        model_version: the model that predicted; empty when not known.
        uses_of_cohort2: how often Cohort II is on record as used; None when not known.
        champion: what the registered model is, ``mean`` or ``best_fold``; empty when not known.
        folds_from: whether the folds were ``given`` or ``drawn``; empty when not known.
        tuned: whether settings were chosen by how well these patients were predicted.
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


def methods_paragraphs(settings: Settings | None, facts: MethodFacts) -> list[str]:
    """Write the methods section.

    Args:
        settings: of the run that trained the network; None when the user gave the predictions, so that only
            the analysis is described.
        facts: the rest.

    Returns:
        Paragraphs of plain text.
    """
    paragraphs = [_cohort(facts, settings), _targets()]
    if settings is None:
        paragraphs.append(
            "The predictions were given as a table. How the clips were prepared and how the network was "
            "built and trained is not known here and is not described."
        )
    else:
        paragraphs += [
            _network(settings), _scaling(), _training(settings), _augmentation(settings),
            _validation(settings, facts),
        ]  # fmt: skip
    paragraphs += [
        _agreement_statistics(),
        _classification_statistics(facts),
        _further_analyses(),
        _intervals(facts),
    ]
    paragraphs.append(_software(facts))
    return paragraphs


def _plural(number: int, word: str) -> str:
    """A count with its noun.

    >>> _plural(1, "fold"), _plural(5, "fold")
    ('1 fold', '5 folds')
    """
    return f"{number} {word}{'' if number == 1 else 's'}"


def _cohort(facts: MethodFacts, settings: Settings | None) -> str:
    patients = _plural(facts.patients, "synthetic patient" if facts.synthetic else "patient")
    were = "was" if facts.patients == 1 else "were"
    if facts.cohort == "I":
        folds = f" in {_plural(facts.folds, 'fold')}" if facts.folds else ""
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
            text += f" Cohort II is on record as evaluated {_plural(facts.uses_of_cohort2, 'time')}."
    if facts.synthetic:
        seed = f" (seed {settings.synthetic_seed})" if settings is not None else ""
        text += f" The cohort was synthetic, made by a program{seed}: the numbers say nothing about patients."
    return text


def _targets() -> str:
    listed = "; ".join(f"{p.key}, {p.meaning} ({p.criterion})" for p in PARAMETERS)
    ph = PULMONARY_HYPERTENSION
    return (
        "The reference was right-heart catheterisation. The parameters, with the criterion of an abnormal "
        f"value that was fixed beforehand, were: {listed}. Pulmonary hypertension (PH) was {ph.key} "
        f"{ph.criterion} (ESC/ERS 2022; Humbert M et al., Eur Heart J 2022;43:3618-3731). A patient without "
        "a reference for a parameter was left out of that parameter's analysis; no reference was imputed."
    )


def _network(settings: Settings) -> str:
    used = [view for view in VIEWS if view.code in settings.views]
    views = ", ".join(f"{view.meaning} ({view.name})" for view in used)
    count = ("One", "Up to two", "Up to three", "Up to four")[len(used) - 1]
    clips = "clip a patient was" if len(used) == 1 else "clips a patient were"
    pooled = (
        "were pooled over time by gated attention, and the views that were present by gated attention again"
        if settings.variant == "full"
        else f"were pooled over time and over the views that were present as in the variant "
        f"{settings.variant}"
    )
    return (
        f"{count} echocardiography {clips} used: {views}. A clip was prepared as 32 frames of one cardiac "
        f"cycle, of which the network saw {settings.training_frames}, evenly spaced. A vision transformer "
        f"({settings.backbone_name}) encoded each frame. The frames' features {pooled}; one head a "
        f"parameter then predicted its value (attention heads {settings.attention_heads}, dropout "
        f"{settings.dropout:g})."
    )


def _scaling() -> str:
    groups: dict[tuple[float, float], list[str]] = {}
    for p in PARAMETERS:
        groups.setdefault(p.winsor, []).append(p.key)
    limits = "; ".join(f"{low:g} and {high:g} ({', '.join(keys)})" for (low, high), keys in groups.items())
    logs = ", ".join(p.key for p in PARAMETERS if p.log)
    return (
        "For training only, references were winsorised at the percentiles "
        f"{limits}, the logarithm was taken of {logs}, and all were standardised; the scale was fitted on "
        "each fold's training patients. The loss was the mean squared error over the references that were "
        "there."
    )


def _training(settings: Settings) -> str:
    s = settings
    progressive = s.stages > 0 and s.unfreezing == "progressive"
    stages = (
        f"In {_plural(s.stages, 'further stage')}, one more transformer block each, from the top, was "
        "trained as well"
        if progressive
        else f"The top {_plural(s.stages, 'transformer block')} of it {'was' if s.stages == 1 else 'were'} "
        "trained from the first epoch on"
        if s.stages
        else "The backbone stayed frozen throughout"
    )
    start = ", at first with a frozen backbone" if progressive else ""
    length = f", {s.stage_epochs} epochs a stage but the last" if progressive and s.stage_epochs else ""
    below = f" and a factor of {s.layer_decay:g} for each block further down" if s.layer_decay < 1 else ""
    top = f" and {s.vit_lr:g} in the topmost unfrozen block{below}" if s.stages else ""
    schedule = "was constant" if s.lr_schedule == "constant" else "was lowered along a cosine"
    warmup = f", after {s.warmup_epochs:g} epochs of linear warm-up" if s.warmup_epochs else ""
    return (
        f"Training took {_plural(s.epochs, 'epoch')} with AdamW in batches of {s.batch_size} "
        f"patients{start}. {stages}{length}. The learning rate was {s.task_lr:g} outside the "
        f"backbone{top}; within a stage it {schedule}{warmup}. Weight decay was "
        f"{s.weight_decay:g}, the gradient's norm was cut at {s.gradient_clip:g}, the precision of the "
        f"backbone's arithmetic was set to {s.precision}, and the seed was {s.seed}."
    )


def _augmentation(settings: Settings) -> str:
    s = settings
    hidden = (
        f" Training hid a view of a patient with probability {s.view_dropout:g}." if s.view_dropout else ""
    )
    if not s.augmented_copies:
        return f"Clips were not augmented.{hidden}"
    return (
        f"{_plural(s.augmented_copies, 'augmented copy').replace('copys', 'copies')} of each training "
        f"patient stood beside the original, each changed at random by up to {s.rotation:g}° of rotation, "
        f"{s.shift:.0%} of the image side of shift, {s.zoom:.0%} of zoom and {s.gain:.0%} of gain, with "
        f"multiplicative noise of SD {s.speckle:g}.{hidden}"
    )


def _validation(settings: Settings, facts: MethodFacts) -> str:
    folds = facts.folds or settings.num_folds
    origin = {
        "given": "; the folds were given by the user",
        "drawn": "; the folds were drawn with the seed and balanced on PH",
    }.get(facts.folds_from, "")
    text = (
        f"Patients of Cohort I were split into {_plural(folds, 'fold')}{origin}. Of each fold the "
        "epoch with the lowest validation loss was kept. It was chosen on the patients the fold is judged "
        "on, so out-of-fold results are somewhat optimistic."
    )
    if settings.train_indices:
        text += f" Only patients in rows {settings.train_indices} (from 0) of Cohort I were trained on."
    if facts.tuned:
        text += (
            " Learning rates, layer decay, weight decay and dropout were chosen by the validation loss of "
            "these same patients, which makes out-of-fold results more optimistic still."
        )
    if facts.cohort == "II" and facts.champion == "mean":
        text += " The registered model was the mean of the folds' predictions."
    elif facts.cohort == "II" and facts.champion == "best_fold":
        text += " The registered model was the network of one fold, the best."
    if facts.model_version:
        text += f" The predictions came from model version {facts.model_version}."
    return text


def _agreement_statistics() -> str:
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


def _low_side() -> list[Parameter]:
    return [p for p in PARAMETERS if p.abnormal == "below"]


def _classification_statistics(facts: MethodFacts) -> str:
    others = (
        "was fitted without the patient's own fold"
        if facts.cohort == "I" and facts.folds
        else "was fitted within the cohort itself, in five parts, each patient without the own part; so it "
        "is calibrated to the cohort that it is judged on"
    )
    low = " and ".join(p.key for p in _low_side())
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
        "for multiple comparisons."
    )


def _software(facts: MethodFacts) -> str:
    if not facts.versions:
        return "The versions of the software are not known."
    return "Software: " + ", ".join(f"{name} {version}" for name, version in facts.versions.items()) + "."
