"""Where the trials of a tuning are kept, and how one that lost its worker or its database is begun again."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any, Final

import optuna
from filelock import BaseFileLock
from optuna import Study, Trial
from optuna.exceptions import OptunaError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import create_engine, event, inspect
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from cardio_mlflow.errors import InputError

HEARTBEAT: Final = 15
"""Seconds between two signs of life of a trial."""
GRACE: Final = 60
"""Seconds without one after which its worker counts as killed."""
PATIENCE: Final = 120
"""Seconds for which a server that has stopped is asked again."""
RETRIES: Final = 2
"""How often a trial whose workers are killed is begun again, lest one that exhausts the memory never end."""

FAILURE: Final = "failure"
"""The attribute that says why a trial failed; one whose worker was killed has none."""

LOST: Final = (StorageInternalError, DBAPIError)
"""What is raised where the database is lost in the middle."""

_IDENTITY, _DEFAULTS, _ALIVE, _KILLED, _SPAN = "identity", "defaults", "alive", "killed", "span"
_MLFLOW: Final = {"experiments", "runs"}


class _Database(RDBStorage):
    """Optuna's database; one on a server may be started again, or end its connections, in between."""

    def __init__(self, address: str):
        on_server = not address.startswith("sqlite")
        super().__init__(
            address, {"pool_pre_ping": True} if on_server else {"connect_args": {"timeout": 120}},
            heartbeat_interval=HEARTBEAT, grace_period=GRACE, heartbeat_stale_trial_callback=retry,
        )  # fmt: skip
        if on_server:
            event.listen(self.engine, "do_connect", _connect_patiently)

    def record_heartbeat(self, trial_id: int) -> None:
        """Give a sign of life; one that is lost is followed by the next."""
        with suppress(OptunaError):
            super().record_heartbeat(trial_id)
            self.set_trial_user_attr(trial_id, _ALIVE, value=True)


def _connect_patiently(dialect: Dialect, _record: object, given: Any, named: Any) -> Any:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return dialect.connect(*given, **named)
        except dialect.loaded_dbapi.Error:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def open_study(address: str, name: str, identity: Mapping[str, object] | None) -> Study:
    """Open a study, which is made if there is none of this name.

    Args:
        address: as SQLAlchemy has it.
        name: of the study.
        identity: what all of its trials share; None in a worker, where the command has checked it.

    Raises:
        InputError: the database cannot be used or is MLflow's, or the study's trials were made with something
            else.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with explained(address):
        address = _with_driver(address)
        _refuse_mlflows(address)
        study = optuna.create_study(
            storage=_Database(address), study_name=name, direction="minimize", load_if_exists=True
        )
        if identity is not None:
            _check_identity(study, json.loads(json.dumps(identity)))
    return study


def _with_driver(address: str) -> str:
    """The address with the driver that is installed, where it is PostgreSQL's and names none."""
    scheme, _, rest = address.partition("://")
    installed = [name for name in ("psycopg", "psycopg2") if find_spec(name)]
    if scheme in ("postgresql", "postgres") and installed:
        return f"postgresql+{installed[0]}://{rest}"
    return address


def _refuse_mlflows(address: str) -> None:
    """Look, and write nothing, whether a database is the one of an MLflow store.

    Raises:
        InputError: it is.
    """
    engine = create_engine(address)
    try:
        tables = set(inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if tables >= _MLFLOW:
        raise InputError(
            "This database is that of an MLflow store, and a tuning would write a dozen tables of its own "
            "into it. Nothing was written. Give the tuning a database of its own, such as one made with "
            "createdb tuning: -P storage=postgresql://host/tuning"
        )


def _check_identity(study: Study, identity: Mapping[str, object]) -> None:
    """Note it in a new study, and refuse another one in a study that has trials of another."""
    stored = study.user_attrs.get(_IDENTITY)
    if stored is None:
        study.set_user_attr(_IDENTITY, identity)
    elif stored != identity:
        names = [key for key in {**stored, **identity} if stored.get(key) != identity.get(key)]
        differing = "; ".join(f"{key}: {stored.get(key)} then, {identity.get(key)} now" for key in names[:8])
        raise InputError(
            f"The tuning {study.study_name!r} has been begun with something else ({differing}). Its trials "
            "cannot be compared with new ones. Go on with what it was begun with, or give the new tuning a "
            "name: -P study=<name>."
        )


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Say what is wrong with a database, without its address' user.

    Raises:
        InputError: it cannot be used, or was lost and has not come back.
    """
    kind = address.partition(":")[0]
    try:
        yield
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise InputError(
            f"storage={kind}:… cannot be used: it is no address of a database, or the driver is missing "
            "(for PostgreSQL: pip install 'cardio-mlflow[postgres]')."
        ) from error
    except (DBAPIError, OptunaError) as error:
        raise InputError(
            f"The tuning's database ({kind}) cannot be reached or used: {type(error).__name__}. See that it "
            "runs, that its address is right, that you may write to it and, if it is a file, that it is a "
            "database and not damaged. Trials that have ended are kept in it, and their runs in MLflow: the "
            "same command goes on with the rest and begins again those that were cut off."
        ) from error


def trials_of(study: Study) -> list[FrozenTrial]:
    """All trials, also those that wait to be begun; a connection that is lost is made again once."""
    try:
        return study.get_trials(deepcopy=False)
    except LOST:
        return study.get_trials(deepcopy=False)


def enqueue_defaults(study: Study, values: Mapping[str, float]) -> None:
    """Have a new study begin with the default settings, to compare with; that trial is never pruned.

    Where it has failed it is queued again.
    """
    trials = trials_of(study)
    own = [trial for trial in trials if is_of_defaults(trial)]
    if not trials:
        study.enqueue_trial(dict(values), {_DEFAULTS: True})
    elif own and all(trial.state == TrialState.FAIL for trial in own):
        retry(study, own[-1])


def is_of_defaults(trial: Trial | FrozenTrial) -> bool:
    """Whether a trial is that of the default settings, perhaps begun again."""
    return bool(trial.user_attrs.get(_DEFAULTS, False))


def trials_left(study: Study, wanted: int) -> int:
    """How many trials are still to be begun, so that there are ``wanted`` in all.

    A trial that was begun again counts once.
    """
    trials = trials_of(study)
    again = {number for trial in trials for number in _history(trial)}
    begun = [t for t in trials if t.state != TrialState.WAITING and t.number not in again]
    return max(0, wanted - len(begun))


@contextmanager
def timed(trial: Trial) -> Iterator[None]:
    """Note when a trial ran, by a clock that knows no time zone; of one that is killed nothing is noted."""
    start = time.time()
    try:
        yield
    finally:
        with suppress(OptunaError):
            trial.set_user_attr(_SPAN, [start, time.time()])


def seconds_spent(study: Study) -> float:
    """Seconds in which at least one trial ran. When a killed trial ended is not known: it counts nothing."""
    total, reached = 0.0, 0.0
    for start, end in sorted(t.user_attrs[_SPAN] for t in trials_of(study) if _SPAN in t.user_attrs):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def running(study: Study) -> list[FrozenTrial]:
    """The trials that run, or seem to since their worker was killed less than a minute ago."""
    return [trial for trial in trials_of(study) if trial.state == TrialState.RUNNING]


def wait_for_the_others(study: Study, lock: BaseFileLock, seconds: float = 1.0) -> None:
    """Wait until no other process runs a trial; those of killed ones are then in the queue again.

    It looks every few ``seconds``, under the tuning's ``lock``, so that a killed trial is queued once.
    """
    seen: dict[int, float] = {}
    while running(study):
        time.sleep(seconds)
        with lock:
            fail_killed(study, seen)


def fail_killed(study: Study, seen: dict[int, float]) -> None:
    """Have the trials of killed workers begun again by whoever comes next; under the lock of the tuning.

    Optuna knows them by their signs of life; one that was killed before its first has none, so ``seen`` keeps
    by number when this process first saw a trial run, in seconds of ``time.monotonic``.
    """
    for trial in running(study):
        silent = time.monotonic() - seen.setdefault(trial.number, time.monotonic())
        if not trial.user_attrs.get(_ALIVE) and silent > GRACE:
            with suppress(UpdateFinishedTrialError, ValueError):  # another process was faster
                study.tell(trial.number, state=TrialState.FAIL)
                retry(study, trial)
    with suppress(*LOST):  # the next look is soon
        optuna.storages.fail_stale_trials(study)


def retry(study: Study, trial: FrozenTrial, *, killed: bool = True) -> None:
    """Put a trial that did not end in the queue again, once, with its values.

    Where it was ``killed`` that is one of its `RETRIES`; where the user has stopped it, it is not.
    """
    count = trial.user_attrs.get(_KILLED, 0) + killed
    if count <= RETRIES and not any(trial.number in _history(other) for other in trials_of(study)):
        again = copy.deepcopy(trial)
        for name in (_ALIVE, _SPAN, FAILURE):
            again.user_attrs.pop(name, None)
        again.user_attrs[_KILLED] = count
        RetryHeartbeatStaleTrialCallback()(study, again)


def _history(trial: FrozenTrial) -> list[int]:
    """The numbers of the trials that a trial goes on with."""
    return RetryHeartbeatStaleTrialCallback.retry_history(trial)
