"""The whole study: prepare, train, ablate, validate, register, visualize, test, and a summary."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch

from cardio_mlflow.errors import InputError
from cardio_mlflow.figures.correlation import correlation_bars
from cardio_mlflow.pipelines.ablation import compare_variants
from cardio_mlflow.pipelines.evaluate import Judged
from cardio_mlflow.pipelines.inputs import StudyInputs, load_inputs
from cardio_mlflow.pipelines.prepare import log_preparation, refuse_refusals
from cardio_mlflow.pipelines.study_runs import STUDY, complete_folds
from cardio_mlflow.pipelines.test import judge_model
from cardio_mlflow.pipelines.train import refuse_variant, train_folds
from cardio_mlflow.pipelines.training_set import TrainingSet, load_training_set
from cardio_mlflow.pipelines.validate import validate_folds
from cardio_mlflow.pipelines.visualize import visualize
from cardio_mlflow.settings import Settings
from cardio_mlflow.synthetic.hemodynamics import anatomical_ceiling
from cardio_mlflow.tracking.finished import FinishedRun
from cardio_mlflow.tracking.new_runs import step_run
from cardio_mlflow.tracking.registry import version_called
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tracking.store import comparison_address, page_command

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cohort:
    """What a step found of a cohort, and where its artifacts lie."""

    name: str
    prefix: str
    judged: Judged
    folder: str


def main(settings: Settings, run: Run) -> None:
    """The whole study; each step has its own run beside this summary run.

    ``skip_train`` takes the folds that are trained; ``training_only`` stops after the folds;
    ``skip_ablation``, ``skip_visualize`` and ``skip_test`` leave out one step.
    """
    refuse_variant(settings)
    if settings.skip_train and settings.training_only:
        raise InputError("skip_train=true and training_only=true leave nothing to do: give one of them.")
    run.rename(settings.study_name)
    folds = complete_folds(settings, run.given) if settings.skip_train else {}
    inputs = _prepared(settings, run)
    run.set_tags({"cohort_digest": inputs.digest})
    folds = _trained(settings, inputs, run, folds)
    if settings.training_only:
        log.info("The folds are trained, and nothing else was asked for. %s", comparison(folds))
        return
    log.info("Step 4 of 6: validate on Cohort I")
    with step_run("validate", settings, "validate", run) as step:
        judged, version = validate_folds(settings, step, folds)
        cohorts = [Cohort("Cohort I, out of fold", "cohort1", judged, step.artifact_folder())]
    if not settings.skip_visualize and settings.explained_patients != "none":
        _explained(settings, run)
    if not settings.skip_test and inputs.patients("II"):
        cohorts.append(_tested(settings, run, version))
    log_summary(run, settings, cohorts, folds)


def _prepared(settings: Settings, command: Run) -> StudyInputs:
    log.info("Step 1 of 6: prepare the clips")
    with step_run("prepare", settings, "prepare", command) as run:
        inputs = load_inputs(settings)
        log_preparation(run, inputs)
        refuse_refusals(settings, inputs.prepared)
    return inputs


def _trained(
    settings: Settings, inputs: StudyInputs, command: Run, known: dict[int, FinishedRun]
) -> dict[int, FinishedRun]:
    """Train the folds, unless they are known, and the variants, on one loaded training set."""
    ablate = not (settings.training_only or settings.skip_ablation)
    if known and not ablate:
        return known
    data = load_training_set(settings, inputs)
    folds = known or _new_folds(settings, command, data)
    if ablate:
        log.info("Step 3 of 6: ablate")
        with step_run("ablation", settings, "ablation", command) as run:
            compare_variants(settings, run, data)
    return folds


def _new_folds(settings: Settings, command: Run, data: TrainingSet) -> dict[int, FinishedRun]:
    log.info("Step 2 of 6: train %d folds", settings.num_folds)
    with step_run("train", settings, "train", command) as run:
        train_folds(settings, run, data)
    return complete_folds(settings)


def _explained(settings: Settings, command: Run) -> None:
    """Explain patients; where that fails its run says why, and the study goes on."""
    log.info("Step 5 of 6: show what the networks look at")
    try:
        with step_run("visualize", settings, "visualize", command) as run:
            visualize(settings, run, settings.explained_patients, STUDY, loose="false")
    except (InputError, torch.OutOfMemoryError) as error:
        log.warning("What the networks look at is not shown; the study goes on. %s", error)


def _tested(settings: Settings, command: Run, number: str) -> Cohort:
    """Test the version that this study has registered, whatever is champion meanwhile."""
    log.info("Step 6 of 6: test on Cohort II")
    with step_run("test", settings, "test", command) as run:
        version = version_called(number)
        if version is None:
            raise InputError(f"Version {number} of the registered model was deleted meanwhile.")
        judged = judge_model(settings, run, version)
        return Cohort("Cohort II", "cohort2", judged, run.artifact_folder())


def log_summary(
    run: Run, settings: Settings, cohorts: list[Cohort], folds: Mapping[int, FinishedRun]
) -> None:
    """Report the summary and log it with its table and figure."""
    ceiling = anatomical_ceiling(facts=settings.identities) if settings.is_synthetic else None
    table = summary_table(cohorts, ceiling)
    text = summary_text(table, settings, cohorts, folds)
    log.info("\n%s", text)
    run.log_text(text, "summary.txt")
    run.log_table(table, "tables/summary.csv")
    tables = {cohort.name: cohort.judged.performance for cohort in cohorts}
    figure = correlation_bars(tables, ceiling=ceiling, synthetic=settings.is_synthetic)
    run.log_figures({"correlation": figure}, settings.figure_formats)
    run.log_metrics({f"{cohort.prefix}/r_mean": cohort.judged.mean.r for cohort in cohorts})


def summary_table(cohorts: list[Cohort], ceiling: dict[str, float] | None) -> pd.DataFrame:
    """One row per parameter: r with interval and MAE of each cohort, unit, and the ceiling where known."""
    first = cohorts[0].judged.performance
    table = pd.DataFrame({"parameter": first["parameter"]})
    for cohort in cohorts:
        name, rows = cohort.name.partition(",")[0], cohort.judged.performance.to_dict("records")
        table[f"{name} r (95 % CI)"] = [f"{r['r']:.2f} ({r['r_low']:.2f} to {r['r_high']:.2f})" for r in rows]
        table[f"{name} MAE"] = [f"{r['mae']:.3g}" for r in rows]
    table["unit"] = list(first["unit"])
    if ceiling:
        table["ceiling r"] = [f"{ceiling[key]:.2f}" for key in table["parameter"]]
    return table


def summary_text(
    table: pd.DataFrame, settings: Settings, cohorts: list[Cohort], folds: Mapping[int, FinishedRun]
) -> str:
    """The summary as text for a terminal."""
    lines = [f"Study {settings.study_name}", ""]
    if settings.is_synthetic:
        lines.append("SYNTHETIC COHORT: these numbers say that the software works, nothing about patients.")
    lines += [table.to_string(index=False), ""]
    lines += [f"Mean signed r, {cohort.name}: {cohort.judged.mean.r:.2f}" for cohort in cohorts]
    if settings.is_synthetic:
        lines.append("Ceiling: the r of the best prediction from the simulated anatomy itself.")
    lines += ["", *(f"Figures of {c.name.partition(',')[0]}: {c.folder}/figures" for c in cohorts)]
    return "\n".join([*lines, "", comparison(folds)])


def comparison(folds: Mapping[int, FinishedRun]) -> str:
    """How to see the folds side by side."""
    address = comparison_address([fold.run_id for fold in folds.values()])
    return f"Compare the folds in the MLflow page:\n    {page_command()}\n    {address}"
