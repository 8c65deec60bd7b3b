"""MLflow runs that are being written.

They are written through the client with explicit run ids, so nothing depends on an active run and the
runs of folds and variants stand flat beside each other.
"""

from __future__ import annotations

import logging
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

import pandas as pd
from matplotlib.figure import Figure
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from PIL import Image

from cardio_mlflow.errors import InputError, PrunedError, StoreGoneError
from cardio_mlflow.figures.style import save_with_print
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.store import StoreError, quick_answers
from cardio_mlflow.tracking.store_faults import explained, refusal

MAX_TAG: Final = 4000

STOPPED_BY: Final = "stopped_by"
"""The tag of a run that the user or a batch system has stopped: the signal's name. The status does not
distinguish it from one that failed, since ``mlflow run`` marks FAILED whatever did not exit with 0."""

_STOPS: Final = {
    "SIGINT": "stopped by the user",
    "SIGTERM": (
        "stopped by SIGTERM: by mlflow run, a batch system, or because another process of this fold ended"
    ),
}

logging.getLogger("mlflow").setLevel(logging.WARNING)
log = logging.getLogger(__name__)


class Run:
    """One MLflow run that is being written, as a context.

    It ends as FINISHED; as KILLED when it is stopped or pruned; as FAILED on any other exception. The
    reason stands on the run as the tag ``failure``, a stop as the tag ``stopped_by`` too, and the exception
    is passed on.
    """

    given: frozenset[str] = frozenset()
    """Of a command's run: the settings that the command was given, whatever their values."""

    def __init__(self, run_id: str):
        """Take over an existing run."""
        self.run_id = run_id
        self._client = MlflowClient()

    @explained()
    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._client.log_batch(self.run_id, tags=[RunTag(k, v[:MAX_TAG]) for k, v in tags.items()])

    @explained()
    def rename(self, name: str) -> None:
        """Give the run a name."""
        self._client.update_run(self.run_id, name=name)

    @explained()
    def log_settings(self, settings: Settings) -> None:
        """Log the resolved settings as ``cfg/<name>`` parameters and as settings.yaml."""
        parameters = [Param(f"cfg/{name}", value) for name, value in typed_values(settings).items()]
        self._client.log_batch(self.run_id, params=parameters)
        self.log_text(settings.to_yaml(), "settings.yaml")

    @explained()
    def log_values(self, values: Mapping[str, float]) -> None:
        """Log settings as ``cfg/<name>`` parameters."""
        self._client.log_batch(self.run_id, params=[Param(f"cfg/{k}", str(v)) for k, v in values.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0, when: int | None = None) -> None:
        """Log metrics of an epoch, or of none, as `log_epochs` does; now where no time is given."""
        self.log_epochs([(step, int(time.time() * 1000) if when is None else when, metrics)])

    @explained()
    def log_epochs(self, epochs: Sequence[tuple[int, int, Mapping[str, float]]]) -> None:
        """Log metrics in one batch; a value that is not finite is left out, since no page can plot it.

        Args:
            epochs: the epoch, when it ended (milliseconds since 1970) and its metrics by name.
        """
        entries = [
            Metric(name, float(value), when, epoch)
            for epoch, when, metrics in epochs
            for name, value in metrics.items()
            if math.isfinite(value)
        ]
        self._client.log_batch(self.run_id, metrics=entries)

    @explained()
    def log_text(self, text: str, path: str) -> None:
        """Log a text as the artifact ``path``."""
        self._client.log_text(self.run_id, text, path)

    def log_table(self, table: pd.DataFrame, path: str) -> None:
        """Log a table as the CSV artifact ``path``, numbers in full precision, no index."""
        self.log_text(table.to_csv(index=False), path)

    @explained()
    def log_file(self, file: Path, folder: str = "") -> None:
        """Log a file of this machine into an artifact folder."""
        self._client.log_artifact(self.run_id, str(file), folder or None)

    @explained()
    def log_folder(self, local: Path, folder: str) -> None:
        """Log the files of a folder of this machine as the artifact folder ``folder``."""
        self._client.log_artifacts(self.run_id, str(local), folder)

    @explained()
    def log_image(self, file: Path, key: str, step: int) -> None:
        """Log a picture under a key, so that the page shows all steps of it side by side."""
        with Image.open(file) as picture:
            self._client.log_image(self.run_id, picture.convert("RGB"), key=key, step=step)

    @explained()
    def log_figures(
        self, figures: Mapping[str, Figure], formats: Sequence[str], into: str = "figures"
    ) -> None:
        """Log figures as PNG into an artifact folder, in the other `formats` into ``print`` below it."""
        with tempfile.TemporaryDirectory() as folder:
            for name, figure in figures.items():
                save_with_print(figure, Path(folder), name, formats)
            self._client.log_artifacts(self.run_id, folder, into)

    @explained()
    def log_dataset(self, name: str, digest: str) -> None:
        """Log which cohort went in: its name and digest, nothing of its contents."""
        cohort = Dataset(name=name, digest=digest[:36], source_type="local", source="{}")
        for wait in (0.1, 0.5, None):  # mlflow fails where two processes are the first to log a dataset
            try:
                self._client.log_inputs(self.run_id, [DatasetInput(cohort, [])])
            except MlflowException:
                if wait is None:
                    raise
                time.sleep(wait)
            else:
                return

    def take_over_from(self, stopped: str) -> None:
        """Say, in both runs, that this one goes on with a stopped one; see `end_as_killed`."""
        self.set_tags({"resumes": stopped})
        with suppress(MlflowException):  # it is in another store, or was deleted
            self._client.set_tag(stopped, "resumed_by", self.run_id)

    @explained()
    def end_as_killed(self, run_id: str, why: str, more: Mapping[str, str] | None = None) -> None:
        """End as KILLED another run that is still RUNNING; nothing where it has ended or was deleted.

        Args:
            run_id: its id.
            why: the tag ``failure``.
            more: more tags.
        """
        with suppress(MlflowException):
            if self._client.get_run(run_id).info.status == "RUNNING":
                for name, value in {"failure": why, **(more or {})}.items():
                    self._client.set_tag(run_id, name, value)
                self._client.set_terminated(run_id, "KILLED")

    def adopt(self, children: Sequence[str]) -> None:
        """Nest other runs under this one in the page, as far as they exist."""
        for child in children:
            with suppress(MlflowException):
                self._client.set_tag(child, MLFLOW_PARENT_RUN_ID, self.run_id)

    def end_killed(self, tags: Mapping[str, str]) -> None:
        """End as KILLED other runs with these tags, and what started them, that a kill has left RUNNING.

        Only for what no other process can be working on, such as a fold whose checkpoint this one has locked.
        """
        for run in self._running(tags):
            if run.info.run_id != self.run_id:
                self.end_as_killed(run.info.run_id, "its process was killed")
                if starter := run.data.tags.get("started_by"):
                    self.end_as_killed(starter, "its process was killed")

    def end_left_running(self, tags: Mapping[str, str]) -> int:
        """End as KILLED the runs with these tags that are still RUNNING; their process is gone.

        Returns:
            How many there were.
        """
        left = self._running(tags)
        for run in left:
            self.end_as_killed(run.info.run_id, "its process was killed")
        return len(left)

    @contextmanager
    def ending_what_it_starts(self) -> Iterator[None]:
        """Where this is left by an error, end as KILLED what the run has started in other processes.

        Where it is a stop, they carry the tag ``stopped_by`` too.
        """
        done = False
        try:
            yield
            done = True
        finally:
            if not done and not isinstance(sys.exception(), StoreGoneError):
                stop = _stop(sys.exception())
                for run in self._running({"started_by": self.run_id}):
                    self.end_as_killed(run.info.run_id, "the command that started it has ended", stop)

    def finish(self) -> None:
        """End the run as FINISHED now, before what may only be removed when it is."""
        self._end("FINISHED")

    @explained()
    def _running(self, tags: Mapping[str, str]) -> list[MlflowRun]:
        # a quote cannot be searched for: such a tag is left out
        conditions = [f"tags.`{name}` = '{value}'" for name, value in tags.items() if "'" not in value]
        experiment = self._client.get_run(self.run_id).info.experiment_id
        found = self._client.search_runs(
            [experiment], " and ".join([*conditions, "attributes.status = 'RUNNING'"])
        )
        return list(found)

    def note(self, text: str) -> None:
        """Set the description that the run's page shows."""
        self.set_tags({"mlflow.note.content": text})

    @explained()
    def artifact_folder(self) -> str:
        """Where the run's artifacts lie, as a path where they are local, else as a URI."""
        uri: str = self._client.get_run(self.run_id).info.artifact_uri
        return uri.removeprefix("file://")

    def __enter__(self) -> Run:
        """Start writing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the run by what happened; even when the reason cannot be written."""
        status, reason = _outcome(error)
        if error is None:
            self._end(status)
            return
        try:
            with quick_answers():  # often it is the store that has failed
                self.set_tags({"failure": reason} | _stop(error))
                self._end(status)
        except InputError:
            log.warning("The run %s could not be marked as %s in the store.", self.run_id, status)

    @explained()
    def _end(self, status: str) -> None:
        self._client.set_terminated(self.run_id, status)


class SilentRun(Run):
    """A run that is in no store: what a pipeline logs goes nowhere.

    That of a process that leaves all logging to the first one, and of a command that needs no store.
    """

    def __init__(self) -> None:
        """Belong to no run."""
        self.run_id = ""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Log nothing."""

    def rename(self, name: str) -> None:
        """Log nothing."""

    def log_settings(self, settings: Settings) -> None:
        """Log nothing."""

    def log_epochs(self, epochs: Sequence[tuple[int, int, Mapping[str, float]]]) -> None:
        """Log nothing."""

    def log_text(self, text: str, path: str) -> None:
        """Log nothing."""

    def log_file(self, file: Path, folder: str = "") -> None:
        """Log nothing."""

    def log_folder(self, local: Path, folder: str) -> None:
        """Log nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End nothing."""


def typed_values(settings: Settings) -> dict[str, str]:
    """Every setting as it would be typed after ``-P``, and as a run logs it."""
    return {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in settings.model_dump(mode="json").items()
    }


def _outcome(error: BaseException | None) -> tuple[str, str]:
    """The status a run ends with, and the reason where it did not end well."""
    if error is None:
        return "FINISHED", ""
    if isinstance(error, KeyboardInterrupt):
        return "KILLED", _STOPS[_stop(error)[STOPPED_BY]]
    if isinstance(error, PrunedError):
        return "KILLED", str(error)
    reason = f"a fault of the program: {type(error).__name__}"
    if isinstance(error, InputError):
        reason = str(error)
    elif isinstance(error, StoreError):
        reason = refusal(error)
    elif isinstance(error, OSError):
        reason = f"the system refused: {error.strerror or type(error).__name__}"
    return "FAILED", reason


def _stop(error: BaseException | None) -> dict[str, str]:
    """The tag of a run that a stop has ended: the signal's name, which ``command_line`` puts on the error."""
    if not isinstance(error, KeyboardInterrupt):
        return {}
    return {STOPPED_BY: str(error) if str(error) in _STOPS else "SIGINT"}
