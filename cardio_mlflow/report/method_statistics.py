"""The paragraphs on statistics of a methods section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cardio_mlflow.data.picture.physical_scale import FIELD_MM
from cardio_mlflow.parameters import PARAMETERS, VIEWS, Parameter
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.stroke_volume import SMALLEST_GRADIENT
from cardio_mlflow.variants import WITH_MOTION


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
        persons: how many persons the patients are examinations of; None where each is one.
        left_out: parameters that were not predicted, for want of references.
        tuned: whether settings were chosen by how well these patients were predicted.
        gating: prepared clips by the way their cycle was found; None when not known.
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


def statistics_paragraphs(facts: MethodFacts) -> list[str]:
    """Which statistics were computed, and how."""
    return [
        _agreement_statistics(),
        _classification_statistics(facts),
        _further_analyses(),
        _intervals(facts),
    ]


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
        f"for multiple comparisons.{_persons(facts)}"
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


_USUAL: Final = ("full", WITH_MOTION)
"""The variants whose attention is gated in both stages."""
_UNGATED: Final = ("no_attention", "temporal_only", "fusion_only")
"""The variants without a gate, but for that of motion."""


def network_paragraph(settings: Settings, facts: MethodFacts) -> str:
    """Which clips the network saw, how they were shown, and how it pooled them."""
    parts = [_clips(settings), _frames(settings, facts.gating), _scale(settings), _pooling(settings)]
    if has_motion(settings):
        parts.append(
            "The amplitudes of the first two harmonics of the frames' features over the cycle, their phases "
            "where the phase of the cycle was verified, and the features' standard deviation over the frames "
            "were added through a linear layer with a gate of its own."
        )
    parts.append(
        f"One head per parameter then predicted its value (attention heads {settings.attention_heads}, "
        f"dropout {settings.dropout:g})."
    )
    if settings.identities:
        parts.append(_identities())
    return " ".join(parts)


def has_motion(settings: Settings) -> bool:
    """Whether the network has a path for motion."""
    return settings.motion and settings.variant != WITH_MOTION


def has_gates(settings: Settings) -> bool:
    """Whether the network has a learned gate."""
    return settings.variant not in _UNGATED or has_motion(settings)


def _clips(settings: Settings) -> str:
    used = [view for view in VIEWS if view.code in settings.views]
    views = ", ".join(f"{view.meaning} ({view.name})" for view in used)
    count = ("One", "Up to two", "Up to three", "Up to four")[len(used) - 1]
    clips = "clip per patient was" if len(used) == 1 else "clips per patient were"
    return f"{count} echocardiography {clips} used: {views}."


_CYCLE_BY: Final = {
    "tags": "R-wave times in the file",
    "waveform": "an ECG in the file",
    "trace": "the drawn ECG",
    "periodicity": "the picture's own period",
    "heart_rate": "the heart rate in the file",
}
"""What gave the length of a clip's cycle, by its rung of the gating ladder."""


def _frames(settings: Settings, gating: Mapping[str, int] | None) -> str:
    """Over what the frames of how many clips are spaced: of one cycle only where it was found."""
    known = gating or {}
    whole = sum(known.values())
    found = {words: known[rung] for rung, words in _CYCLE_BY.items() if rung in known}
    by = ", ".join(f"{words} ({count})" for words, count in found.items())
    parts = {
        f"over one cardiac cycle in {sum(found.values())} of {whole} clips, by {by}": bool(found),
        f"over the clip or its first 1.2 s in {known.get('clip')} of {whole}, whose beats were not found":
            "clip" in known,
        f"over the whole tensor in {known.get('tensor')} of {whole}, which came as tensors without times":
            "tensor" in known,
    }  # fmt: skip
    shown = "; ".join(part for part, is_so in parts.items() if is_so)
    spaced = shown or "over one cardiac cycle where its beats were found, else over the clip"
    return (
        f"A clip was prepared as 32 frames, evenly spaced {spaced}; the network saw "
        f"{settings.training_frames} of them, evenly spaced."
    )


def _scale(settings: Settings) -> str:
    if settings.scale == "sector":
        return "Frames were cropped to the sector, so their scale went with the depth of the picture."
    return (
        f"All frames were shown at one physical scale, a field of {FIELD_MM:g} mm across and down with the "
        "sector's apex top centre; a clip without a trusted scale was shown at the median scale of its view "
        "in Cohort I."
    )


def _pooling(settings: Settings) -> str:
    pooled = (
        "were pooled over time by gated attention, and the views that were present by gated attention again"
        if settings.variant in _USUAL
        else f"were pooled over time and over the views that were present as in the variant "
        f"{settings.variant}"
    )
    return (
        f"A vision transformer ({settings.backbone_name}) encoded each frame. The frames' features {pooled}."
    )


def _identities() -> str:
    """Stroke volume, and what followed from it."""
    return (
        "Two further heads predicted stroke volume and its index. Where heart rate was known, CO was stroke "
        "volume times heart rate, and CI was CO over body surface, or stroke volume index times heart rate "
        "where body surface was not known; where mean arterial pressure (MAP) was known too, and was at "
        f"least {SMALLEST_GRADIENT:g} mmHg above the predicted RAP, SVRI was 80 (MAP − RAP) / CI. Elsewhere "
        "these parameters' own heads counted. Heart rate came from the clips' own R–R intervals, the median "
        "over the views, else from the label sheet, as body surface and MAP did; none of the references was "
        "an input."
    )
