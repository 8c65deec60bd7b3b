"""The paragraph of a methods section on clips and network."""

from __future__ import annotations

from typing import Final

from cardio_mlflow.data.picture.scale import FIELD_MM
from cardio_mlflow.parameters import VIEWS
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_variants import WITH_MOTION
from cardio_mlflow.training.stroke_volume import SMALLEST_GRADIENT

_USUAL: Final = ("full", WITH_MOTION)
"""The variants whose attention is gated in both stages."""
_UNGATED: Final = ("no_attention", "temporal_only", "fusion_only")
"""The variants without a gate, but for that of motion."""


def network_paragraph(settings: Settings) -> str:
    """Which clips the network saw, how they were shown, and how it pooled them."""
    parts = [_clips(settings), _scale(settings), _pooling(settings)]
    if has_motion(settings):
        parts.append(
            "The amplitudes of the first two harmonics of the frames' features over the cycle, their phases "
            "where the phase of the cycle was verified, and the features' standard deviation over the frames "
            "were added through a linear layer with a gate of its own."
        )
    parts.append(
        f"One head a parameter then predicted its value (attention heads {settings.attention_heads}, dropout "
        f"{settings.dropout:g})."
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
    clips = "clip a patient was" if len(used) == 1 else "clips a patient were"
    return (
        f"{count} echocardiography {clips} used: {views}. A clip was prepared as 32 frames, evenly spaced "
        "over one cardiac cycle where its beats could be told, else over the clip; the network saw "
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
