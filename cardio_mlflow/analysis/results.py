"""Everything that is computed from a predictions table, in one place and one order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from cardio_mlflow.analysis.agreement import correlation_matrix
from cardio_mlflow.analysis.bland_altman import bland_altman_table
from cardio_mlflow.analysis.classification import classification_table
from cardio_mlflow.analysis.decision_curve import decision_curve, decision_note
from cardio_mlflow.analysis.discrimination import discrimination_table, roc_points
from cardio_mlflow.analysis.heteroscedasticity import heteroscedasticity_table, residual_quartiles
from cardio_mlflow.analysis.identities import (
    has_identities,
    identities_used_table,
    identity_pairs,
    identity_table,
)
from cardio_mlflow.analysis.intervals import has_intervals, interval_table
from cardio_mlflow.analysis.phenotype import phenotype_agreement, phenotype_confusion, phenotype_table
from cardio_mlflow.analysis.subgroups import subgroup_table, worst_patients
from cardio_mlflow.analysis.summary import fold_table, performance_table
from cardio_mlflow.analysis.view_subsets import view_subset_accuracy
from cardio_mlflow.parameters import KEYS

SMALLEST_EMBEDDING: Final = 10
"""Fewer patients than this are not embedded."""


NOTED: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "performance": ("Performance", ("parameter",)),
    "bland_altman": ("Bland-Altman", ("parameter",)),
    "discrimination": ("Discrimination", ("parameter", "outcome")),
    "classification": ("Classification", ("parameter", "split")),
    "phenotype_agreement": ("Phenotype agreement", ()),
    "heteroscedasticity": ("Heteroscedasticity", ("parameter",)),
    "identities": ("Identities", ("identity", "side")),
    "identities_used": ("With and without identities", ("parameter",)),
    "intervals": ("Intervals", ("parameter",)),
    "subgroups": ("Subgroups", ("subgroup", "level")),
    "clusters": ("Clusters", ("method",)),
    "folds": ("Folds", ("fold",)),
}
"""The tables whose notes the reader sees, their titles, and what names a row of each."""


@dataclass(frozen=True)
class Evidence:
    """What an evaluation starts from. All but the predictions may be missing: what needs it is left out.

    Attributes:
        participants: one row per patient of the sheet, with the outcome of each view and the subgroups.
        features: fused features, one row per patient and network.
        history: one row per fold and epoch.
        view_subsets: out-of-fold predictions from subsets of the views, as
            `cardio_mlflow.analysis.conformal.calibrate` takes them.
    """

    predictions: pd.DataFrame
    participants: pd.DataFrame | None = None
    features: pd.DataFrame | None = None
    history: pd.DataFrame | None = None
    view_subsets: pd.DataFrame | None = None

    @property
    def can_embed(self) -> bool:
        """Whether there are features of enough patients for an embedding."""
        return self.features is not None and self.features["patient_id"].nunique() >= SMALLEST_EMBEDDING

    @property
    def has_folds(self) -> bool:
        """Whether the predictions belong to folds."""
        return bool(self.predictions["fold"].notna().any())


Tables = dict[str, pd.DataFrame]
Step = Callable[[Tables], pd.DataFrame]


def analyse(evidence: Evidence, resamples: int, seed: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """Compute every table but the maps of the features (`cardio_mlflow.analysis.embedding`), one by one.

    Args:
        resamples: bootstrap resamples of every interval.
        seed: of the bootstrap, and of the decision curve's folds.

    Yields:
        Name and table, in the order of the report.
    """
    done: Tables = {}
    for name, step in steps(evidence, resamples, seed).items():
        done[name] = step(done)
        yield name, done[name]


def steps(evidence: Evidence, resamples: int, seed: int) -> Mapping[str, Step]:
    """The tables that the evidence allows, by name; a step may use the tables before it."""
    p, people = evidence.predictions, evidence.participants
    found: dict[str, Step] = {
        "performance": lambda _: performance_table(p, resamples, seed),
        "bland_altman": lambda _: bland_altman_table(p),
        "discrimination": lambda _: discrimination_table(p, resamples, seed),
        "roc": lambda _: roc_points(p),
        "classification": lambda _: classification_table(p),
        "decision_curve": lambda _: decision_curve(p, resamples, seed),
        "phenotypes": lambda _: phenotype_table(p),
        "phenotype_confusion": lambda done: phenotype_confusion(done["phenotypes"]),
        "phenotype_agreement": lambda done: phenotype_agreement(done["phenotypes"], resamples, seed),
        "heteroscedasticity": lambda _: heteroscedasticity_table(p),
        "residual_quartiles": lambda _: residual_quartiles(p),
        "identities": lambda _: identity_table(p, people),
        "identity_pairs": lambda _: identity_pairs(p, people),
        "subgroups": lambda _: subgroup_table(p, people, resamples, seed),
        "worst_patients": lambda _: worst_patients(p, people),
        "correlation_references": lambda _: correlation_matrix(p, "reference"),
        "correlation_predictions": lambda _: correlation_matrix(p, "prediction"),
    }
    if has_identities(p):
        found["identities_used"] = lambda _: identities_used_table(p, resamples, seed)
    if has_intervals(p):
        found["intervals"] = lambda _: interval_table(p)
    if (subsets := evidence.view_subsets) is not None:
        found["view_subset_accuracy"] = lambda _: view_subset_accuracy(subsets)
    if evidence.has_folds:
        found["folds"] = lambda _: fold_table(p, evidence.history)
    return found


def notes(evidence: Evidence, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What is not defined or left out, in words, for the reader of the report."""
    notes = []
    if evidence.participants is None:
        notes.append(
            "No participants table: no flow by view, no subgroups but PH, no quality of the worst clips."
        )
    if evidence.features is None:
        notes.append("No features of the network: no embedding.")
    elif not evidence.can_embed:
        notes.append(f"Fewer than {SMALLEST_EMBEDDING} patients: no embedding.")
    elif "embedding" not in tables:
        notes.append("UMAP could not be used on this machine: no embedding.")
    notes += _not_predicted(evidence.predictions)
    if reason := decision_note(evidence.predictions):
        notes.append(f"Decision curve: {reason}")
    for name, (title, labels) in NOTED.items():
        notes += _notes_of(title, labels, tables.get(name, pd.DataFrame()))
    return notes


def _not_predicted(predictions: pd.DataFrame) -> list[str]:
    """The parameters that nobody, or nobody of some folds, has a prediction of."""
    folds = set(predictions["fold"].dropna())
    notes = []
    for key in KEYS:
        lacking = sorted(folds - set(predictions.loc[predictions["parameter"] == key, "fold"].dropna()))
        if key not in set(predictions["parameter"]):
            notes.append(f"{key} is not predicted: without references it cannot be learned.")
        elif lacking:
            notes.append(
                f"{key} is not predicted in fold {', '.join(map(str, lacking))}, whose training patients "
                "have too few references of it: it is judged on the patients of the other folds."
            )
    return notes


def _notes_of(title: str, labels: tuple[str, ...], table: pd.DataFrame) -> list[str]:
    """Each note of a table once, with the rows that have it.

    >>> rows = pd.DataFrame({"parameter": ["CO", "CI"], "note": ["no reference", "no reference"]})
    >>> _notes_of("Bland-Altman", ("parameter",), rows)
    ['Bland-Altman, CO and CI: no reference']
    """
    found: dict[str, dict[str, None]] = {}
    for row in table.to_dict("records"):
        if row.get("note"):
            label = " ".join(str(row[name]) for name in labels)
            found.setdefault(str(row["note"]), {})[label] = None
    return [title + _listed([*rows]) + f": {note}" for note, rows in found.items()]


def _listed(labels: list[str]) -> str:
    if labels == [""]:
        return ""
    return ", " + " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))
