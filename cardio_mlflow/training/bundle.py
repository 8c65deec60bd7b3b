"""The model bundle on disk: weights, backbone configuration, settings, scaler, code version. No pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from cardio_mlflow import __version__
from cardio_mlflow.data.dataset import ClipTensor, frame_positions
from cardio_mlflow.data.picture.physical_scale import FIELD_MM, PhysicalScale
from cardio_mlflow.errors import InputError
from cardio_mlflow.model.backbone import new_backbone
from cardio_mlflow.model.network import Network, build_network
from cardio_mlflow.parameters import FACTS, VIEW_CODES, view
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import settings_from_yaml
from cardio_mlflow.training import forward
from cardio_mlflow.training.devices import choose_device, compute_dtype
from cardio_mlflow.training.familiarity import Reference
from cardio_mlflow.training.frozen_features import FrozenFeatures, Sources
from cardio_mlflow.training.processes import Processes
from cardio_mlflow.training.scaling import TargetScaler
from cardio_mlflow.training.stroke_volume import STROKE, Predicted

WEIGHTS: Final = "weights.safetensors"
SETTINGS: Final = "settings.yaml"
SCALER: Final = "scaler.json"
BACKBONE: Final = "backbone.json"
VERSION: Final = "version.json"
SCALE: Final = "scale.json"
REFERENCE: Final = "familiarity.safetensors"


@dataclass(frozen=True)
class Bundle:
    """A trained network with all it takes to use it.

    Attributes:
        scale: the physical scale at which it sees clips; None: as they are prepared, cropped to the sector.
        reference: what it was trained on, by which unfamiliar input is told; None where that was too little.
    """

    network: Network
    settings: Settings
    scaler: TargetScaler
    scale: PhysicalScale | None = None
    reference: Reference | None = None


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous().cpu() for name, tensor in bundle.network.state_dict().items()}
    save_file(state, str(folder / WEIGHTS))
    (folder / SETTINGS).write_text(bundle.settings.to_yaml(), encoding="utf-8")
    (folder / SCALER).write_text(bundle.scaler.to_json(), encoding="utf-8")
    config = bundle.network.encoder.vit.config.to_dict()
    (folder / BACKBONE).write_text(json.dumps(config, indent=1), encoding="utf-8")
    if bundle.scale is not None:
        (folder / SCALE).write_text(json.dumps(scale_fields(bundle.scale), indent=1), encoding="utf-8")
    if bundle.reference is not None:
        save_arrays(bundle.reference.to_arrays(), str(folder / REFERENCE))
    (folder / VERSION).write_text(json.dumps({"cardio_mlflow": __version__}), encoding="utf-8")


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle; the weights must fill the network exactly.

    Raises:
        InputError: the settings are of another version.
        RuntimeError: the weights do not fit the network.
    """
    settings = settings_from_yaml((folder / SETTINGS).read_text(encoding="utf-8"))
    vit = new_backbone(json.loads((folder / BACKBONE).read_text(encoding="utf-8")))
    network = network_of(vit, settings)
    network.load_state_dict(load_file(str(folder / WEIGHTS)), strict=True)
    scaler = TargetScaler.from_json((folder / SCALER).read_text(encoding="utf-8"))
    return Bundle(network.eval(), settings, scaler, _scale_of(folder, settings), _reference_of(folder))


def _scale_of(folder: Path, settings: Settings) -> PhysicalScale | None:
    if settings.scale == "sector":
        return None
    return scale_from(json.loads((folder / SCALE).read_text(encoding="utf-8")))


def scale_fields(scale: PhysicalScale) -> dict[str, Any]:
    """What ``scale.json`` holds of a network's physical scale."""
    return {"field_mm": FIELD_MM, "fallback_mm": dict(zip(VIEW_CODES, scale.fallback_mm, strict=True))}


def scale_from(fields: Mapping[str, Any]) -> PhysicalScale:
    """The physical scale of ``scale_fields``."""
    return PhysicalScale(tuple(fields["fallback_mm"][code] for code in VIEW_CODES))


def _reference_of(folder: Path) -> Reference | None:
    file = folder / REFERENCE
    return Reference.from_arrays(load_arrays(str(file))) if file.exists() else None


def network_of(vit: PreTrainedModel, settings: Settings) -> Network:
    """A new network of the settings' variant on a backbone."""
    return build_network(
        vit, settings.variant, settings.attention_heads, settings.dropout, settings.seed,
        motion=settings.motion, stroke=len(STROKE) if settings.identities else 0,
    )  # fmt: skip


class Prediction(NamedTuple):
    """A bundle's predictions for N patients, (N, 9) in table order, and their (N, D) fused features."""

    predicted: Predicted
    features: NDArray[np.float64]


def predict(bundle: Bundle, data: ClipTensor, facts: NDArray[np.float64] | None = None) -> Prediction:
    """Predict the nine values from prepared clips, the way that training and validation take.

    Args:
        bundle: a trained network.
        data: clips of N patients as they are prepared, of at least the frames the network was trained on.
        facts: (N, 3), see `FACTS`; None: nothing is known.

    Raises:
        InputError: a patient has none of the views that the network was trained on.
    """
    settings, present = bundle.settings, data.present & used_views(bundle.settings)
    check_seen(present, settings)
    clips = data.clips[:, :, frame_positions(data.frames, settings.training_frames)]
    shown = replace(data, clips=clips, present=present, scale=bundle.scale)
    device = choose_device()
    network = bundle.network.to(device).eval()
    sources = Sources(network.encoder, shown, None, 0, compute_dtype(settings.precision, device))
    processes = Processes(device=device)
    found = forward.predict(network, FrozenFeatures(sources), range(len(shown)), 0, settings, processes)
    facts = np.full((len(shown), len(FACTS)), np.nan) if facts is None else facts
    return Prediction(bundle.scaler.predicted(found.targets, facts), found.features)


def check_seen(present: Tensor, settings: Settings) -> None:
    """Check that each of N patients shows, (N, V) bool, one of the views that the network uses.

    Raises:
        InputError: some do not; says how many.
    """
    if not present.any(1).all():
        missing = int((~present.any(1)).sum())
        used = ", ".join(view(code).name for code in settings.views)
        raise InputError(
            f"{missing} of {len(present)} patients have none of the views that are used: {used}."
        )


def used_views(settings: Settings) -> Tensor:
    """(V,) bool, whether the network sees a view."""
    return torch.tensor([code in settings.views for code in VIEW_CODES])
