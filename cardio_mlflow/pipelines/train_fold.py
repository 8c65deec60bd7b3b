"""Train one fold: an epoch record at a time into one MLflow run."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from cardio_mlflow.analysis.agreement import mean_absolute_error, pearson
from cardio_mlflow.analysis.predictions import check_predictions
from cardio_mlflow.analysis.summary import performance_table
from cardio_mlflow.errors import InputError
from cardio_mlflow.figures.scatter import scatter_page
from cardio_mlflow.figures.training_curves import training_curves
from cardio_mlflow.model.network import Network
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.pipelines.inputs import load_inputs
from cardio_mlflow.pipelines.predictions import build_predictions
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set
from cardio_mlflow.settings import Settings, Variant
from cardio_mlflow.tracking.registry import log_model
from cardio_mlflow.tracking.runs import Run, colour_of, tags_of
from cardio_mlflow.tracking.store import page_command
from cardio_mlflow.training.bundle import Bundle, save_bundle
from cardio_mlflow.training.fit import EpochRecord, FoldData, fit
from cardio_mlflow.training.scaling import TargetScaler

FloatArray = NDArray[np.float64]

log = logging.getLogger(__name__)


def train_fold(settings: Settings, run: Run, fold: str = "1") -> None:
    """Train one fold of Cohort I: per-epoch metrics, curves, out-of-fold predictions and the model."""
    number = check_fold(fold, settings.num_folds)
    data = load_training_set(settings, load_inputs(settings))
    train_into(run, settings, number, settings.variant, data)
    log.info(
        "Fold %d is in the run %s. See it with: %s",
        number,
        run_name(settings.variant, number),
        page_command(),
    )


def check_fold(fold: str, num_folds: int) -> int:
    """Read a fold number.

    Raises:
        InputError: it is not a whole number from 1 to ``num_folds``.

    >>> check_fold("2", 5)
    2
    """
    if not fold.isdecimal() or not 1 <= int(fold) <= num_folds:
        raise InputError(f"fold={fold} is not allowed. Allowed: a whole number from 1 to {num_folds}.")
    return int(fold)


def run_name(variant: Variant, fold: int) -> str:
    """The name of a fold's run.

    >>> run_name("full", 2), run_name("no_fusion", 2)
    ('fold-2', 'no_fusion/fold-2')
    """
    return f"fold-{fold}" if variant == "full" else f"{variant}/fold-{fold}"


def fold_tags(settings: Settings, variant: Variant, fold: int, digest: str) -> dict[str, str]:
    """The tags of a fold's run."""
    tags = tags_of(settings, "train_fold", fold=str(fold), variant=variant, cohort_digest=digest)
    return tags | colour_of(fold, variant)


def train_into(run: Run, settings: Settings, fold: int, variant: Variant, data: TrainingSet) -> pd.DataFrame:
    """Train a variant on a fold and log everything into a run.

    Returns:
        The predictions table of the fold's validation patients, by the epoch of lowest validation loss.

    Raises:
        InputError: training cannot go on; the message names the fold.
    """
    run.rename(run_name(variant, fold))
    ids = {"patient_ids": data.inputs.patient_ids}
    run.set_tags(fold_tags(settings, variant, fold, data.inputs.digest) | ids)
    run.log_dataset(settings.cohort_name, data.inputs.digest)
    fold_data, scaler = data.fold(fold)
    references = data.references[list(fold_data.validation)]
    trained = _follow(
        run, settings, variant, data.network(settings, variant), fold_data, scaler, references, fold
    )
    predictions = scaler.unscale(trained.best.predictions)
    patients = [data.patients[i] for i in fold_data.validation]
    table = build_predictions(patients, references, predictions, cohort="I", variant=variant, fold=fold)
    _log_result(run, settings, trained, table)
    _log_bundle(run, Bundle(trained.network, settings.model_copy(update={"variant": variant}), scaler), fold)
    return table


@dataclass(frozen=True)
class TrainedFold:
    """A trained network with the weights of its best epoch, that epoch, and the history of all."""

    network: Network
    best: EpochRecord
    history: pd.DataFrame


def _follow(
    run: Run,
    settings: Settings,
    variant: Variant,
    network: Network,
    fold_data: FoldData,
    scaler: TargetScaler,
    references: FloatArray,
    fold: int,
) -> TrainedFold:
    """Run the epochs, log each, and put the best epoch's weights back into the network."""
    history, best = [], None
    with tqdm(total=settings.epochs, desc=run_name(variant, fold), unit="epoch") as bar:
        try:
            for record in fit(network, fold_data, settings, settings.seed + fold):
                metrics = epoch_metrics(record, references, scaler.unscale(record.predictions))
                run.log_metrics(metrics, record.epoch)
                named = {name.replace("/", "_"): value for name, value in metrics.items()}
                history.append({"fold": fold, "epoch": record.epoch, **named})
                best = record if record.best_state is not None else best
                bar.set_postfix_str(
                    f"loss {record.val_loss:.3f} r {metrics['val/r_mean']:.2f} stage {record.stage}"
                )
                bar.update()
        except InputError as error:
            raise InputError(f"Fold {fold} ({variant}): {error}") from error
    if best is None or best.best_state is None:
        raise InputError(f"Fold {fold} ({variant}): no epoch had a finite validation loss.")
    network.load_state_dict(best.best_state, strict=True)
    return TrainedFold(network, best, pd.DataFrame(history))


def epoch_metrics(record: EpochRecord, references: FloatArray, predictions: FloatArray) -> dict[str, float]:
    """An epoch's metrics by their MLflow names; signed r and MAE of the (N, 9) validation predictions."""
    pairs = {key: _pair(references[:, i], predictions[:, i]) for i, key in enumerate(KEYS)}
    r = {key: float(pearson(*pair)) for key, pair in pairs.items()}
    error = {key: float(mean_absolute_error(*pair)) for key, pair in pairs.items()}
    known = [value for value in r.values() if np.isfinite(value)]
    return {
        "train/loss": record.train_loss,
        "val/loss": record.val_loss,
        "val/r_mean": float(np.mean(known)) if known else float("nan"),
        **{f"val/r_{key}": value for key, value in r.items()},
        **{f"val/mae_{key}": value for key, value in error.items()},
        "lr/task": record.task_lr,
        "lr/backbone": record.backbone_lr,
        "stage": float(record.stage),
    }


def _pair(references: FloatArray, predictions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The pairs whose reference is there."""
    present = np.isfinite(references)
    return references[present], predictions[present]


def _log_result(run: Run, settings: Settings, trained: TrainedFold, table: pd.DataFrame) -> None:
    best, history = trained.best, trained.history
    r_mean = float(history.loc[history["epoch"] == best.epoch, "val_r_mean"].iloc[0])
    run.log_metrics({"best/epoch": float(best.epoch), "best/loss": best.val_loss, "best/r_mean": r_mean})
    run.log_metrics({f"alpha/{stage}": value for stage, value in trained.network.alphas().items()})
    run.log_table(table, "predictions.csv")
    run.log_table(history, "tables/history.csv")
    performance = performance_table(check_predictions(table), settings.bootstrap, settings.seed)
    run.log_table(performance, "tables/performance.csv")
    synthetic = settings.is_synthetic
    run.log_figures(
        {
            "training_curves": training_curves(history, synthetic=synthetic),
            "scatter": scatter_page(check_predictions(table), performance, synthetic=synthetic),
        }
    )


def _log_bundle(run: Run, bundle: Bundle, fold: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"fold-{fold}"
        save_bundle(bundle, path)
        log_model(run, {path.name: path})
