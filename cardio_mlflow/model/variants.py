"""The variants of the network: which pooling each stage uses, and whether it has a motion path.

To add one, add a row here and its name to ``settings_variants.Variant``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cardio_mlflow.model.attention_pool import Pooling
from cardio_mlflow.settings_variants import Variant


@dataclass(frozen=True)
class Stages:
    """How a variant pools frames (temporal) and views (fusion), and whether it may have a motion path."""

    temporal: Pooling
    fusion: Pooling
    motion: bool = True


VARIANT_STAGES: Final[dict[Variant, Stages]] = {
    "full": Stages("gated", "gated"),
    "no_temporal": Stages("mean", "gated"),
    "no_fusion": Stages("gated", "mean"),
    "no_attention": Stages("mean", "mean"),
    "temporal_only": Stages("attention", "mean"),
    "fusion_only": Stages("mean", "attention"),
    "no_motion": Stages("gated", "gated", motion=False),
}
