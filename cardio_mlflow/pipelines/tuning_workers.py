"""Running the trials of a tuning: here, or by several workers on this machine or a cluster."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from filelock import FileLock
from optuna import Study, Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from tqdm import tqdm

from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.training_set import TrainingSet
from cardio_mlflow.pipelines.trials import Tuning, run_trial
from cardio_mlflow.pipelines.worker_pools import worker_pool
from cardio_mlflow.pipelines.workers import (
    FAULTS,
    Work,
    load_once,
    shared_settings,
    worker_process,
    workers_for,
)
from cardio_mlflow.tracking.store import current_store
from cardio_mlflow.tuning.search import identity_of, pruner_of, sampler_of
from cardio_mlflow.tuning.storage import (
    FAILURE,
    LOST,
    explained,
    open_study,
    retry,
    seconds_spent,
    timed,
    trials_left,
    trials_of,
    wait_for_the_others,
)

FAILURES: Final = 3
"""A tuning whose first trials all fail is stopped after this many."""

log = logging.getLogger(__name__)


def study_of(tuning: Tuning) -> Study:
    """The tuning's study, opened with its pruner.

    Raises:
        InputError: the database cannot be used, or the study was begun with other settings or patients.
    """
    identity = identity_of(
        tuning.settings, cohort_digest=tuning.inputs.digest, folds=list(tuning.folds), without=tuning.without
    )
    with locked(tuning):
        study = open_study(tuning.address, tuning.name, identity)
    study.pruner = pruner_of(tuning.settings)
    return study


def run_trials(tuning: Tuning, study: Study, data: TrainingSet) -> None:
    """Run trials until there are ``n_trials`` or ``timeout`` has passed, and wait for those of others.

    Raises:
        InputError: a worker was killed, or the first trials all failed.
    """
    settings = tuning.settings
    with tqdm(total=settings.n_trials, desc=tuning.name, unit="trial") as bar:
        while True:
            while _may_begin(tuning, study):
                for _ in _trials(tuning, study, data):
                    _show(bar, study, settings.n_trials)
            wait_for_the_others(study, locked(tuning))
            _show(bar, study, settings.n_trials)
            if not _may_begin(tuning, study):
                return


def begin_trial(tuning: Tuning, study: Study, train: Callable[[Trial], float]) -> bool:
    """Run the next trial, if there is to be one; ``train`` returns its loss. Returns whether there was one.

    Raises:
        InputError: the first trials have all failed.
    """
    lock = locked(tuning)
    lock.acquire()  # until the trial is begun, so that no two workers begin the last one
    try:
        if not _may_begin(tuning, study):
            return False
        study.sampler = sampler_of(tuning.settings.seed, len(trials_of(study)))

        def objective(trial: Trial) -> float:
            lock.release()
            with timed(trial), _noted(study, trial):
                return train(trial)

        _optimize_once(study, objective)
    finally:
        lock.release(force=True)
    _refuse_to_go_on_failing(study)
    return True


@contextmanager
def _noted(study: Study, trial: Trial) -> Iterator[None]:
    """Queue a trial again that is stopped or loses its database, and note of one that fails why."""
    try:
        yield
    except UpdateFinishedTrialError:
        raise  # this process was asleep for so long that another one has begun the trial again
    except KeyboardInterrupt:
        retry(study, trials_of(study)[trial.number], killed=False)
        raise
    except LOST:
        log.warning("Trial %d has lost the tuning's database, and is begun again.", trial.number)
        retry(study, trials_of(study)[trial.number])
        raise
    except (InputError, *FAULTS) as error:
        reason = str(error) if isinstance(error, InputError) else f"a fault: {type(error).__name__}"
        log.warning("Trial %d failed. %s", trial.number, reason, exc_info=not isinstance(error, InputError))
        trial.set_user_attr(FAILURE, reason)
        raise


def _optimize_once(study: Study, objective: Callable[[Trial], float]) -> None:
    """Run one trial; one that fails, or that another process has begun again meanwhile, raises nothing.

    Raises:
        StorageInternalError: the database takes nothing more.
    """
    try:
        study.optimize(objective, n_trials=1, catch=(InputError, *FAULTS, *LOST))
    except (*LOST, UnboundLocalError) as error:
        if isinstance(error, UnboundLocalError) and "updated_state" not in str(error):
            raise  # Optuna 5.0 fails with that one where it cannot write the end of a trial
        log.warning("The tuning's database was lost for a moment.")
        study.set_user_attr("lost", time.time())  # a trial whose end it does not know counts as killed
    except ValueError as error:
        if "Cannot tell" not in str(error):
            raise
        log.warning("A trial was begun again by another worker: this one gave no sign of life for long.")


def _trials(tuning: Tuning, study: Study, data: TrainingSet) -> Iterator[None]:
    """Run the trials that are left, side by side where there is room; one item for each that ended."""
    left = trials_left(study, tuning.settings.n_trials)
    workers = workers_for(tuning.settings, left, len(tuning.folds))
    if workers <= 1 and not tuning.settings.cluster:
        while begin_trial(tuning, study, lambda trial: run_trial(tuning, trial, data)):
            yield
        return
    store = current_store()
    with worker_pool(tuning.settings, store, workers) as pool:
        shared = replace(tuning, settings=shared_settings(tuning.settings, pool.count, len(tuning.folds)))
        work = Work(shared.settings, tuning.inputs, tuning.parent, store, pool.count)
        advice = (
            "The same command goes on, and begins the trial that was lost again: give it fewer workers than "
            f"{pool.count}, such as -P jobs=1."
        )
        calls = ((work, shared, number) for number in range(left))
        yield from pool.results(_in_worker, calls, advice)


def _in_worker(work: Work, tuning: Tuning, number: int) -> None:
    """Run one trial in a worker process, if there is still one to run."""
    with worker_process(work, number) as (device, place):
        study = _opened(tuning.address, tuning.name)
        study.pruner = pruner_of(tuning.settings)

        def train(trial: Trial) -> float:
            data = load_once(tuning.settings, tuning.inputs, device, work.workers)
            return run_trial(tuning, trial, data, place.parent)

        with explained(tuning.address):
            begin_trial(tuning, study, train)


@lru_cache(maxsize=4)
def _opened(address: str, name: str) -> Study:
    """A study in a worker process, opened once."""
    return open_study(address, name, None)


def _may_begin(tuning: Tuning, study: Study) -> bool:
    """Whether another trial may be begun."""
    settings = tuning.settings
    spent = settings.timeout > 0 and seconds_spent(study) >= settings.timeout
    return not spent and trials_left(study, settings.n_trials) > 0


def _refuse_to_go_on_failing(study: Study) -> None:
    trials = trials_of(study)
    failed = [t for t in trials if t.state == TrialState.FAIL and FAILURE in t.user_attrs]
    ended_well = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    if len(failed) >= FAILURES and not ended_well:
        reason = failed[-1].user_attrs[FAILURE]
        raise InputError(f"The first {len(failed)} trials have all failed. The last one: {reason}")


def _show(bar: tqdm[Any], study: Study, wanted: int) -> None:
    """Show how many trials have ended and the best loss so far."""
    trials = trials_of(study)
    bar.n = wanted - trials_left(study, wanted) - sum(t.state == TrialState.RUNNING for t in trials)
    losses = [t.value for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    bar.set_postfix_str(f"best loss {min(losses):.3f}" if losses else "")
    bar.refresh()


def locked(tuning: Tuning) -> FileLock:
    """The lock that all workers of a tuning share, on all machines that share the cache folder."""
    folder = tuning.settings.cache / "tuning"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.blake2b(f"{tuning.address} {tuning.name}".encode(), digest_size=8).hexdigest()
    return FileLock(folder / f"{digest}.lock")
