"""What a trained fold leaves in its MLflow run: metrics, tables, figures and the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cardio_mlflow.analysis.agreement import mean_absolute_error, pearson
from cardio_mlflow.analysis.conformal import SUBSET_COLUMNS, views_shown
from cardio_mlflow.analysis.predictions import COLUMNS, check_predictions
from cardio_mlflow.analysis.summary import performance_table
from cardio_mlflow.figures.scatter import scatter_page
from cardio_mlflow.figures.training_curves import training_curves
from cardio_mlflow.parameters import KEYS, PARAMETERS
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.registry import log_model
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.training.bundle import Bundle, save_bundle
from cardio_mlflow.training.fit import EpochRecord
from cardio_mlflow.training.stroke_volume import Predicted
from cardio_mlflow.training.view_subsets import SubsetPrediction

FEATURES: Final = "tables/features.csv"
PARTICIPANTS: Final = "tables/participants.csv"
VIEW_SUBSETS: Final = "tables/view_subsets.csv"

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TrainedFold:
    """A trained fold.

    Attributes:
        bundle: the network with the weights that are kept, and what belongs to it.
        best_epoch: the epoch that is kept: of lowest validation loss, or the last.
        best_loss: the validation loss of what is kept.
        history: one row per epoch, metrics under their MLflow names.
        predictions: the predictions table of its validation patients, by the network that is kept.
        features: their features table, by the same network.
        view_subsets: what it predicts for them from each subset of the views they have.
    """

    bundle: Bundle
    best_epoch: int
    best_loss: float
    history: pd.DataFrame
    predictions: pd.DataFrame
    features: pd.DataFrame
    view_subsets: pd.DataFrame


def epoch_metrics(record: EpochRecord, references: FloatArray, predictions: FloatArray) -> dict[str, float]:
    """An epoch's metrics by their MLflow names; signed r and MAE of the (N, 9) validation predictions."""
    given = [
        not np.isnan(column).any() for column in predictions.T
    ]  # a parameter that is not learned has none
    pairs = {key: _pair(references[:, i], predictions[:, i]) for i, key in enumerate(KEYS) if given[i]}
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
        **{f"alpha/{stage}": value for stage, value in record.alphas.items()},
        "stage": float(record.stage),
    }


def log_result(run: Run, settings: Settings, trained: TrainedFold, fold: int) -> None:
    """Log a trained fold.

    Args:
        run: where to.
        settings: of the fold, with its variant.
        trained: the fold.
        fold: its number.
    """
    history = trained.history
    table = check_predictions(trained.predictions)
    performance = performance_table(table, settings.bootstrap, settings.seed)
    r_mean = float(performance["r"].mean())
    best = {"best/epoch": float(trained.best_epoch), "best/loss": trained.best_loss, "best/r_mean": r_mean}
    run.log_metrics(best)
    alphas = {f"alpha/{stage}": value for stage, value in trained.bundle.network.alphas().items()}
    run.log_metrics(alphas, trained.best_epoch)
    flat = history.rename(columns=lambda name: name.replace("/", "_"))
    run.log_table(trained.predictions, "predictions.csv")
    run.log_table(trained.features, FEATURES)
    run.log_table(trained.view_subsets, VIEW_SUBSETS)
    run.log_table(flat, "tables/history.csv")
    run.log_table(performance, "tables/performance.csv")
    synthetic = settings.is_synthetic
    run.log_figures(
        {
            "training_curves": training_curves(flat, synthetic=synthetic),
            "scatter": scatter_page(table, performance, synthetic=synthetic),
        },
        settings.figure_formats,
    )
    _log_bundle(run, trained.bundle, fold)


def _pair(references: FloatArray, predictions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The pairs whose reference is there."""
    present = np.isfinite(references)
    return references[present], predictions[present]


def _log_bundle(run: Run, bundle: Bundle, fold: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"fold-{fold}"
        save_bundle(bundle, path)
        log_model(run, {path.name: path})


def build_predictions(
    patients: Sequence[str],
    references: FloatArray,
    predicted: Predicted,
    *,
    cohort: str,
    variant: str,
    fold: int | None = None,
    persons: Sequence[str] | None = None,
    ends: tuple[FloatArray, FloatArray] | None = None,
) -> pd.DataFrame:
    """The predictions table of one model.

    Args:
        patients: N ids.
        references: (N, 9) in the units of the parameter table, NaN where missing.
        predicted: (N, 9) in the same units, NaN for what is not predicted, and which way they came.
        cohort: I or II.
        variant: the network's variant.
        fold: the fold whose validation patients these are; none for Cohort II.
        persons: the N patients' persons, where some share one.
        ends: lower and upper ends of intervals, (N, 9) each, where there are any.

    Returns:
        One row per prediction, a patient's parameters together. Where any of them followed by an identity,
        `way` says which (identity or direct) and `direct` has the prediction of the parameter's own head.
    """
    count = len(patients)
    columns = {
        "patient_id": np.repeat(np.asarray(patients, dtype=object), len(KEYS)),
        "cohort": cohort,
        "fold": pd.array([fold] * count * len(KEYS), dtype="Int64"),
        "variant": variant,
        "parameter": list(KEYS) * count,
        "unit": [p.unit for p in PARAMETERS] * count,
        "reference": references.ravel(),
        "prediction": predicted.predictions.ravel(),
    }
    table = pd.DataFrame(columns)[list(COLUMNS)]
    if ends is not None:
        table["lower"], table["upper"] = (values.ravel() for values in ends)
    if predicted.derived.any():
        table["way"] = np.where(predicted.derived.ravel(), "identity", "direct")
        table["direct"] = predicted.direct.ravel()
    if persons is not None:
        table["person"] = np.repeat(np.asarray(persons, dtype=object), len(KEYS))
    return table[table["prediction"].notna()].reset_index(drop=True)


def subset_table(
    patients: Sequence[str],
    references: FloatArray,
    found: Iterable[SubsetPrediction],
    unscaled: Callable[[FloatArray, NDArray[np.int64]], Predicted],
    *,
    fold: int,
    persons: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The table of predictions from subsets of the views.

    Args:
        patients: N ids of a fold's validation patients.
        references: (N, 9) in their units, NaN where missing.
        found: the predictions.
        unscaled: gives the scaled targets of patients, (n, 9 or 11), at their n positions in their units.
        fold: its number.
        persons: as in `build_predictions`.

    Returns:
        `SUBSET_COLUMNS`, and ``person`` where some share one; no row of nothing found.
    """
    tables = []
    for shown, rows, targets in found:
        chosen = [patients[row] for row in rows]
        people = None if persons is None else [persons[row] for row in rows]
        name = views_shown(shown[np.newaxis])[0]
        tables.append(
            build_predictions(chosen, references[rows], unscaled(targets, rows), cohort="I", variant=name,
                              fold=fold, persons=people)
        )  # fmt: skip
    if not tables:
        return pd.DataFrame(columns=list(SUBSET_COLUMNS))
    table = pd.concat(tables, ignore_index=True).rename(columns={"variant": "views"})
    return table[[*SUBSET_COLUMNS, *(["person"] if persons is not None else [])]]


def features_table(patients: Sequence[str], features: Mapping[int, FloatArray]) -> pd.DataFrame:
    """The features table: fused features of patients by one or several networks.

    Args:
        patients: N ids.
        features: the fold that a network was trained without, to its (N, D) features.

    Returns:
        One row per network and patient: patient_id, network, f0 and so on, to single precision.
    """
    tables = []
    for network, values in features.items():
        names = [f"f{i}" for i in range(values.shape[1])]
        table = pd.DataFrame(values.astype(np.float32), columns=names)
        table.insert(0, "network", network)
        table.insert(0, "patient_id", list(patients))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
