"""The whole network: clips of four views in, nine scaled values out."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cardio_mlflow.model.attention_pool import AttentionPool
from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.model.motion import MotionPath
from cardio_mlflow.parameters import PARAMETERS, VIEWS
from cardio_mlflow.variants import VARIANTS, Pooling, Variant

HIDDEN: Final = (256, 128)
"""Widths of a head's two hidden layers."""


class TemporalAttention(AttentionPool):
    """Gated attention over the frames of a view, shared by the four views."""

    def forward(self, features: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Pool over time.

        Args:
            features: (B, V, T, D) frame features.
            present: (B, V) view mask.

        Returns:
            (B, V, D) view features, 0 for a missing view; and (B, V, T) frame weights, which sum to
            1 over the frames of a present view.
        """
        b, v, t, d = features.shape
        frames_present = present.reshape(b * v, 1).expand(b * v, t)
        pooled, weights = super().forward(features.reshape(b * v, t, d), frames_present)
        return torch.reshape(pooled, (b, v, d)), torch.reshape(weights, (b, v, t))


class ViewFusion(AttentionPool):
    """Gated attention over a patient's views: (B, V, D) to (B, D) patient features and (B, V) weights.

    When it attends, a learned vector tells the views apart; the mean sees the features as they are.
    """

    def __init__(self, width: int, heads: int, pooling: Pooling, views: int):
        """Build for ``views`` views with features of ``width`` numbers."""
        super().__init__(width, heads, pooling)
        if pooling != "mean":
            self.view_embedding = nn.Parameter(torch.randn(views, width) * 0.02)

    def _attend(self, features: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        return super()._attend(features + self.view_embedding, present)


class RegressionHead(nn.Module):
    """LayerNorm, 256, GELU, dropout, 128, GELU, dropout, 1; plus a linear path from the normed feature."""

    def __init__(self, width: int, dropout: float):
        """Build for features of ``width`` numbers."""
        super().__init__()
        first, second = HIDDEN
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(
            nn.Linear(width, first), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(first, second), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(second, 1),
        )  # fmt: skip
        self.linear = nn.Linear(width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) patient features to (B, 1) predictions in scaled target space."""
        normed = self.norm(features)
        prediction: Tensor = self.layers(normed) + self.linear(normed)
        return prediction


class Heads(nn.Module):
    """One regression head for each parameter, in the order of the parameter table."""

    def __init__(self, width: int, count: int, dropout: float):
        """Build ``count`` heads for features of ``width`` numbers."""
        super().__init__()
        self.heads = nn.ModuleList(RegressionHead(width, dropout) for _ in range(count))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) patient features to (B, P) predictions in scaled target space."""
        return torch.cat([head(features) for head in self.heads], 1)


class Output(NamedTuple):
    """The network's output for a batch.

    Attributes:
        targets: (B, 9 or 11) in scaled target space: the nine in table order, then, with identities, stroke
            volume and its index.
        frame_weights: (B, V, T) weight of each frame within its view; 0 for a missing view.
        view_weights: (B, V) weight of each view; 0 for a missing one.
        features: (B, D) fused patient features.
        frames: (B, V, T, D) frame features; 0 for a missing view.
    """

    targets: Tensor
    frame_weights: Tensor
    view_weights: Tensor
    features: Tensor
    frames: Tensor

    @property
    def predictions(self) -> Tensor:
        """(B, 9) the nine parameters by their own heads, in scaled target space."""
        return self.targets[:, : len(PARAMETERS)]


class Network(nn.Module):
    """Frame encoder, temporal attention, motion path, view fusion and heads; one class for all variants."""

    def __init__(
        self,
        encoder: FrameEncoder,
        temporal: TemporalAttention,
        fusion: ViewFusion,
        heads: Heads,
        motion: MotionPath | None,
    ):
        """Take built modules; ``build_network`` builds them."""
        super().__init__()
        self.encoder = encoder
        self.temporal = temporal
        self.fusion = fusion
        self.heads = heads
        self.motion = motion

    @property
    def task_modules(self) -> list[nn.Module]:
        """Everything but the backbone."""
        parts = [self.temporal, self.fusion, self.heads, self.motion]
        return [part for part in parts if part is not None]

    def forward(self, clips: Tensor, present: Tensor, phased: Tensor | None = None) -> Output:
        """Predict from clips.

        Args:
            clips: (B, V, T, H, W), uint8 or float 0-1.
            present: (B, V) bool view mask, at least one view per patient.
            phased: (B, V) bool, the clips whose first frame is known to stand at an R wave; None: no clip's.
        """
        features = self.encoder(unit_range(clips[present].flatten(0, 1)))
        return self.from_frame_features(features, present, phased)

    def from_frame_features(self, features: Tensor, present: Tensor, phased: Tensor | None = None) -> Output:
        """Go on from the (F, D) frame features of the present views."""
        by_frame = features.float().view(int(present.sum()), -1, self.encoder.width)
        frames = by_frame.new_zeros(*present.shape, *by_frame.shape[1:])
        frames = frames.masked_scatter(present[..., None, None], by_frame)
        return self.from_frames(frames, present, phased)

    def from_frames(self, frames: Tensor, present: Tensor, phased: Tensor | None = None) -> Output:
        """Go on from (B, V, T, D) frame features; those of views that are not present count nothing."""
        by_view, frame_weights = self.temporal(frames, present)
        if self.motion is not None:
            known = torch.zeros_like(present) if phased is None else phased
            by_view = self.motion(frames, by_view, present, known)
        fused, view_weights = self.fusion(by_view, present)
        return Output(self.heads(fused), frame_weights, view_weights, fused, frames)

    def alphas(self) -> dict[str, float]:
        """The learned share of attention of each stage, 0-1; and of motion, where there is such a path."""
        stages: dict[str, AttentionPool | MotionPath] = {"temporal": self.temporal, "fusion": self.fusion}
        stages |= {} if self.motion is None else {"motion": self.motion}
        return {name: torch.as_tensor(stage.alpha).item() for name, stage in stages.items()}


def build_network(
    vit: PreTrainedModel,
    variant: Variant,
    attention_heads: int,
    dropout: float,
    seed: int,
    *,
    motion: bool = False,
    stroke: int = 0,
) -> Network:
    """Build a variant on a backbone.

    Each part has its own random stream, so that two variants start from the same numbers in every
    part that both have.

    Args:
        vit: a one-channel vision transformer (see ``model.backbone``).
        variant: see ``VARIANTS``.
        attention_heads: of both attention stages.
        dropout: in the heads.
        seed: of the new parts.
        motion: with a motion path, unless the variant is without.
        stroke: heads beside the nine, of stroke volume and its index.

    Raises:
        ValueError: the backbone's width is not a multiple of ``attention_heads``.
    """
    encoder = FrameEncoder(vit)
    stages = VARIANTS[variant]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        heads = Heads(encoder.width, len(PARAMETERS) + stroke, dropout)
        torch.manual_seed(seed + 1)
        temporal = TemporalAttention(encoder.width, attention_heads, stages.temporal)
        torch.manual_seed(seed + 2)
        fusion = ViewFusion(encoder.width, attention_heads, stages.fusion, len(VIEWS))
        torch.manual_seed(seed + 3)
        path = MotionPath(encoder.width) if motion and stages.motion else None
    return Network(encoder, temporal, fusion, heads, path)


def unit_range(frames: Tensor) -> Tensor:
    """Pixels as float 0-1: uint8 is divided by 255, float is passed on."""
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames
