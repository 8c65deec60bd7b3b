"""What the package promises: equal versions, thin entry points, a declared command for each."""

from __future__ import annotations

import ast
import importlib
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml

from cardio_mlflow import __version__

PROJECT = Path(__file__).resolve().parents[1]
MLPROJECT = yaml.safe_load((PROJECT / "MLproject").read_text(encoding="utf-8"))
ENTRY_POINTS = sorted(p.stem for p in (PROJECT / "entry_points").glob("*.py") if p.stem != "__init__")


def test_conda_yaml_has_the_versions_of_requirements_txt_under_pip() -> None:
    required = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    conda = yaml.safe_load((PROJECT / "conda.yaml").read_text(encoding="utf-8"))
    under_pip = next(d["pip"] for d in conda["dependencies"] if isinstance(d, dict))
    assert under_pip == required == requires("cardio-mlflow")[: len(required)]
    assert all("==" in line for line in required)
    assert {d.split("=")[0] for d in conda["dependencies"] if isinstance(d, str)} == {"python", "pip"}


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (__version__, "MIT")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


def test_every_file_of_the_package_is_installed_with_it() -> None:
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    package, globs = (
        PROJECT / "cardio_mlflow",
        pyproject["tool"]["setuptools"]["package-data"]["cardio_mlflow"],
    )
    installed = {path for glob in globs for path in package.glob(glob)}
    files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in files if path.suffix != ".py"} == installed


def test_every_entry_point_is_declared_and_runs_as_a_module() -> None:
    assert sorted(MLPROJECT["entry_points"]) == ENTRY_POINTS
    for name, entry in MLPROJECT["entry_points"].items():
        assert entry["command"].startswith(f"python -m entry_points.{name} ")
        for parameter in entry["parameters"]:
            assert f"--{parameter} {{{parameter}}}" in entry["command"]
        assert "'" not in entry["command"]


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_entry_points_only_parse_and_call(name: str) -> None:
    source = (PROJECT / "entry_points" / f"{name}.py").read_text(encoding="utf-8")
    assert source.count("\n") <= 20
    assert ast.get_docstring(ast.parse(source))
    importlib.import_module(f"entry_points.{name}")


def test_no_function_of_the_package_is_longer_than_sixty_lines() -> None:
    for path in (PROJECT / "cardio_mlflow").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path.name}: {node.name}"


def test_readme_names_every_entry_point() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert not [name for name in ENTRY_POINTS if f"`{name}`" not in readme]


def test_the_page_of_settings_is_what_the_code_says() -> None:
    from tests.settings_page import settings_page

    page = (PROJECT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    assert page == settings_page(), "make it anew: python -m tests.settings_page > docs/reference/settings.md"


def test_every_file_beside_the_code_is_installed_with_it() -> None:
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    package = PROJECT / "cardio_mlflow"
    patterns = pyproject["tool"]["setuptools"]["package-data"]["cardio_mlflow"]
    installed = {path for pattern in patterns for path in package.glob(pattern)}
    beside = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert beside <= installed
