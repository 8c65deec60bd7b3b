"""The figures that tables allow: which, from which tables, and what their captions say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cardio_mlflow.analysis.decision_curve import decision_note
from cardio_mlflow.analysis.predictions import check_predictions
from cardio_mlflow.figures.ablation import ablation_heat_map, ablation_improvement, ablation_means
from cardio_mlflow.figures.ablation_curves import ablation_alphas, ablation_contributions, ablation_losses
from cardio_mlflow.figures.correlation import correlation_bars, correlation_bubbles, correlation_heat_maps
from cardio_mlflow.figures.embedding import embedding_overview, embedding_page
from cardio_mlflow.figures.folds import fold_summary
from cardio_mlflow.figures.intervals import interval_page, view_subset_page
from cardio_mlflow.figures.roc import confusion_page, decision_curve_figure, roc_curves, roc_page
from cardio_mlflow.figures.scatter import (
    bland_altman,
    bland_altman_page,
    residual_page,
    scatter,
    scatter_page,
)
from cardio_mlflow.figures.style import save_with_print
from cardio_mlflow.figures.subgroups import identity_page, phenotype_matrix, subgroup_forest
from cardio_mlflow.figures.training_curves import learning_rate_curves, parameter_curves, training_curves
from cardio_mlflow.parameters import KEYS

Tables = Mapping[str, pd.DataFrame]
Mark = Mapping[str, bool]

CAPTIONS: Final[Mapping[str, str]] = {
    "correlation": "Signed Pearson r of each parameter with its 95 % patient-bootstrap interval; on the "
    "synthetic cohort a line marks the ceiling, the r of the best prediction from the simulated anatomy.",
    "scatter": "Prediction against reference, by pulmonary hypertension (PH) of the reference.",
    "bland_altman": "Bland-Altman: prediction minus reference against their mean; bias, 95 % limits of "
    "agreement (n − 1) and the limits' exact 95 % intervals (Carkeet 2015). Where the bias depends on the "
    "value (p < 0.05), bias and limits are the line through the differences and 1.96 SD about it.",
    "intervals": "Each patient's interval, of 90 % unless another level was given, in the order of the "
    "prediction, and the reference in or outside it.",
    "view_subsets": "What each subset of the views is worth, out of fold: signed r, and the mean width of "
    "the 90 % intervals over that from all four views of the same patients.",
    "roc": "ROC of each predicted parameter for its own cut-off, and for PH in the same axes.",
    "confusion": "Prediction and reference at the cut-offs that were fixed beforehand.",
    "confusion_median": "The same, split at the references' median: not a clinical cut-off.",
    "phenotype": "Hemodynamic phenotype (ESC/ERS 2022) of the predictions against that of the references.",
    "decision_curve": "Decision curve for PH: net benefit of acting on the prediction, on all patients, on "
    "none; each patient's probability comes from other patients of the cohort: those of the other folds, or, "
    "without folds, those of the other four of five parts.",
    "residuals": "Residuals against predictions: their SD, the SD of the topmost quartile of the prediction "
    "over the lowest's (Q4/Q1), and whether Breusch-Pagan's or White's test shows a change (p < 0.05).",
    "identities": "Identities between the parameters, in the references and in the predictions.",
    "subgroups": "Mean absolute error by subgroup, with 95 % patient-bootstrap intervals.",
    "correlation_matrices": "Correlations between the parameters, of references and of predictions.",
    "embedding": "Fused features of the network (never the references), standardised within each network: "
    "UMAP and t-SNE, coloured by PH and by clusters.",
    "folds": "r of each parameter in each fold, with mean and SD over the folds.",
    "training_curves": "Loss, the mean squared error of the scaled targets, and mean validation r of each "
    "fold, unfreezing stages as bands.",
    "parameter_curves": "Validation r of each parameter during training.",
}
"""What the report says below a figure. Figures without a caption are not in the report."""


@dataclass(frozen=True)
class Drawing:
    """A figure that is to be drawn, here or in another process.

    Attributes:
        name: file name without suffix.
        draw: a function of this package that returns the figure.
    """

    name: str
    draw: Callable[..., Figure]
    arguments: Sequence[Any]
    options: Mapping[str, Any]

    @property
    def caption(self) -> str:
        """What the report says below it; empty: it is not in the report."""
        return CAPTIONS.get(self.name, "")

    def save(self, folder: Path, formats: Sequence[str]) -> str:
        """Draw and save as `save_with_print`; returns the name."""
        save_with_print(self.figure(), folder, self.name, formats)
        return self.name

    def figure(self) -> Figure:
        """Draw it."""
        return self.draw(*self.arguments, **self.options)


def drawings(
    predictions: pd.DataFrame, tables: Tables, cohort_name: str, *, synthetic: bool
) -> list[Drawing]:
    """The figures of an evaluation that its tables allow, in the order of the report.

    Args:
        tables: by name, what `cardio_mlflow.analysis.results.analyse` yields, and where they are known
            ``embedding`` and ``clusters``, ``history`` (a row for each fold and epoch) and ``ceiling`` (the
            best ``r`` that the data allow, by parameter).
    """
    mark = {"synthetic": synthetic}
    best = tables["ceiling"].set_index("parameter")["r"].to_dict() if "ceiling" in tables else None
    bars = ({cohort_name: tables["performance"]}, best)
    decision = (tables["decision_curve"], decision_note(predictions))
    return [
        Drawing("correlation", correlation_bars, bars, mark),
        *_agreement(predictions, tables, mark),
        *_discrimination(tables, mark),
        Drawing("decision_curve", decision_curve_figure, decision, mark),
        *_errors(predictions, tables, mark),
        *_structure(predictions, tables, mark),
        *_training(tables, mark),
    ]


def ablation_drawings(tables: Tables, *, synthetic: bool) -> list[Drawing]:
    """The figures of an ablation from its tables by name."""
    mark = {"synthetic": synthetic}
    variants, apart = (tables["ablation"],), (tables["ablation_differences"],)
    return [
        Drawing("ablation_means", ablation_means, variants, mark),
        Drawing("ablation", ablation_heat_map, variants, mark),
        Drawing("ablation_improvement", ablation_improvement, apart, mark),
        Drawing("ablation_contributions", ablation_contributions, apart, mark),
        Drawing("ablation_losses", ablation_losses, (tables["history"],), mark),
        Drawing("ablation_alphas", ablation_alphas, (tables["alphas"],), mark),
    ]


def read_tables(folder: Path) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Read back what a run has logged in a folder: ``predictions.csv``, and ``tables/`` by name.

    Numbers come back to the last digit, so the figures drawn from them are those that the run has logged.
    """
    paths = sorted((folder / "tables").glob("*.csv"))
    return check_predictions(_read(folder / "predictions.csv")), {path.stem: _read(path) for path in paths}


_TEXTS: Final = ("patient_id", "person", "level", "note")
"""Columns that stay text, whatever is in them."""


def _read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=str, keep_default_na=False).astype(object)
    for name in table.columns.difference([*_TEXTS]):
        with suppress(ValueError):  # a column of text
            numbers = table[name].replace("", "nan").astype(np.float64)
            whole = table[name].str.fullmatch(r"-?\d+").all()
            table[name] = numbers.astype(np.int64) if whole else numbers
    return table


def _agreement(predictions: pd.DataFrame, tables: Tables, mark: Mark) -> Iterator[Drawing]:
    plain = {**mark, "stratified": False}
    both = (predictions, tables["performance"])
    present = set(predictions["parameter"])
    yield Drawing("scatter", scatter_page, both, mark)
    yield Drawing("bland_altman", bland_altman_page, (predictions,), mark)
    yield Drawing("scatter_plain", scatter_page, both, plain)
    yield Drawing("bland_altman_plain", bland_altman_page, (predictions,), plain)
    if "intervals" in tables:
        yield Drawing("intervals", interval_page, (predictions, tables["intervals"]), mark)
    if "view_subset_accuracy" in tables:
        yield Drawing("view_subsets", view_subset_page, (tables["view_subset_accuracy"],), mark)
    for key in (key for key in KEYS if key in present):
        yield Drawing(f"scatter_{key}", scatter, (*both, key), mark)
        yield Drawing(f"scatter_{key}_plain", scatter, (*both, key), plain)
        yield Drawing(f"bland_altman_{key}", bland_altman, (predictions, key), mark)
        yield Drawing(f"bland_altman_{key}_plain", bland_altman, (predictions, key), plain)


def _discrimination(tables: Tables, mark: Mark) -> Iterator[Drawing]:
    curves = (tables["roc"], tables["discrimination"])
    yield Drawing("roc", roc_page, curves, mark)
    present = set(tables["discrimination"]["parameter"])
    for key in (key for key in KEYS if key in present):
        yield Drawing(f"roc_{key}", roc_curves, (*curves, key), mark)
    yield Drawing("confusion", confusion_page, (tables["classification"], "cut-off"), mark)
    yield Drawing("confusion_median", confusion_page, (tables["classification"], "median"), mark)
    phenotypes = (tables["phenotype_confusion"], tables["phenotype_agreement"])
    yield Drawing("phenotype", phenotype_matrix, phenotypes, mark)


def _errors(predictions: pd.DataFrame, tables: Tables, mark: Mark) -> Iterator[Drawing]:
    residuals = (predictions, tables["residual_quartiles"], tables["heteroscedasticity"])
    yield Drawing("residuals", residual_page, residuals, mark)
    yield Drawing("identities", identity_page, (tables["identity_pairs"], tables["identities"]), mark)
    if len(tables["subgroups"]):
        yield Drawing("subgroups", subgroup_forest, (tables["subgroups"],), mark)


def _structure(predictions: pd.DataFrame, tables: Tables, mark: Mark) -> Iterator[Drawing]:
    matrices = (tables["correlation_references"], tables["correlation_predictions"])
    yield Drawing("correlation_matrices", correlation_heat_maps, matrices, mark)
    yield Drawing("correlation_bubbles", correlation_bubbles, matrices, mark)
    if "embedding" not in tables:
        return
    embedding = (tables["embedding"], predictions)
    yield Drawing("embedding", embedding_overview, (*embedding, tables["clusters"]), mark)
    for method in ("umap", "tsne"):
        yield Drawing(f"embedding_{method}", embedding_page, embedding, {**mark, "method": method})


def _training(tables: Tables, mark: Mark) -> Iterator[Drawing]:
    if "folds" in tables:
        yield Drawing("folds", fold_summary, (tables["folds"],), mark)
    if "history" in tables:
        history = (tables["history"],)
        yield Drawing("training_curves", training_curves, history, mark)
        yield Drawing("parameter_curves", parameter_curves, history, mark)
        yield Drawing("learning_rates", learning_rate_curves, history, mark)
