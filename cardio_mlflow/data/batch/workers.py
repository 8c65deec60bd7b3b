"""Many clips prepared side by side, each worker with a sandbox of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from types import TracebackType
from typing import Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from tqdm import tqdm

from cardio_mlflow.data.batch.clip_store import ClipStore, Entry, unwritable
from cardio_mlflow.data.batch.identities import Content, marked
from cardio_mlflow.data.batch.sandbox import ClipStopped, Limits, Sandbox, SandboxClosedError
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.quality import Quality

Files = Mapping[str, tuple[Path, Content]]
"""File and content by the key of the entry."""


def prepared_entries(files: Files, store: ClipStore, jobs: int, limits: Limits) -> dict[str, Entry]:
    """The entry of each clip, from the store or prepared now, with a progress bar.

    On an error, Ctrl-C or SIGTERM the child processes are ended at once; clips that are done stay done, and
    those in work leave nothing.

    Args:
        files: what to prepare.
        store: where entries are kept.
        jobs: number of sandboxes, at least 1.
        limits: of one clip.

    Raises:
        InputError: the store cannot be written, or a sandbox cannot be started.
    """
    found = {key: entry for key in files if (entry := store.read(key, limits)) is not None}
    missing = [key for key in files if key not in found]
    refused = sum(entry.quality.outcome != Outcome.OK for entry in found.values())
    with (
        tqdm(
            total=len(files),
            initial=len(found),
            desc="prepare",
            unit="clip",
            smoothing=0.05,
            disable=not missing,
        ) as bar,
        _Workers(min(jobs, len(missing)), limits) as workers,
    ):
        for key, entry in workers.each(partial(_prepare_once, store, files, workers.closed), missing):
            found[key] = entry
            refused += entry.quality.outcome != Outcome.OK
            bar.set_postfix(refused=refused, refresh=False)
            bar.update()
    return found


def prepare_entry(path: Path, sandbox: Sandbox) -> tuple[Entry, NDArray[np.uint8] | None]:
    """Prepare one clip file.

    Returns:
        What is kept of it; and its frames, uint8, 32 × 224 × 224, or None where it was refused.

    Raises:
        SandboxClosedError: the sandbox was closed meanwhile.
    """
    try:
        clip = sandbox.prepare(path, check_text=True)
    except ClipStopped as stop:
        limits = (sandbox.limits.seconds, sandbox.limits.memory)
        return Entry(Quality(outcome=stop.outcome, message=stop.message), limits=limits), None
    except ClipRefused as refusal:
        return Entry(Quality(outcome=refusal.outcome, message=refusal.message)), None
    pixels = hashlib.blake2b(clip.frames.tobytes(), digest_size=16).hexdigest()
    return Entry(clip.quality, clip.review, clip.instance, pixels), clip.frames


def unreadable(fault: str) -> Entry:
    """What stands for a file that cannot be read; it is kept nowhere."""
    return Entry(Quality(outcome=Outcome.UNREADABLE, message=f"the file cannot be read ({fault})"))


def _prepare_once(
    store: ClipStore, files: Files, closed: Event, key: str, sandbox: Sandbox
) -> tuple[str, Entry]:
    """Prepare a clip, or wait for the process that is at it."""
    path, content = files[key]
    lock = FileLock(store.path(key).with_suffix(".lock"))
    try:
        lock.acquire(cancel_check=closed.is_set)
    except Timeout:
        raise SandboxClosedError from None
    except OSError as fault:
        raise unwritable(fault) from None
    try:
        if (entry := store.read(key, sandbox.limits)) is None:
            entry, frames = prepare_entry(path, sandbox)
            if (now := marked(path)).mark == content.mark:
                store.write(key, entry, frames)
            else:
                entry = unreadable(now.fault or "it changed meanwhile")
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: who waits for it starts anew
        lock.release()
    return key, entry


class _Workers:
    """Threads that each lead a sandbox; leaving the context ends all of them at once."""

    def __init__(self, count: int, limits: Limits) -> None:
        self.closed = Event()
        self._sandboxes = [Sandbox(limits) for _ in range(count)]
        self._idle: SimpleQueue[Sandbox] = SimpleQueue()
        for sandbox in self._sandboxes:
            self._idle.put(sandbox)
        self._threads = ThreadPoolExecutor(max(1, count))

    def each(
        self, work: Callable[[str, Sandbox], tuple[str, Entry]], keys: Iterable[str]
    ) -> Iterator[tuple[str, Entry]]:
        """What comes of each key, in the order in which they are finished."""

        def lead(key: str) -> tuple[str, Entry]:
            sandbox = self._idle.get()
            try:
                return work(key, sandbox)
            finally:
                self._idle.put(sandbox)

        for future in as_completed([self._threads.submit(lead, key) for key in keys]):
            yield future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for sandbox in self._sandboxes:
            sandbox.close()
        self._threads.shutdown(wait=True)
