"""Settings that are taken from a YAML file, or from a run of the store."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, Final

from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.tuning_results import BEST
from cardio_mlflow.settings import load_settings
from cardio_mlflow.settings_yaml import read_settings_yaml
from cardio_mlflow.tracking.finished import FinishedRun, runs_called

LARGEST: Final = 100_000
"""Bytes of a settings file; every setting together takes some five thousand."""


def stored_settings(source: str) -> dict[str, Any]:
    """Read the settings that ``-P settings=`` names.

    Of a whole settings.yaml only what a trained fold depends on is taken: names, paths, workers and what
    comes after training stay those of this command.

    Args:
        source: the path of a YAML file, or the id or the name of an MLflow run: of a tuning, whose best
            settings are taken, or of any other, whose own are.

    Raises:
        InputError: there is no such file or run, several runs have that name, or it holds no settings.
    """
    if text := _text_of_file(source):
        return _parsed(text, source)
    found = runs_called(source)
    if not found:
        raise InputError(
            f"settings={source}: there is no such file (looked for it from {Path.cwd()}), and no run of this "
            "store has that id or name. Give a file's absolute path, or the run id that the tuning has told."
        )
    if len(found) > 1:
        ids = ", ".join(run.run_id for run in found[:5])
        raise InputError(f"settings={source}: {len(found)} runs have that name. Give the id of one: {ids}.")
    return _parsed(_text_of(found[0]), source)


def _text_of_file(source: str) -> str:
    """What the file of this path holds; nothing where there is none.

    Raises:
        InputError: it is too large, empty, or cannot be read.
    """
    try:
        path = Path(source).expanduser()
        if not path.is_file():
            return ""
        if path.stat().st_size > LARGEST:
            raise InputError(f"settings={source} is no settings file: it has more than {LARGEST} bytes.")
        text = path.read_text(encoding="utf-8", errors="replace")
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            return ""
        raise InputError(f"settings={source} cannot be read: {type(error).__name__}.") from error
    if not text.strip():
        raise InputError(f"settings={source} is empty.")
    return text


def _text_of(run: FinishedRun) -> str:
    if run.has(BEST):
        return run.text(BEST)
    if run.tags.get("step") == "tune":
        raise InputError(
            f"The tuning in the run {run.name} has no best settings: it has not ended, or was a nested one, "
            f"which has them for each outer fold. Give the file's path: download outer-1/{BEST} and so on."
        )
    if run.has("settings.yaml"):
        return run.text("settings.yaml")
    raise InputError(f"The run {run.name} has no settings.")


def _parsed(text: str, source: str) -> dict[str, Any]:
    values = read_settings_yaml(text, f"settings={source}")
    whole = values.keys() >= {"preset", "study", "cache"}
    kept = set(load_settings({}, {}).configuration()) | {"preset", "variant"} if whole else values
    return {name: value for name, value in values.items() if name in kept}
