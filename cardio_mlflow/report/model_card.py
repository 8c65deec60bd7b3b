"""The model card: what a registered model is, what it was judged on, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pandas as pd

from cardio_mlflow import __version__
from cardio_mlflow.analysis.summary import MeanCorrelation
from cardio_mlflow.figures.style import signed
from cardio_mlflow.parameters import FACTS, KEYS, PULMONARY_HYPERTENSION, VIEWS, parameter, view
from cardio_mlflow.report.contents import Evaluation, shared_settings
from cardio_mlflow.report.templates import rendered
from cardio_mlflow.settings import Settings

FILE: Final = "model_card.md"
SHORT: Final = (
    f"Nine right-heart-catheterisation values ({', '.join(KEYS)}) from four echocardiography views. For "
    "research only: no medical device. The description of each version is its model card. The version called "
    "`champion` is in use; `challenger` is one that has not taken its place."
)
"""What the registered model says of all its versions."""
_SETTINGS: Final = (
    "backbone", "views", "training_frames", "scale", "motion", "identities", "epochs", "stages", "keep",
    "augmented_copies", "view_dropout", "task_lr", "vit_lr", "dropout", "seed",
)  # fmt: skip
"""The settings that the card shows."""
_LEFT_OUT: Final = ("Settings that matter", "Licence and citation", "With missing views", "Input and output")
"""The sections that a description which is too long does without, in this order."""
_UNKNOWN: Final = "–"

Rows = list[dict[str, object]]


def model_card(
    tables: Mapping[str, pd.DataFrame], mean: MeanCorrelation, evaluation: Evaluation, tags: Mapping[str, str]
) -> str:
    """Write the card, in markdown.

    Args:
        tables: of the validation by name; `intervals` and `view_subset_accuracy` may be missing.
        mean: signed r over the parameters.
        evaluation: how the model was judged.
        tags: of the version: study, preset, cohort, cohort_digest, settings_digest, patient_ids, champion.
    """
    performance, flow = tables["performance"], tables["participant_flow"].set_index("step")["patients"]
    counts = {known.name: flow.get(f"analysed with view {known.name}") for known in VIEWS}
    settings, intervals = evaluation.study_settings, tables.get("intervals")
    return rendered(
        "model_card.md.j2",
        synthetic=evaluation.synthetic, version=__version__, tags=tags, made=_made(evaluation, tags),
        views=[known.name for known in VIEWS], facts=FACTS,
        ph=f"{PULMONARY_HYPERTENSION.key} {PULMONARY_HYPERTENSION.criterion}",
        patients=_patients(int(flow["analysed"]), evaluation, tags), ph_share=_ph_share(performance),
        clips=", ".join(f"{name} {count}" for name, count in counts.items() if count is not None),
        settings=_settings(settings), mean=_mean(mean), ceiling=evaluation.ceiling,
        results=_results(performance, evaluation.ceiling or {}), intervals=_intervals(intervals),
        coverage=_UNKNOWN if intervals is None else _percent(float(intervals["coverage"].mean())),
        subsets=_subsets(tables.get("view_subset_accuracy")), limits=_limits(evaluation, settings),
    )  # fmt: skip


def shortened(card: str, longest: int) -> str:
    """The card with as many sections as a description may have characters, and where the others are."""
    start, *sections = card.split("\n## ")
    told = f"\nThe other sections stand in `{FILE}` among the artifacts.\n"
    for heading in ("", *_LEFT_OUT):
        sections = [section for section in sections if not heading or not section.startswith(heading)]
        text = "\n## ".join([start, *sections]) + (told if heading else "")
        if len(text) <= longest:
            return text
    return text[: longest - len(told)] + told


def _made(evaluation: Evaluation, tags: Mapping[str, str]) -> str:
    if tags["champion"] == "best_fold":
        return f"the best of the networks of {evaluation.folds} folds, by its validation loss"
    return f"the mean of the networks of {evaluation.folds} folds"


def _patients(count: int, evaluation: Evaluation, tags: Mapping[str, str]) -> str:
    whose = "synthetic patients" if evaluation.synthetic else f"patients of the cohort {tags['cohort']}"
    origin = {"given": ", given by the user", "drawn": ", balanced on pulmonary hypertension"}
    return f"{count} {whose} in {evaluation.folds} folds{origin.get(evaluation.folds_from, '')}"


def _ph_share(performance: pd.DataFrame) -> str:
    rows = performance[performance["parameter"] == PULMONARY_HYPERTENSION.key].to_dict("records")
    return "".join(f"{row['abnormal']} of {row['n']}" for row in rows)


def _settings(settings: Settings | None) -> list[tuple[str, str]]:
    if settings is None:
        return []
    values = shared_settings(settings) | {"views": [view(code).name for code in settings.views]}
    return [(name, _in_cell(values[name])) for name in _SETTINGS]


def _in_cell(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text.replace("|", "\\|")


def _mean(mean: MeanCorrelation) -> str:
    if np.isnan(mean.r):
        return "The mean signed r is not defined."
    interval = "" if np.isnan(mean.low) else f" (95 % CI {signed(mean.low)} to {signed(mean.high)})"
    return f"Mean signed r over {mean.parameters} parameters: {signed(mean.r)}{interval}."


def _results(performance: pd.DataFrame, ceiling: Mapping[str, float]) -> Rows:
    return [
        {
            "parameter": row["parameter"], "unit": row["unit"], "n": row["n"],
            "r": _with_interval(row, "r", signed), "mae": _with_interval(row, "mae", _short),
            "auc": _with_interval(row, "auc", _two), "criterion": parameter(str(row["parameter"])).criterion,
            "ceiling": _two(ceiling.get(str(row["parameter"]), np.nan)),
        }
        for row in performance.to_dict("records")
    ]  # fmt: skip


def _intervals(table: pd.DataFrame | None) -> Rows:
    if table is None:
        return []
    return [
        {
            "parameter": row["parameter"], "unit": row["unit"], "n": row["n"], "width": _short(row["width"]),
            "held": _with_interval(row, "coverage", _percent),
        }
        for row in table.to_dict("records")
    ]  # fmt: skip


def _subsets(table: pd.DataFrame | None) -> Rows:
    """The rows of the mean over the parameters."""
    if table is None:
        return []
    return [
        {
            "views": str(row["views"]).replace("+", ", "), "n": row["n"], "r": _known(signed)(row["r"]),
            "mae": _two(row["mae"]), "width": _two(row["width_ratio"]),
        }
        for row in table[table["parameter"] == "mean"].to_dict("records")
    ]  # fmt: skip


def _limits(evaluation: Evaluation, settings: Settings | None) -> list[str]:
    limits = [
        "It was judged on one cohort, that of its training: other scanners and hospitals may surprise it."
    ]
    if evaluation.synthetic:
        limits = ["It has seen nothing but pictures made by a program."]
    if settings is not None and settings.keep == "best":
        limits.append("Of each fold the epoch was kept that was best on the patients that it is judged on: "
                      "its results are a little optimistic.")  # fmt: skip
    if evaluation.tuned:
        limits.append("Settings were chosen on the same patients: results are more optimistic.")
    return [
        *limits,
        "Intervals hold their share of patients like those of training, taken together; not of each kind.",
        "References have errors of their own, and were not taken at the moment of the clips.",
    ]


def _with_interval(row: Mapping[object, object], name: str, write: Callable[[float], str]) -> str:
    value, low, high = (float(str(row[name + end])) for end in ("", "_low", "_high"))
    if np.isnan(value):
        return _UNKNOWN
    return write(value) if np.isnan(low) else f"{write(value)} ({write(low)} to {write(high)})"


def _known(write: Callable[[float], str]) -> Callable[[float], str]:
    return lambda value: _UNKNOWN if np.isnan(value) else write(value)


def _two(value: float) -> str:
    return _known("{:.2f}".format)(value)


def _short(value: float) -> str:
    return _known(lambda v: f"{v:.0f}" if abs(v) >= 100 else f"{v:.3g}")(value)


def _percent(value: float) -> str:
    return _known(lambda v: f"{100 * v:.0f}")(value)
