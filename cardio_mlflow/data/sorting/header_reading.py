"""The headers of all files of an export, read side by side in child processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import Final, Self

from joblib import cpu_count
from pydantic import model_validator
from tqdm import tqdm

from cardio_mlflow.data.batch.child_process import ChildProcess, Head, Limits
from cardio_mlflow.data.cohort.export_files import ExportFile
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.sorting.facts import HeaderFacts, Identity, ViewTags
from cardio_mlflow.data.sorting.header_facts import MAX_CODES, unreadable

HEADER_LIMITS: Final = Limits(seconds=30.0)
"""What the header of one file may take."""

_READING = "cardio_mlflow.data.sorting.header_facts"  # the module whose read_facts the child calls
_MAX_MESSAGE: Final = 300
_BATCH: Final = 16  # files that a child is asked for at once: their names fit into any pipe
_AHEAD: Final = 2  # batches per child that wait to be asked for or fetched


class FactsAnswer(Head):
    """What a child says of a header; texts of the file are short and can be seen, and can be anything."""

    record: HeaderFacts = HeaderFacts()

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        message, facts = self.record.message, self.record
        ours = (message, self.quality.message, facts.identity.study, *facts.pictures)
        sound = all(len(text) <= _MAX_MESSAGE and text.isascii() and text.isprintable() for text in ours)
        if not (sound and 0 <= (facts.frames or 0) < 2**31 and _is_short(facts)):
            raise ValueError("out of bounds")
        return self


def _is_short(value: object) -> bool:
    """Whether all texts, at any depth, are short and can be seen, and lists have an end."""
    match value:
        case str():
            return len(value) <= _MAX_MESSAGE and value.isprintable()
        case HeaderFacts() | Identity() | ViewTags():
            return all(_is_short(getattr(value, name)) for name in value.__slots__)
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

    def facts_of(batch: Sequence[ExportFile]) -> list[tuple[ExportFile, HeaderFacts]]:
        child = idle.get()
        try:
            return list(zip(batch, _facts(batch, child), strict=True))
        finally:
            idle.put(child)

    threads = ThreadPoolExecutor(jobs)
    batches = (files[start : start + _BATCH] for start in range(0, len(files), _BATCH))
    asked = (threads.submit(facts_of, batch) for batch in batches)
    waiting = deque(islice(asked, jobs * _AHEAD))
    try:
        with tqdm(total=len(files), desc="headers", unit="file", delay=1.0) as bar:
            while waiting:
                found = waiting.popleft().result()
                waiting.extend(islice(asked, 1))
                bar.update(len(found))
                yield from found
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.close()
        threads.shutdown(wait=True)


def _facts(batch: Sequence[ExportFile], child: ChildProcess) -> Iterator[HeaderFacts]:
    answers = iter(child.ask_all(FactsAnswer, [file.path for file in batch if not file.fault]))
    for file in batch:
        if file.fault:
            yield HeaderFacts(Outcome.UNREADABLE, unreadable(file.fault))
        elif isinstance(answer := next(answers), ClipRefused):
            yield HeaderFacts(answer.outcome, answer.message)
        else:
            yield answer[0].record
