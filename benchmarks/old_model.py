"""Makes tests/tracking/old_model.zip: a small model and its answers, to be loaded by every later version.

It is made once for each version whose models have to stay of use, never anew to have a test pass:
    python -m benchmarks.old_model tests/tracking/old_model.zip
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from transformers import ViTConfig

from cardio_mlflow.data.dataset import ClipTensor
from cardio_mlflow.model.backbone import new_backbone
from cardio_mlflow.parameters import PARAMETERS
from cardio_mlflow.prediction.answers import answer
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.tracking.model_folder import save_model
from cardio_mlflow.training.bundle import Bundle, network_of
from cardio_mlflow.training.ensemble import Ensemble, ensemble_of, load_ensemble, save_ensemble
from cardio_mlflow.training.scaling import fit_scaler

SETTINGS = {"precision": "fp32", "training_frames": "2", "attention_heads": "2", "scale": "sector"}
BACKBONE = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "image_size": 32, "patch_size": 8, "initializer_range": 0.2, "num_channels": 1,
}  # fmt: skip


def clips(patients: int = 2) -> ClipTensor:
    """A pattern that no generator of random numbers can change, of two patients; the second lacks a view."""
    n, v, t, y, x = np.ogrid[:patients, :4, :2, :224, :224]
    pixels = ((x * (v + 3) + y * (n + 2) + (x * y) // (17 + 5 * t)) % 256).astype(np.uint8)
    present = torch.ones(patients, 4, dtype=torch.bool)
    present[1, 2] = False
    shown = torch.from_numpy(pixels) * present[:, :, None, None, None]
    return ClipTensor(tuple("ab"), shown.to(torch.uint8), present)


def ensemble() -> Ensemble:
    """Two networks that differ a little."""
    settings, bundles = load_settings(SETTINGS, {}), {}
    rng = np.random.default_rng(0)
    references = np.stack([p.cutoff * rng.lognormal(0, 0.3, 40) for p in PARAMETERS], 1)
    facts = np.tile([75.0, 1.9, 90.0], (40, 1))
    for fold in (1, 2):
        torch.manual_seed(0)
        network = network_of(new_backbone(ViTConfig(**BACKBONE).to_dict()), settings).eval()
        torch.manual_seed(fold)
        with torch.no_grad():
            for weight in network.heads.heads[0].parameters():
                weight.add_(1e-3 * torch.randn_like(weight))
        bundles[f"fold-{fold}"] = Bundle(network, settings, fit_scaler(references, facts))
    return ensemble_of(bundles)


def main(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save_ensemble(ensemble(), Path(folder, "ensemble"), half=clips())
        save_model(Path(folder, "model"), {"ensemble": Path(folder, "ensemble")}, about={"study": "old"})
        stored = load_ensemble(Path(folder, "ensemble"))
        answers = answer(stored, clips(), np.array([[70.0, 1.8, 90.0], [np.nan] * 3]))
        files = [path for path in sorted(Path(folder, "model").rglob("*")) if path.is_file()]
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in files:
                archive.write(path, path.relative_to(folder).as_posix())
            archive.writestr("answers.json", json.dumps(answers["predictions"].tolist()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
