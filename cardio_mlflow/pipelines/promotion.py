"""Make a new version of the registered model champion or challenger, and write down why."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pandas as pd

from cardio_mlflow.analysis.promotion import TAKES_OVER, Promotion, compare
from cardio_mlflow.errors import InputError
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.finished import predictions_of
from cardio_mlflow.tracking.registry import (
    CHALLENGER,
    CHAMPION,
    MODEL_NAME,
    remove_alias,
    set_alias,
    tag_version,
    version_called,
)
from cardio_mlflow.tracking.runs import Run

log = logging.getLogger(__name__)


def promote(
    run: Run, settings: Settings, number: str, predictions: pd.DataFrame, tags: Mapping[str, str]
) -> Promotion:
    """Compare a version with the champion on the patients of both, and give it the alias that it earns.

    Args:
        run: that registered the version; the comparison is logged here.
        settings: resamples and seed of the bootstrap.
        number: of the version.
        predictions: its out-of-fold predictions.
        tags: ``synthetic`` and ``patient_ids`` of the version.
    """
    promotion = judged(settings, number, predictions, tags)
    set_alias(number, CHAMPION if promotion.promoted else CHALLENGER)
    if promotion.promoted:
        remove_alias(number, CHALLENGER)
    run.log_metrics({f"promotion/{name}": value for name, value in promotion.metrics.items()})
    if promotion.table is not None:
        run.log_table(promotion.table, "tables/promotion.csv")
    run.set_tags({"promotion": promotion.sentence})
    tag_version(number, {"promotion": promotion.sentence})
    log.info("%s version %s: %s", MODEL_NAME, number, promotion.sentence)
    return promotion


def judged(settings: Settings, number: str, predictions: pd.DataFrame, tags: Mapping[str, str]) -> Promotion:
    """What becomes of a version; arguments as of `promote`."""
    champion = version_called(CHAMPION)
    if champion is None:
        return Promotion(True, f"{TAKES_OVER}: there was none.")
    if champion.number == number:
        return Promotion(True, "It is the champion already.")
    before = f"the champion before it, version {champion.number}"
    if tags["synthetic"] == "true" and champion.tags.get("synthetic") != "true":
        return Promotion(False, "It becomes the challenger: a model of synthetic patients never takes the "
                         f"place of one of real patients, version {champion.number}.")  # fmt: skip
    if tags["patient_ids"] != champion.tags.get("patient_ids", tags["patient_ids"]):
        return Promotion(True, f"{TAKES_OVER}: its patients have other pseudonyms than those of {before}, so "
                         "the two cannot be compared.")  # fmt: skip
    try:
        known = predictions_of(champion.run_id)
    except InputError as error:
        return Promotion(True, f"{TAKES_OVER}: it cannot be compared with {before}, since {error}.")
    return compare(predictions, known, settings.bootstrap, settings.seed)
