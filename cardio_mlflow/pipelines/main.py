"""The whole study: prepare, train, ablate, validate, register, visualize, test, and a summary."""

from __future__ import annotations

import logging

import torch

from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.ablation import compare_variants
from cardio_mlflow.pipelines.fold_networks import STUDY
from cardio_mlflow.pipelines.inputs import StudyInputs, load_inputs
from cardio_mlflow.pipelines.prepare import log_preparation, refuse_refusals
from cardio_mlflow.pipelines.study_runs import complete_folds
from cardio_mlflow.pipelines.summary import Summary, log_summary
from cardio_mlflow.pipelines.test import judge_champion
from cardio_mlflow.pipelines.train import refuse_variant, train_folds
from cardio_mlflow.pipelines.training_set import load_training_set
from cardio_mlflow.pipelines.validate import validate_study
from cardio_mlflow.pipelines.visualize import visualize
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.new_runs import step_run
from cardio_mlflow.tracking.runs import Run

log = logging.getLogger(__name__)


def main(settings: Settings, run: Run) -> None:
    """The whole study; each step has its own run beside this summary run.

    ``skip_train`` takes the folds that are trained; ``training_only`` stops after the registration.
    """
    refuse_variant(settings)
    run.rename(settings.study_name)
    if settings.skip_train:
        complete_folds(settings)
    inputs = _prepared(settings, run)
    with_test = not settings.training_only and bool(inputs.patients("II"))
    if not with_test:
        log.info(
            "Cohort II is not tested: %s.", "training_only" if settings.training_only else "there is none"
        )
    _trained(settings, inputs, run)
    log.info("Step 4 of 6: validate on Cohort I")
    with step_run("validate", settings, "validate", run) as validation:
        cohort1 = validate_study(settings, validation)
    if not settings.training_only and settings.explained_patients != "none":
        _explained(settings, run)
    cohort2, test_folder = None, ""
    if with_test:
        log.info("Step 6 of 6: test on Cohort II")
        with step_run("test", settings, "test", run) as test:
            cohort2 = judge_champion(settings, test)
            test_folder = test.artifact_folder()
    folds = [found.run_id for found in complete_folds(settings).values()]
    run.set_tags({"cohort_digest": inputs.digest})
    log_summary(
        run, settings, Summary(cohort1, cohort2, validation.artifact_folder(), test_folder, tuple(folds))
    )


def _prepared(settings: Settings, command: Run) -> StudyInputs:
    log.info("Step 1 of 6: prepare the clips")
    with step_run("prepare", settings, "prepare", command) as run:
        inputs = load_inputs(settings)
        log_preparation(run, inputs)
        refuse_refusals(settings, inputs.prepared)
    return inputs


def _trained(settings: Settings, inputs: StudyInputs, command: Run) -> None:
    """Train the folds and, unless only training is wanted, the variants, on one loaded training set."""
    if settings.skip_train and settings.training_only:
        return
    data = load_training_set(settings, inputs)
    if not settings.skip_train:
        log.info("Step 2 of 6: train %d folds", settings.num_folds)
        with step_run("train", settings, "train", command) as run:
            train_folds(settings, run, data)
    if not settings.training_only:
        log.info("Step 3 of 6: ablate")
        with step_run("ablation", settings, "ablation", command) as run:
            compare_variants(settings, run, data)


def _explained(settings: Settings, command: Run) -> None:
    """Explain patients; where that fails its run says why, and the study goes on."""
    log.info("Step 5 of 6: show what the networks look at")
    try:
        with step_run("visualize", settings, "visualize", command) as run:
            visualize(settings, run, settings.explained_patients, STUDY, loose="false")
    except (InputError, torch.OutOfMemoryError) as error:
        log.warning("What the networks look at is not shown; the study goes on. %s", error)
