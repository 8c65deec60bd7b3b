"""The folds side by side: where each stopped, and how well it predicts its own validation patients."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.agreement import mean_absolute_error, pearson
from cardio_mlflow.analysis.predictions import reference_and_prediction
from cardio_mlflow.parameters import KEYS


def fold_table(predictions: pd.DataFrame, history: pd.DataFrame | None) -> pd.DataFrame:
    """Correlation and error of each fold on the patients it did not train on, then their mean and SD.

    Args:
        predictions: a checked, out-of-fold predictions table of one variant of Cohort I.
        history: a row for each fold and epoch, with fold, epoch and val_loss; the best epoch is the first
            of the smallest validation loss. May be missing.

    Returns:
        A row for each fold, then "mean" and "SD" (n − 1) over the folds where a value is defined: fold, n
        (patients), best_epoch, best_loss, r_mean (over the parameters that have an r), `r_<key>` (signed
        Pearson), `mae_<key>` (in the parameter's unit) and note. Without folds: no row.
    """
    present = set(predictions["parameter"])
    keys = [key for key in KEYS if key in present]
    names = ["n", "best_epoch", "best_loss", "r_mean"]
    names += [f"r_{key}" for key in keys] + [f"mae_{key}" for key in keys]
    numbers = sorted(int(fold) for fold in predictions["fold"].dropna().unique())
    rows = [_row(predictions[predictions["fold"].eq(fold)], history, fold, keys) for fold in numbers]
    values = pd.DataFrame(rows, columns=names, dtype=np.float64)
    result = pd.concat([values, values.agg(["mean", "std"])], ignore_index=True) if numbers else values
    result.insert(0, "fold", [str(fold) for fold in numbers] + (["mean", "SD"] if numbers else []))
    result["note"] = [_note(row) for row in rows] + ([_summary_note(values)] * 2 if numbers else [])
    return result


def _row(own: pd.DataFrame, history: pd.DataFrame | None, fold: int, keys: list[str]) -> dict[str, float]:
    epoch, loss = _best(history, fold)
    pairs = {key: reference_and_prediction(own, key) for key in keys}
    r = {f"r_{key}": float(pearson(*pair)) for key, pair in pairs.items()}
    defined = [value for value in r.values() if not np.isnan(value)]
    mean = float(np.mean(defined)) if defined else float("nan")
    mae = {f"mae_{key}": float(mean_absolute_error(*pair)) for key, pair in pairs.items()}
    patients = float(own["patient_id"].nunique())
    return {"n": patients, "best_epoch": epoch, "best_loss": loss, "r_mean": mean} | r | mae


def _best(history: pd.DataFrame | None, fold: int) -> tuple[float, float]:
    """Epoch and validation loss of a fold's best epoch, NaN without a history of it."""
    if history is None:
        return float("nan"), float("nan")
    own = history[history["fold"].eq(fold) & history["val_loss"].notna()].sort_values("epoch")
    if own.empty:
        return float("nan"), float("nan")
    at = int(own["val_loss"].to_numpy(np.float64).argmin())
    return float(own["epoch"].iloc[at]), float(own["val_loss"].iloc[at])


def _note(row: dict[str, float]) -> str:
    """The parameters without a correlation or an error in one fold."""
    no_error = [name[4:] for name, value in row.items() if name.startswith("mae_") and np.isnan(value)]
    no_r = [key for key in KEYS if f"r_{key}" in row and np.isnan(row[f"r_{key}"]) and key not in no_error]
    notes = [f"no reference of {', '.join(no_error)}"] if no_error else []
    return "; ".join(notes + ([f"no r of {', '.join(no_r)}"] if no_r else []))


def _summary_note(values: pd.DataFrame) -> str:
    """The values that are missing in some folds, hence whose mean is over fewer."""
    counts = values.notna().sum()
    partly = [f"{name} over {n} of {len(values)} folds" for name, n in counts.items() if 0 < n < len(values)]
    return "; ".join([*partly, *(["one fold: no SD"] if len(values) == 1 else [])])
