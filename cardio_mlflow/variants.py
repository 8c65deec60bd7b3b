"""The variants of the ablation: those of the network, and further ones that a setting describes."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

Pooling = Literal["gated", "attention", "mean"]
Variant = Literal[
    "full", "no_temporal", "no_fusion", "no_attention", "temporal_only", "fusion_only", "no_motion"
]


class Stages(NamedTuple):
    """How a variant pools frames (temporal) and views (fusion), and whether it may have a motion path."""

    temporal: Pooling
    fusion: Pooling
    motion: bool = True


VARIANTS: Final[dict[Variant, Stages]] = {
    "full": Stages("gated", "gated"),
    "no_temporal": Stages("mean", "gated"),
    "no_fusion": Stages("gated", "mean"),
    "no_attention": Stages("mean", "mean"),
    "temporal_only": Stages("attention", "mean"),
    "fusion_only": Stages("mean", "attention"),
    "no_motion": Stages("gated", "gated", motion=False),
}
"""The variants of the network, in the ablation's order."""
WITH_MOTION: Final[Variant] = "no_motion"
"""The variant that exists only where the network has a motion path."""


def parse_variants(text: str) -> dict[str, dict[str, str]]:
    """Read descriptions of variants: ``name: setting=value setting=value; name: …``.

    Returns:
        The settings that each variant changes, by the variant's name.

    Raises:
        ValueError: a description is not understood, a name is none or is given twice.

    >>> parse_variants("frozen: stages=0; apical: views=A4C,A2C training_frames=4")
    {'frozen': {'stages': '0'}, 'apical': {'views': 'A4C,A2C', 'training_frames': '4'}}
    """
    found: dict[str, dict[str, str]] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, colon, changes = part.partition(":")
        name = name.strip()
        if not colon or not changes.strip():
            raise ValueError(f"{part!r} is not understood: a variant is written as name: setting=value")
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name == "mean":
            raise ValueError(f"{name!r} cannot name a variant: small letters, digits and _ can")
        if name in VARIANTS or name in found:
            raise ValueError(f"there is a variant {name} already: give this one another name")
        found[name] = _changes(name, changes)
    return found


def _changes(variant: str, text: str) -> dict[str, str]:
    changes: dict[str, str] = {}
    for word in text.split():
        setting, equals, value = word.partition("=")
        if not equals or not setting or not value:
            raise ValueError(f"{word!r} of the variant {variant} is not understood: write setting=value")
        if setting in changes:
            raise ValueError(f"the variant {variant} gives {setting} twice")
        changes[setting] = value
    return changes
