"""A methods section in the past tense, filled from the settings and the parameters' table."""

from __future__ import annotations

from cardio_mlflow.parameters import PARAMETERS, PULMONARY_HYPERTENSION, VIEWS
from cardio_mlflow.report.method_facts import MethodFacts
from cardio_mlflow.report.method_statistics import statistics_paragraphs
from cardio_mlflow.settings import Settings


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
            _network(settings), _scaling(facts), _training(settings), _augmentation(settings),
            _validation(settings, facts),
        ]  # fmt: skip
    paragraphs += statistics_paragraphs(facts)
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


def _scaling(facts: MethodFacts) -> str:
    kept = [p for p in PARAMETERS if p.key not in facts.left_out]
    groups: dict[tuple[float, float], list[str]] = {}
    for p in kept:
        groups.setdefault(p.winsor, []).append(p.key)
    limits = "; ".join(f"{low:g} and {high:g} ({', '.join(keys)})" for (low, high), keys in groups.items())
    logs = ", ".join(p.key for p in kept if p.log) or "none"
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


def _software(facts: MethodFacts) -> str:
    if not facts.versions:
        return "The versions of the software are not known."
    return "Software: " + ", ".join(f"{name} {version}" for name, version in facts.versions.items()) + "."
