"""What a methods section needs to know beside the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MethodFacts:
    """What the settings do not know about the predictions.

    Attributes:
        cohort: "I" (out-of-fold predictions) or "II" (the held-out cohort).
        patients: analysed patients.
        resamples: of the analysis's bootstrap.
        seed: of the analysis, which may be another than the training's.
        folds: folds of Cohort I; None when not known.
        versions: software names and their versions.
        synthetic: whether the patients are synthetic.
        model_version: the model that predicted; empty when not known.
        uses_of_cohort2: how often Cohort II is on record as used; None when not known.
        champion: what the registered model is, ``mean`` or ``best_fold``; empty when not known.
        folds_from: whether the folds were ``given`` or ``drawn``; empty when not known.
        persons: how many persons the patients are examinations of; None where each is one.
        left_out: parameters that were not predicted, for want of references.
        tuned: whether settings were chosen by how well these patients were predicted.
    """

    cohort: Literal["I", "II"]
    patients: int
    resamples: int
    seed: int
    folds: int | None
    versions: Mapping[str, str]
    synthetic: bool
    model_version: str
    uses_of_cohort2: int | None
    champion: str = ""
    folds_from: str = ""
    tuned: bool = False
    persons: int | None = None
    left_out: Sequence[str] = ()
