"""Many patients prepared side by side, each worker with a sandbox of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self, TypeVar

from tqdm import tqdm

from cardio_mlflow.data.batch.patient_files import Row, is_done, prepare_patient, read_rows
from cardio_mlflow.data.cohort import Clip
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.sandbox.sandbox import Limits, Sandbox

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def prepare_patients(
    patients: Mapping[str, Sequence[Clip]], home: Path, jobs: int, check_text: bool, limits: Limits
) -> None:
    """Prepare the patients that are not done yet, with a progress bar that counts clips.

    On an error, Ctrl-C or SIGTERM the child processes are ended at once; patients that are done stay
    done, and those in work leave nothing.

    Args:
        patients: the clips of each patient, at most one a view.
        home: the prepared cohort's folder.
        jobs: number of sandboxes, at least 1.
        check_text: mark clips with text left inside the sector for review.
        limits: of one clip.

    Raises:
        InputError: the folder cannot be written, or a sandbox cannot be started.
    """
    waiting, done, refused = [], 0, 0
    for patient in patients:
        rows = read_rows(home, patient)
        if is_done(rows, limits):
            done, refused = done + len(rows), refused + _refused(rows)
        else:
            waiting.append(patient)
    total = sum(map(len, patients.values()))
    with (
        tqdm(total=total, initial=done, desc="prepare", unit="clip", smoothing=0.05) as bar,
        _Workers(min(jobs, len(waiting)), limits) as workers,
    ):
        for rows in workers.each(
            lambda patient, sandbox: prepare_patient(home, patient, patients[patient], sandbox, check_text),
            waiting,
        ):
            refused += _refused(rows)
            bar.set_postfix(refused=refused, refresh=False)
            bar.update(len(rows))


def _refused(rows: Iterable[Row]) -> int:
    return sum(row["outcome"] != Outcome.OK for row in rows)


class _Workers:
    """Threads that each lead a sandbox; leaving the context ends all of them at once."""

    def __init__(self, count: int, limits: Limits) -> None:
        self._sandboxes = [Sandbox(limits) for _ in range(count)]
        self._idle: SimpleQueue[Sandbox] = SimpleQueue()
        for sandbox in self._sandboxes:
            self._idle.put(sandbox)
        self._threads = ThreadPoolExecutor(max(1, count))

    def each(self, work: Callable[[_Item, Sandbox], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
        """What comes of each item, in the order in which they are finished."""

        def lead(item: _Item) -> _Result:
            sandbox = self._idle.get()
            try:
                return work(item, sandbox)
            finally:
                self._idle.put(sandbox)

        for future in as_completed([self._threads.submit(lead, item) for item in items]):
            yield future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for sandbox in self._sandboxes:
            sandbox.close()
        self._threads.shutdown(wait=True)
