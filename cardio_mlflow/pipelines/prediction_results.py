"""The folder that predictions are written into: whole at every moment, and taken up after a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
from filelock import FileLock, Timeout

from cardio_mlflow.errors import InputError
from cardio_mlflow.files import PART, write_whole

PREDICTIONS: Final = "predictions.csv"
INDEX: Final = "index.html"
PAGES: Final = "patients"
_MARKER: Final = "made_from.json"
_LOCK: Final = ".lock"


@dataclass(frozen=True)
class Results:
    """Predictions that are being written: a table that grows by whole patients, and pages beside it."""

    folder: Path

    @property
    def table_file(self) -> Path:
        """The predictions table."""
        return self.folder / PREDICTIONS

    def done(self) -> int:
        """How many patients, the first of the input, are predicted already."""
        return int(self.table()["patient"].nunique()) if self.table_file.exists() else 0

    def table(self) -> pd.DataFrame:
        """The predictions table so far; texts are texts, also where they look like numbers."""
        texts = dict.fromkeys(("patient", "parameter", "unit", "flags", "notes"), str)
        table = pd.read_csv(self.table_file, dtype=texts, keep_default_na=False,
                            na_values={name: [""] for name in ("prediction", "lower", "upper", "abnormal",
                                                               "ph_probability", "unfamiliar")})  # fmt: skip
        return table.astype({"abnormal": "boolean", "unfamiliar": "boolean"})

    def append(self, table: pd.DataFrame) -> None:
        """Add whole patients, after their pages are written.

        Raises:
            InputError: the folder cannot be written.
        """
        before = self.table_file.read_text("utf-8") if self.table_file.exists() else ""
        text = table.to_csv(index=False, header=not before, lineterminator="\n")
        with writing():
            write_whole(self.table_file, before + text)


@contextmanager
def open_results(folder: Path, digest: str) -> Iterator[Results]:
    """Results in a folder, which is made, or holds those of the same input, model and settings so far.

    Args:
        folder: nothing else may be in it.
        digest: of what the results are made from.

    Raises:
        InputError: it holds something else, another process is writing there, or it cannot be written.
    """
    with writing():
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError("Another predict is writing into this output folder: wait for it.") from None
    try:
        with writing():
            _claim(folder, digest)
        yield Results(folder)
    finally:
        (folder / _LOCK).unlink(missing_ok=True)  # while it is held: who waits for it starts anew
        lock.release()


@contextmanager
def writing() -> Iterator[None]:
    """Say in words that the output cannot be written."""
    try:
        yield
    except OSError as fault:
        raise InputError(
            f"The output cannot be written ({fault.strerror}). Make room there, or give another folder: "
            "-P output=<absolute path>. What is predicted is kept."
        ) from fault


def _claim(folder: Path, digest: str) -> None:
    marker = folder / _MARKER
    if not marker.exists():
        if any(path.name != _LOCK and path.suffix != PART for path in folder.iterdir()):
            raise InputError(
                "The output folder holds something else: give one that is empty, or that is not there yet."
            )
        write_whole(marker, json.dumps({"digest": digest}))
        return
    try:
        known = json.loads(marker.read_text("utf-8"))
    except ValueError:
        known = None
    if not isinstance(known, dict) or known.get("digest") != digest:
        raise InputError(
            "The output folder holds predictions of another input, model, version or settings: give another "
            "folder, or empty this one."
        )
