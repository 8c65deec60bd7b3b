"""A store whose folder was moved or copied: found before anything is written to the old place, and mended.

A sqlite store keeps the absolute address of every artifact, so of a folder that holds mlflow.db and mlruns,
moved or copied, the database still points to where it was.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

from mlflow.entities import Experiment
from mlflow.tracking import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from cardio_mlflow.errors import InputError

_ADDRESSES: Final = (
    ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("model_versions", "source"),
    ("model_versions", "storage_location"), ("logged_models", "artifact_location"),
)  # fmt: skip
"""Where MLflow's tables hold addresses of artifacts."""
BACKUP: Final = ".before-move"


def check_place(database: Path, experiment: Experiment) -> None:
    """Check that an experiment's artifacts lie where its database says.

    They may lie far from the database. That its folder was moved or copied shows in a run whose artifacts
    stand beside it too, or in another database of its name beside those that it points to.

    Raises:
        InputError: the folder was moved or copied (says how to mend it), or the artifacts are gone.
    """
    place = _folder(experiment.artifact_location)
    if place is None or place.is_relative_to(database.parent):
        return
    old = place.parents[1]
    ended = MlflowClient().search_runs(
        [experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=50
    )
    beside = [database.parent.joinpath(*Path(run.info.artifact_uri).parts[-4:]) for run in ended]
    if any(folder.is_dir() for folder in beside) or (old / database.name).is_file():
        raise InputError(
            f"The folder of this MLflow store was moved or copied from {old} to {database.parent}, and its "
            "database still says that all artifacts are in the old one, where new ones would go too. Nothing "
            f"was written. Have it point to {database.parent} (a copy of the database is kept), in the "
            "project's folder:\n"
            f"    python -m cardio_mlflow.tracking.moved_store '{database}'\n"
            f"or go on with the store in {old}: MLFLOW_TRACKING_URI='sqlite:///{old / database.name}'"
        )
    if ended and not place.is_dir():
        raise InputError(
            f"The artifacts of this MLflow store, {place}, are not there: deleted, moved, or on a disk that "
            "is not mounted. The runs' settings and metrics are kept in the database. Bring the folder back, "
            "or keep new runs in an experiment of their own: MLFLOW_EXPERIMENT_NAME=<name>."
        )


def repoint(database: Path) -> int:
    """Have a store's database say that its artifacts lie beside it; returns how many addresses have changed.

    Raises:
        InputError: there is no such database, or no artifacts of it lie there.
    """
    if not database.is_file():
        raise InputError(f"There is no database {database}.")
    with closing(sqlite3.connect(database)) as store:
        rows = store.execute("SELECT artifact_location FROM experiments").fetchall()
        places = {place for (uri,) in rows if (place := _folder(uri)) is not None}
        moved = [p for p in places if not p.is_relative_to(database.parent) and _beside(database, p).is_dir()]
        if not moved:
            raise InputError(f"No artifacts that {database} has elsewhere lie beside it: nothing to change.")
        shutil.copy2(database, f"{database}{BACKUP}")
        return sum(_replace(store, p.parents[1], database.parent) for p in moved)


def _beside(database: Path, place: Path) -> Path:
    return database.parent.joinpath(*place.parts[-2:])


def _replace(store: sqlite3.Connection, old: Path, new: Path) -> int:
    """Put one folder for another in every address of artifacts, with or without ``file://``."""
    changed = 0
    with store:
        for table, column in _ADDRESSES:
            for scheme in ("", "file://"):
                before, after = f"{scheme}{old}/mlruns/", f"{scheme}{new}/mlruns/"
                changed += store.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE substr({column}, 1, ?) = ?",
                    (after, len(before) + 1, len(before), before),
                ).rowcount
    return changed


def _folder(uri: str) -> Path | None:
    """The local folder of an address ``…/mlruns/<experiment>``; None of any other."""
    if not is_local_uri(uri):
        return None
    path = Path(local_file_uri_to_path(uri))
    return path if path.is_absolute() and path.parent.name == "mlruns" else None


def main(arguments: list[str]) -> int:
    """Have the store of a database file point to where it lies now; returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("Give it: python -m cardio_mlflow.tracking.moved_store /folder/mlflow.db\n")
        return 2
    database = Path(arguments[0].removeprefix("sqlite:///")).absolute()
    try:
        changed = repoint(database)
    except (InputError, sqlite3.Error) as error:
        sys.stderr.write(f"\nThis did not work:\n{error}\n")
        return 1
    sys.stdout.write(
        f"{changed} addresses of artifacts now point to {database.parent}; the database as it was is kept as "
        f"{database}{BACKUP}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
