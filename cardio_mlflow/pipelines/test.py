"""Test the registered model on Cohort II."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow.analysis.predictions import check_predictions, read_predictions
from cardio_mlflow.analysis.results import Evidence
from cardio_mlflow.data.clips import PREPARED_FRAMES
from cardio_mlflow.data.cohort.persons import PERSON
from cardio_mlflow.data.dataset import load_clips
from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.evaluate import Judged, log_evaluation
from cardio_mlflow.pipelines.fold_results import build_predictions, features_table
from cardio_mlflow.pipelines.inputs import ORIGINAL_IDS, StudyInputs, load_inputs, participants
from cardio_mlflow.pipelines.study_runs import STUDY, command
from cardio_mlflow.pipelines.trained_on import check_new, person_digest, read_trained_on
from cardio_mlflow.pipelines.training_set import with_used_views
from cardio_mlflow.report.contents import Evaluation, read_evidence
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import settings_from_yaml
from cardio_mlflow.tracking.finished import find_runs, run_by_id
from cardio_mlflow.tracking.loaded_model import Answer
from cardio_mlflow.tracking.registry import (
    CHAMPION,
    MODEL_NAME,
    RegisteredModel,
    Version,
    load_version,
    version_called,
    versions_with,
)
from cardio_mlflow.tracking.runs import Run

FLAGS: Final = "tables/flags.csv"

log = logging.getLogger(__name__)


def test(settings: Settings, run: Run, predictions: str, model: str) -> None:
    """Load the registered model of the study, with its own code, and judge it on Cohort II.

    ``model`` is ``study``: the champion, which has to be of this study, or the latest version of a study that
    is named; or a version of the registered model, its alias, or the id of the run that registered it.

    With ``predictions``, the path of a predictions table (csv or xlsx), that table is judged; no model
    predicts, and it counts as no use of Cohort II.
    """
    if not predictions:
        judge_model(settings, run, find_version(settings, model))
        return
    evidence = read_evidence(read_predictions(Path(predictions)), "II")
    log_evaluation(run, evidence, Evaluation("cohort2", "Cohort II", settings, None, settings.is_synthetic))


def find_version(settings: Settings, model: str) -> Version:
    """The version of the registered model that a user names.

    Raises:
        InputError: there is none, or the champion is of another study (says how to name either).
    """
    if model != STUDY:
        if version := version_called(model):
            return version
        raise InputError(
            f"model={model} is neither {STUDY}, nor a version or an alias of {MODEL_NAME} in this store, nor "
            "the id of a run of validate that has registered one."
        )
    study = settings.study_name
    own, champion = versions_with({"study": study}), version_called(CHAMPION)
    if champion in own:
        return champion
    if own and (settings.study or champion is None):
        return own[0]
    if champion is None:
        raise InputError(
            f"No model is registered as {MODEL_NAME}@{CHAMPION} in this store, nor any of the study "
            f"{study!r}. Run the steps that make one first:\n    {command('train', settings)}\n"
            f"    {command('validate', settings)}"
        )
    raise InputError(_other_study(champion, study, own))


def _other_study(champion: Version, study: str, own: Sequence[Version]) -> str:
    """That the champion is not of the study that is asked for, and how to name either."""
    theirs = champion.tags.get("study", "")
    known = f"has version {own[0].number}" if own else "has no registered model in this experiment"
    here = own or champion in versions_with({"study": theirs})
    offered = study if own else theirs
    return (
        f"The champion, version {champion.number}, is of the study {theirs!r}"
        f"{'' if here else ' in another experiment'}; the study {study!r}, which this command is for, "
        f"{known}. Say which is to be tested:\n"
        + (f"    -P study={shlex.quote(offered)}, the model of that study, or\n" if here else "")
        + f"    -P model={CHAMPION}, or another alias, a version, or the id of the run that registered it."
    )


def judge_model(settings: Settings, run: Run, version: Version) -> Judged:
    """Predict Cohort II by a version of the registered model, judge and log.

    Raises:
        InputError: the model's files are gone, or the cohort has no Cohort II with prepared clips.
    """
    log.info("Testing %s version %s, of the study %s.", MODEL_NAME, version.number, version.tags.get("study"))
    model = load_version(version)
    inputs = load_inputs(settings)
    patients = inputs.patients("II")
    if not patients:
        raise InputError(
            "This cohort has no Cohort II patient with a prepared clip: mark them II in the label sheet's "
            "cohort column, or set cohort1_size to the number of Cohort I rows."
        )
    patients = with_used_views(_study_settings(model), inputs, patients)
    check_unseen(settings, model, inputs, patients)
    run.set_tags({"cohort_digest": inputs.digest, "patient_ids": inputs.patient_ids, **model_tags(model)})
    uses = count_use(run, inputs.cohort2_digest)
    clips = load_clips(inputs.prepared.clips_of, patients, PREPARED_FRAMES)
    answer = model.evaluate(clips, inputs.facts(patients))
    table = build_predictions(
        patients,
        inputs.references(patients),
        answer.predicted,
        cohort="II",
        variant="full",
        persons=inputs.persons(patients),
        ends=None if answer.lower is None or answer.upper is None else (answer.lower, answer.upper),
    )
    _log_flags(run, patients, answer)
    evidence = Evidence(check_predictions(table), participants(inputs, "II"), _features(patients, answer))
    evaluation = Evaluation(
        "cohort2", "Cohort II", settings, _study_settings(model), settings.is_synthetic,
        model_version=model.number, uses=uses, champion=model.tags.get("champion", ""),
        folds_from=run_by_id(model.run_id).tags.get("folds_from", ""),
    )  # fmt: skip
    judged = log_evaluation(run, evidence, evaluation)
    log.info("Cohort II (%d patients) has now been used %d time%s.", len(patients), uses, "s" * (uses > 1))
    return judged


def _log_flags(run: Run, patients: tuple[str, ...], answer: Answer) -> None:
    """Log what speaks against patients' values; nothing of it from a model of an earlier version."""
    if answer.unfamiliar is None or answer.flags is None:
        return
    reasons = [
        dict.fromkeys(reason for text in of if text for reason in text.split("; ")) for of in answer.flags
    ]
    columns = {"patient_id": patients, "unfamiliar": answer.unfamiliar, "flags": map("; ".join, reasons)}
    run.log_table(pd.DataFrame(columns), FLAGS)
    run.log_metrics({"cohort2/unfamiliar": float(answer.unfamiliar.mean())})


def _features(patients: tuple[str, ...], answer: Answer) -> pd.DataFrame | None:
    """The features table, and none from a model that returns no features."""
    by_fold = {int(name.removeprefix("fold-")): values for name, values in answer.features.items()}
    return features_table(patients, by_fold) if by_fold else None


def _study_settings(model: RegisteredModel) -> Settings:
    """The settings that the model's folds were trained with."""
    return settings_from_yaml(run_by_id(model.run_id).text("study_settings.yaml"))


def check_unseen(
    settings: Settings, model: RegisteredModel, inputs: StudyInputs, patients: tuple[str, ...]
) -> None:
    """Check that the model has not been trained on the patients it is to be tested on.

    Clips are compared by content and persons by name, whatever the cohorts are called, and patients by
    their ids. Where ids cannot show it (pseudonyms on one side only or of two keys), or are shared by two
    cohorts, the user is warned; within one cohort it is an error.

    Args:
        settings: of the test.
        model: the registered model.
        inputs: the cohort of the test.
        patients: ids to test on.

    Raises:
        InputError: it was trained on some of them, that cannot be known, or one of model and cohort is
            synthetic and the other not.
    """
    trained_cohort, trained_ids = model.tags.get("cohort"), model.tags.get("patient_ids", ORIGINAL_IDS)
    if (model.tags.get("synthetic") == "true") != settings.is_synthetic:
        raise InputError(
            f"The model was trained on the cohort {trained_cohort!r} and cannot be tested on "
            f"{settings.cohort_name!r}: give its cohort with -P data=, or register another model (validate)."
        )
    registering, patient_ids = run_by_id(model.run_id), inputs.patient_ids
    seen = read_trained_on(registering)
    check_new(seen, inputs, patients, same_names=trained_ids == patient_ids)
    ids, persons = set(registering.predictions()["patient_id"]), inputs.cohort.labels[PERSON]
    shared = sum(
        not ids.isdisjoint((patient, persons[patient])) or person_digest(patient) in seen.persons
        for patient in patients
    )
    if trained_ids != patient_ids:
        problem = (
            f"The model's patient ids are {trained_ids}, those of this test are {patient_ids}: whether it "
            "was trained on a patient of this test cannot be known. Give the pseudonymize and pseudonym_key "
            "of the training."
        )
    elif shared:
        problem = (
            f"{shared} of the {len(patients)} Cohort II patients have the id of a patient that the model "
            "was trained on. Split the cohorts as in training (cohort1_size, or the cohort column)."
        )
    else:
        return
    if trained_cohort == settings.cohort_name:
        raise InputError(problem)
    log.warning("The cohort is another one than in training. %s", problem)


def model_tags(model: RegisteredModel) -> dict[str, str]:
    """Which model was tested, and whose code answered."""
    return {
        "model_version": model.number,
        "model_study": model.tags.get("study", ""),
        "model_cohort": model.tags.get("cohort", ""),
        "model_code": "the model's own" if model.has_own_code else "installed",
    }


def count_use(run: Run, cohort2_digest: str) -> int:
    """Mark this use of Cohort II before anything is predicted, and count all uses of it.

    Those that failed count, and those of other studies and experiments of the store.
    """
    run.set_tags({"step": "test", "cohort2_digest": cohort2_digest})
    known = {"step": "test", "cohort2_digest": cohort2_digest}
    uses = len(find_runs(known, only_finished=False, everywhere=True))
    run.log_metrics({"cohort2/uses": float(uses)})
    return uses
