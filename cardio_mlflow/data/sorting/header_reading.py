"""The headers of all files of an export, read side by side in child processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from queue import SimpleQueue
from typing import Final, Self

from joblib import cpu_count
from pydantic import model_validator
from tqdm import tqdm

from cardio_mlflow.data.batch.child_process import ChildProcess, Head, Limits
from cardio_mlflow.data.cohort.export_files import ExportFile
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.sorting.facts import HeaderFacts
from cardio_mlflow.data.sorting.header_facts import MAX_CODES, unreadable

HEADER_LIMITS: Final = Limits(seconds=30.0)
"""What the header of one file may take."""

_READING = "cardio_mlflow.data.sorting.header_facts"  # the module whose read_facts the child calls
_MAX_MESSAGE: Final = 300
_AHEAD: Final = 32  # files per child that are asked for before the first answer is fetched


class FactsAnswer(Head):
    """What a child says of a header; texts of the file are short and can be seen, and can be anything."""

    record: HeaderFacts = HeaderFacts()

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        message, facts = self.record.message, self.record
        ours = (message, self.quality.message, facts.instance, facts.identity.study, *facts.pictures)
        sound = all(len(text) <= _MAX_MESSAGE and text.isascii() and text.isprintable() for text in ours)
        if not (sound and 0 <= (facts.frames or 0) < 2**31 and _is_short(asdict(facts))):
            raise ValueError("out of bounds")
        return self


def _is_short(value: object) -> bool:
    """Whether all texts, at any depth, are short and can be seen, and lists have an end."""
    match value:
        case str():
            return len(value) <= _MAX_MESSAGE and value.isprintable()
        case dict():
            return all(map(_is_short, value.values()))
        case tuple():
            return len(value) <= MAX_CODES and all(map(_is_short, value))
    return True


def read_all_facts(
    files: Sequence[ExportFile], jobs: int, limits: Limits = HEADER_LIMITS
) -> Generator[tuple[ExportFile, HeaderFacts], None, None]:
    """Read the headers of files, in the order given, with a progress bar.

    A file over which a child dies, or that takes too long or too much memory, is refused by itself
    (CORRUPT_FRAME or TOO_LARGE); one that has a fault is not opened (UNREADABLE). Few files are kept in
    memory at a time. Closing the generator ends the child processes at once.

    Args:
        files: as `list_export` gives them.
        jobs: number of child processes; -1 for one per core.
        limits: of one file.

    Raises:
        InputError: a child process cannot be started.
    """
    jobs = min(jobs if jobs > 0 else cpu_count(), max(1, len(files)))
    children = [ChildProcess(_READING, "read_facts", limits) for _ in range(jobs)]
    idle = SimpleQueue[ChildProcess]()
    for child in children:
        idle.put(child)

    def facts_of(file: ExportFile) -> tuple[ExportFile, HeaderFacts]:
        child = idle.get()
        try:
            return file, _facts(file, child)
        finally:
            idle.put(child)

    threads = ThreadPoolExecutor(jobs)
    waiting: deque[Future[tuple[ExportFile, HeaderFacts]]] = deque()
    try:
        for file in tqdm(files, desc="headers", unit="file", delay=1.0):
            waiting.append(threads.submit(facts_of, file))
            if len(waiting) > jobs * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.close()
        threads.shutdown(wait=True)


def _facts(file: ExportFile, child: ChildProcess) -> HeaderFacts:
    if file.fault:
        return HeaderFacts(Outcome.UNREADABLE, unreadable(file.fault))
    try:
        return child.ask(FactsAnswer, file.path)[0].record
    except ClipRefused as refusal:
        return HeaderFacts(refusal.outcome, refusal.message)
