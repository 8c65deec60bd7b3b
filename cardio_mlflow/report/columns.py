"""What a table's columns hold, and what each table of the analysis means."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
import pandas as pd

from cardio_mlflow.parameters import KEYS, PARAMETERS

Kind = Literal["text", "count", "share", "p", "number"]

_SHARES: Final = frozenset(
    {
        "r",
        "r_fisher",
        "r_direct",
        "r_difference",
        "coverage",
        "spearman",
        "ccc",
        "icc",
        "auc",
        "auc_delong",
        "sensitivity",
        "specificity",
        "ppv",
        "npv",
        "accuracy",
        "kappa",
        "fpr",
        "tpr",
        "prevalence",
        "silhouette",
        "ari_ph",
        "ari_network",
    }
)
_CORRELATIONS: Final = frozenset(f"r_{key}" for key in (*KEYS, "mean"))

MEANINGS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType({
    "summary": ("Summary", "What the evaluation comes to, with the interval where there is one."),
    "settings": ("Settings", "Those of the analysis, and those of the training where they are known."),
    "environment": ("Environment", "Versions of the software."),
    "performance": ("Performance", "Every statistic of every parameter with its 95 % bootstrap interval."),
    "bland_altman": ("Bland-Altman", "Bias (prediction − reference) and 95 % limits of agreement, each with "
                     "its interval, and the test for proportional bias."),
    "discrimination": ("Discrimination", "Area under the ROC curve at each parameter's own cut-off and for "
                       "pulmonary hypertension (PH), with DeLong and bootstrap intervals."),
    "roc": ("ROC curves", "The points of the ROC curves; the threshold is a predicted value."),
    "classification": ("Classification", "Sensitivity, specificity, predictive values, accuracy (Wilson) and "
                       "likelihood ratios (log method) at the cut-offs and at the references' median."),
    "decision_curve": ("Decision curve", "Net benefit per patient of acting on the predicted probability of "
                                         "PH."),
    "phenotypes": ("Haemodynamic phenotypes", "Each patient's phenotype by the references and by the "
                                              "predictions."),
    "phenotype_confusion": ("Phenotype confusion", "Patients for each pair of reference and predicted "
                                                   "phenotype."),
    "phenotype_agreement": ("Phenotype agreement", "Accuracy (Wilson) and Cohen's kappa (bootstrap)."),
    "residual_quartiles": ("Residuals by quartile", "Mean and SD of the residuals in each quartile of the "
                           "prediction."),
    "heteroscedasticity": ("Heteroscedasticity", "Breusch-Pagan (Koenker) and White tests of the residuals, "
                           "and the SD in the fourth quartile over that in the first."),
    "identities": ("Haemodynamic identities", "How well values that are tied by a formula fit together, "
                   "among the references and among the predictions."),
    "identities_used": ("With and without identities", "CO, CI and SVRI as they followed from stroke volume "
                        "and, of the same patients, by their own heads (direct); differences are identity "
                        "minus direct, with intervals of a paired patient bootstrap."),
    "identity_pairs": ("Pairs of the identities", "Left and right side of each formula for each patient."),
    "intervals": ("Intervals", "References that lie in their 90 % intervals (coverage, Wilson), the mean "
                  "width of these, and that of the oracle: the narrowest intervals of one form that hold as "
                  "many."),
    "view_subset_accuracy": ("Subsets of the views", "Out of fold, from the views named alone: signed r, "
                             "mean absolute error, width of the 90 % intervals, and its ratio to that from "
                             "all four views of the same patients. Errors and widths of the mean are in "
                             "SDs."),
    "subgroups": ("Subgroups", "Error, bias and correlation within subgroups of patients."),
    "worst_patients": ("Largest errors", "The patients with the largest mean standardised error."),
    "embedding": ("Embedding", "UMAP and t-SNE maps of the fused features, and each patient's clusters."),
    "clusters": ("Clusters", "Clusterings of the features and their agreement with PH and with the network."),
    "correlation_references": ("Correlations among references", "Signed Pearson r between parameters' "
                                                                "references."),
    "correlation_predictions": ("Correlations among predictions", "Signed Pearson r between parameters' "
                                "predictions."),
    "folds": ("Folds", "Each fold's epoch of lowest validation loss (best_epoch), correlations and errors "
              "(mae, in the parameter's unit: " +
              ", ".join(f"{p.key} {p.unit}" for p in PARAMETERS) + "), with their mean and SD (n − 1)."),
    "predictions": ("Predictions", "Reference and prediction of each patient and parameter."),
    "participants": ("Participants", "All patients of the cohort with the outcome of each clip."),
    "history": ("Training history", "Losses, validation metrics and learning rates of every epoch."),
    "participant_flow": ("Participant flow", "Patients and clips from the sheet to the analysis."),
    "checklists": ("Checklists", "Items of TRIPOD+AI and CLAIM that the report fills, and those left open."),
})  # fmt: skip
"""Title and one-line meaning of each table of the analysis, by the table's name."""


def title_and_meaning(name: str) -> tuple[str, str]:
    """The title and the meaning of a table; an unknown one is titled by its name, without a meaning.

    >>> title_and_meaning("roc")[0], title_and_meaning("my_table")
    ('ROC curves', ('My table', ''))
    """
    words = name.replace("_", " ").strip()
    return MEANINGS.get(name, (words[:1].upper() + words[1:], ""))


def column_kind(name: str, values: pd.Series) -> Kind:
    """What a column holds: text, counts, numbers from -1 to 1, p-values or other numbers."""
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        return "text"
    if pd.api.types.is_integer_dtype(values):
        return "count"
    base = re.sub(r"_(low|high)$", "", name)
    if base == "p" or base.endswith("_p"):
        return "p"
    if base in _SHARES or base in _CORRELATIONS:
        return "share"
    within_one = bool((values.dropna().abs() <= 1).all())
    return "share" if name in KEYS and within_one else "number"


def decimals_of(value: float) -> int:
    """Decimals that show a number with four significant digits at most, never more than six decimals.

    >>> decimals_of(1834.2), decimals_of(18.34), decimals_of(0.01834)
    (0, 2, 5)
    """
    if value == 0 or not np.isfinite(value):
        return 0
    return min(max(3 - math.floor(math.log10(abs(value))), 0), 6)
