"""Loading a Vision Transformer as a backbone for gray frames.

A ViT was trained on normalised colour images. A gray frame has the same value in its three channels,
so the three kernels of the patch embedding and the normalisation fold into one gray kernel, exactly:

    sum_c W_c * (x - m_c) / s_c + b  =  (sum_c W_c / s_c) * x + (b - sum_c m_c / s_c * sum(W_c))

The patch embedding has no padding, so the identity holds at every patch.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import ViTConfig, ViTModel
from transformers.image_processing_base import ImageProcessingMixin

from cardio_mlflow.errors import InputError

DEMO_BACKBONE: Final = "demo"

log = logging.getLogger(__name__)


def load_backbone(name: str) -> ViTModel:
    """Load pretrained ViT weights as a one-channel model for frames with values 0-1.

    Args:
        name: ``demo`` for the small backbone of this package, a folder in Hugging Face format
            (config.json, model.safetensors, preprocessor_config.json), or a hub name.

    Returns:
        A ViTModel without pooling layer, float32, whose patch embedding takes (N, 1, H, W).

    Raises:
        InputError: the weights cannot be found or do not fill the model.
    """
    source = str(demo_folder()) if name == DEMO_BACKBONE else name
    model = _from_pretrained(source, name)
    mean, std = _normalisation(source, model.config.num_channels)
    return to_gray(model, mean, std)


def demo_folder() -> Path:
    """The folder of the backbone that comes with the package."""
    return Path(str(resources.files("cardio_mlflow.model"))) / "demo_vit"


def new_backbone(config: dict[str, Any]) -> ViTModel:
    """Build an untrained ViT from the fields of a ``ViTConfig``, for weights that are loaded next."""
    return ViTModel(ViTConfig.from_dict(config), add_pooling_layer=False)


def to_gray(model: ViTModel, mean: Sequence[float], std: Sequence[float]) -> ViTModel:
    """Fold normalisation and channels of a ViT's patch embedding into one gray kernel.

    Args:
        model: a ViT of C channels.
        mean: C means of the pixels it was trained on, in 0-1.
        std: C standard deviations of the same.

    Returns:
        A ViT of one channel that gives, for a gray frame x in 0-1, what ``model`` gives for the
        C-channel image (x - mean) / std.
    """
    projection = model.embeddings.patch_embeddings.projection
    weight = projection.weight.detach() / torch.tensor(std).view(1, -1, 1, 1)
    offset = (weight.sum((2, 3)) * torch.tensor(mean)).sum(1)
    state = dict(model.state_dict())
    state["embeddings.patch_embeddings.projection.weight"] = weight.sum(1, keepdim=True)
    state["embeddings.patch_embeddings.projection.bias"] = projection.bias.detach() - offset
    gray = new_backbone(model.config.to_dict() | {"num_channels": 1})
    gray.load_state_dict(state, strict=True)
    return gray


def _from_pretrained(source: str, name: str) -> ViTModel:
    try:
        model, info = ViTModel.from_pretrained(
            source,
            add_pooling_layer=False,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # reported below, as an error of one line
            output_loading_info=True,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(_how_to_get(name)) from error
    if unfilled := len(info["missing_keys"]) + len(info["mismatched_keys"]):
        raise InputError(
            f"The weights of backbone {name!r} do not fill a ViT of its config.json: "
            f"{unfilled} tensor(s) are missing or of another shape."
        )
    return model


def _how_to_get(name: str) -> str:
    return (
        f"The weights of backbone {name!r} cannot be loaded: there is no such folder with config.json and "
        "model.safetensors, and the model hub cannot be reached or does not have them.\n"
        "On a machine with network, save them once:\n"
        '    python -c "from transformers import ViTModel, ViTImageProcessor as P; '
        "n='google/vit-base-patch16-224'; "
        "ViTModel.from_pretrained(n).save_pretrained('vit'); P.from_pretrained(n).save_pretrained('vit')\"\n"
        "then copy the folder here and give it as -P backbone=<absolute path of the folder>.\n"
        "-P backbone=demo takes the small backbone that comes with the package."
    )


def _normalisation(source: str, channels: int) -> tuple[Sequence[float], Sequence[float]]:
    """Means and SDs, for pixels 0-1, that the weights' own preprocessor_config.json states, one a channel."""
    try:
        fields, _ = ImageProcessingMixin.get_image_processor_dict(source)
    except (OSError, ValueError):
        log.warning("Backbone %s has no preprocessor_config.json: assuming mean 0.5 and SD 0.5.", source)
        fields = {}
    scale = 255.0 * (fields.get("rescale_factor", 1 / 255) if fields.get("do_rescale", True) else 1.0)
    if not fields.get("do_normalize", True):
        return [0.0] * channels, [1 / scale] * channels
    mean, std = (
        np.broadcast_to(fields.get(name, 0.5), channels) / scale for name in ("image_mean", "image_std")
    )
    return mean.tolist(), std.tolist()
