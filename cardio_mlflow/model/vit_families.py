"""The families of vision transformers that can be a backbone, and where each keeps its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from transformers import (
    DeiTModel,
    Dinov2Model,
    Dinov2WithRegistersModel,
    DINOv3ViTModel,
    PreTrainedModel,
    SiglipVisionModel,
    ViTMAEModel,
    ViTModel,
)

from cardio_mlflow.errors import InputError

UNMASKED: Final = {"mask_ratio": 0.0}
FIXED_ROTATION: Final = dict.fromkeys(("pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale"))
"""Fields that keep rotary positions the same in training: else they are drawn anew in each pass, and what
frozen blocks compute could not be kept."""


def embed(model: PreTrainedModel, images: Tensor) -> Tensor:
    """(N, C, H, W) images to (N, L, D) tokens by the model's embeddings."""
    tokens: Tensor = model.embeddings(images)
    return tokens


def embed_in_order(model: PreTrainedModel, images: Tensor) -> Tensor:
    """The same for ViT-MAE, which shuffles patches by a noise: given a rising one it keeps their order."""
    count = model.embeddings.patch_embeddings.num_patches
    order = torch.arange(count, device=images.device).expand(len(images), count)
    tokens: Tensor = model.embeddings(images, noise=order)[0]
    return tokens


class Family(NamedTuple):
    """Where a family keeps its parts; names are paths of submodules of ``model``.

    Attributes:
        attention: in a block, not in the model.
        prefix: the tokens before the patch tokens: parameters (1, n, D) of the embeddings.
        any_size: whether its positions are made for images of any size.
        rotary: whether blocks take rotary position embeddings.
        fields: fields of the configuration that are fixed here.
        options: what the model's class takes beside the configuration.
        saved_widths: tensors as wide as a token that a block saves for its backward pass beyond ViT's (layer
            scale, rotation); measured on a CPU in bfloat16.
    """

    title: str
    model: type[PreTrainedModel]
    blocks: str = "layers"
    final_norm: str = "layernorm"
    projection: str = "embeddings.patch_embeddings.projection"
    attention: str = "attention"
    prefix: tuple[str, ...] = ("cls_token",)
    any_size: bool = False
    rotary: bool = False
    fields: Mapping[str, Any] = {}
    options: Mapping[str, Any] = {}
    embed: Callable[[PreTrainedModel, Tensor], Tensor] = embed
    saved_widths: int = 0


FAMILIES: Final[Mapping[str, Family]] = {
    "vit": Family("ViT", ViTModel, options={"add_pooling_layer": False}),
    "deit": Family(
        "DeiT", DeiTModel, prefix=("cls_token", "distillation_token"), options={"add_pooling_layer": False}
    ),
    "dinov2": Family(
        "DINOv2", Dinov2Model, blocks="encoder.layer", any_size=True, fields={"use_mask_token": False},
        saved_widths=3,
    ),
    "dinov2_with_registers": Family(
        "DINOv2 with registers", Dinov2WithRegistersModel, blocks="encoder.layer", any_size=True,
        prefix=("cls_token", "register_tokens"), saved_widths=3,
    ),
    "dinov3_vit": Family(
        "DINOv3 ViT", DINOv3ViTModel, blocks="model.layer", final_norm="norm", any_size=True, rotary=True,
        projection="embeddings.patch_embeddings", prefix=("cls_token", "register_tokens"),
        fields=FIXED_ROTATION, saved_widths=4,
    ),
    "vit_mae": Family("ViT-MAE", ViTMAEModel, fields=UNMASKED, embed=embed_in_order),
    "siglip_vision_model": Family(
        "SigLIP vision", SiglipVisionModel, blocks="encoder.layers", final_norm="post_layernorm",
        projection="embeddings.patch_embedding", attention="self_attn", prefix=(),
        fields={"vision_use_head": False},
    ),
}  # fmt: skip
"""By the ``model_type`` of the configuration."""
TOWERS: Final[Mapping[str, tuple[str, str]]] = {"siglip": ("vision_config", "siglip_vision_model")}
"""Models of several towers, by ``model_type``: where the vision tower's configuration is, and its type."""


def tower_fields(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The fields of a configuration of a family: the vision tower's, where there are several.

    Args:
        fields: of a config.json; without a ``model_type`` it is taken for a ViT's.
        name: the backbone's name, for the message.

    Raises:
        InputError: it is of no family that can be a backbone.
    """
    kind = str(fields.get("model_type", "vit"))
    if kind in TOWERS:
        place, kind = TOWERS[kind]
        fields = fields.get(place) or {}
    if kind not in FAMILIES:
        titles = ", ".join(family.title for family in FAMILIES.values())
        raise InputError(
            f"Backbone {name!r} is of the type {kind!r}, which cannot be a backbone here. Those that can are "
            f"vision transformers with patch tokens of one size: {titles}."
        )
    return {**fields, "model_type": kind, **FAMILIES[kind].fields}


def height_width(size: int | Sequence[int]) -> tuple[int, int]:
    """A size of a configuration, which is one number where both sides are equal."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def family_of(config: Any) -> Family:
    """The family of a model's configuration."""
    return FAMILIES[config.model_type]
