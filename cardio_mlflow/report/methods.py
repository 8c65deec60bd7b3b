"""A methods section in the past tense, filled from the settings and the parameters' table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cardio_mlflow.parameters import PARAMETERS, PULMONARY_HYPERTENSION
from cardio_mlflow.report.method_statistics import (
    MethodFacts,
    has_gates,
    network_paragraph,
    statistics_paragraphs,
)
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.scaling import STROKE_WINSOR

_KEPT: Final = {
    "best": "Of each fold the epoch with the lowest validation loss was kept. It was chosen on the patients "
    "the fold is judged on, so out-of-fold results are somewhat optimistic.",
    "last": "The mean of the weights over the last half of the last stage's epochs was kept, so no epoch was "
    "chosen on the patients that a fold is judged on.",
}
"""Which weights were kept, by the setting ``keep``."""


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
            network_paragraph(settings, facts), _scaling(facts, settings), _training(settings),
            _augmentation(settings), _validation(settings, facts),
        ]  # fmt: skip
    paragraphs += statistics_paragraphs(facts)
    paragraphs.append(_software(facts))
    return paragraphs


def _plural(number: int, word: str) -> str:
    """A count with its noun.

    >>> _plural(1, "fold"), _plural(5, "fold"), _plural(2, "copy")
    ('1 fold', '5 folds', '2 copies')
    """
    many = f"{word.removesuffix('y')}ies" if word.endswith("y") else f"{word}s"
    return f"{number} {word if number == 1 else many}"


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


def _scaling(facts: MethodFacts, settings: Settings) -> str:
    kept = [p for p in PARAMETERS if p.key not in facts.left_out]
    groups: dict[tuple[float, float], list[str]] = {}
    for p in kept:
        groups.setdefault(p.winsor, []).append(p.key)
    limits = "; ".join(f"{low:g} and {high:g} ({', '.join(keys)})" for (low, high), keys in groups.items())
    logs = ", ".join(p.key for p in kept if p.log) or "none"
    low, high = STROKE_WINSOR
    stroke = (
        " Stroke volume and its index, 1000 times the reference CO and CI over heart rate, were winsorised "
        f"at {low:g} and {high:g}, and their logarithms standardised."
        if settings.identities
        else ""
    )
    return (
        "For training only, references were winsorised at the percentiles "
        f"{limits}, the logarithm was taken of {logs}, and all were standardised; the scale was fitted on "
        f"each fold's training patients.{stroke} The loss was the mean squared error over the references "
        "that were there."
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
    length = _stage_lengths(s.stage_epochs) if progressive else ""
    gates = f", of the gates {s.gate_lr:g} without weight decay" if has_gates(s) else ""
    below = f" and a factor of {s.layer_decay:g} for each block further down" if s.layer_decay < 1 else ""
    top = f" and {s.vit_lr:g} in the topmost unfrozen block{below}" if s.stages else ""
    schedule = "was constant" if s.lr_schedule == "constant" else "was lowered along a cosine"
    warmup = f", after {s.warmup_epochs:g} epochs of linear warm-up" if s.warmup_epochs else ""
    return (
        f"Training took {_plural(s.epochs, 'epoch')} with AdamW in batches of {s.batch_size} "
        f"patients{start}. {stages}{length}. The learning rate was {s.task_lr:g} outside the "
        f"backbone{gates}{top}; within a stage it {schedule}{warmup}. Weight decay was "
        f"{s.weight_decay:g}, the gradient's norm was cut at {s.gradient_clip:g}, the precision of the "
        f"backbone's arithmetic was set to {s.precision}, and the seed was {s.seed}."
    )


def _stage_lengths(epochs: Sequence[int]) -> str:
    """How long the stages were, where that was said.

    >>> _stage_lengths((3,)), _stage_lengths((30, 4, 4))
    (', 3 epochs per stage but the last', '; the stages took 30, 4 and 4 epochs')
    """
    if len(epochs) > 1:
        return f"; the stages took {', '.join(map(str, epochs[:-1]))} and {epochs[-1]} epochs"
    return f", {epochs[0]} epochs per stage but the last" if epochs else ""


def _augmentation(settings: Settings) -> str:
    s = settings
    hidden = (
        f" Training hid a view of a patient with probability {s.view_dropout:g}." if s.view_dropout else ""
    )
    if not s.augmented_copies:
        return f"Clips were not augmented.{hidden}"
    return (
        f"{_plural(s.augmented_copies, 'augmented copy')} of each training "
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
    text = f"Patients of Cohort I were split into {_plural(folds, 'fold')}{origin}. {_KEPT[settings.keep]}"
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


def _software(facts: MethodFacts) -> str:
    if not facts.versions:
        return "The versions of the software are not known."
    return "Software: " + ", ".join(f"{name} {version}" for name, version in facts.versions.items()) + "."
