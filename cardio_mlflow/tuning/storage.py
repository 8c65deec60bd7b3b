"""Where the trials of a tuning are kept, and how those of killed workers are taken up again."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import optuna
from filelock import BaseFileLock
from optuna import Study, Trial
from optuna.exceptions import ExperimentalWarning, OptunaError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

from cardio_mlflow.errors import InputError

HEARTBEAT: Final = 15
"""Seconds between two signs of life of a trial."""
GRACE: Final = 60
"""Seconds without one after which its worker counts as killed."""
ATTEMPTS: Final = 3
"""How often a trial is begun whose workers are killed, lest one that exhausts the memory go on for ever."""

FAILURE: Final = "failure"
"""The attribute that says why a trial failed; one whose worker was killed has none."""

_IDENTITY, _TAKES_UP, _ATTEMPT = "identity", "takes_up", "attempt"
_DEFAULTS, _BEGUN = "defaults", "begun"


def open_study(address: str, name: str, identity: Mapping[str, object] | None) -> Study:
    """Open a study, which is made if there is none of this name.

    Args:
        address: of the database, as SQLAlchemy has it.
        name: of the study.
        identity: what all of its trials share; None in a worker, where the command has checked it.

    Raises:
        InputError: the database cannot be used, or the study's trials were made with something else.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _explained(address):
        study = optuna.create_study(
            storage=_storage(address), study_name=name, direction="minimize", load_if_exists=True
        )
        if identity is not None:
            _check_identity(study, json.loads(json.dumps(identity)))
    return study


def _check_identity(study: Study, identity: Mapping[str, object]) -> None:
    """Note it in a new study, and refuse another one in a study that has trials of another."""
    stored = study.user_attrs.get(_IDENTITY)
    if stored is None:
        study.set_user_attr(_IDENTITY, identity)
    elif stored != identity:
        raise InputError(_other(study.study_name, stored, identity))


def enqueue_defaults(study: Study, values: Mapping[str, float]) -> None:
    """Have a new study begin with the default settings, to compare with; that trial is never pruned."""
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(dict(values), {_DEFAULTS: True})


def is_of_defaults(trial: Trial | FrozenTrial) -> bool:
    """Whether a trial is that of the default settings, perhaps begun again."""
    return bool(trial.user_attrs.get(_DEFAULTS, False))


def trials_left(study: Study, wanted: int) -> int:
    """How many trials are still to be begun, so that there are ``wanted`` in all.

    A trial that was taken up again counts once.
    """
    trials = study.get_trials(deepcopy=False)
    again = {trial.user_attrs[_TAKES_UP] for trial in trials if _TAKES_UP in trial.user_attrs}
    begun = [t for t in trials if t.state != TrialState.WAITING and t.number not in again]
    return max(0, wanted - len(begun))


def seconds_spent(study: Study) -> float:
    """Seconds in which at least one trial ran. When a killed trial ended is not known: it counts nothing."""
    trials = study.get_trials(deepcopy=False)
    spans = sorted(
        (t.datetime_start.timestamp(), t.datetime_complete.timestamp())
        for t in trials
        if t.datetime_start and t.datetime_complete
        if t.state != TrialState.FAIL or FAILURE in t.user_attrs
    )
    total, reached = 0.0, 0.0
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def running(study: Study) -> list[FrozenTrial]:
    """The trials that run, or seem to since their worker was killed less than a minute ago."""
    return list(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


def wait_for_the_others(study: Study, lock: BaseFileLock, seconds: float = 1.0) -> None:
    """Wait until no other process runs a trial; those of killed ones are then there to be taken up.

    Args:
        study: the tuning's.
        lock: of all that work on it, so that a killed trial is put in the queue once.
        seconds: between two looks.
    """
    while running(study):
        time.sleep(seconds)
        with lock:
            fail_killed(study)


def fail_killed(study: Study) -> None:
    """Have the trials of killed workers begun again by whoever comes next; under the lock of the tuning.

    Optuna knows them by their signs of life; one that was killed before its first has none.
    """
    for trial in running(study):
        start = trial.datetime_start.timestamp() if trial.datetime_start else time.time()
        if not trial.user_attrs.get(_BEGUN) and time.time() - start > GRACE:
            with suppress(UpdateFinishedTrialError, ValueError):  # another process was faster
                study.tell(trial.number, state=TrialState.FAIL)
                take_up_again(study, trial)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def sign_of_life(study: Study, trial: Trial) -> None:
    """Give a trial's first sign of life, before anything can kill its worker unseen."""
    storage = study._storage  # the database, behind Optuna's cache
    if isinstance(storage, BaseHeartbeat):
        storage.record_heartbeat(trial._trial_id)
    trial.set_user_attr(_BEGUN, value=True)


def take_up_stopped(study: Study, trial: FrozenTrial) -> None:
    """Put the values of a trial that the user stopped in the queue: stopping it is no failure of it."""
    _queue_again(study, trial, int(trial.user_attrs.get(_ATTEMPT, 1)))


def take_up_again(study: Study, trial: FrozenTrial) -> None:
    """Queue the values of a trial whose worker was killed, so that it is begun `ATTEMPTS` times at most."""
    attempt = int(trial.user_attrs.get(_ATTEMPT, 1)) + 1
    if attempt <= ATTEMPTS:
        _queue_again(study, trial, attempt)


def _queue_again(study: Study, trial: FrozenTrial, attempt: int) -> None:
    if trial.number not in {t.user_attrs.get(_TAKES_UP) for t in study.get_trials(deepcopy=False)}:
        kept = {k: v for k, v in trial.user_attrs.items() if k not in (_TAKES_UP, _ATTEMPT, _BEGUN)}
        values = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        study.enqueue_trial(values, {**kept, _TAKES_UP: trial.number, _ATTEMPT: attempt})


def _storage(address: str) -> RDBStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        patient: dict[str, Any] = {"connect_args": {"timeout": 120}} if address.startswith("sqlite") else {}
        return RDBStorage(
            address, patient, heartbeat_interval=HEARTBEAT, grace_period=GRACE,
            heartbeat_stale_trial_callback=take_up_again,
        )  # fmt: skip


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Say what is wrong with a database, without its address' user."""
    kind = address.partition(":")[0]
    try:
        yield
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise InputError(
            f"storage={kind}:… cannot be used: it is no address of a database, or the driver is missing "
            "(for PostgreSQL: pip install psycopg2-binary)."
        ) from error
    except (DatabaseError, OptunaError) as error:
        raise InputError(
            f"The tuning's database ({kind}) cannot be reached or used: {type(error).__name__}. See that it "
            "runs, that its address is right, that you may write to it and, if it is a file, that it is a "
            "database and not damaged."
        ) from error


def _other(name: str, stored: Mapping[str, object], wanted: Mapping[str, object]) -> str:
    names = [key for key in {**stored, **wanted} if stored.get(key) != wanted.get(key)]
    told = "; ".join(f"{key}: {stored.get(key)} then, {wanted.get(key)} now" for key in names[:8])
    return (
        f"The tuning {name!r} has been begun with something else ({told}). Its trials cannot be compared "
        "with new ones. Go on with what it was begun with, or give the new tuning a name: -P study=<name>."
    )
