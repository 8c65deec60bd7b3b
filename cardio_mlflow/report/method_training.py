"""Paragraphs of a methods section on what was built and trained: clips, network, scaling, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cardio_mlflow.data.picture.physical_scale import FIELD_MM
from cardio_mlflow.parameters import PARAMETERS, VIEWS
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.scaling import STROKE_WINSOR
from cardio_mlflow.training.stroke_volume import SMALLEST_GRADIENT
from cardio_mlflow.variants import WITH_MOTION

_USUAL: Final = ("full", WITH_MOTION)
"""The variants whose attention is gated in both stages."""
_UNGATED: Final = ("no_attention", "temporal_only", "fusion_only")
"""The variants without a gate, but for that of motion."""
_CYCLE_BY: Final = {
    "tags": "R-wave times in the file",
    "waveform": "an ECG in the file",
    "trace": "the drawn ECG",
    "periodicity": "the picture's own period",
    "heart_rate": "the heart rate in the file",
}
"""What gave the length of a clip's cycle, by its rung of the gating ladder."""


def network_paragraph(settings: Settings, gating: Mapping[str, int] | None) -> str:
    """Which clips the network saw, how they were shown, and how it pooled them."""
    parts = [_clips(settings), _frames(settings, gating), _scale(settings), _pooling(settings)]
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


def scaling_paragraph(settings: Settings, left_out: Sequence[str]) -> str:
    """How references were scaled for training, and what the loss was."""
    kept = [p for p in PARAMETERS if p.key not in left_out]
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


def training_paragraph(settings: Settings) -> str:
    """Stages, learning rates and the rest of the optimisation."""
    s = settings
    progressive = s.stages > 0 and s.unfreezing == "progressive"
    stages = (
        f"In {plural(s.stages, 'further stage')}, one more transformer block each, from the top, was "
        "trained as well"
        if progressive
        else f"The top {plural(s.stages, 'transformer block')} of it {'was' if s.stages == 1 else 'were'} "
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
        f"Training took {plural(s.epochs, 'epoch')} with AdamW in batches of {s.batch_size} "
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


def augmentation_paragraph(settings: Settings) -> str:
    """What training clips were changed by."""
    s = settings
    hidden = (
        f" Training hid a view of a patient with probability {s.view_dropout:g}." if s.view_dropout else ""
    )
    if not s.augmented_copies:
        return f"Clips were not augmented.{hidden}"
    return (
        f"{plural(s.augmented_copies, 'augmented copy')} of each training "
        f"patient stood beside the original, each changed at random by up to {s.rotation:g}° of rotation, "
        f"{s.shift:.0%} of the image side of shift, {s.zoom:.0%} of zoom and {s.gain:.0%} of gain, with "
        f"multiplicative noise of SD {s.speckle:g}.{hidden}"
    )


def plural(number: int, word: str) -> str:
    """A count with its noun.

    >>> plural(1, "fold"), plural(5, "fold"), plural(2, "copy")
    ('1 fold', '5 folds', '2 copies')
    """
    many = f"{word.removesuffix('y')}ies" if word.endswith("y") else f"{word}s"
    return f"{number} {word if number == 1 else many}"
