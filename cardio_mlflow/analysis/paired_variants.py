"""The predictions of several variants, lined up on the same patients and resampled together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cardio_mlflow.analysis.agreement import SMALLEST
from cardio_mlflow.analysis.bootstrap import bootstrap_counts, weighted_mean_absolute_error, weighted_pearson
from cardio_mlflow.analysis.predictions import FloatArray, IntArray, patient_persons, wide
from cardio_mlflow.errors import InputError

Tables = Mapping[str, Sequence[pd.DataFrame]]
"""Checked predictions tables by variant, one per seed."""
MEASURES: Final = ("r", "mae")


@dataclass(frozen=True)
class PairedVariants:
    """What is compared, on P patients (sorted by id) and K parameters.

    Attributes:
        keys: the parameters.
        reference: (P, K), NaN where it is missing.
        predictions: (seeds, P, K) by variant, NaN where a patient was not judged.
        counts: (1 + resamples, P), how often each patient is counted; the first row counts each once.
        persons: (P,) `person_codes` of the patients, who are drawn by person.
    """

    keys: tuple[str, ...]
    reference: FloatArray
    predictions: Mapping[str, FloatArray]
    counts: FloatArray
    persons: IntArray

    def judged(self, *variants: str) -> NDArray[np.bool_]:
        """(P,) whether a patient was judged by all of these variants."""
        found = [np.isfinite(self.predictions[v]).any(axis=(0, 2)) for v in variants]
        return np.asarray(np.all(found, axis=0))

    def measured(self, variant: str, patients: NDArray[np.bool_]) -> dict[str, FloatArray]:
        """The measures of a variant on these patients, mean over seeds: (1 + resamples, K + 1) by name.

        The last column is the mean over the parameters: of r, and of MAE / SD of the references.
        """
        by_seed = [self._of_seed(seed, patients) for seed in self.predictions[variant]]
        return {name: np.mean([found[name] for found in by_seed], axis=0) for name in MEASURES}

    def spread_of_seeds(self, variant: str) -> FloatArray:
        """(K + 1,) SD (n − 1) over seeds of r on all patients of a variant; NaN for one seed."""
        first = PairedVariants(self.keys, self.reference, self.predictions, self.counts[:1], self.persons)
        of = self.judged(variant)
        values = [first._of_seed(seed, of)["r"][0] for seed in self.predictions[variant]]
        return np.std(values, axis=0, ddof=1) if len(values) > 1 else np.full(len(self.keys) + 1, np.nan)

    def _of_seed(self, prediction: FloatArray, patients: NDArray[np.bool_]) -> dict[str, FloatArray]:
        reference = np.where(patients[:, None], self.reference, np.nan)
        columns = range(len(self.keys))
        r = [weighted_pearson(reference[:, k], prediction[:, k], self.counts) for k in columns]
        mae = [weighted_mean_absolute_error(reference[:, k], prediction[:, k], self.counts) for k in columns]
        spread = np.array([_sd(reference[:, k]) for k in columns])
        counted = np.isfinite(spread) & (np.isfinite(reference).sum(axis=0) >= SMALLEST)
        return {
            "r": _with_mean(np.stack(r, axis=1), counted),
            "mae": _with_mean(np.stack(mae, axis=1), counted, spread),
        }

    def patients(self, of: NDArray[np.bool_], column: int) -> tuple[int, int]:
        """How many of these patients have a reference, of one parameter, or in the last column of any.

        And how many persons they are.
        """
        known = np.isfinite(self.reference)
        counted = of & (known.any(axis=1) if column == len(self.keys) else known[:, column])
        return int(counted.sum()), np.unique(self.persons[counted]).size


def pair_variants(tables: Tables, resamples: int, seed: int) -> PairedVariants:
    """Line up the variants on the same patients, and draw the resamples that serve them all.

    Raises:
        InputError: variants were judged on other folds, or differ in folds or references of a patient.
    """
    _check_comparable(tables)
    everything = pd.concat([table for seeds in tables.values() for table in seeds])
    first = everything.drop_duplicates(["patient_id", "parameter"])
    reference = wide(first, "reference")

    def aligned(table: pd.DataFrame) -> FloatArray:
        found = wide(table, "prediction").reindex(index=reference.index, columns=reference.columns)
        return found.to_numpy(np.float64)

    predictions = {
        variant: np.stack([aligned(table) for table in seeds]) for variant, seeds in tables.items()
    }
    persons = patient_persons(first)
    counts = bootstrap_counts(persons, resamples, seed)
    return PairedVariants(
        tuple(reference.columns), reference.to_numpy(np.float64), predictions,
        np.concatenate([np.ones((1, len(reference))), counts]), persons,
    )  # fmt: skip


def _check_comparable(tables: Tables) -> None:
    """Refuse variants that were trained on other folds, or whose patients differ in folds or references."""
    named = [(variant, table) for variant, seeds in tables.items() for table in seeds]
    first, one = named[0]
    for variant, table in named[1:]:
        if missing := set(one["fold"].dropna()) ^ set(table["fold"].dropna()):
            raise InputError(
                f"Variants {first} and {variant} were not trained on the same folds: only one has "
                f"{', '.join(str(fold) for fold in sorted(missing))}. Run the missing folds of each variant."
            )
        both = one.merge(table, on=["patient_id", "parameter"], suffixes=("", "_2"))
        same = both["reference"].eq(both["reference_2"]) | (
            both["reference"].isna() & both["reference_2"].isna()
        )
        if not (same & both["fold"].eq(both["fold_2"]).fillna(value=True)).all():
            raise InputError(
                f"Variants {first} and {variant} differ in folds or references of the same patients: train "
                "both on one cohort with one split."
            )


def _with_mean(values: FloatArray, counted: NDArray[np.bool_], scale: FloatArray | float = 1.0) -> FloatArray:
    """Add a last column: the mean over the counted columns of the values over a scale.

    It is NaN where one of them is, so that no variant is favoured by leaving a parameter out.
    """
    scaled = (values / scale)[:, counted]
    mean = scaled.mean(axis=1) if counted.any() else np.full(len(values), np.nan)
    return np.column_stack([values, mean])


def _sd(values: FloatArray) -> float:
    """SD (n − 1) of what is there; NaN where it is 0 or not defined."""
    known = values[np.isfinite(values)]
    spread = float(np.std(known, ddof=1)) if known.size > 1 else 0.0
    return spread if spread > 0 else float("nan")
