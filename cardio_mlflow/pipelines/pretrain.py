"""Make the demo backbone: a small ViT pretrained on synthetic frames of patients that are in no cohort."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray
from tqdm import tqdm

from cardio_mlflow.errors import InputError
from cardio_mlflow.model.backbone import demo_folder
from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.settings import Settings
from cardio_mlflow.synthetic.clip import patient_rows
from cardio_mlflow.synthetic.frames import view_frames
from cardio_mlflow.synthetic.heart import chamber_geometry
from cardio_mlflow.synthetic.seeding import PRETRAINING_SEED
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.training.pretraining import Frames, pretrain_encoder, small_vit

HELD_OUT: Final = 0.05
FRAMES_A_VIEW: Final = 4
BATCH_SIZE, LEARNING_RATE = 32, 1e-3
TISSUE_GRID: Final = 28
WIDTH, DEPTH, HEADS, IMAGE_SIZE, PATCH_SIZE = 128, 4, 4, 112, 16

log = logging.getLogger(__name__)


def pretrain(
    settings: Settings, run: Run, patients: str = "2000", passes: str = "12", output: str = ""
) -> None:
    """Pretrain the demo backbone on what synthetic frames truly show; save it in Hugging Face format.

    Options: patients (how many to simulate), passes (over their frames), output (the folder to write;
    empty: the package's own). No catheterisation value is used.
    """
    count, epochs = _whole(patients, "patients"), _whole(passes, "passes")
    frames = _frames(count, settings.workers)
    encoder = small_vit(WIDTH, DEPTH, HEADS, IMAGE_SIZE, PATCH_SIZE)
    cut = int(len(frames.images) * (1 - HELD_OUT))
    training, held_out = frames.select(slice(cut)), frames.select(slice(cut, None))
    records = pretrain_encoder(encoder, training, held_out, epochs, BATCH_SIZE, LEARNING_RATE, settings.seed)
    for record in tqdm(records, total=epochs, desc="pretraining", unit="pass"):
        run.log_metrics({"train/loss": record.train_loss, "val/explained": record.explained}, record.epoch)
        log.info(
            "pass %d: %.1f %% of the geometry's variance explained", record.epoch, 100 * record.explained
        )
    save_backbone(encoder, Path(output) if output else demo_folder())


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


def _frames(patients: int, workers: int) -> Frames:
    """Frames of every view at random phases of the cycle, with their geometry, patient by patient."""
    _, anatomy = patient_rows(PRETRAINING_SEED, patients)
    calls = (delayed(_patient_frames)(anatomy.iloc[i], i) for i in range(patients))
    with Parallel(n_jobs=workers, return_as="generator", batch_size=8) as pool:
        parts = list(tqdm(pool(calls), total=patients, desc="rendering", unit="patient"))
    images, tissue, geometry = (np.concatenate(part) for part in zip(*parts, strict=True))
    standardised = torch.from_numpy(_standardised(geometry)).float()
    return Frames(torch.from_numpy(images), torch.from_numpy(tissue), standardised)


def _patient_frames(
    anatomy: pd.Series, patient: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float64]]:
    """One patient's (N, H, W) frames, their (N, C, C) tissue and (N, G) geometry."""
    rng = np.random.default_rng([PRETRAINING_SEED, patient])
    images, tissues, geometry = [], [], []
    for index, view in enumerate(VIEW_CODES):
        phases = np.sort(rng.random(FRAMES_A_VIEW))
        seed = PRETRAINING_SEED + len(VIEW_CODES) * patient + index
        frames, tissue = view_frames(anatomy, view, phases, seed, IMAGE_SIZE)
        images.append(frames)
        tissues += [cv2.resize(t, (TISSUE_GRID, TISSUE_GRID), interpolation=cv2.INTER_AREA) for t in tissue]
        geometry.append(chamber_geometry(anatomy, view, phases)[0])
    return np.concatenate(images), np.stack(tissues), np.concatenate(geometry)


def _standardised(geometry: NDArray[np.float64]) -> NDArray[np.float64]:
    standardised: NDArray[np.float64] = (geometry - np.nanmean(geometry, 0)) / np.nanstd(geometry, 0)
    return standardised


def _whole(text: str, name: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{name}={text} is not allowed. Allowed: a whole number from 1.")
    return int(text)
