"""How well each subset of the views predicts, and how intervals widen when views are missing."""

from __future__ import annotations

from itertools import product
from typing import Final

import numpy as np
import pandas as pd

from cardio_mlflow.analysis.agreement import mean_absolute_error, pearson
from cardio_mlflow.analysis.conformal import LEVEL, views_shown
from cardio_mlflow.analysis.intervals import out_of_fold_intervals
from cardio_mlflow.parameters import KEYS, VIEWS, parameter

ACCURACY_COLUMNS: Final = ("views", "parameter", "unit", "n", "r", "mae", "width", "width_ratio")
MEAN: Final = "mean"
"""The row of the mean over the parameters."""
SUBSETS: Final = tuple(
    sorted(
        views_shown(np.array([s for s in product((True, False), repeat=len(VIEWS)) if any(s)])),
        key=lambda name: -name.count("+"),
    )
)
"""The names of the 15 subsets, those of most views first."""
_ALL: Final = SUBSETS[0]


def view_subset_accuracy(subsets: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """Accuracy and interval width from each subset of the views, out of fold.

    Args:
        subsets: as `cardio_mlflow.analysis.conformal.calibrate` takes them; may have ``person``.
        level: of the intervals.

    Returns:
        For each subset that somebody has, a row for each parameter and one of their `MEAN`, with
        `ACCURACY_COLUMNS`: signed r, mean absolute error and mean width in the parameter's unit (for the mean
        in SDs of the references), and the width over that from all four views of the same patients, NaN where
        nobody has all four.
    """
    table = out_of_fold_intervals(subsets.rename(columns={"views": "variant"}), level)
    table["width"] = table["upper"] - table["lower"]
    full = table[table["variant"] == _ALL].set_index(["patient_id", "parameter"])["width"]
    table["full"] = full.reindex(pd.MultiIndex.from_frame(table[["patient_id", "parameter"]])).to_numpy()
    present = set(table["variant"])
    rows = [row for views in SUBSETS if views in present for row in _rows_of(table, views)]
    return pd.DataFrame(rows, columns=list(ACCURACY_COLUMNS))


def _rows_of(table: pd.DataFrame, views: str) -> list[dict[str, object]]:
    of_views = table[(table["variant"] == views) & table["reference"].notna()]
    found = {key: rows for key, rows in of_views.groupby("parameter") if len(rows) > 1}
    rows = [_row(views, key, found[key]) for key in KEYS if key in found]
    sds = [float(found[key]["reference"].std()) for key in KEYS if key in found]
    mean: dict[str, object] = {"views": views, "parameter": MEAN, "unit": "SD"}
    mean["n"] = max((len(of) for of in found.values()), default=0)
    for name, scale in (("r", None), ("mae", sds), ("width", sds), ("width_ratio", None)):
        values = np.array([row[name] for row in rows], dtype=np.float64)
        values = values if scale is None else values / np.where(np.array(scale) > 0, scale, np.nan)
        mean[name] = float(np.mean(values[known])) if (known := np.isfinite(values)).any() else np.nan
    return [*rows, mean]


def _row(views: str, key: str, rows: pd.DataFrame) -> dict[str, object]:
    """The row of a subset and a parameter; rows of patients with reference."""
    reference, prediction = (rows[name].to_numpy(np.float64) for name in ("reference", "prediction"))
    paired = rows.dropna(subset=["width", "full"])
    return {
        "views": views, "parameter": key, "unit": parameter(key).unit, "n": len(rows),
        "r": float(pearson(reference, prediction)), "mae": float(mean_absolute_error(reference, prediction)),
        "width": float(rows["width"].mean()),
        "width_ratio": float(paired["width"].mean() / paired["full"].mean()) if len(paired) else np.nan,
    }  # fmt: skip
