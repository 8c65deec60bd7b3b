"""A tiny random model of each family of vision transformers, saved as its users would have it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from transformers import (
    DeiTConfig,
    DeiTForImageClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    PreTrainedModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTModel,
)

from cardio_mlflow.model.backbone import load_backbone

MEAN, SD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]
_SIZE: Final = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
_FIXED: Final = _SIZE | {"intermediate_size": 32, "image_size": 32, "patch_size": 8}
_DINO2: Final = _SIZE | {"image_size": 70, "patch_size": 14, "mlp_ratio": 2, "layerscale_value": 0.5}
_DINO3: Final = _FIXED | {"image_size": 64, "num_register_tokens": 4, "layerscale_value": 0.5}
_MAE: Final = _FIXED | {
    "decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 16,
}  # fmt: skip
_TEXT: Final = _SIZE | {"intermediate_size": 32, "vocab_size": 9, "bos_token_id": 1, "eos_token_id": 2}
CENTRE: Final = {
    "do_center_crop": True,
    "crop_size": {"height": 42, "width": 42},
    "size": {"shortest_edge": 48},
}


class Tiny(NamedTuple):
    """A saved model: how to build it, tokens before the patches, image size, what preprocessing states."""

    build: Any
    prefix: int
    side: int
    states: dict[str, Any]


FAMILIES: Final = {
    "vit": Tiny(lambda: ViTModel(ViTConfig(**_FIXED)), 1, 32, {"size": {"height": 32, "width": 32}}),
    "deit": Tiny(lambda: DeiTForImageClassification(DeiTConfig(**_FIXED)), 2, 32, {}),
    "dinov2": Tiny(lambda: Dinov2Model(Dinov2Config(**_DINO2)), 1, 42, CENTRE),
    "dinov2_gated": Tiny(
        lambda: Dinov2ForImageClassification(Dinov2Config(**_DINO2, use_swiglu_ffn=True)), 1, 70, {}
    ),
    "dinov2_with_registers": Tiny(
        lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**_DINO2)), 5, 42, CENTRE
    ),
    "dinov3": Tiny(
        lambda: DINOv3ViTModel(DINOv3ViTConfig(**_DINO3)), 5, 48, {"size": {"height": 48, "width": 48}}
    ),
    "dinov3_gated": Tiny(lambda: DINOv3ViTModel(DINOv3ViTConfig(**_DINO3, use_gated_mlp=True)), 5, 64, {}),
    "vit_mae": Tiny(lambda: ViTMAEForPreTraining(ViTMAEConfig(**_MAE)), 1, 32, {"size": 224}),
    "siglip_vision": Tiny(lambda: SiglipVisionModel(SiglipVisionConfig(**_FIXED)), 0, 32, {}),
    "siglip": Tiny(
        lambda: SiglipModel(SiglipConfig(vision_config=_FIXED, text_config=_TEXT)), 0, 32, {"size": 32}
    ),
}


def save_family(name: str, folder: Path) -> PreTrainedModel:
    """Save a family's random colour model into a folder, heads and all; returns the encoder in it."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = FAMILIES[name].build().eval()
        for parameter in model.parameters():  # registers and class tokens begin as zeros
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    model.save_pretrained(folder)
    states = {"do_normalize": True, "image_mean": MEAN, "image_std": SD} | FAMILIES[name].states
    (folder / "preprocessor_config.json").write_text(json.dumps(states))
    inner = ("vision_model", "vit", "deit", "dinov2")
    return next((getattr(model, part) for part in inner if hasattr(model, part)), model)


def gray_family(name: str, folder: Path) -> PreTrainedModel:
    """What ``load_backbone`` makes of the family's saved model."""
    save_family(name, folder)
    return load_backbone(str(folder)).eval()


def frames_of(name: str, count: int = 3) -> Tensor:
    """(count, side, side) noise at the family's image size."""
    side = FAMILIES[name].side
    return torch.rand(count, side, side, generator=torch.Generator().manual_seed(1))


def run_whole(name: str, model: PreTrainedModel, images: Tensor, **options: Any) -> Any:
    """The output of transformers' own forward; ViT-MAE sees all patches, in order."""
    if name == "vit_mae":
        model.config.mask_ratio = 0.0
        options["noise"] = torch.arange(16.0).expand(len(images), 16)
    return model(images, **options)
