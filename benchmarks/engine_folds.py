"""Folds of noise clips and locally saved backbones for the benchmarks of training."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import ViTConfig, ViTModel

from cardio_mlflow.data.dataset import ClipTensor
from cardio_mlflow.model.backbone import load_backbone
from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.model.network import Network, build_network
from cardio_mlflow.parameters import KEYS, VIEWS
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.training.activation_store import ActivationStore
from cardio_mlflow.training.augmentation import Augmentation
from cardio_mlflow.training.devices import choose_device, compute_dtype
from cardio_mlflow.training.fit import FoldData
from cardio_mlflow.training.frozen_features import FrozenFeatures, Sources, frozen

BASE = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "image_size": 224, "patch_size": 16,
}  # fmt: skip
SMALL = {
    "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512,
    "image_size": 112, "patch_size": 16,
}  # fmt: skip
DEVICE = choose_device()


def machine() -> str:
    """The device, its threads, the dtype of precision=auto and torch's version."""
    cpu = f"CPU, {torch.get_num_threads()} threads"
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else cpu
    return f"{name}; precision=auto is {compute_dtype('auto', DEVICE)}; torch {torch.__version__}"


def settings_of(**given: object) -> Settings:
    """Settings of the study preset, with changes."""
    words = {"preset": "study", "precision": "fp32"} | given
    return load_settings({name: str(value) for name, value in words.items()}, {})


def saved_backbone(folder: Path, config: dict[str, int]) -> ViTModel:
    """A ViT with random weights, saved in Hugging Face format and loaded as any other backbone."""
    torch.manual_seed(0)
    ViTModel(ViTConfig(**config), add_pooling_layer=False).save_pretrained(folder / "vit")
    return load_backbone(str(folder / "vit"))


def encoder_of(vit: ViTModel) -> FrameEncoder:
    """An encoder with a copy of a backbone, on the device."""
    return FrameEncoder(copy.deepcopy(vit)).to(DEVICE)


def network_of(vit: ViTModel, settings: Settings) -> Network:
    """The full network on a copy of a backbone, on the device."""
    return build_network(
        copy.deepcopy(vit), "full", settings.attention_heads, settings.dropout, settings.seed
    ).to(DEVICE)


def fold_of(vit: ViTModel, settings: Settings, folder: Path, patients: int) -> FoldData:
    """A fold of noise clips with noise for targets, a fifth of the patients for validation."""
    generator = torch.Generator().manual_seed(0)
    shape = (patients, len(VIEWS), settings.training_frames, *FrameEncoder(vit).image_size)
    clips = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    ids = tuple(f"P{number:03d}" for number in range(patients))
    data = ClipTensor(ids, clips, torch.ones(patients, len(VIEWS), dtype=torch.bool))
    augmentation, dtype = Augmentation.from_settings(settings), compute_dtype(settings.precision, DEVICE)
    sources = Sources(frozen(encoder_of(vit), dtype), data, augmentation, settings.augmented_copies, dtype)
    features = FrozenFeatures(sources, ActivationStore(folder / "features", 1e12))
    targets = np.random.default_rng(0).normal(size=(patients, len(KEYS)))
    trained = patients - max(1, patients // 5)
    return FoldData(features, targets, tuple(range(trained)), tuple(range(trained, patients)))


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Median of several runs, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
