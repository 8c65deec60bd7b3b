"""The whole study: prepare, train, ablate, validate, register, visualize, test, and a summary."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pandas as pd
import torch

from cardio_mlflow.errors import InputError
from cardio_mlflow.figures.correlation import correlation_bars
from cardio_mlflow.pipelines.ablation import compare_variants
from cardio_mlflow.pipelines.inputs import StudyInputs, load_inputs
from cardio_mlflow.pipelines.prepare import log_preparation, refuse_refusals
from cardio_mlflow.pipelines.study_runs import STUDY, complete_folds
from cardio_mlflow.pipelines.test import judge_champion
from cardio_mlflow.pipelines.train import refuse_variant, train_folds
from cardio_mlflow.pipelines.training_set import load_training_set
from cardio_mlflow.pipelines.validate import validate_study
from cardio_mlflow.pipelines.visualize import visualize
from cardio_mlflow.settings import Settings
from cardio_mlflow.synthetic.hemodynamics import anatomical_ceiling
from cardio_mlflow.tracking.new_runs import step_run
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tracking.store import comparison_address, page_command

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """What the steps gave.

    Attributes:
        cohort1: performance table of Cohort I, out of fold.
        cohort2: the same of Cohort II; None when it was not tested.
        cohort1_folder: where the artifacts of ``validate`` lie.
        cohort2_folder: where those of ``test`` lie; empty when it was not tested.
        folds: ids of the fold runs.
    """

    cohort1: pd.DataFrame
    cohort2: pd.DataFrame | None
    cohort1_folder: str
    cohort2_folder: str
    folds: tuple[str, ...]


def log_summary(run: Run, settings: Settings, summary: Summary) -> None:
    """Tell the summary and log it with its table and figure."""
    ceiling = anatomical_ceiling(facts=settings.identities) if settings.is_synthetic else None
    table = summary_table(summary, ceiling)
    text = summary_text(table, settings, summary)
    log.info("\n%s", text)
    run.log_text(text, "summary.txt")
    run.log_table(table, "tables/summary.csv")
    tables = {"Cohort I, out of fold": summary.cohort1}
    if summary.cohort2 is not None:
        tables["Cohort II"] = summary.cohort2
    figure = correlation_bars(tables, ceiling=ceiling, synthetic=settings.is_synthetic)
    run.log_figures({"correlation": figure}, settings.figure_formats)
    for name, performance in zip(("cohort1", "cohort2"), tables.values(), strict=False):
        run.log_metrics({f"{name}/r_mean": float(performance["r"].mean())})


def summary_table(summary: Summary, ceiling: dict[str, float] | None) -> pd.DataFrame:
    """A row a parameter: r with interval and MAE with unit for each cohort, and the ceiling where known."""
    table = pd.DataFrame({"parameter": summary.cohort1["parameter"]})
    for name, performance in (("Cohort I", summary.cohort1), ("Cohort II", summary.cohort2)):
        if performance is not None:
            rows = performance.to_dict("records")
            table[f"{name} r (95 % CI)"] = [
                f"{r['r']:.2f} ({r['r_low']:.2f} to {r['r_high']:.2f})" for r in rows
            ]
            table[f"{name} MAE"] = [f"{r['mae']:.3g}" for r in rows]
    table["unit"] = list(summary.cohort1["unit"])
    if ceiling:
        table["ceiling r"] = [f"{ceiling[key]:.2f}" for key in table["parameter"]]
    return table


def summary_text(table: pd.DataFrame, settings: Settings, summary: Summary) -> str:
    """The summary as text for a terminal."""
    lines = [f"Study {settings.study_name}", ""]
    if settings.is_synthetic:
        lines.append("SYNTHETIC COHORT: these numbers say that the software works, nothing about patients.")
    lines += [table.to_string(index=False), ""]
    means = [("Cohort I, out of fold", summary.cohort1), ("Cohort II", summary.cohort2)]
    lines += [f"Mean signed r, {name}: {t['r'].mean():.2f}" for name, t in means if t is not None]
    if settings.is_synthetic:
        lines.append("Ceiling: the r of the best prediction from the simulated anatomy itself.")
    lines += ["", f"Figures of Cohort I:  {summary.cohort1_folder}/figures"]
    if summary.cohort2_folder:
        lines.append(f"Figures of Cohort II: {summary.cohort2_folder}/figures")
    lines += [
        "",
        "Compare the folds in the MLflow page:",
        f"    {page_command()}",
        f"    {comparison_address(summary.folds)}",
    ]
    return "\n".join(lines)


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
    with_test = not (settings.training_only or settings.skip_test) and bool(inputs.patients("II"))
    _trained(settings, inputs, run)
    log.info("Step 4 of 6: validate on Cohort I")
    with step_run("validate", settings, "validate", run) as validation:
        cohort1 = validate_study(settings, validation)
    explained = not (settings.training_only or settings.skip_visualize)
    if explained and settings.explained_patients != "none":
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
    ablated = not (settings.training_only or settings.skip_ablation)
    if settings.skip_train and not ablated:
        return
    data = load_training_set(settings, inputs)
    if not settings.skip_train:
        log.info("Step 2 of 6: train %d folds", settings.num_folds)
        with step_run("train", settings, "train", command) as run:
            train_folds(settings, run, data)
    if ablated:
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
