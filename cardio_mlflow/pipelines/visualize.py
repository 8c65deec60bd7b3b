"""What the network looks at: attention, rollout, Integrated Gradients of chosen patients, and checks."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from cardio_mlflow.analysis.predictions import wide
from cardio_mlflow.analysis.subgroups import worst_patients
from cardio_mlflow.data.clips import PREPARED_FRAMES
from cardio_mlflow.data.dataset import load_clips
from cardio_mlflow.errors import InputError
from cardio_mlflow.explain.integrated_gradients import Attribution
from cardio_mlflow.explain.patient import checks_of, explain_patient
from cardio_mlflow.figures.explanation_checks import deletion_insertion, sanity_bars
from cardio_mlflow.model.frame_encoder import resize_frames
from cardio_mlflow.model.network import unit_range
from cardio_mlflow.parameters import KEYS, PULMONARY_HYPERTENSION, VIEWS
from cardio_mlflow.pipelines.explained_figures import Patient, log_cohort, log_patient
from cardio_mlflow.pipelines.inputs import StudyInputs, load_inputs, training_subset
from cardio_mlflow.pipelines.study_runs import FoldNetworks, find_networks
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.training.bundle import Bundle, used_views

WORDS = (
    "worst=5 (the largest mean errors), best=5, median (the middle one), ph, no_ph (a typical one of each)"
)


def choose_patients(asked: str, predictions: pd.DataFrame) -> dict[str, str]:
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
        found = {word: "asked for"} if word in known else _patients_of(word, ranked, predictions)
        for patient, why in found.items():
            chosen.setdefault(patient, why)
    if not chosen:
        raise InputError(f"patients={asked} chooses nobody. Give ids of Cohort I, or {WORDS}.")
    return chosen


def _patients_of(word: str, ranked: list[str], predictions: pd.DataFrame) -> dict[str, str]:
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
        return _typical_patient(name, ranked, predictions)
    raise InputError(
        f"patients= names what is neither a patient of Cohort I with a prediction nor one of: {WORDS}."
    )


def _typical_patient(name: str, ranked: list[str], predictions: pd.DataFrame) -> dict[str, str]:
    """The patient with or without PH whose error is the middle one of its kind."""
    ph = PULMONARY_HYPERTENSION
    reference = wide(predictions, "reference")[ph.key]
    wanted = [p for p in ranked if pd.notna(reference[p]) and ph.is_abnormal(reference[p]) == (name == "ph")]
    if not wanted:
        raise InputError(f"patients={name}: Cohort I has no such patient.")
    return {wanted[len(wanted) // 2]: "with PH" if name == "ph" else "without PH"}


LOOSE_FRAMES: Final = 3
"""Frames of each view and parameter that become files of their own, where no number is given."""
MEAN_OF: Final = 40
"""Training patients whose images make the baseline ``cohort_mean``."""

log = logging.getLogger(__name__)


def visualize(settings: Settings, run: Run, patients: str, model: str, loose: str) -> None:
    """Show what networks look at: each patient of Cohort I by the network that was not trained on them.

    ``patients`` are ids of Cohort I, or worst=3, best=3, median, ph, no_ph. ``model`` is ``study``, an alias
    or version of the registered model, or a run. ``loose=3`` also writes the overlays of each view's and
    parameter's three most important frames as files of their own, in all ``figure_formats``.
    """
    loose_frames = count_of_loose(loose)
    with tempfile.TemporaryDirectory() as folder:
        networks = find_networks(settings, model, Path(folder))
        chosen = choose_patients(patients, networks.predictions)
        inputs = load_inputs(settings)
        if inputs.digest != networks.cohort_digest:
            raise InputError(
                "These networks were trained on another cohort (labels, clips or folds have changed since). "
                "Give the data and settings of the training."
            )
        run.set_tags({"cohort_digest": inputs.digest, "patient_ids": inputs.patient_ids, "model": model})
        run.set_tags({f"network_fold-{fold}": run_id for fold, run_id in networks.run_ids.items()})
        _explain_chosen(settings, run, inputs, networks, chosen, loose_frames)
        log_cohort(run, settings, inputs, networks)


def count_of_loose(loose: str) -> int:
    """How many frames of each view and parameter become files of their own.

    Raises:
        InputError: it is neither true, false nor a number of frames.

    >>> count_of_loose("false"), count_of_loose("true"), count_of_loose("5")
    (0, 3, 5)
    """
    named = {"false": 0, "true": LOOSE_FRAMES}
    if loose in named:
        return named[loose]
    if not (loose.isdecimal() and loose.isascii() and len(loose) < 3 and int(loose) <= PREPARED_FRAMES):
        raise InputError(
            f"loose={loose[:20]} is not allowed. Allowed: false, true ({LOOSE_FRAMES} frames), or a whole "
            f"number of frames, at most {PREPARED_FRAMES}."
        )
    return int(loose)


def _explain_chosen(
    settings: Settings,
    run: Run,
    inputs: StudyInputs,
    networks: FoldNetworks,
    chosen: Mapping[str, str],
    loose_frames: int,
) -> None:
    """Explain each patient, with their figures and tables."""
    deltas: list[pd.DataFrame] = []
    curves: list[pd.DataFrame] = []
    checks: list[pd.DataFrame] = []
    note = ""
    try:
        with tqdm(chosen.items(), desc="patients", unit="patient") as bar:
            for number, (patient_id, why) in enumerate(bar, 1):
                patient = Patient(number, patient_id, why, int(inputs.folds[patient_id]))
                bundle = networks.of_fold(patient.fold)
                mean = _mean_images(settings, inputs, bundle, patient.fold)
                with _named(patient):
                    found = explain_patient(
                        bundle, inputs.prepared.clips_of(patient_id), patient_id, settings, mean
                    )
                    log_patient(run, settings, inputs, found, patient, loose_frames)
                    delta = convergence_table(patient, found.attribution)
                    deltas.append(delta[delta["parameter"].isin(found.keys)])
                    note = found.own_heads
                    checked = checks_of(found, bundle, settings)
                for table, tables in zip(checked, (curves, checks), strict=True):
                    own = table[table["parameter"].isin(found.keys)]
                    tables.append(own.assign(patient_id=patient_id))
    finally:  # also of those before one that could not be explained
        names = ("convergence", "deletion_insertion", "map_checks")
        for name, tables in zip(names, (deltas, curves, checks), strict=True):
            if tables:
                run.log_table(pd.concat(tables), f"tables/{name}.csv")
    convergence, curve_table, check_table = (pd.concat(tables) for tables in (deltas, curves, checks))
    run.log_metrics({"explain/largest_relative_delta": float(convergence["relative_delta"].max())})
    run.log_metrics(check_metrics(check_table))
    mark = settings.is_synthetic
    curve_figure = deletion_insertion(mean_curves(curve_table), synthetic=mark, note=note)
    check_figure = sanity_bars(mean_checks(check_table), synthetic=mark, note=note)
    figures = {"deletion_insertion": curve_figure, "map_checks": check_figure}
    run.log_figures(figures, settings.figure_formats)


@contextmanager
def _named(patient: Patient) -> Iterator[None]:
    """Make an error name the patient by number and reason, not by id."""
    try:
        yield
    except InputError as error:
        raise InputError(f"Patient {patient.number} ({patient.why}): {error}") from error


def convergence_table(patient: Patient, found: Attribution) -> pd.DataFrame:
    """How complete a patient's attribution is, one row per parameter; predictions in scaled target space."""
    columns = {"prediction": found.outputs, "baseline": found.baseline, "delta": found.delta,
               "relative_delta": found.relative_delta}  # fmt: skip
    table = pd.DataFrame({name: values.cpu().numpy() for name, values in columns.items()})
    return table.assign(
        parameter=list(KEYS), steps=found.steps, precision=str(found.dtype).removeprefix("torch."),
        number=patient.number, patient_id=patient.patient_id, why=patient.why, fold=patient.fold,
    )  # fmt: skip


def mean_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """Deletion and insertion curves, mean over the patients."""
    by = ["parameter", "kind", "order", "share"]
    return curves.groupby(by, sort=False)[["value", "low", "high"]].mean().reset_index()


def mean_checks(checks: pd.DataFrame) -> pd.DataFrame:
    """Correlations of the maps, mean over the patients."""
    return checks.groupby(["check", "parameter"], sort=False)["correlation"].mean().reset_index()


def check_metrics(checks: pd.DataFrame) -> dict[str, float]:
    """Mean correlation of the maps of each check, by MLflow name."""
    means = checks.groupby("check")["correlation"].mean()
    return {f"explain/r_{str(name).replace(' ', '_')}": float(value) for name, value in means.items()}


def _mean_images(settings: Settings, inputs: StudyInputs, bundle: Bundle, fold: int) -> Tensor | None:
    """(V, h, w) mean image of each view over training patients of a fold, where it is needed."""
    if settings.ig_baseline != "cohort_mean":
        return None
    trainable = training_subset(bundle.settings, inputs)
    trained = [p for p in inputs.patients("I") if inputs.folds[p] != fold and p in trainable]
    chosen = [trained[i] for i in np.linspace(0, len(trained) - 1, min(MEAN_OF, len(trained))).astype(int)]
    size = bundle.network.encoder.image_size
    total, count = torch.zeros(len(VIEWS), *size), torch.zeros(len(VIEWS), 1, 1)
    for patient in chosen:
        data = load_clips(
            inputs.prepared.clips_of, [patient], bundle.settings.training_frames, scale=bundle.scale
        )
        present = data.present[0] & used_views(bundle.settings)
        mean = unit_range(data.clips[0]).mean(1)
        total += resize_frames(mean, size) * present[:, None, None]
        count += present[:, None, None]
    return total / count.clamp(min=1)
