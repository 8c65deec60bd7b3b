"""Which patients are explained: by their ids, or by how well they were predicted out of fold."""

from __future__ import annotations

import pandas as pd

from cardio_mlflow.analysis.failures import worst_patients
from cardio_mlflow.analysis.predictions import wide
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import PULMONARY_HYPERTENSION

WORDS = (
    "worst=5 (the largest mean errors), best=5, median (the middle one), ph, no_ph (a typical one of each)"
)


def chosen_patients(asked: str, predictions: pd.DataFrame) -> dict[str, str]:
    """Read a choice of patients.

    Args:
        asked: ids and words with commas between them, such as ``worst=2,median,P0004``.
        predictions: the pooled out-of-fold predictions.

    Returns:
        Why each patient was chosen, by id, in the order asked for; nobody twice.

    Raises:
        InputError: an id or a word is not known (ids are not repeated in the message), or nobody is left.
    """
    ranked = list(worst_patients(predictions, None, count=10**6)["patient_id"])
    known = set(predictions["patient_id"])
    chosen: dict[str, str] = {}
    for word in filter(None, (part.strip() for part in asked.split(","))):
        found = {word: "asked for"} if word in known else _by_word(word, ranked, predictions)
        for patient, why in found.items():
            chosen.setdefault(patient, why)
    if not chosen:
        raise InputError(f"patients={asked} chooses nobody. Give ids of Cohort I, or {WORDS}.")
    return chosen


def _by_word(word: str, ranked: list[str], predictions: pd.DataFrame) -> dict[str, str]:
    """The patients that a word stands for; ``ranked`` has the worst first."""
    name, equals, number = word.partition("=")
    if name in ("worst", "best"):
        if not number.isdecimal() or len(number) > 6 or not 1 <= int(number) <= len(ranked):
            raise InputError(f"patients={word} is not understood: give a number from 1 to {len(ranked)}.")
        order = ranked if name == "worst" else ranked[::-1]
        return {patient: f"{name} {place}" for place, patient in enumerate(order[: int(number)], 1)}
    if not ranked:
        raise InputError("No parameter varies over the patients, so none is the worst. Give ids.")
    if name == "median" and not equals:
        return {ranked[len(ranked) // 2]: "median error"}
    if name in ("ph", "no_ph") and not equals:
        return _typical(name, ranked, predictions)
    raise InputError(
        f"patients= names what is neither a patient of Cohort I with a prediction nor one of: {WORDS}."
    )


def _typical(name: str, ranked: list[str], predictions: pd.DataFrame) -> dict[str, str]:
    """The patient with or without PH whose error is the middle one of its kind."""
    ph = PULMONARY_HYPERTENSION
    reference = wide(predictions, "reference")[ph.key]
    wanted = [p for p in ranked if pd.notna(reference[p]) and ph.is_abnormal(reference[p]) == (name == "ph")]
    if not wanted:
        raise InputError(f"patients={name}: Cohort I has no such patient.")
    return {wanted[len(wanted) // 2]: "with PH" if name == "ph" else "without PH"}
