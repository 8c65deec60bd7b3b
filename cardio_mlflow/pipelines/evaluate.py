"""What every judged step makes of its predictions: metrics, tables, figures, workbook and report."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from cardio_mlflow.analysis.classification import RATIOS, SHARES
from cardio_mlflow.analysis.embedding import NoEmbeddingError, cluster_table, embed
from cardio_mlflow.analysis.results import Evidence, Tables, analyse, steps
from cardio_mlflow.analysis.summary import STATISTICS, MeanCorrelation, mean_correlation
from cardio_mlflow.figures.catalogue import Drawing, drawings
from cardio_mlflow.report.contents import Evaluation, report_content, workbook_sheets
from cardio_mlflow.report.page import write_report
from cardio_mlflow.report.participant_flow import flow_table
from cardio_mlflow.report.workbook import write_workbook
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.runs import Run

log = logging.getLogger(__name__)

ENDS: Final = ("", "_low", "_high")
"""A value and the ends of its interval, by what a column's name has at its end."""
WITH_INTERVAL: Final = ("r", "mae", "auc")
"""Statistics whose intervals are metrics too; all intervals are in the tables."""

Call = Any
"""A call that joblib has delayed."""


class Judged(NamedTuple):
    """What a step found of its predictions: its tables by name, and the mean correlation."""

    tables: Mapping[str, pd.DataFrame]
    mean: MeanCorrelation

    @property
    def performance(self) -> pd.DataFrame:
        """The table of every statistic by parameter."""
        return self.tables["performance"]


def log_evaluation(run: Run, evidence: Evidence, evaluation: Evaluation) -> Judged:
    """Judge predictions and log metrics, tables, figures, workbook and report of the step."""
    settings, predictions = evaluation.settings, evidence.predictions
    run.log_table(predictions, "predictions.csv")
    tables = _analyse(evidence, settings)
    if evaluation.ceiling is not None:
        tables["ceiling"] = pd.DataFrame(evaluation.ceiling.items(), columns=["parameter", "r"])
    if evidence.history is not None:
        tables["history"] = evidence.history
    mean = mean_correlation(predictions, settings.bootstrap, settings.seed)
    run.log_metrics(metrics_of(evaluation.prefix, tables, mean))
    tables["participant_flow"] = flow_table(evidence.participants, predictions)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = _draw(evidence, tables, evaluation, folder / "figures")
        _write_tables(tables, folder / "tables")
        run.log_folder(folder / "tables", "tables")
        run.log_folder(folder / "figures", "figures")
        write_workbook(folder / "workbook.xlsx", workbook_sheets(predictions, tables, evaluation, mean),
                       synthetic=evaluation.synthetic)  # fmt: skip
        run.log_file(folder / "workbook.xlsx")
        content = report_content(evidence, tables, evaluation, mean, _captioned(figures, folder / "figures"))
        write_report(folder / "report.html", content)
        run.log_file(folder / "report.html")
    return Judged(tables, mean)


def metrics_of(prefix: str, tables: Mapping[str, pd.DataFrame], mean: MeanCorrelation) -> dict[str, float]:
    """The metrics of an evaluation by their MLflow names."""
    metrics = {
        f"{prefix}/r_mean": mean.r,
        f"{prefix}/r_mean_low": mean.low,
        f"{prefix}/r_mean_high": mean.high,
    }
    for row in tables["performance"].to_dict("records"):
        key = row["parameter"]
        metrics |= {f"{prefix}/{name}_{key}": float(row[name]) for name in STATISTICS}
        metrics |= {f"{prefix}/{name}{end}_{key}": float(row[name + end])
                    for name in WITH_INTERVAL for end in ENDS}  # fmt: skip
    at_cutoff = tables["classification"].query("split == 'cut-off'")
    for_ph = tables["discrimination"].query("outcome == 'PH'")
    for table, names in (
        (at_cutoff, {name: name for name in (*SHARES, *RATIOS)}),
        (for_ph, {"auc": "auc_ph"}),
        (tables["bland_altman"], {"lower": "limit_lower", "upper": "limit_upper"}),
    ):
        for row in table.to_dict("records"):
            metrics |= {f"{prefix}/{shown}_{row['parameter']}": float(row[n]) for n, shown in names.items()}
    if "intervals" in tables:
        metrics |= _interval_metrics(prefix, tables["intervals"])
    agreement = tables["phenotype_agreement"].iloc[0]
    for name in ("accuracy", "kappa"):
        metrics |= {f"{prefix}/phenotype_{name}{end}": float(agreement[name + end]) for end in ENDS}
    return metrics


def _interval_metrics(prefix: str, intervals: pd.DataFrame) -> dict[str, float]:
    """Coverage and width of the intervals of each parameter, and the mean coverage."""
    metrics = {
        f"{prefix}/{name}_{row['parameter']}": float(row[name])
        for row in intervals.to_dict("records")
        for name in ("coverage", "width")
    }
    return metrics | {f"{prefix}/coverage_mean": float(intervals["coverage"].mean())}


def _draw(evidence: Evidence, tables: Tables, evaluation: Evaluation, folder: Path) -> list[Drawing]:
    """Draw and save the figures side by side, and find the maps of the features beside them.

    The maps, which take as long as twenty figures, and their clusters are added to the tables.

    Returns:
        The figures, in the order of the report.
    """
    settings, predictions, features = evaluation.settings, evidence.predictions, evidence.features

    def allowed() -> list[Drawing]:
        return drawings(predictions, tables, evaluation.name, synthetic=evaluation.synthetic)

    def save(figure: Drawing) -> Call:
        return delayed(figure.save)(folder, settings.figure_formats)

    folder.mkdir(parents=True, exist_ok=True)
    first = {figure.name: save(figure) for figure in allowed()}
    maps = [delayed(_maps)(features, settings.seed)] if evidence.can_embed else []
    for done in _side_by_side([*maps, *first.values()], settings.workers, "figures"):
        if isinstance(done, NoEmbeddingError):
            log.warning("The maps of the features are left out. %s", done)
        elif features is not None and isinstance(done, pd.DataFrame):
            tables["embedding"] = done
            tables["clusters"] = cluster_table(features, done, predictions)
    figures = allowed()
    later = [save(figure) for figure in figures if figure.name not in first]
    list(_side_by_side(later, settings.workers, "maps"))
    return figures


def _maps(features: pd.DataFrame, seed: int) -> pd.DataFrame | NoEmbeddingError:
    """The maps, or why this machine cannot compute them."""
    try:
        return embed(features, seed)
    except NoEmbeddingError as error:
        return error


def _side_by_side(calls: Sequence[Call], workers: int, what: str) -> Iterator[object]:
    """What joblib's delayed calls return, as they are done, with a progress bar."""
    if calls:
        with Parallel(n_jobs=min(workers, len(calls)), return_as="generator_unordered") as pool:
            yield from tqdm(pool(calls), total=len(calls), desc=what, unit="figure")


def _analyse(evidence: Evidence, settings: Settings) -> Tables:
    tables: Tables = {}
    count = len(steps(evidence, settings.bootstrap, settings.seed))
    with tqdm(total=count, desc="statistics", unit="table") as bar:
        for name, table in analyse(evidence, settings.bootstrap, settings.seed):
            tables[name] = table
            bar.set_postfix_str(name.replace("_", " "))
            bar.update()
    return tables


def _write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    folder.mkdir()
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def _captioned(figures: list[Drawing], folder: Path) -> dict[str, tuple[Path, str]]:
    return {f.name: (folder / f"{f.name}.png", f.caption) for f in figures if f.caption}
