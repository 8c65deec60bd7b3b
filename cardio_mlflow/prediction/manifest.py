"""The list of a model's files with their digests, by which the model is found whole before it is used.

Where the digest of the list itself is known from elsewhere, as from the tags of a registered version, nothing
in the folder can be changed without being noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from cardio_mlflow import __version__
from cardio_mlflow.errors import InputError

MANIFEST: Final = "artifacts/manifest.json"
CODE: Final = "code/cardio_mlflow"
"""Where a model has its own code."""

_MODEL: Final = "MLmodel"
_CLOSED: Final = ("artifacts", "code")
"""Folders in which there is nothing but what the list names."""
_COMPILED: Final = "__pycache__"


def write_manifest(model: Path) -> str:
    """List the files of a model's folder in it; returns the list's digest.

    Of MLmodel, to which MLflow adds ids when it stores a model, the part counts that says how it is loaded.
    """
    files = {name: _digest(model / name) for name in _names(model) if name not in (_MODEL, MANIFEST)}
    content = {"cardio_mlflow": __version__, "flavors": _flavors(model), "files": files}
    (model / MANIFEST).write_text(json.dumps(content, indent=1), encoding="utf-8")
    return _digest(model / MANIFEST)


def check_files(model: Path, digest: str = "") -> None:
    """Check that the files of a model's folder are those of its list.

    Args:
        model: the folder.
        digest: that the list is known to have; empty: it is not known.

    Raises:
        InputError: one has been changed, is missing or was added (names it), or there is no such list.
    """
    loading, listed = _flavors(model), _read(model)
    if digest and _digest(model / MANIFEST) != digest:
        raise InputError(f"Its {MANIFEST} is not the one that was registered: the model was exchanged.")
    if listed["flavors"] != loading:
        raise InputError(f"Its {_MODEL} says to load it in another way than when it was made.")
    files, found = listed["files"], set(_names(model))
    for name, known in files.items():
        if name not in found:
            raise InputError(f"Its file {name} is missing.")
        if _digest(model / name) != known:
            raise InputError(f"Its file {name} is not as it was when the model was made.")
    for name in sorted(found - files.keys() - {MANIFEST}):
        if name.startswith(tuple(f"{folder}/" for folder in _CLOSED)):
            raise InputError(f"The file {name} does not belong to it.")


def has_manifest(model: Path) -> bool:
    """Whether a model's folder has a list of its files; those of earlier versions have none."""
    return (model / MANIFEST).is_file()


def own_version(model: Path) -> str:
    """The version of this package that has made a model."""
    return str(_read(model)["cardio_mlflow"])


def is_code_of(model: Path, package: Path) -> bool:
    """Whether the code in a package's folder is the code that a model has of its own, file by file."""
    prefix = f"{CODE}/"
    own = {
        name.removeprefix(prefix): d for name, d in _read(model)["files"].items() if name.startswith(prefix)
    }
    return all((package / name).is_file() and _digest(package / name) == d for name, d in own.items())


def _read(model: Path) -> Mapping[str, Any]:
    if not has_manifest(model):
        raise InputError(
            f"It has no {MANIFEST}: it is no model of this project, one of an earlier version, or damaged."
        )
    try:
        listed = json.loads((model / MANIFEST).read_text(encoding="utf-8"))
    except ValueError:
        listed = None
    if not (isinstance(listed, dict) and isinstance(listed.get("files"), dict) and "flavors" in listed):
        raise InputError(f"Its {MANIFEST} is damaged.")
    return listed


def _names(model: Path) -> Iterator[str]:
    """The paths of a model's files in its folder, but for what Python has compiled; in order."""
    for path in sorted(model.rglob("*")):
        if not path.is_dir() and _COMPILED not in path.parts:
            yield path.relative_to(model).as_posix()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flavors(model: Path) -> str:
    """Digest of how MLmodel says that the model is loaded.

    Raises:
        InputError: there is no MLmodel, or it is damaged.
    """
    try:
        fields = yaml.safe_load((model / _MODEL).read_text(encoding="utf-8"))
        text = json.dumps(fields["flavors"], sort_keys=True)
    except FileNotFoundError:
        raise InputError(f"There is no {_MODEL} in it: it is no folder of a model.") from None
    except (yaml.YAMLError, TypeError, LookupError, ValueError):
        raise InputError(f"Its {_MODEL} is damaged.") from None
    return hashlib.sha256(text.encode()).hexdigest()
