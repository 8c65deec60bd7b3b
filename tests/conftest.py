"""What tests of several subpackages share: a predictions table, a tiny ViT, tiny clips, tiny settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from safetensors.numpy import save_file
from transformers import ViTConfig, ViTModel

from cardio_mlflow.analysis.predictions import check_predictions
from cardio_mlflow.data.dataset import ClipTensor
from cardio_mlflow.model.backbone import new_backbone
from cardio_mlflow.parameters import PARAMETERS, VIEW_CODES, VIEWS
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.training.bundle import Bundle, network_of
from cardio_mlflow.training.ensemble import Ensemble
from cardio_mlflow.training.scaling import fit_scaler

hypothesis_settings.register_profile(  # an example takes as long as it takes on a busy machine
    "busy", hypothesis_settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("busy")

PIXEL_MEAN, PIXEL_SD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]
TINY_VIT = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32,
    "image_size": 32, "patch_size": 8, "initializer_range": 0.2,
}  # fmt: skip


def make_table(patients: int = 40, seed: int = 0, cohort: str = "I", variant: str = "full") -> pd.DataFrame:
    """Predictions of correlation about 0.7 around each parameter's cut-off, in five folds."""
    generator = np.random.default_rng(seed)
    rows = []
    for p in PARAMETERS:
        reference = p.cutoff * generator.lognormal(0, 0.4, patients)
        prediction = 0.6 * reference + 0.4 * p.cutoff + 0.25 * p.cutoff * generator.normal(size=patients)
        for i in range(patients):
            fold = i % 5 + 1 if cohort == "I" else None
            rows.append((f"P{i:03d}", cohort, fold, variant, p.key, p.unit, reference[i], prediction[i]))
    columns = ["patient_id", "cohort", "fold", "variant", "parameter", "unit", "reference", "prediction"]
    return check_predictions(pd.DataFrame(rows, columns=columns))


def make_vit(channels: int = 1, seed: int = 0, **changes: int) -> ViTModel:
    """A ViT of 16 numbers, 3 blocks and 17 tokens, with weights large enough to tell inputs apart."""
    fields = TINY_VIT | changes | {"num_channels": channels}
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return new_backbone(ViTConfig(**fields).to_dict()).eval()


def make_clips(patients: int = 6, frames: int = 2, side: int = 32, missing: bool = True) -> ClipTensor:
    """Noise clips; with ``missing``, patient 1 lacks its second view and patient 3 has only its third."""
    generator = torch.Generator().manual_seed(patients)
    shape = (patients, len(VIEWS), frames, side, side)
    clips = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    present = torch.ones(patients, len(VIEWS), dtype=torch.bool)
    if missing:
        present[1:2, 1] = False
        present[3:4, [0, 1, 3]] = False
    clips[~present] = 0
    return ClipTensor(tuple(f"P{i:03d}" for i in range(patients)), clips, present)


def make_settings(**given: object) -> Settings:
    """Settings of a tiny fold, without a look at the environment."""
    tiny = {
        "epochs": 3, "stages": 2, "batch_size": 4, "training_frames": 2, "attention_heads": 2,
        "augmented_copies": 0, "view_dropout": 0, "precision": "fp32", "keep": "best", "motion": "false",
        "identities": "false", "scale": "sector", "lr_schedule": "constant",
    }  # fmt: skip
    return load_settings({name: str(value) for name, value in (tiny | given).items()}, {})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    from tests.schedule import Schedule

    return Schedule(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several processes
        from tests.schedule import put_long_ones_first

        put_long_ones_first(items)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def table() -> Callable[..., pd.DataFrame]:
    return make_table


@pytest.fixture(scope="session")
def tiny_vit() -> Callable[..., ViTModel]:
    return make_vit


@pytest.fixture(scope="session")
def tiny_clips() -> Callable[..., ClipTensor]:
    return make_clips


@pytest.fixture(scope="session")
def tiny_settings() -> Callable[..., Settings]:
    return make_settings


@pytest.fixture
def vit_folder(tmp_path: Path) -> Path:
    """A colour ViT in Hugging Face format, trained on pixels of another mean and SD a channel."""
    folder = tmp_path / "vit"
    make_vit(channels=3).save_pretrained(folder)
    normalisation = {"do_normalize": True, "image_mean": PIXEL_MEAN, "image_std": PIXEL_SD}
    (folder / "preprocessor_config.json").write_text(json.dumps(normalisation))
    return folder


@pytest.fixture
def prepared_cohort(tmp_path: Path) -> tuple[Callable[[str], Mapping[str, Path]], tuple[str, ...]]:
    """Three prepared patients as ``data.prepare`` keeps them: the files of an id by view, and the ids.

    A pixel holds 60 · view + 2 · frame + patient; the second patient lacks its last view.
    """
    files: dict[str, dict[str, Path]] = {"A": {}, "B": {}, "C": {}}
    for number, (patient, clips) in enumerate(files.items()):
        for position, view in enumerate(VIEW_CODES[:3] if patient == "B" else VIEW_CODES):
            value = 60 * position + 2 * np.arange(32)[:, None, None] + number
            frames = np.broadcast_to(value, (32, 224, 224)).astype(np.uint8)
            clips[view] = tmp_path / f"{number}{position}.safetensors"
            save_file({"frames": frames}, clips[view])
    return files.__getitem__, tuple(files)


@pytest.fixture(scope="session")
def tiny_ensemble(tiny_settings, tiny_vit) -> Callable[..., Ensemble]:
    """Networks with weights of their own; ``parts`` are the calibration and the like."""

    def build(parts: dict[str, object] | None = None, **changes: object) -> Ensemble:
        settings, bundles = tiny_settings(**changes), {}
        for fold in (1, 2):
            network, rng = network_of(tiny_vit(), settings).eval(), np.random.default_rng(fold)
            with torch.no_grad(), torch.random.fork_rng():
                torch.manual_seed(fold)
                for parameter in (p for module in network.task_modules for p in module.parameters()):
                    parameter.add_(0.1 * torch.randn_like(parameter))
            references = np.stack([p.cutoff * rng.lognormal(0, 0.3, 30) for p in PARAMETERS], 1)
            facts = np.tile([75.0, 1.9, 90.0], (30, 1)) if settings.identities else None
            bundles[f"fold-{fold}"] = Bundle(network, settings, fit_scaler(references, facts))
        return Ensemble(bundles, **(parts or {}))

    return build
