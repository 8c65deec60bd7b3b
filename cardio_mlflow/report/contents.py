"""What an evaluation hands on: the sheets of its workbook and the content of its report."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow import __version__
from cardio_mlflow.analysis.identities import identities_in_words
from cardio_mlflow.analysis.predictions import check_folds, check_predictions
from cardio_mlflow.analysis.results import Evidence, notes
from cardio_mlflow.analysis.subgroups import participants_of
from cardio_mlflow.analysis.summary import MeanCorrelation
from cardio_mlflow.errors import InputError
from cardio_mlflow.figures.style import signed
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.report.checklists import checklist_rows
from cardio_mlflow.report.methods import MethodFacts, methods_paragraphs
from cardio_mlflow.report.page import ReportContent
from cardio_mlflow.report.participant_flow import PREPARED
from cardio_mlflow.settings import Settings, Use, settings_for
from cardio_mlflow.synthetic.hemodynamics import anatomical_ceiling


@dataclass(frozen=True)
class Evaluation:
    """How a step judges its predictions.

    Attributes:
        prefix: ``cohort1`` or ``cohort2``, the metrics' prefix.
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


_PACKAGES: Final = (
    "mlflow", "torch", "transformers", "numpy", "scipy", "statsmodels", "scikit-learn", "umap-learn",
)  # fmt: skip
_NOT_IN_WORKBOOK: Final = ("roc", "identity_pairs", "history", "ceiling")
"""Tables that only figures are drawn from; they are in ``tables/``."""
_NOT_IN_REPORT: Final = (*_NOT_IN_WORKBOOK, "performance", "participant_flow", "phenotypes", "embedding")


def workbook_sheets(
    predictions: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    evaluation: Evaluation,
    mean: MeanCorrelation,
) -> dict[str, pd.DataFrame]:
    """The workbook's sheets in order: summary, performance, predictions, other tables, settings, versions."""
    first = {
        "summary": summary_sheet(predictions, evaluation, mean),
        "performance": tables["performance"],
        "predictions": predictions,
    }
    rest = {n: t for n, t in tables.items() if n not in first and n not in _NOT_IN_WORKBOOK}
    versions = versions_in_use()
    environment = {"package": list(versions), "version": list(versions.values())}
    last = {"settings": _settings_sheet(evaluation), "environment": pd.DataFrame(environment)}
    return first | rest | last


def summary_sheet(predictions: pd.DataFrame, evaluation: Evaluation, mean: MeanCorrelation) -> pd.DataFrame:
    """What an evaluation comes to: item, value, the interval of the value where it has one, and a note."""
    known = {
        "study": evaluation.settings.study_name,
        "cohort": evaluation.name,
        "synthetic": "yes" if evaluation.synthetic else "no",
        "model version": evaluation.model_version or None,
    }
    counted = {
        "patients": predictions["patient_id"].nunique(),
        "persons": count_of_persons(predictions),
        "folds": evaluation.folds,
        "uses of Cohort II on record": evaluation.uses,
    }
    rows: list[dict[str, object]] = [
        {"item": item, "value": value} for item, value in (known | counted).items() if value is not None
    ]
    rows.append({"item": "mean signed r", "value": mean.r, "low": mean.low, "high": mean.high,
                 "note": mean.note})  # fmt: skip
    rows.append({"item": "parameters in the mean", "value": mean.parameters})
    return pd.DataFrame(rows, columns=["item", "value", "low", "high", "note"], dtype=object)


def _settings_sheet(evaluation: Evaluation) -> pd.DataFrame:
    """The settings of the training where they are known, and those of the analysis."""
    analysis = shared_settings(evaluation.settings)
    rows = [("analysis", name, str(analysis[name])) for name in settings_for(Use.ANALYSIS)]
    if evaluation.study_settings is not None:
        training = shared_settings(evaluation.study_settings)
        rows += [("training", name, str(value)) for name, value in training.items()]
    return pd.DataFrame(rows, columns=["of", "setting", "value"])


def report_content(
    evidence: Evidence,
    tables: Mapping[str, pd.DataFrame],
    evaluation: Evaluation,
    mean: MeanCorrelation,
    figures: Mapping[str, tuple[Path, str]],
) -> ReportContent:
    """What the report shows.

    Args:
        evidence: what the evaluation started from.
        evaluation: how it was judged.
        mean: mean r over the parameters.
        figures: PNG file and caption by name.
    """
    settings = evaluation.study_settings
    facts = MethodFacts(
        cohort="II" if evaluation.prefix == "cohort2" else "I",
        patients=evidence.predictions["patient_id"].nunique(),
        resamples=evaluation.settings.bootstrap,
        seed=evaluation.settings.seed,
        folds=evaluation.folds,
        versions=versions_in_use(),
        synthetic=evaluation.synthetic,
        model_version=evaluation.model_version,
        uses_of_cohort2=evaluation.uses,
        champion=evaluation.champion,
        folds_from=evaluation.folds_from,
        tuned=evaluation.tuned,
        persons=count_of_persons(evidence.predictions),
        gating=_gating(evidence, settings),
        with_intervals="intervals" in tables,
        left_out=[key for key in KEYS if key not in set(evidence.predictions["parameter"])],
    )
    shown = {name: table for name, table in tables.items() if name not in _NOT_IN_REPORT}
    return ReportContent(
        title=f"Catheterisation values from echo: study {evaluation.settings.study_name}",
        cohort_name=evaluation.name,
        synthetic=evaluation.synthetic,
        performance=tables["performance"],
        bland_altman=tables["bland_altman"],
        mean_r=_mean_text(mean),
        tables=shown,
        figures=figures,
        methods=methods_paragraphs(settings, facts),
        flow=tables["participant_flow"],
        checklists=checklist_rows(facts, settings, tables=_contained(evidence, tables)),
        notes=notes(evidence, tables),
        settings_text=_as_text(shared_settings(settings)) if settings else "",
        sentences=[*_intervals(tables), *_identities(evidence, tables)],
    )


def _gating(evidence: Evidence, settings: Settings | None) -> dict[str, int] | None:
    """How many clips of the analysed patients had their cycle found in which way; None where nobody knows."""
    judged = evidence.predictions["patient_id"].unique()
    table = participants_of(evidence.predictions, evidence.participants).reindex(judged)
    views = settings.views if settings else ()
    if settings is None or not {f"gating_{view}" for view in views} <= set(table.columns):
        return None
    used = [table.loc[table[view] == PREPARED, f"gating_{view}"] for view in views]
    return {str(rung): int(count) for rung, count in pd.concat(used).value_counts().items() if rung}


def _intervals(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What the intervals come to, in a sentence; none where there are none."""
    found = tables.get("intervals", pd.DataFrame(columns=["coverage"])).dropna(subset=["coverage"])
    if found.empty:
        return []
    low, high = found["coverage"].min(), found["coverage"].max()
    return [
        f"90 % intervals hold {100 * found['coverage'].mean():.0f} % of the references, the mean over the "
        f"parameters ({100 * low:.0f} to {100 * high:.0f} %); they are "
        f"{found['width_ratio'].mean():.2f} times as wide as the narrowest that would hold as many."
    ]


def _identities(evidence: Evidence, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """What the identities gained, in sentences; none where nothing followed by one."""
    if "identities_used" not in tables:
        return []
    surfaces = participants_of(evidence.predictions, evidence.participants).get("bsa")
    judged = evidence.predictions["patient_id"].unique()
    return identities_in_words(
        tables["identities_used"], None if surfaces is None else surfaces.reindex(judged)
    )


def _contained(evidence: Evidence, tables: Mapping[str, pd.DataFrame]) -> set[str]:
    """What the checklists ask the report for: tables with a row, and the kinds of subgroups in it."""
    found = {name for name, table in tables.items() if len(table)}
    if evidence.participants is not None:
        found.add("participants")
        kinds = set(evidence.participants.columns)
        found |= {"subgroups:scanner"} if "scanner" in kinds else set()
        found |= {"subgroups:people"} if kinds & {"sex", "age_band", "rhythm", "bmi_band"} else set()
    return found


def count_of_persons(predictions: pd.DataFrame) -> int | None:
    """How many persons the patients are examinations of; None where each is one."""
    patients = predictions["patient_id"].nunique()
    persons = predictions["person"].nunique() if "person" in predictions.columns else patients
    return persons if persons < patients else None


def versions_in_use() -> dict[str, str]:
    """Versions of this package, Python and the packages that the numbers depend on."""
    found = {name: version(name).split("+")[0] for name in _PACKAGES}
    return {"cardio_mlflow": __version__, "Python": platform.python_version(), **found}


def shared_settings(settings: Settings) -> dict[str, object]:
    """The settings by name, without what is private to this machine: for what is handed on."""
    shown = settings.model_dump(mode="json", exclude=set(settings_for(Use.PRIVATE)))
    return shown | {"backbone": settings.backbone_name}


def _as_text(values: Mapping[str, object]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in values.items())


def _mean_text(mean: MeanCorrelation) -> str:
    if not mean.parameters:
        return f"Mean signed r is not defined: {mean.note}"
    note = f" ({mean.note})" if mean.note else ""
    if math.isnan(mean.low):
        return f"Mean signed r {signed(mean.r)}{note}"
    return f"Mean signed r {signed(mean.r)} (95 % CI {signed(mean.low)} to {signed(mean.high)}){note}"
