"""Train one fold: an epoch record at a time into one MLflow run."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from cardio_mlflow import __version__
from cardio_mlflow.analysis.intervals import out_of_fold_intervals
from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.fold_results import (
    PARTICIPANTS,
    TrainedFold,
    build_predictions,
    epoch_metrics,
    features_table,
    log_result,
    subset_table,
)
from cardio_mlflow.pipelines.inputs import load_inputs, participants
from cardio_mlflow.pipelines.study_runs import latest_folds
from cardio_mlflow.pipelines.trained_on import TRAINED_ON, seen_of
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.finished import FinishedRun
from cardio_mlflow.tracking.new_runs import colour_of, tags_of
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tracking.store import page_command
from cardio_mlflow.training.bundle import Bundle
from cardio_mlflow.training.checkpoint import Checkpoint
from cardio_mlflow.training.fit import EpochRecord, FoldData, fit
from cardio_mlflow.training.fold_reference import fit_reference
from cardio_mlflow.training.processes import join_processes
from cardio_mlflow.training.scaling import TargetScaler
from cardio_mlflow.training.state import TrainingState, new_state, put_weights
from cardio_mlflow.training.stroke_volume import Predicted
from cardio_mlflow.training.view_subsets import validation_subsets

PATIENCE: Final = 600.0
"""Seconds that a resumed fold waits for a worker that has outlived its killed command."""

log = logging.getLogger(__name__)

History = list[dict[str, Any]]
"""One row per epoch: fold, epoch, ``time`` (ms since 1970) and the metrics by their MLflow names."""


@dataclass(frozen=True)
class FoldJob:
    """One fold of one variant.

    Attributes:
        fold: 1-based.
        variant: one of the six, or of ``more_variants``.
        repeat: 1, or the number of another seed of the ablation.
    """

    fold: int
    variant: str = "full"
    repeat: int = 1

    @property
    def name(self) -> str:
        """The name of its run.

        >>> FoldJob(2).name, FoldJob(2, "no_fusion").name, FoldJob(2, repeat=3).name
        ('fold-2', 'no_fusion/fold-2', 'full/fold-2/seed-3')
        """
        if self.repeat > 1:
            return f"{self.variant}/fold-{self.fold}/seed-{self.repeat}"
        return f"fold-{self.fold}" if self.variant == "full" else f"{self.variant}/fold-{self.fold}"

    def checkpoint(self, settings: Settings, data: TrainingSet) -> Checkpoint:
        """Its checkpoint: one for each study, configuration, cohort and version of the code."""
        known = (settings.study_name, settings.digest(), settings.variant, data.inputs.digest,
                 data.inputs.patient_ids, __version__, data.features.device.type)  # fmt: skip
        digest = hashlib.blake2b(repr(known).encode(), digest_size=8).hexdigest()
        folder = settings.cache / "checkpoints" / f"{digest}-{self.variant}-{self.fold}"
        return Checkpoint(folder, settings.checkpoint_minutes)


@dataclass(frozen=True)
class Place:
    """Where a job is trained.

    Attributes:
        line: of its progress bar, where several are shown.
        parent: id of the process that started this one for it; 0 where none did.
    """

    line: int | None = None
    parent: int = 0


@dataclass(frozen=True)
class _Fold:
    """A job with what it works on."""

    job: FoldJob
    settings: Settings
    data: TrainingSet
    fold_data: FoldData
    scaler: TargetScaler

    @property
    def validation(self) -> list[int]:
        """Positions of the validation patients."""
        return list(self.fold_data.validation)

    @property
    def references(self) -> NDArray[np.float64]:
        """(N_val, 9) their references, in their units."""
        return self.data.references[self.validation]

    def predicted(self, targets: NDArray[np.float64]) -> Predicted:
        """Predicted scaled targets of the validation patients in their units."""
        return self.predicted_of(targets, np.arange(len(self.validation)))

    def predicted_of(self, targets: NDArray[np.float64], rows: NDArray[np.int64]) -> Predicted:
        """Those of some of the validation patients, at these positions among them."""
        return self.scaler.predicted(targets, self.data.facts[self.validation][rows])


def train_into(
    run: Run, settings: Settings, job: FoldJob, data: TrainingSet, place: Place | None = None
) -> pd.DataFrame:
    """Train a fold and log everything into a run; with ``resume`` from its checkpoint, where there is one.

    Args:
        run: where to; among several processes only the first one writes to it.
        settings: what to train.
        job: fold and variant; the settings are those of the variant, see ``Settings.for_variant``.
        data: the cohort.
        place: where this is; by default the only process.

    Returns:
        The predictions table of the fold's validation patients, by the epoch that is kept.

    Raises:
        InputError: training cannot go on; the message names the fold.
    """
    fold = _Fold(job, settings, data, *data.fold(job.fold, settings))
    scaler = fold.scaler
    checkpoint, main = job.checkpoint(settings, data), data.processes.is_main
    if main:
        run.rename(job.name)
        run.set_tags(_fold_tags(settings, job, data) | colour_of(job.fold, job.variant))
        run.set_tags({"patient_ids": data.inputs.patient_ids, "folds_from": data.inputs.folds_from})
        if scaler.left_out:
            left_out = ", ".join(scaler.left_out)
            log.warning("%s leaves out %s: too few values among its training patients.", job.name, left_out)
        run.log_dataset(settings.cohort_name, data.inputs.digest)
    try:
        with checkpoint.locked(PATIENCE if settings.resume else 0) if main else nullcontext():
            trained = _train(run, fold, checkpoint, place or Place())
            if main:
                log_result(run, settings, trained, job.fold)
                run.log_table(participants(data.inputs, "I"), PARTICIPANTS)
                run.log_text(seen_of(data.inputs, data.patients).to_json(), TRAINED_ON)
                run.finish()
                checkpoint.remove()
    except InputError as error:
        raise InputError(f"Fold {job.fold} ({job.variant}): {error}") from error
    return trained.predictions


def _fold_tags(settings: Settings, job: FoldJob, data: TrainingSet) -> dict[str, str]:
    tags = {"fold": str(job.fold), "variant": job.variant, "cohort_digest": data.inputs.digest}
    tags |= {"repeat": str(job.repeat)} if job.repeat > 1 else {}
    return tags_of(settings, "train_fold", **tags)


def _train(run: Run, fold: _Fold, checkpoint: Checkpoint, place: Place) -> TrainedFold:
    """Run the epochs that are left, with a checkpoint and a line of metrics after each."""
    settings, data, job = fold.settings, fold.data, fold.job
    state = new_state(data.network(settings), settings)
    history = _take_up(run, fold, checkpoint, state)
    writes = data.processes.is_main
    records = fit(state, fold.fold_data, settings, settings.seed + job.fold, data.processes)
    try:
        for record in _with_bar(records, fold, state.epoch, place.line if writes else -1):
            metrics = epoch_metrics(record, fold.references, fold.predicted(record.predictions).predictions)
            row = {"fold": job.fold, "epoch": record.epoch, "time": int(time.time() * 1000), **metrics}
            history.append(row)
            if writes:
                checkpoint.keep(state, {"history": history, "run_id": run.run_id})
                _log_epoch(run, row)
            if place.parent and os.getppid() != place.parent:
                raise InputError("The command that started this worker has ended; -P resume=true goes on.")
    finally:  # a stop by the user or the system comes as an exception
        checkpoint.flush()
    return _result(fold, state, history)


def _take_up(run: Run, fold: _Fold, checkpoint: Checkpoint, state: TrainingState) -> History:
    """Put the checkpoint into the state and its history into the run; or start from scratch."""
    processes = fold.data.processes
    if processes.is_main and fold.settings.resume:
        run.end_killed(_fold_tags(fold.settings, fold.job, fold.data))
    if not checkpoint.exists() or not fold.settings.resume:
        processes.check_same(0, "epoch that they resume after")
        if processes.is_main and checkpoint.exists():
            log.warning(
                "%s starts from scratch, though a stopped run of it left a checkpoint: -P resume=true goes "
                "on from there, as long as this run has not finished its first epoch.", fold.job.name,
            )  # fmt: skip
        return []
    notes = checkpoint.notes()
    checkpoint.read(state)
    processes.check_same(state.epoch, "epoch that they resume after")
    history: History = notes["history"]
    if processes.is_main:
        run.take_over_from(notes["run_id"])
        for row in history:
            _log_epoch(run, row)
        log.info("%s goes on after epoch %d of %d.", fold.job.name, state.epoch, fold.settings.epochs)
    return history


def _log_epoch(run: Run, row: dict[str, Any]) -> None:
    metrics = {name: value for name, value in row.items() if name not in ("fold", "epoch", "time")}
    run.log_metrics(metrics, row["epoch"], row["time"])


def _with_bar(
    records: Iterator[EpochRecord], fold: _Fold, done: int, position: int | None
) -> Iterator[EpochRecord]:
    """The records, with a progress bar; none at position -1."""
    with tqdm(
        total=fold.settings.epochs, initial=done, desc=fold.job.name, unit="epoch", position=position,
        leave=position is None, disable=position == -1,
    ) as bar:  # fmt: skip
        for record in records:
            yield record
            bar.set_postfix_str(f"loss {record.val_loss:.3f} stage {record.stage}")
            bar.update()


def _result(fold: _Fold, state: TrainingState, history: History) -> TrainedFold:
    """The network with the weights that are kept, and what it predicts."""
    settings, data, job = fold.settings, fold.data, fold.job
    patients = [data.patients[i] for i in fold.validation]
    persons = data.inputs.persons(patients)
    predictions = build_predictions(
        patients, fold.references, fold.predicted(state.best_predictions),
        cohort="I", variant=job.variant, fold=job.fold, persons=persons,
    )  # fmt: skip
    network = put_weights(data.network(settings), state.best_weights)
    table = pd.DataFrame(history).drop(columns="time")
    features = features_table(patients, {job.fold: state.best_features})
    is_main = data.processes.is_main
    found = validation_subsets(network, fold.fold_data, settings) if is_main else ()
    reference = fit_reference(network, fold.fold_data, settings) if is_main else None
    subsets = subset_table(
        patients, fold.references, found, fold.predicted_of, fold=job.fold, persons=persons
    )
    bundle = Bundle(network, settings, fold.scaler, data.scale, reference)
    predictions = out_of_fold_intervals(predictions)
    return TrainedFold(bundle, state.best_epoch, state.best_loss, table, predictions, features, subsets)


def train_fold(settings: Settings, run: Run, fold: str = "1") -> None:
    """Train one fold of Cohort I: per-epoch metrics, curves, out-of-fold predictions and the model.

    Started by ``python -m torch.distributed.run``, several processes or GPUs share the fold.
    """
    job = FoldJob(check_fold(fold, settings.num_folds), settings.variant)
    with join_processes() as processes:
        data = load_training_set(settings, load_inputs(settings), processes)
        done = _trained_already(settings, job, data)
        if done is None:
            train_into(run, settings, job, data)
        if not processes.is_main:
            return
        if done is None:
            log.info("Fold %d is in the run %s. See it with: %s", job.fold, job.name, page_command())
        else:
            log.info("%s is trained already, in the run %s: nothing is left to do.", job.name, done.run_id)


def _trained_already(settings: Settings, job: FoldJob, data: TrainingSet) -> FinishedRun | None:
    """Where the user resumes a fold that is complete: its run."""
    if not settings.resume or job.checkpoint(settings, data).exists():
        return None
    same = {"settings_digest": settings.digest(), "cohort_digest": data.inputs.digest}
    return latest_folds(settings.study_name, job.variant, same).get(job.fold)


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
