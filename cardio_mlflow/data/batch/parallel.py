"""Many clips prepared side by side, each worker with a sandbox of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from threading import Event

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from tqdm import tqdm

from cardio_mlflow.data.batch.child_process import ClipStopped, Limits, SandboxClosedError
from cardio_mlflow.data.batch.clip_store import ClipStore, Entry, unwritable
from cardio_mlflow.data.batch.duplicates import Content, marked
from cardio_mlflow.data.batch.sandbox import Sandbox
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.quality import Quality


def prepared_entries(
    files: Sequence[Content], store: ClipStore, jobs: int, limits: Limits,
    keep: Callable[[Entry], Entry] | None = None,
) -> list[Entry]:  # fmt: skip
    """The entry of each clip file, from the store or prepared now, with a progress bar.

    ``keep`` says what of an entry is returned; None: all of it.

    On an error, Ctrl-C or SIGTERM the child processes, ``jobs`` of them, are ended at once; finished clips
    are kept. InputError: the store cannot be written, or a sandbox cannot be started.
    """
    known = {file.key: file for file in files if file.key}
    kept = keep or (lambda entry: entry)
    found = {key: kept(entry) for key in known if (entry := store.read(key, limits)) is not None}
    missing = [file for key, file in known.items() if key not in found]
    refused = sum(entry.quality.outcome != Outcome.OK for entry in found.values())
    with (
        tqdm(total=len(known), initial=len(found), desc="prepare", unit="clip", smoothing=0.05,
             disable=not missing) as bar,
        closing(_prepare_all(missing, store, jobs, limits)) as results,
    ):  # fmt: skip
        for key, entry in results:
            found[key] = kept(entry)
            refused += entry.quality.outcome != Outcome.OK
            bar.set_postfix(refused=refused, refresh=False)
            bar.update()
    return [found[file.key] if file.key else _unreadable(file.fault) for file in files]


def prepare_entry(path: Path, sandbox: Sandbox) -> tuple[Entry, NDArray[np.uint8] | None]:
    """What is kept of a clip file; and its frames, uint8, 32 × 224 × 224, or None where it was refused."""
    try:
        clip = sandbox.prepare(path, check_text=True)
    except ClipStopped as stop:
        limits = (sandbox.limits.seconds, sandbox.limits.memory)
        return Entry(Quality(outcome=stop.outcome, message=stop.message), limits=limits), None
    except ClipRefused as refusal:
        return Entry(Quality(outcome=refusal.outcome, message=refusal.message)), None
    pixels = hashlib.blake2b(clip.frames.tobytes(), digest_size=16).hexdigest()
    return Entry(clip.quality, clip.review, clip.instance, pixels), clip.frames


def _unreadable(fault: str) -> Entry:
    return Entry(Quality(outcome=Outcome.UNREADABLE, message=f"the file cannot be read ({fault})"))


def _prepare_all(
    files: Sequence[Content], store: ClipStore, jobs: int, limits: Limits
) -> Generator[tuple[str, Entry], None, None]:
    """Entries by key, in the order in which they are finished; closing it ends everything at once."""
    sandboxes = [Sandbox(limits) for _ in range(min(jobs, len(files)))]
    idle, closed = SimpleQueue[Sandbox](), Event()
    for sandbox in sandboxes:
        idle.put(sandbox)

    def lead(file: Content) -> tuple[str, Entry]:
        sandbox = idle.get()
        try:
            return file.key, _prepare_once(file, store, sandbox, closed)
        finally:
            idle.put(sandbox)

    threads = ThreadPoolExecutor(max(1, len(sandboxes)))
    try:
        for future in as_completed([threads.submit(lead, file) for file in files]):
            yield future.result()
    finally:
        closed.set()
        threads.shutdown(wait=False, cancel_futures=True)
        for sandbox in sandboxes:
            sandbox.close()
        threads.shutdown(wait=True)


def _prepare_once(file: Content, store: ClipStore, sandbox: Sandbox, closed: Event) -> Entry:
    """Prepare a clip, or wait for the process that is preparing it."""
    lock = FileLock(store.path(file.key).with_suffix(".lock"))
    try:
        lock.acquire(cancel_check=closed.is_set)
    except Timeout:
        raise SandboxClosedError from None
    except OSError as fault:
        raise unwritable(fault) from None
    try:
        if (entry := store.read(file.key, sandbox.limits)) is not None:
            return entry
        entry, frames = prepare_entry(file.path, sandbox)
        now = marked(file.path)
        if now.mark != file.mark:
            return _unreadable(now.fault or "it changed meanwhile")
        store.write(file.key, entry, frames)
        return entry
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: who waits for it starts anew
        lock.release()
