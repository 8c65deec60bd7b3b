"""Predict for new patients: values, intervals and flags, a table and a page per patient."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from tqdm import tqdm

from cardio_mlflow import __version__
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.prepared_cohort import TABLE, nothing_prepared
from cardio_mlflow.errors import InputError
from cardio_mlflow.files import write_whole
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.pipelines.new_inputs import NewInputs, prepare_new, read_patients_to_predict
from cardio_mlflow.pipelines.predicted_pages import page_names, with_refusals, write_pages
from cardio_mlflow.pipelines.prediction_results import (
    INDEX,
    PAGES,
    Results,
    open_results,
    writing,
)
from cardio_mlflow.pipelines.predictions_shown import counts_of, summary_of, terminal_table
from cardio_mlflow.pipelines.pushed_values import check_explainable, who_is_explained, write_explained
from cardio_mlflow.pipelines.used_model import UsedModel, is_folder, load_used
from cardio_mlflow.report.patient_index import write_index_page
from cardio_mlflow.report.patient_page import ModelShown
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.loaded_model import model_input
from cardio_mlflow.tracking.registry import CHAMPION
from cardio_mlflow.tracking.runs import Run

OPTIONS: Final = {"model": CHAMPION, "output": "", "explain": "", "level": "0.9"}
"""The step's own options and their defaults."""
CHUNK: Final = 16
"""Patients in memory at a time; after so many the table grows."""
_MATTER: Final = ("refuse", "check_text", "ig_steps", "ig_tolerance", "ig_baseline")
"""The settings that results depend on."""

log = logging.getLogger(__name__)


def needs_store(given: Mapping[str, str]) -> bool:
    """Whether the step cannot do without an MLflow store: the model is no folder."""
    return not is_folder(given.get("model", CHAMPION))


@dataclass(frozen=True)
class _Asked:
    """What is asked for, and what answers it."""

    settings: Settings
    used: UsedModel
    inputs: NewInputs
    level: float
    explained: frozenset[str]
    names: Mapping[str, str]
    shown: ModelShown

    @property
    def digest(self) -> str:
        """Of all that the results depend on."""
        settings = {name: str(getattr(self.settings, name)) for name in _MATTER}
        made_from = [__version__, self.used.digest, self.inputs.digest, self.level, sorted(self.explained),
                     settings, self.shown.name, self.shown.warnings]  # fmt: skip
        return hashlib.blake2b(json.dumps(made_from).encode(), digest_size=16).hexdigest()


def predict(settings: Settings, run: Run, model: str, output: str, explain: str, level: str) -> None:
    """Predict the nine values of new patients, with intervals, and with flags where they cannot be trusted.

    ``input`` is a folder laid out as a cohort folder is, without a label sheet, the folder of one patient, or
    a clips.csv (patient_id, view, path; and HR, BSA, MAP where known, or in a patients.csv beside it).
    ``model`` is an alias or a version of the registered model, the id of the run that registered it, or a
    model's folder, with which no MLflow store is needed. ``output`` is a folder for predictions.csv,
    quality.csv, index.html and the patients' pages; a second run goes on in it where one was killed.
    ``explain`` names patients, or all, who get a page of what pushed their values. ``level`` is of the
    intervals. ``refuse=true`` leaves out values that are flagged.
    """
    asked = _ask(settings, run, model, explain, level, output)
    place = Path(output).expanduser() if output else settings.cache / "predictions" / asked.digest
    run.set_tags({"cohort_digest": asked.inputs.digest, "patient_ids": asked.inputs.patient_ids,
                  **asked.used.tags()})  # fmt: skip
    with open_results(place, asked.digest) as results:
        _predict_all(asked, results)
        table = results.table()
        with writing():
            pages = {patient: f"{PAGES}/{name}.html" for patient, name in asked.names.items()}
            write_index_page(results.folder / INDEX, table, pages, asked.shown, summary_of(table))
        _log(run, asked, results, table)
    if not output:
        shutil.rmtree(place)
    log.info("%s\n\n%s\n%s", terminal_table(table, asked.names), summary_of(table), _where(run, output))


def _ask(settings: Settings, run: Run, model: str, explain: str, level: str, output: str) -> _Asked:
    """Read and load all that is asked for; the clips last, which takes longest."""
    share = _share(level)
    if "data" not in run.given:
        raise InputError("input= is missing: give the absolute path of a folder of clips, or of a clips.csv.")
    if not (output or run.run_id):
        raise InputError("output= is missing: without an MLflow store, say into which folder to write.")
    if explain:
        check_explainable(settings)
    cohort, patient_ids, names = read_patients_to_predict(settings)
    explained = who_is_explained(explain, names)
    used = load_used(model)
    inputs = prepare_new(settings, cohort, patient_ids, names)
    shown = used.shown(settings, share)
    return _Asked(settings, used, inputs, share, explained, page_names(inputs.patients), shown)


def _share(level: str) -> float:
    """The level of the intervals; InputError where it is none.

    >>> _share("0.8")
    0.8
    """
    try:
        share = float(level)
    except ValueError:
        share = np.nan
    if not 0.5 <= share <= 0.99:
        raise InputError("level= is the share of references that intervals hold: 0.5 to 0.99, such as 0.9.")
    return share


def _predict_all(asked: _Asked, results: Results) -> None:
    """Predict for everybody who is not done, some patients at a time."""
    inputs = asked.inputs
    with writing():
        write_whole(results.folder / TABLE, inputs.prepared.quality.to_csv(index=False, lineterminator="\n"))
    if not inputs.prepared.patients:
        raise nothing_prepared(inputs.prepared.quality, results.folder / TABLE)
    done = results.done()
    with tqdm(total=len(inputs.patients), initial=done, desc="predict", unit="patient") as bar:
        for start in range(done, len(inputs.patients), CHUNK):
            patients = inputs.patients[start : start + CHUNK]
            table = _answers(asked, patients)
            with writing():
                explained = _explain(asked, results, patients)
                write_pages(results.folder, table, inputs, asked.names, asked.shown, explained)
            results.append(table)
            bar.update(len(patients))


def _answers(asked: _Asked, patients: tuple[str, ...]) -> pd.DataFrame:
    """The rows of the predictions table about some patients."""
    clips = asked.inputs.clips(patients)
    request = model_input(clips, asked.inputs.facts(clips))
    table = asked.used.model.predict(request, level=asked.level, refuse=asked.settings.refuse)
    table = table.assign(patient=[patient for patient in patients for _ in KEYS])
    return with_refusals(table, asked.inputs.quality(patients))


def _explain(asked: _Asked, results: Results, patients: tuple[str, ...]) -> dict[str, str]:
    """The pages of what pushed the values, by id, of those among these patients who get one."""
    pages = {}
    (results.folder / PAGES).mkdir(exist_ok=True)
    for patient in patients:
        if patient in asked.explained and asked.inputs.files(patient):
            name = asked.names[patient]
            pages[patient] = f"{name}_explained.html"
            write_explained(
                results.folder / PAGES / pages[patient], patient, list(asked.names).index(patient) + 1,
                asked.inputs, asked.used, asked.settings, asked.shown, f"{name}.html",
            )  # fmt: skip
    return pages


def _log(run: Run, asked: _Asked, results: Results, table: pd.DataFrame) -> None:
    """Put everything on the run."""
    outcomes = asked.inputs.prepared.quality["outcome"]
    clips = {"prepared": int((outcomes == Outcome.OK).sum()), "refused": asked.inputs.prepared.refused}
    counts = counts_of(table)
    run.log_metrics({name: float(count) for name, count in counts.items()})
    run.log_metrics({f"clips/{name}": float(count) for name, count in clips.items()})
    run.log_file(results.table_file)
    run.log_file(results.folder / INDEX)
    run.log_file(results.folder / TABLE, "tables")
    run.log_folder(results.folder / PAGES, PAGES)


def _where(run: Run, output: str) -> str:
    """Where the pages are."""
    if output:
        return f"Look at {Path(output).expanduser() / INDEX}"
    return f"Look at {INDEX} among the artifacts of the run: {run.artifact_folder()}"
