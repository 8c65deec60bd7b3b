"""What the whole study ends with: a table, where the figures are, and how to open the comparison."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pandas as pd

from cardio_mlflow.figures.correlation_bars import correlation_bars
from cardio_mlflow.settings import Settings
from cardio_mlflow.synthetic.ceiling import anatomical_ceiling
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
    run.log_figures({"correlation": figure})
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
