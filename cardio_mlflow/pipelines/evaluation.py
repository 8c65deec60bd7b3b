"""How a step judges predictions, and the evidence it starts from."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from cardio_mlflow.analysis.predictions import check_folds, check_predictions
from cardio_mlflow.analysis.results import Evidence
from cardio_mlflow.errors import InputError
from cardio_mlflow.settings import Settings
from cardio_mlflow.synthetic.ceiling import anatomical_ceiling


@dataclass(frozen=True)
class Evaluation:
    """How a step judges its predictions.

    Attributes:
        prefix: ``cohort1`` or ``cohort2``, the metrics' prefix.
        name: the cohort in words.
        settings: of this step: resamples, seed, workers, formats of the figures.
        study_settings: those that the networks were trained with; None when unknown.
        synthetic: whether the cohort is the synthetic one.
        folds: number of folds; None in Cohort II.
        model_version: version of the registered model that predicted; empty when none did.
        uses: how often Cohort II has been used; None in Cohort I.
        champion: what the registered model is, ``mean`` or ``best_fold``; empty when none predicted.
        folds_from: whether the folds were ``given`` or ``drawn``; empty when not known.
        tuned: whether settings were chosen by how well these patients were predicted.
    """

    prefix: str
    name: str
    settings: Settings
    study_settings: Settings | None
    synthetic: bool
    folds: int | None = None
    model_version: str = ""
    uses: int | None = None
    champion: str = ""
    folds_from: str = ""
    tuned: bool = False

    @property
    def ceiling(self) -> dict[str, float] | None:
        """The best possible r of each parameter, where it is known: for the synthetic cohort."""
        if not self.synthetic:
            return None
        return anatomical_ceiling(facts=bool(self.study_settings and self.study_settings.identities))


def read_evidence(predictions: pd.DataFrame, cohort: str) -> Evidence:
    """The evidence that a predictions table of its own is: of one cohort and variant.

    Raises:
        InputError: it holds another cohort, several variants, a patient in two folds, or nobody.
    """
    checked = check_predictions(predictions)
    if checked.empty:
        raise InputError("The predictions table has no row.")
    if set(checked["cohort"]) != {cohort}:
        raise InputError(f"The predictions table must hold Cohort {cohort} alone: check its cohort column.")
    if len(set(checked["variant"])) > 1:
        raise InputError("The predictions table holds several variants: keep the rows of one.")
    check_folds(checked)
    return Evidence(checked)
