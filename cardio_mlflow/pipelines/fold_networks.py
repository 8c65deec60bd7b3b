"""The networks that explain patients of Cohort I: each patient by one that was not trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow.analysis.predictions import pool_out_of_fold
from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.study_runs import complete_folds
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.finished import FinishedRun, run_by_id, runs_called
from cardio_mlflow.tracking.registry import (
    ARTIFACT,
    MODEL_NAME,
    bundle_names,
    download_bundles,
    registered_run,
)
from cardio_mlflow.training.bundle import Bundle, load_bundle

STUDY: Final = "study"
"""The folds of the study that the settings name."""


@dataclass
class FoldNetworks:
    """Networks of folds, each fetched when it is first needed.

    Attributes:
        run_ids: the run whose model has the network, by fold.
        predictions: of these networks for the patients that they were not trained on.
        cohort_digest: of the cohort that they were trained on.
        folder: where they are kept meanwhile.
    """

    run_ids: Mapping[int, str]
    predictions: pd.DataFrame
    cohort_digest: str
    folder: Path
    _loaded: dict[int, Bundle] = field(default_factory=dict)
    _bundles: dict[str, dict[str, Path]] = field(default_factory=dict)

    def of_fold(self, fold: int) -> Bundle:
        """The network of a fold, which was not trained on the fold's patients."""
        if fold not in self._loaded:
            run_id = self.run_ids[fold]
            if run_id not in self._bundles:
                self._bundles[run_id] = download_bundles(run_id, self.folder / run_id)
            self._loaded[fold] = load_bundle(self._bundles[run_id][f"fold-{fold}"])
        return self._loaded[fold]


def find_networks(settings: Settings, model: str, folder: Path) -> FoldNetworks:
    """Find the networks that a user names.

    Args:
        settings: whose study.
        model: ``study``; an alias or a version of the registered model; or the id or name of a run of
            ``train_fold`` or ``validate``.
        folder: an empty one to keep them in.

    Raises:
        InputError: there is no such study, model or run, or it has no network.
    """
    if model == STUDY:
        folds = complete_folds(settings)
        pooled = pool_out_of_fold({fold: found.predictions() for fold, found in folds.items()})
        ids = {fold: found.run_id for fold, found in folds.items()}
        return FoldNetworks(ids, pooled, next(iter(folds.values())).tags["cohort_digest"], folder)
    registered = registered_run(model)
    run = run_by_id(registered) if registered else _of_a_run(model)
    ids = dict.fromkeys((_fold_of(name) for name in bundle_names(run.run_id)), run.run_id)
    predictions = run.predictions()
    own = predictions[predictions["fold"].isin(list(ids))]
    if own.empty:
        raise InputError(f"model={model} has no network with predictions out of fold to explain.")
    return FoldNetworks(ids, own, run.tags["cohort_digest"], folder)


def _of_a_run(model: str) -> FinishedRun:
    runs = [run for run in runs_called(model) if run.has(ARTIFACT) and run.has("predictions.csv")]
    if not runs:
        raise InputError(
            f"model={model} is neither {STUDY}, nor an alias or version of {MODEL_NAME} in this store, nor "
            "the id or name of a run of train_fold or validate that has a model."
        )
    if len(runs) > 1:
        ids = ", ".join(run.run_id for run in runs[:5])
        raise InputError(f"model={model}: {len(runs)} runs have that name. Give the id of one: {ids}.")
    return runs[0]


def _fold_of(bundle: str) -> int:
    return int(bundle.removeprefix("fold-"))
