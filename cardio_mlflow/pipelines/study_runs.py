"""Finding the fold runs of a study and checking that they belong together."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd

from cardio_mlflow.analysis.predictions import pool_out_of_fold
from cardio_mlflow.errors import InputError
from cardio_mlflow.settings import Settings, Use, settings_for
from cardio_mlflow.tracking.finished import (
    FinishedRun,
    find_runs,
    is_run_id,
    only_run,
    run_by_id,
    runs_called,
)
from cardio_mlflow.tracking.new_runs import TUNED_BY, user_name
from cardio_mlflow.tracking.registry import (
    MODEL_NAME,
    bundle_names,
    download_networks,
    version_called,
)
from cardio_mlflow.tracking.runs import typed_values
from cardio_mlflow.training.bundle import Bundle
from cardio_mlflow.training.ensemble import Ensemble, load_ensemble


def latest_folds(
    study: str,
    variant: str,
    tags: Mapping[str, str] | None = None,
    repeat: int = 1,
    network: str | None = None,
) -> dict[int, FinishedRun]:
    """The latest finished run of each fold of a variant in this experiment, by fold.

    Args:
        study: the study's name.
        variant: the network's variant, one of the six or of ``more_variants``.
        tags: further tags that the runs must carry.
        repeat: 1, or the number of another seed of the ablation.
        network: the setting ``variant`` of the runs, where it matters: a variant of ``more_variants`` may
            have been given another configuration under its name.
    """
    found = find_runs({"study": study, "step": "train_fold", "variant": variant, **(tags or {})})
    return _by_fold(
        run
        for run in found
        if (network is None or run.configuration.get("variant") == network)
        and run.tags.get("repeat", "1") == str(repeat)
    )


def _by_fold(latest_first: Iterable[FinishedRun]) -> dict[int, FinishedRun]:
    latest: dict[int, FinishedRun] = {}
    for run in latest_first:
        latest.setdefault(int(run.tags["fold"]), run)
    return dict(sorted(latest.items()))


def is_tuned(fold: FinishedRun) -> bool:
    """Whether a fold was trained with settings that a tuning has chosen on the same patients.

    Folds of earlier versions have it from the run that started them, where that has not been deleted.
    """
    starter = fold.tags.get("started_by", "")
    try:
        return TUNED_BY in fold.tags or (bool(starter) and TUNED_BY in run_by_id(starter).tags)
    except InputError:
        return False


def complete_folds(settings: Settings, given: Collection[str] = ()) -> dict[int, FinishedRun]:
    """All folds of the study's full network in this experiment, of one configuration and one cohort.

    Where all folds have been trained with exactly these settings they are taken; else the latest run of
    each fold, as long as they agree with one another and with the settings that were given.

    Args:
        settings: name the study; those that nobody has given may differ from the folds'.
        given: names of the settings that the command was given, see `Run.given`.

    Raises:
        InputError: folds are missing (names them), differ in settings (names them), in the cohort, or from
            what was given; or several people's folds share the study's name.
    """
    study, wanted = settings.study_name, set(range(1, settings.num_folds + 1))
    every = find_runs({"study": study, "step": "train_fold", "variant": "full"})
    every = [run for run in every if run.tags.get("repeat", "1") == "1"]
    if not every:
        raise InputError(
            f"The study {study!r} has no trained fold in this experiment of this store. Train it first:\n"
            f"    {command('train', settings)}\n{_known_studies()}"
        )
    every = _of_one_origin(settings, every)
    runs = _by_fold(run for run in every if run.tags["settings_digest"] == settings.digest())
    if set(runs) != wanted:
        runs = _by_fold(every)
    check_same(runs)
    _check_given(settings, given, next(iter(runs.values())))
    if missing := sorted(wanted - set(runs)):
        named = " and ".join(filter(None, [", ".join(map(str, missing[:-1])), str(missing[-1])]))
        commands = [f"    {command('train_fold', settings, fold)}" for fold in missing]
        plural = "s" if len(missing) > 1 else ""
        lacking = (
            f"The study {study!r} lacks fold{plural} {named}. Train, with the settings of the other folds:"
        )
        raise InputError("\n".join([lacking, *commands]))
    return {fold: runs[fold] for fold in sorted(wanted)}


def _of_one_origin(settings: Settings, runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Those of a study's runs that are of the cohorts of whoever asks, where several share the study's name.

    Of one person's folder, whose labels or clips have changed in between, all runs are.

    Raises:
        InputError: cohorts of others have that name, and none of whoever asks.
    """
    origins = {run.run_id: (run.tags.get("mlflow.user", ""), run.configuration["data"]) for run in runs}
    cohorts = {run.tags["cohort_digest"] for run in runs}
    if len(cohorts) == 1 or len(set(origins.values())) == 1:
        return list(runs)
    own = {run.tags["cohort_digest"] for run in runs if origins[run.run_id] == (user_name(), settings.data)}
    if not own:
        listed = "\n".join(
            f"- by {who or 'somebody'} from {data}" for who, data in dict.fromkeys(origins.values())
        )
        raise InputError(
            f"Folds of several cohorts have the study name {settings.study_name!r}, and which are meant is "
            f"not clear:\n{listed}\n"
            "Give the cohort's folder as in training (-P data=), or train with a name of its own (-P study=) "
            "or in an experiment of its own (MLFLOW_EXPERIMENT_NAME)."
        )
    return [run for run in runs if run.tags["cohort_digest"] in own]


def _check_given(settings: Settings, given: Collection[str], fold: FinishedRun) -> None:
    """Refuse to speak of folds as if they had been trained with settings that they were not trained with."""
    names = sorted({*settings.configuration(), "preset"} & set(given))
    ours, theirs = typed_values(settings), fold.configuration
    named = "; ".join(
        f"{name} was {theirs[name]}, is now {ours[name]}"
        for name in names
        if name in theirs and theirs[name] != ours[name]
    )
    if named:
        raise InputError(
            f"The folds of the study {settings.study_name!r} were trained with other settings than those "
            f"given: {named}. Either\n"
            "- leave them out, CARDIOAI_* variables too: the folds are taken as they were trained, or\n"
            f"- take all settings of the folds: -P settings={fold.run_id}, or\n"
            "- train the folds with these settings first, with -e train."
        )


def command(
    step: str, settings: Settings, fold: int | None = None, settings_from: str = "", predictions: str = ""
) -> str:
    """The command that a message offers, for this cohort, preset and study.

    Args:
        step: the entry point.
        settings: whose cohort, preset and study.
        fold: for train_fold.
        settings_from: the run whose settings are to be taken.
        predictions: the table to judge.
    """
    given = {} if fold is None else {"fold": str(fold)}
    given |= {"preset": settings.preset, "data": settings.data, "study": settings.study_name}
    given |= {"settings": settings_from} if settings_from else {}
    given |= {"predictions": predictions} if predictions else {}
    pairs = " ".join(f"-P {name}={shlex.quote(value)}" for name, value in given.items())
    return f"mlflow run . -e {step} {pairs} --env-manager local"


def check_same(runs: Mapping[int, FinishedRun]) -> None:
    """Check that fold runs have one configuration and one cohort.

    Raises:
        InputError: they differ; the message names the settings and the folds.
    """
    first = next(iter(runs))
    for fold, run in runs.items():
        if run.tags["settings_digest"] != runs[first].tags["settings_digest"]:
            raise InputError(_difference(first, runs[first], fold, run))
        if run.tags["cohort_digest"] != runs[first].tags["cohort_digest"]:
            raise InputError(
                f"Folds {first} and {fold} were trained on different cohorts (labels or clips have changed "
                "in between). Train all folds again, or give the new ones their own name: -P study=<name>."
            )


def _difference(first: int, one: FinishedRun, second: int, other: FinishedRun) -> str:
    ours, theirs = one.configuration, other.configuration
    differing = [k for k in settings_for(Use.TRAINING) if ours.get(k) != theirs.get(k)]
    named = ", ".join(f"{k}: {ours.get(k)} and {theirs.get(k)}" for k in differing[:8])
    return (
        f"Folds {first} and {second} were trained with different settings ({named}): they cannot be pooled. "
        "Train them with the same settings, or give each configuration its own name: -P study=<name>."
    )


def _known_studies() -> str:
    studies: Sequence[str] = sorted({run.tags["study"] for run in find_runs({"step": "train_fold"})})
    return (
        f"Studies with trained folds: {', '.join(studies)}."
        if studies
        else "No study has a trained fold yet."
    )


STUDY: Final = "study"
"""The folds of the study that the settings name."""


@dataclass
class FoldNetworks:
    """Networks of folds, each fetched when it is first needed.

    Attributes:
        run_ids: the run whose model has the network, by fold.
        predictions: of these networks for the patients that they were not trained on.
        cohort_digest: of the cohort that they were trained on.
        folder: where they are kept meanwhile.
    """

    run_ids: Mapping[int, str]
    predictions: pd.DataFrame
    cohort_digest: str
    folder: Path
    _loaded: dict[str, Ensemble] = field(default_factory=dict)

    def of_fold(self, fold: int) -> Bundle:
        """The network of a fold, which was not trained on the fold's patients."""
        run_id = self.run_ids[fold]
        if run_id not in self._loaded:
            self._loaded[run_id] = load_ensemble(download_networks(run_id, self.folder / run_id))
        return self._loaded[run_id].bundles[f"fold-{fold}"]


def find_networks(settings: Settings, model: str, folder: Path) -> FoldNetworks:
    """Find the networks that a user names.

    Args:
        settings: whose study.
        model: ``study``; an alias or a version of the registered model; or the id or name of a run of
            ``train_fold`` or ``validate``.
        folder: an empty one to keep them in.

    Raises:
        InputError: there is no such study, model or run, or it has no network.
    """
    if model == STUDY:
        folds = complete_folds(settings)
        pooled = pool_out_of_fold({fold: found.predictions() for fold, found in folds.items()})
        ids = {fold: found.run_id for fold, found in folds.items()}
        return FoldNetworks(ids, pooled, next(iter(folds.values())).tags["cohort_digest"], folder)
    version = None if is_run_id(model) else version_called(model)
    run = run_by_id(version.run_id) if version else _of_a_run(model)
    ids = dict.fromkeys((_fold_of(name) for name in bundle_names(run.run_id)), run.run_id)
    predictions = run.predictions()
    own = predictions[predictions["fold"].isin(list(ids))]
    if own.empty:
        raise InputError(f"model={model} has no network with predictions out of fold to explain.")
    return FoldNetworks(ids, own, run.tags["cohort_digest"], folder)


def _of_a_run(model: str) -> FinishedRun:
    runs = [run for run in runs_called(model) if bundle_names(run.run_id) and run.has("predictions.csv")]
    if not runs:
        raise InputError(
            f"model={model} is neither {STUDY}, nor an alias or version of {MODEL_NAME} in this store, nor "
            "the id or name of a run of train_fold or validate that has a model."
        )
    return only_run(runs, f"model={model}")


def _fold_of(bundle: str) -> int:
    return int(bundle.removeprefix("fold-"))
