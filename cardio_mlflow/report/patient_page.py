"""One page per patient: the values with their intervals, what speaks against them, and the clips behind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.parameters import PULMONARY_HYPERTENSION, View
from cardio_mlflow.report.cycle_strip import ClipShown
from cardio_mlflow.report.table_views import number_text
from cardio_mlflow.report.templates import write_page
from cardio_mlflow.report.value_bars import value_rows


@dataclass(frozen=True)
class ModelShown:
    """The model behind the pages.

    Attributes:
        name: such as "cardio-hemodynamics version 3", and what it was trained on, in words.
        level: of the intervals, a share.
        warnings: sentences for the top of every page, such as that it has learned from a synthetic cohort.
    """

    name: str
    level: float
    warnings: Sequence[str] = ()

    @property
    def percent(self) -> str:
        """The level in percent."""
        return f"{100 * self.level:g} %"


@dataclass(frozen=True)
class PatientPage:
    """What stands on a patient's page.

    Attributes:
        name: the patient's id or pseudonym.
        number: in the order of the index page.
        table: the patient's nine rows of the predictions table.
        clips: the four views in order.
        model: what has predicted.
        explained: the address of the page of what pushed the values, relative to this one; empty: none.
    """

    name: str
    number: int
    table: pd.DataFrame
    clips: Sequence[ClipShown]
    model: ModelShown
    explained: str = ""


def write_patient_page(path: Path, page: PatientPage) -> None:
    """Write a patient's page, whole or not at all; it needs no other file."""
    rows = value_rows(page.table)
    write_page(
        path,
        "patient.html.j2",
        ["report.css", "patient.css"],
        page=page,
        model=page.model,
        rows=rows,
        has_values=any(row.value for row in rows),
        outcome=ph_sentence(page.table),
        flags=flag_sentences(page.table),
        notes=split_texts(page.table["notes"].iloc[0]),
    )


def ph_sentence(table: pd.DataFrame) -> str:
    """How probable pulmonary hypertension is, in words; empty where the model does not say."""
    probability = float(table["ph_probability"].iloc[0])
    if math.isnan(probability):
        return ""
    return (
        f"Probability of pulmonary hypertension ({PULMONARY_HYPERTENSION.key} "
        f"{PULMONARY_HYPERTENSION.criterion}): {number_text(probability, 2)}"
    )


def flag_sentences(table: pd.DataFrame) -> list[str]:
    """What speaks against trusting the values, each reason once, with the values it is about.

    >>> flag_sentences(pd.DataFrame({"parameter": ["RAP", "PVR"], "flags": ["black", "black; far"]}))
    ['black', 'PVR: far']
    """
    about: dict[str, list[str]] = {}
    for key, text in zip(table["parameter"], table["flags"], strict=True):
        for reason in split_texts(text):
            about.setdefault(reason, []).append(str(key))
    everything = len(table)
    return [
        reason if len(keys) == everything else f"{', '.join(keys)}: {reason}"
        for reason, keys in about.items()
    ]


def split_texts(text: object) -> list[str]:
    """The parts of a cell of flags or notes."""
    return [part for part in str(text).split("; ") if part] if isinstance(text, str) else []


def clip_facts(row: Mapping[str, Any], view: View) -> ClipShown:
    """How a clip was prepared, in words, or why it was not; without pictures.

    Args:
        row: of the quality table.
        view: its view.
    """
    outcome = Outcome(row["outcome"])
    if outcome != Outcome.OK:
        return ClipShown(view.name, view.meaning, f"Refused: {outcome.words} ({outcome}). {row['message']}")
    length, depth, gating = row["rr_ms"], row["depth_cm"], str(row["gating"]).replace("_", " ")
    facts = [
        f"cycle found by: {gating}" if gating else "",
        f"{length:.0f} ms ({60000 / length:.0f}/min)" if pd.notna(length) and length else "",
        "phase verified" if row["phase_verified"] is True else "phase not verified",
        f"{depth:.1f} cm deep" if pd.notna(depth) else "no true scale",
    ]
    remarks = [*str(row["review"]).replace("_", " ").split(), *split_texts(row["notes"])]
    return ClipShown(view.name, view.meaning, " · ".join(filter(None, facts)), remarks="; ".join(remarks))
