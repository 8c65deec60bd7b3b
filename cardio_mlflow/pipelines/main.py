"""The whole study: prepare, train, ablate, validate, register, test, and a summary."""

from __future__ import annotations

import logging

from cardio_mlflow.pipelines.ablation import compare_variants
from cardio_mlflow.pipelines.inputs import StudyInputs, load_inputs
from cardio_mlflow.pipelines.prepare import log_preparation
from cardio_mlflow.pipelines.study_runs import complete_folds
from cardio_mlflow.pipelines.summary import Summary, log_summary
from cardio_mlflow.pipelines.test import judge_champion
from cardio_mlflow.pipelines.train import refuse_variant, train_folds
from cardio_mlflow.pipelines.training_set import load_training_set
from cardio_mlflow.pipelines.validate import validate_study
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
    with step_run("validate", settings, "validate", run) as validation:
        cohort1 = validate_study(settings, validation)
    cohort2, test_folder = None, ""
    if with_test:
        with step_run("test", settings, "test", run) as test:
            cohort2 = judge_champion(settings, test)
            test_folder = test.artifact_folder()
    folds = [found.run_id for found in complete_folds(settings).values()]
    run.set_tags({"cohort_digest": inputs.digest})
    log_summary(
        run, settings, Summary(cohort1, cohort2, validation.artifact_folder(), test_folder, tuple(folds))
    )


def _prepared(settings: Settings, command: Run) -> StudyInputs:
    log.info("Step 1 of 5: prepare the clips")
    with step_run("prepare", settings, "prepare", command) as run:
        inputs = load_inputs(settings)
        log_preparation(run, inputs)
    return inputs


def _trained(settings: Settings, inputs: StudyInputs, command: Run) -> None:
    """Train the folds and, unless only training is wanted, the variants, on one loaded training set."""
    if settings.skip_train and settings.training_only:
        return
    data = load_training_set(settings, inputs)
    if not settings.skip_train:
        log.info("Step 2 of 5: train %d folds", settings.num_folds)
        with step_run("train", settings, "train", command) as run:
            train_folds(settings, run, data)
    if not settings.training_only:
        log.info("Step 3 of 5: ablate")
        with step_run("ablation", settings, "ablation", command) as run:
            compare_variants(settings, run, data)
    log.info("Steps 4 and 5 of 5: validate and test")
