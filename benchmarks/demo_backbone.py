"""Make the demo backbone: a small ViT that learns from single synthetic frames the heart that is in them.

    python -m benchmarks.demo_backbone [--patients 2000] [--passes 16] [--output FOLDER] [--jobs 2]

Its patients are in no cohort, and no catheterisation value is used. Two read-outs are trained with the
encoder and then dropped: from the frame feature to the geometry that the frame shows (areas, walls, valves),
and from each patch token to the true echogenicity of its patch, which teaches the tokens where blood and
walls are.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm
from transformers import ViTConfig

from benchmarks.frames import (
    GEOMETRY,
    Scale,
    chamber_geometry,
    frame_acquisition,
    magnification,
    view_frames,
)
from cardio_mlflow.model.backbone import demo_folder, new_backbone
from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.model.network import unit_range
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.synthetic.clip import patient_rows
from cardio_mlflow.synthetic.seeding import PRETRAINING_SEED
from cardio_mlflow.training.augmentation import Augmentation
from cardio_mlflow.training.devices import backbone_autocast, choose_device, compute_dtype
from cardio_mlflow.training.fit import masked_loss

HELD_OUT: Final = 0.05
"""Share of the patients."""
FRAMES_A_VIEW: Final = 4
PHYSICAL_SHARE: Final = 0.75
"""Share of the clips shown at physical scale, as the demo prepares them; the others fill the square."""
POWERS: Final = np.array([{"cm": 1, "cm²": 2}.get(unit, 0) for unit in GEOMETRY.values()])
"""Power of a length that each value of the geometry is."""
BATCH_SIZE, LEARNING_RATE = 32, 1e-3
TISSUE_GRID: Final = 28
WIDTH, DEPTH, HEADS, IMAGE_SIZE, PATCH_SIZE = 128, 4, 4, 112, 16
AUGMENTATION = Augmentation(rotation=10, shift=0.06, zoom=0.0, gain=0.3, speckle=0.1, seed=0)
TISSUE_WEIGHT = 20.0
"""Weight of the tissue loss: the variance of true echogenicity within the sector is about 1/20."""


@dataclass(frozen=True)
class Frames:
    """Frames with what they show.

    Attributes:
        images: (N, H, W) uint8.
        tissue: (N, C, C) uint8 true echogenicity on a coarser grid.
        geometry: (N, G) standardised geometry, NaN where a frame does not show it.
    """

    images: Tensor
    tissue: Tensor
    geometry: Tensor

    def select(self, chosen: Tensor | slice) -> Frames:
        """These frames only."""
        return Frames(self.images[chosen], self.tissue[chosen], self.geometry[chosen])


class PretrainingModel(nn.Module):
    """An encoder with its two read-outs."""

    def __init__(self, encoder: FrameEncoder, geometry: int, cells: int):
        """Build for ``geometry`` values a frame and ``cells`` grid cells a patch."""
        super().__init__()
        self.encoder = encoder
        self.geometry = nn.Linear(encoder.width, geometry)
        self.tissue = nn.Linear(encoder.width, cells)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W) frames to (N, G) geometry and (N, patches, cells) tissue."""
        tokens = self.encoder.blocks(self.encoder.tokens(images, 0), 0)
        normed = self.encoder.patches(tokens)
        return self.geometry(normed.mean(1)), self.tissue(normed)


@dataclass(frozen=True)
class PretrainingRecord:
    """One epoch: mean loss, and the share of the held-out geometry's variance that is explained."""

    epoch: int
    train_loss: float
    explained: float


def small_vit(width: int, depth: int, heads: int, image_size: int, patch_size: int) -> FrameEncoder:
    """An untrained one-channel ViT of this size."""
    config = ViTConfig(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, intermediate_size=4 * width,
        image_size=image_size, patch_size=patch_size, num_channels=1,
    )  # fmt: skip
    return FrameEncoder(new_backbone(config.to_dict()))


def pretrain_encoder(
    encoder: FrameEncoder,
    training: Frames,
    held_out: Frames,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
) -> Iterator[PretrainingRecord]:
    """Train an encoder, with a linear read-out, to regress geometry from single frames.

    AdamW with a linear warm-up over the first twentieth of the steps and a cosine decay to zero.

    Args:
        encoder: trained in place.
        training: frames to learn from; each is moved and its gain changed anew in every epoch.
        held_out: frames of other patients, for the explained variance.
        epochs: passes over the training frames.
        batch_size: frames a step.
        lr: highest learning rate.
        seed: seed of the read-out and the batches.
    """
    torch.manual_seed(seed)
    device = choose_device()
    patches = math.prod(encoder.grid)
    model = PretrainingModel(encoder, training.geometry.shape[1], training.tissue[0].numel() // patches).to(
        device
    )
    optimizer = AdamW(model.parameters(), lr=lr, weight_decay=0.02)
    steps = epochs * math.ceil(len(training.images) / batch_size)
    schedule = LambdaLR(optimizer, lambda step: _warm_up_and_cosine(step, steps))
    for epoch in range(1, epochs + 1):
        model.train()
        order, losses = torch.randperm(len(training.images)), []
        for number, chosen in enumerate(torch.split(order, batch_size)):
            loss = _loss(model, training.select(chosen), f"{seed}/{epoch}/{number}", device)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        yield PretrainingRecord(epoch, sum(losses) / len(losses), _explained(model, held_out, batch_size))


def _loss(model: PretrainingModel, frames: Frames, draw: str, device: torch.device) -> Tensor:
    """Geometry loss plus tissue loss on moved frames; the tissue moves with them."""
    images = unit_range(frames.images.to(device)).unsqueeze(1)
    tissue = unit_range(frames.tissue.to(device)).unsqueeze(1)
    moved = AUGMENTATION.copy_of(images, draw, 1).squeeze(1)
    moved_tissue = replace(AUGMENTATION, gain=0.0, speckle=0.0).copy_of(tissue, draw, 1)
    geometry, seen = _read_out(model, moved)
    wanted = functional.pixel_unshuffle(moved_tissue, _cells_a_side(model, moved_tissue))
    dense = (seen - wanted.flatten(2).transpose(1, 2)).square().mean() * TISSUE_WEIGHT
    return masked_loss(geometry, frames.geometry.to(device)) + dense


def _cells_a_side(model: PretrainingModel, tissue: Tensor) -> int:
    return tissue.shape[-1] // model.encoder.grid[0]


def _read_out(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    with backbone_autocast(compute_dtype("auto", images.device), images.device):
        geometry, tissue = model(images)
    return geometry.float(), tissue.float()


@torch.no_grad()
def _explained(model: nn.Module, frames: Frames, batch_size: int) -> float:
    """1 - SSE / SST over all geometry that is shown."""
    model.eval()
    device = next(model.parameters()).device
    parts = [
        _read_out(model, unit_range(part.to(device)))[0].cpu()
        for part in torch.split(frames.images, batch_size)
    ]
    present = ~frames.geometry.isnan()
    centred = frames.geometry - frames.geometry.nanmean(0)
    error = (torch.cat(parts) - frames.geometry)[present].square().sum()
    return float(1 - error / centred[present].square().sum())


def _warm_up_and_cosine(step: int, steps: int) -> float:
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def render(patients: int, jobs: int) -> Frames:
    """Frames of every view at random phases of the cycle, with what they show, patient by patient."""
    _, anatomy = patient_rows(PRETRAINING_SEED, patients)
    calls = (delayed(_patient_frames)(anatomy.iloc[i], i) for i in range(patients))
    with Parallel(n_jobs=jobs, return_as="generator", batch_size=8) as pool:
        parts = list(tqdm(pool(calls), total=patients, desc="rendering", unit="patient"))
    images, tissue, geometry = (np.concatenate(part) for part in zip(*parts, strict=True))
    standardised = (geometry - np.nanmean(geometry, 0)) / np.nanstd(geometry, 0)
    return Frames(torch.from_numpy(images), torch.from_numpy(tissue), torch.from_numpy(standardised).float())


def _patient_frames(
    anatomy: pd.Series, patient: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float64]]:
    """One patient's (N, H, W) frames, their (N, C, C) tissue and (N, G) geometry as large as it is shown."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([PRETRAINING_SEED, patient])
    images, tissues, geometry = [], [], []
    for index, view in enumerate(VIEW_CODES):
        phases = np.sort(rng.random(FRAMES_A_VIEW))
        scale: Scale = "physical" if rng.random() < PHYSICAL_SHARE else "sector"
        seed = PRETRAINING_SEED + len(VIEW_CODES) * patient + index
        frames, tissue = view_frames(anatomy, view, phases, seed, IMAGE_SIZE, scale)
        images.append(frames)
        tissues += [cv2.resize(t, (TISSUE_GRID, TISSUE_GRID), interpolation=cv2.INTER_AREA) for t in tissue]
        shown = magnification(frame_acquisition(view, phases, seed)[0], IMAGE_SIZE, scale)
        geometry.append(chamber_geometry(anatomy, view, phases)[0] * shown**POWERS)
    return np.concatenate(images), np.stack(tissues), np.concatenate(geometry)


def save_backbone(encoder: FrameEncoder, folder: Path) -> None:
    """Write a one-channel encoder in Hugging Face format, half precision, with its normalisation."""
    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(encoder.vit).half().save_pretrained(folder)
    normalisation = {
        "do_normalize": False,
        "do_rescale": True,
        "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(normalisation, indent=1), encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    options = _options().parse_args(arguments)
    frames = render(options.patients, options.jobs)
    a_patient = FRAMES_A_VIEW * len(VIEW_CODES)
    cut = a_patient * math.floor(options.patients * (1 - HELD_OUT))
    training, held_out = frames.select(slice(cut)), frames.select(slice(cut, None))
    torch.manual_seed(options.seed)
    encoder = small_vit(WIDTH, DEPTH, HEADS, IMAGE_SIZE, PATCH_SIZE)
    records = pretrain_encoder(
        encoder, training, held_out, options.passes, BATCH_SIZE, LEARNING_RATE, options.seed
    )
    for record in tqdm(records, total=options.passes, desc="pretraining", unit="pass"):
        share = f"{record.explained:.1%} of the geometry's variance explained"
        print(f"pass {record.epoch}: loss {record.train_loss:.3f}, {share}", flush=True)
    save_backbone(encoder, options.output)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_backbone")
    parser.add_argument("--patients", type=int, default=2000, help="how many to simulate, from 2")
    parser.add_argument("--passes", type=int, default=16, help="over their frames")
    parser.add_argument("--output", type=Path, default=demo_folder(), help="folder to write")
    parser.add_argument("--jobs", type=int, default=2, help="processes that render")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the batches")
    return parser


if __name__ == "__main__":
    main()
