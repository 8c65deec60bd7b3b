"""How runs begin: a command's own, those of its steps beside it, and those of trials under it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from mlflow.environment_variables import MLFLOW_RUN_ID
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient, is_tracking_uri_set
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_USER

from cardio_mlflow.errors import InputError
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import process_rank
from cardio_mlflow.tracking.runs import Run, SilentRun
from cardio_mlflow.tracking.store import experiment, prepare_store
from cardio_mlflow.tracking.store_faults import explained
from cardio_mlflow.variants import VARIANTS

TUNED_BY: Final = "tuned_by"
"""The tag of a run whose settings a tuning has chosen: the id of the tuning's run."""

FOLD_COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")


def command_run(needs_store: bool = True) -> Run:
    """The run of a command: the one that ``mlflow run`` made, or a new one.

    Of several processes that train together only the first has one; the others get a ``SilentRun``. So does a
    command that needs no store, where neither ``mlflow run`` has made a run nor the user named a store.

    Raises:
        InputError: the store cannot be used; the run that ``mlflow run`` made says so where it can.
    """
    if not (needs_store or MLFLOW_RUN_ID.get() or is_tracking_uri_set()):
        return SilentRun()
    try:
        prepare_store()
    except InputError as error:
        if run := adopted_run():
            with run:
                raise error from error.__cause__
        raise
    if process_rank():
        return SilentRun()
    return adopted_run() or _new_run({}, "")


def step_run(name: str, settings: Settings, step: str, started_by: Run) -> Run:
    """A new run that stands beside the command's own, holds its settings and has them from where it has."""
    with explained():
        starter = MlflowClient().get_run(started_by.run_id).data.tags
    origin = {TUNED_BY: starter[TUNED_BY]} if TUNED_BY in starter else {}
    run = _new_run(tags_of(settings, step, started_by=started_by.run_id, **origin), name)
    with ExitStack() as until_given_out:
        until_given_out.push(run)  # a run whose settings cannot be logged ends as FAILED
        run.log_settings(settings)
        until_given_out.pop_all()
    return run


def trial_run(
    name: str, settings: Settings, parent: str, values: Mapping[str, float], tags: Mapping[str, str]
) -> Run:
    """A new run of a tuning's trial, under the tuning's run.

    Of the settings only the tuned ones are parameters, so that the page compares trials by them; all are in
    settings.yaml.

    Args:
        name: of the run.
        settings: of the trial.
        parent: id of the tuning's run.
        values: the tuned settings.
        tags: more tags.
    """
    run = _new_run(tags_of(settings, "trial") | {**tags, MLFLOW_PARENT_RUN_ID: parent}, name)
    with ExitStack() as until_given_out:
        until_given_out.push(run)
        run.log_values(values)
        run.log_text(settings.to_yaml(), "settings.yaml")
        until_given_out.pop_all()
    return run


def is_running(run_id: str) -> bool:
    """Whether there is such a run, and it has not ended."""
    try:
        return bool(MlflowClient().get_run(run_id).info.status == "RUNNING")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def adopted_run() -> Run | None:
    """Take over the run that ``mlflow run`` made for this process, once."""
    run_id = MLFLOW_RUN_ID.get()
    if not run_id:
        return None
    MLFLOW_RUN_ID.unset()
    return Run(run_id)


def tags_of(settings: Settings, step: str, **more: str) -> dict[str, str]:
    """The tags that every run carries, and those of one step."""
    return {
        "study": settings.study_name,
        "step": step,
        "preset": settings.preset,
        "cohort": settings.cohort_name,
        "settings_digest": settings.digest(),
    } | more


def user_name() -> str:
    """Whom a new run is said to be of."""
    return str(resolve_tags({}).get(MLFLOW_USER, ""))


def colour_of(fold: int, variant: str) -> dict[str, str]:
    """The tag that colours a fold of a variant in the page."""
    shift = list(VARIANTS).index(variant) if variant in VARIANTS else len(VARIANTS)
    return {"mlflow.runColor": FOLD_COLOURS[(fold - 1 + shift) % len(FOLD_COLOURS)]}


def _new_run(tags: Mapping[str, str], name: str) -> Run:
    client = MlflowClient()
    with explained():
        run = client.create_run(experiment(), tags=resolve_tags(dict(tags)), run_name=name or None)
    return Run(run.info.run_id)
