"""What the frozen backbone sees in prepared clips, by which views are told apart.

A clip's features are kept under the clip's id, in a folder of the encoder, so that the next round of
labelling computes nothing twice, and a stopped one goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from cardio_mlflow.files import whole_file
from cardio_mlflow.model.backbone import load_backbone
from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.model.network import unit_range
from cardio_mlflow.training.backbone_pass import run_blocks
from cardio_mlflow.training.devices import backbone_autocast, choose_device, compute_dtype, kernels
from cardio_mlflow.training.frozen_features import frozen

Features = NDArray[np.float16]

VERSION: Final = 1
"""Raised when the same clip and weights would give other features; part of the folder's name."""
PHASES: Final = (0.0, 0.375)
"""Where in the cycle a clip is looked at, as shares of it: about end-diastole and end-systole. Views differ
by what they show, not by how it moves."""
CELLS: Final = 2
"""Rows and columns of cells over which patch tokens are averaged: where a chamber lies tells more than that
there is one."""
LOOKS: Final = (
    (0.0, 1.0, 0.0, 0.0), (9.0, 1.0, 0.0, 0.0), (-9.0, 1.0, 0.0, 0.0), (0.0, 0.87, 0.0, 0.0),
    (0.0, 1.15, 0.0, 0.0), (5.0, 1.05, 0.05, -0.03), (-5.0, 0.95, -0.05, 0.03), (4.0, 1.0, -0.05, 0.04),
    (-4.0, 1.0, 0.05, -0.04),
)  # fmt: skip
"""How a clip is looked at: as it is, then turned (degrees), magnified, and shifted to the right and down
(shares of its side), as another hand on the probe would have shown it. From few labelled clips a regression
learns more by all of them."""

LARGE: Final = 30_000_000
"""Parameters of an encoder above which a clip is looked at once, as it is: nine looks of a ViT-Base took 15 s
of a core (fp32)."""


def clip_features(
    clips: Sequence[str],
    frames_of: Callable[[str], NDArray[np.uint8]],
    backbone: str,
    folder: Path,
    precision: Literal["auto", "bf16", "fp32"] = "auto",
) -> dict[str, Features]:
    """Compute, or read where they are kept, the features of clips.

    Args:
        clips: N ids; of the same content where they are the same.
        frames_of: gives the (T, H, W) frames of a clip, one cycle; called only for what is not kept.
        backbone: as the setting.
        folder: of the cache; made if missing.
        precision: as the setting.

    Returns:
        By id (V, 2 · CELLS² · D): for each of the V looks (see LOOKS, LARGE) the mean of the last block's
        normalised patch tokens in each cell, then their largest.

    Raises:
        InputError: the backbone cannot be loaded.
    """
    device = choose_device()
    dtype = compute_dtype(precision, device)
    encoder = frozen(FrameEncoder(load_backbone(backbone)).to(device), dtype)
    kept_in = folder / _digest(encoder, dtype)
    kept_in.mkdir(parents=True, exist_ok=True)
    found: dict[str, Features] = {}
    for clip in tqdm(dict.fromkeys(clips), desc="features", unit="clip", leave=False):
        kept = _read(kept_in / clip, (len(looks_of(encoder)), 2 * CELLS**2 * encoder.width))
        if kept is None:
            kept = describe(encoder, frames_of(clip), dtype)
            with whole_file(kept_in / clip, sync=False) as part:  # one that is cut short is made again
                part.write_bytes(save({"features": kept}))
        found[clip] = kept
    return found


def looks_of(encoder: FrameEncoder) -> tuple[tuple[float, float, float, float], ...]:
    """LOOKS, or the first of them where the encoder is large."""
    large = sum(weight.numel() for weight in encoder.parameters()) > LARGE
    return LOOKS[:1] if large else LOOKS


@torch.no_grad()
def describe(encoder: FrameEncoder, frames: NDArray[np.uint8], dtype: torch.dtype) -> Features:
    """Features of the (T, H, W) frames of a clip by a frozen encoder, as `clip_features`."""
    device, looks = next(encoder.parameters()).device, looks_of(encoder)
    chosen = np.stack([frames[int(phase * len(frames))] for phase in PHASES])
    images = unit_range(torch.from_numpy(np.concatenate([moved(chosen, *look) for look in looks])).to(device))
    with backbone_autocast(dtype, device):
        tokens = run_blocks(encoder, encoder.tokens(images, 0), 0, encoder.depth, pool=False)
        patches = encoder.patches(tokens).float()
    of_looks = patches.unflatten(0, (len(looks), len(PHASES))).mean(dim=1)  # type: ignore[no-untyped-call]
    return in_cells(of_looks, encoder.grid).cpu().numpy().astype(np.float16)


def moved(
    frames: NDArray[np.uint8], angle: float, zoom: float, right: float, down: float
) -> NDArray[np.uint8]:
    """Turn (F, H, W) frames about their middle (degrees), magnify, and shift by shares of their side."""
    height, width = frames.shape[1:]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, zoom)
    matrix[:, 2] += right * width, down * height
    return np.stack([cv2.warpAffine(frame, matrix, (width, height)) for frame in frames])


def in_cells(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean and maximum of (F, rows · columns, D) patch tokens in CELLS × CELLS cells: (F, 2 · CELLS² · D)."""
    picture = patches.transpose(1, 2).reshape(len(patches), -1, *grid)
    pools = functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d
    return torch.cat([pool(picture, CELLS).flatten(1) for pool in pools], dim=1)


def _digest(encoder: FrameEncoder, dtype: torch.dtype) -> str:
    digest = hashlib.blake2b(digest_size=10)
    encoder.hash_weights(digest)
    device = next(encoder.parameters()).device
    looks, config = looks_of(encoder), encoder.vit.config.to_json_string()
    known = (VERSION, PHASES, CELLS, looks, str(dtype), kernels(device), config)
    digest.update(repr(known).encode())
    return digest.hexdigest()


def _read(path: Path, shape: tuple[int, int]) -> Features | None:
    """Kept features; None where there are none, or what a loss of power has left of them."""
    try:
        with safe_open(path, "numpy") as file:
            features: Features = file.get_tensor("features")
    except (OSError, SafetensorError):
        return None
    return features if features.shape == shape and features.dtype == np.float16 else None
