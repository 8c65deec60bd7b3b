"""The clip files of a request prepared, each in a child process with limits, as those of a cohort are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.batch.child_process import Limits
from cardio_mlflow.data.batch.sandbox import Sandbox
from cardio_mlflow.data.clips import PreparedClip
from cardio_mlflow.data.dataset import ClipTensor, prepared_clips, with_heart_rates
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.prediction.clip_table import PatientFiles
from cardio_mlflow.prediction.places import ClipFile, Sent

SIDE_BY_SIDE: Final = 2
"""Child processes that prepare clips, however many requests there are."""


class PatientClips(NamedTuple):
    """A patient's prepared clips.

    Attributes:
        clips: of this one patient.
        facts: (1, 3), see `FACTS`; heart rate is that of the clips where their beats are known.
        refused: by view code, why a clip could not be prepared.
    """

    clips: ClipTensor
    facts: NDArray[np.float64]
    refused: Mapping[str, Outcome]


class ClipReader(AbstractContextManager["ClipReader"]):
    """Prepares patients' clips for any number of threads; a context manager.

    The child processes start with the first clip, and end with the reader or with this process.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._sandboxes = [Sandbox(limits) for _ in range(SIDE_BY_SIDE)]
        self._idle = SimpleQueue[Sandbox]()
        for sandbox in self._sandboxes:
            self._idle.put(sandbox)
        self._threads = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="clips")

    def read(self, patient: PatientFiles) -> PatientClips:
        """Prepare a patient's clips; one that is refused counts as a view that is missing.

        Raises:
            InputError: a child process cannot be started.
            OSError: a file that was sent cannot be put on the disk.
        """
        made = self._threads.map(self._prepare, patient.files.values())
        found = dict(zip(patient.files, made, strict=True))
        prepared = {view: clip for view, clip in found.items() if isinstance(clip, PreparedClip)}
        refused = {view: fault for view, fault in found.items() if isinstance(fault, Outcome)}
        clips = prepared_clips([patient.patient_id], [prepared])
        return PatientClips(clips, with_heart_rates(patient.facts[None], clips), refused)

    def _prepare(self, file: ClipFile) -> PreparedClip | Outcome:
        sandbox = self._idle.get()
        try:
            with _on_disk(file) as path:
                return sandbox.prepare(path)
        except ClipRefused as refusal:
            return refusal.outcome
        finally:
            self._idle.put(sandbox)

    def close(self) -> None:
        """End the child processes; what they work on is given up."""
        for sandbox in self._sandboxes:
            sandbox.close()
        self._threads.shutdown(cancel_futures=True)

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


@contextmanager
def _on_disk(file: ClipFile) -> Iterator[Path]:
    """The path of a clip's file; one that was sent is there as long as this lasts, for this user alone."""
    if isinstance(file, Sent):
        with tempfile.TemporaryDirectory(prefix="clip-") as folder:
            path = Path(folder, "clip.dcm")
            path.write_bytes(file.content())
            yield path
        return
    if not _is_readable(file):
        raise ClipRefused(Outcome.UNREADABLE, "it is not there, or may not be read")
    yield file


def _is_readable(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb"):
            return True
    except OSError:
        return False
