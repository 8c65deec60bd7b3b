"""Loading a vision transformer as a backbone for gray frames.

It was trained on normalised colour images. A gray frame has the same value in its three channels,
so the three kernels of the patch embedding and the normalisation fold into one gray kernel, exactly:

    sum_c W_c * (x - m_c) / s_c + b  =  (sum_c W_c / s_c) * x + (b - sum_c m_c / s_c * sum(W_c))

The patch embedding has no padding, so the identity holds at every patch.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.image_processing_base import ImageProcessingMixin

from cardio_mlflow.errors import InputError
from cardio_mlflow.model.vit_families import FAMILIES, family_of, height_width, tower_fields

DEMO_BACKBONE: Final = "demo"
POSITIONS: Final = "embeddings.position_embeddings"
"""Learned positions of the families that interpolate them: (1, 1 + patches, D)."""

log = logging.getLogger(__name__)


def load_backbone(name: str) -> PreTrainedModel:
    """Load pretrained weights of a vision transformer as a one-channel model for frames with values 0-1.

    Args:
        name: ``demo`` for the small backbone of this package, a folder in Hugging Face format
            (config.json, model.safetensors, preprocessor_config.json), or a hub name.

    Returns:
        A model of one of the ``FAMILIES`` without pooling layer or head, float32, whose patch embedding
        takes (N, 1, H, W). Where its positions suit any size, (H, W) is that of its preprocessor_config.json,
        else that of its config.json.

    Raises:
        InputError: the weights cannot be found, do not fill the model, or are of no such family.
    """
    source = str(demo_folder()) if name == DEMO_BACKBONE else name
    model = _from_pretrained(source, name)
    preprocessing = _preprocessing(source)
    size = _stated_size(preprocessing)
    if size and family_of(model.config).any_size:
        model = at_image_size(model, size)
    mean, std = _normalisation(preprocessing, model.config.num_channels)
    return to_gray(model, mean, std)


def demo_folder() -> Path:
    """The folder of the backbone that comes with the package."""
    return Path(str(resources.files("cardio_mlflow.model"))) / "demo_vit"


def new_backbone(config: Mapping[str, Any]) -> PreTrainedModel:
    """Build an untrained model from the fields of its configuration, for weights that are loaded next.

    Raises:
        InputError: the ``model_type`` is of no family; without one it is a ViT.
    """
    fields = tower_fields(config, "backbone.json")
    family = FAMILIES[fields["model_type"]]
    return family.model(family.model.config_class.from_dict(fields), **family.options)


def to_gray(model: PreTrainedModel, mean: Sequence[float], std: Sequence[float]) -> PreTrainedModel:
    """Fold normalisation and channels of the patch embedding into one gray kernel.

    Args:
        model: a vision transformer of C channels.
        mean: C means of the pixels it was trained on, in 0-1.
        std: C standard deviations of the same.

    Returns:
        A model of one channel that gives, for a gray frame x in 0-1, what ``model`` gives for the
        C-channel image (x - mean) / std.
    """
    place = family_of(model.config).projection
    projection = model.get_submodule(place)
    weight = projection.weight.detach() / torch.tensor(std).view(1, -1, 1, 1)
    offset = (weight.sum((2, 3)) * torch.tensor(mean)).sum(1)
    state = dict(model.state_dict())
    state[f"{place}.weight"] = weight.sum(1, keepdim=True)
    state[f"{place}.bias"] = projection.bias.detach() - offset
    return _rebuilt(model, state, num_channels=1)


def at_image_size(model: PreTrainedModel, size: tuple[int, int]) -> PreTrainedModel:
    """The model for images of another (H, W); learned positions are interpolated once, by its own rule."""
    state, patch = dict(model.state_dict()), height_width(model.config.patch_size)
    if POSITIONS in state:
        patches = (size[0] // patch[0]) * (size[1] // patch[1])
        tokens = torch.empty(1, 1 + patches, model.config.hidden_size)
        state[POSITIONS] = model.embeddings.interpolate_pos_encoding(tokens, *size).detach()
    return _rebuilt(model, state, image_size=size[0] if size[0] == size[1] else list(size))


def _rebuilt(model: PreTrainedModel, state: dict[str, torch.Tensor], **changes: Any) -> PreTrainedModel:
    """A model of a changed configuration with these weights."""
    rebuilt = new_backbone(model.config.to_dict() | changes)
    rebuilt.load_state_dict(state, strict=True)
    return rebuilt


def _from_pretrained(source: str, name: str) -> PreTrainedModel:
    folder = Path(source)
    if any(folder.glob("pytorch_model*.bin")) and not any(folder.glob("*.safetensors")):
        raise InputError(_pickled(name))
    try:
        fields = tower_fields(PreTrainedConfig.get_config_dict(source)[0], name)
        family = FAMILIES[fields["model_type"]]
        model, info = family.model.from_pretrained(
            source,
            config=family.model.config_class.from_dict(fields),
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # reported below, as an error of one line
            output_loading_info=True,
            **family.options,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(_how_to_get(name)) from error
    if unfilled := len(info["missing_keys"]) + len(info["mismatched_keys"]):
        raise InputError(
            f"The weights of backbone {name!r} do not fill a {family.title} of its config.json: "
            f"{unfilled} tensor(s) are missing or of another shape."
        )
    return model


_SAVE: Final = (
    '    python -c "from transformers import AutoModel, AutoImageProcessor as P; n={name!r}; '
    "AutoModel.from_pretrained(n).save_pretrained('vit'); P.from_pretrained(n).save_pretrained('vit')\"\n"
)


def _pickled(name: str) -> str:
    return (
        f"Backbone {name!r} has its weights in a pickle (.bin) only, which can run code when it is read "
        "and is never loaded here. Where you trust it, save it as safetensors:\n"
        + _SAVE.format(name=name)
        + "and give that folder as -P backbone=<absolute path of the folder>."
    )


def _how_to_get(name: str) -> str:
    return (
        f"The weights of backbone {name!r} cannot be loaded: there is no such folder with config.json and "
        "model.safetensors, and the model hub cannot be reached, does not have them, or has them as "
        "pytorch_model.bin only, which is never loaded.\n"
        "On a machine with network, save them once:\n"
        + _SAVE.format(name="google/vit-base-patch16-224")
        + "then copy the folder here and give it as -P backbone=<absolute path of the folder>.\n"
        "-P backbone=demo takes the small backbone that comes with the package."
    )


def _preprocessing(source: str) -> dict[str, Any]:
    """The fields of the weights' own preprocessor_config.json."""
    try:
        fields, _ = ImageProcessingMixin.get_image_processor_dict(source)
    except (OSError, ValueError):
        log.warning("Backbone %s has no preprocessor_config.json: assuming mean 0.5 and SD 0.5.", source)
        return {}
    return dict(fields)


def _stated_size(fields: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of the images after preprocessing, where the fields state them."""
    stated = fields.get("crop_size") if fields.get("do_center_crop") else fields.get("size")
    if isinstance(stated, int):
        return stated, stated
    if not isinstance(stated, Mapping):
        return None
    height, width = (stated.get(side, stated.get("shortest_edge")) for side in ("height", "width"))
    return (int(height), int(width)) if height and width else None


def _normalisation(fields: Mapping[str, Any], channels: int) -> tuple[Sequence[float], Sequence[float]]:
    """Means and SDs, for pixels 0-1, that the preprocessing states, one a channel."""
    scale = 255.0 * (fields.get("rescale_factor", 1 / 255) if fields.get("do_rescale", True) else 1.0)
    if not fields.get("do_normalize", True):
        return [0.0] * channels, [1 / scale] * channels
    mean, std = (
        np.broadcast_to(fields.get(name, 0.5), channels) / scale for name in ("image_mean", "image_std")
    )
    return mean.tolist(), std.tolist()
