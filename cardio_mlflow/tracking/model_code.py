"""The code that a model carries: what prediction imports, found in the text of the modules, and no more."""

from __future__ import annotations

import ast
import hashlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parents[1]
ENTRY: Final = PACKAGE / "tracking" / "registered_model.py"
"""What MLflow runs when a model is loaded; all else that the model carries is what this imports."""

_NAME: Final = PACKAGE.name


def own_modules(entry: Path = ENTRY) -> list[Path]:
    """The files of this package that a module imports, by whatever way, without itself; sorted."""
    found: set[Path] = set()
    waiting = [entry]
    while waiting:
        for name in _imported(waiting.pop()):
            new = set(_files_of(name)) - found
            found |= new
            waiting += new
    return sorted(found - {entry})


def foreign_packages(files: Sequence[Path]) -> list[str]:
    """The installed packages that files import directly, by the name they are installed by; sorted."""
    tops = {name.partition(".")[0] for file in files for name in _imported(file)}
    by_top = metadata.packages_distributions()
    found = [(top, by_top[top]) for top in tops - {_NAME} - sys.stdlib_module_names if top in by_top]
    return sorted({top if top in names else names[0] for top, names in found})


def stage(folder: Path) -> Path:
    """Copy the code that a model carries into a folder, as a package of the same name; returns it."""
    package = folder / _NAME
    for file in own_modules():
        target = package / file.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return package


def code_digest() -> str:
    """32 hexadecimal digits, equal for models with equal code."""
    digest = hashlib.blake2b(digest_size=16)
    for file in (ENTRY, *own_modules()):
        content = hashlib.blake2b(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(PACKAGE).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _imported(file: Path) -> Iterator[str]:
    """Every dotted name that a file imports, and that it may: ``from a import b`` gives ``a`` and ``a.b``."""
    for node in _statements(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All that a module may run; what only a type checker reads is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _statements(node)


def _files_of(name: str) -> Iterator[Path]:
    """The files that an import of a dotted name of this package runs; none, if it is no module of it."""
    top, *parts = name.split(".")
    if top != _NAME:
        return
    for depth in range(len(parts) + 1):
        place = PACKAGE.joinpath(*parts[:depth])
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                yield file
