"""How well the demo finds the signal, and two controls that must find nothing.

    python -m benchmarks.controls signal        mean signed r on synthetic Cohort II: at least 0.70
    python -m benchmarks.controls shuffled      labels of Cohort I shuffled between patients, the mean of ten
                                                shuffles: within ±0.05
    python -m benchmarks.controls brightness    each frame replaced by its mean brightness: within ±0.25

Each trains the five folds of the demo preset as `mlflow run .` does, without logging, and takes about
as long as its training (minutes on two cores; shuffled ten times that). Settings can follow: --epochs 12.
The controls ask what the pictures tell, so they leave identities out: heart rate alone tells something. That
of brightness leaves motion out too: how the brightness of frames changes over the cycle tells how the
chambers fill and empty, which is no shortcut (with motion it gives +0.28, without +0.06).
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import torch
from tqdm import tqdm

from cardio_mlflow.analysis.agreement import pearson
from cardio_mlflow.data.clips import PREPARED_FRAMES
from cardio_mlflow.data.dataset import ClipTensor, load_clips
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.pipelines.command_line import parse_arguments
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.training.bundle import Bundle, predict
from cardio_mlflow.training.fit import fit
from cardio_mlflow.training.frozen_features import FrozenFeatures
from cardio_mlflow.training.state import new_state, put_weights

CONTROLS = {"signal": (0.70, 1.0), "shuffled": (-0.05, 0.05), "brightness": (-0.25, 0.25)}
"""What is measured, and the mean signed r that is asked for."""
LEFT_OUT = {
    "signal": {},
    "shuffled": {"identities": "false"},
    "brightness": {"identities": "false", "motion": "false"},
}
SHUFFLES = 10


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in CONTROLS:
        sys.exit(__doc__)
    control, given = sys.argv[1], parse_arguments(sys.argv[2:])
    settings = load_settings(given | LEFT_OUT[control])
    inputs = load_inputs(settings)
    data = load_training_set(settings, inputs)
    patients = inputs.patients("II")
    cohort2 = load_clips(inputs.prepared.clips_of, patients, PREPARED_FRAMES)
    if control == "brightness":
        data = replace(data, features=of_brightness(data))
        cohort2 = brightness_only(cohort2)
    rows = []
    for number in range(SHUFFLES if control == "shuffled" else 1):
        own = shuffled(data, settings.seed + number) if control == "shuffled" else data
        bundles = [train(settings, own, fold) for fold in range(1, settings.num_folds + 1)]
        found = [predict(bundle, cohort2, inputs.facts(patients)).predicted for bundle in bundles]
        rows.append(
            correlations(inputs.references(patients), np.mean([f.predictions for f in found], axis=0))
        )
    report(control, np.array(rows), len(patients))


def shuffled(data: TrainingSet, seed: int) -> TrainingSet:
    """The cohort with its labels dealt anew between patients."""
    order = np.random.default_rng(seed).permutation(len(data.patients))
    return replace(data, references=data.references[order])


def brightness_only(data: ClipTensor) -> ClipTensor:
    """Replace every frame by a flat picture of its mean brightness."""
    mean = data.clips.float().mean((-2, -1), keepdim=True).round().to(torch.uint8)
    return replace(data, clips=mean.expand_as(data.clips).contiguous())


def of_brightness(data: TrainingSet) -> FrozenFeatures:
    """The cohort's features, made from brightness only."""
    clips = data.features.clips
    views = torch.stack([clips.clips_of(patient) for patient in range(len(data.patients))])
    flat = brightness_only(
        ClipTensor(data.patients, views, clips.present, clips.placement, clips.phased, clips.rr_ms)
    )
    return FrozenFeatures(replace(data.features.sources, clips=flat), data.features._store)


def train(settings: Settings, data: TrainingSet, fold: int) -> Bundle:
    """Train a fold and keep its best epoch."""
    fold_data, scaler = data.fold(fold, settings)
    state = new_state(data.network(settings), settings)
    records = fit(state, fold_data, settings, settings.seed + fold)
    for _ in tqdm(records, total=settings.epochs, desc=f"fold {fold}", unit="epoch"):
        pass
    return Bundle(put_weights(data.network(settings), state.best_weights), settings, scaler, data.scale)


def correlations(references: np.ndarray, predictions: np.ndarray) -> list[float]:
    """Signed r of each parameter; 0 for a constant prediction, which tells nothing."""
    known = np.isfinite(references)
    pairs = [(references[k, i], predictions[k, i]) for i, k in enumerate(known.T)]
    return [float(np.nan_to_num(pearson(*pair))) for pair in pairs]


def report(control: str, values: np.ndarray, patients: int) -> None:
    """Print signed r of each parameter on Cohort II, and its mean; (trainings, 9) values."""
    for key, r in zip(KEYS, values.mean(0), strict=True):
        print(f"{key:8s} r = {r:+.2f}")
    means = values.mean(1)
    low, high = CONTROLS[control]
    held = low <= means.mean() <= high
    spread = f", SD {means.std(ddof=1):.3f} over {len(means)}" if len(means) > 1 else ""
    print(
        f"{control}: mean signed r on Cohort II = {means.mean():+.3f}{spread} (n = {patients}); "
        f"asked for {low:+.2f} to {high:+.2f}: {'held' if held else 'MISSED'}"
    )
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
