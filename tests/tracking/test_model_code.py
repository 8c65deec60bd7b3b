from __future__ import annotations

from pathlib import Path

from cardio_mlflow.tracking.model_code import (
    ENTRY,
    PACKAGE,
    code_digest,
    foreign_packages,
    own_modules,
    stage,
)
from cardio_mlflow.tracking.model_folder import requirements


def test_a_model_carries_what_prediction_imports_and_no_more() -> None:
    parts = {file.relative_to(PACKAGE).parts[0] for file in own_modules()}
    assert parts >= {"__init__.py", "parameters.py", "data", "model", "training", "prediction", "analysis"}
    assert not parts & {"figures", "report", "synthetic", "pipelines", "tuning", "tracking", "explain"}
    assert not any(file.suffix != ".py" for file in own_modules())


def test_every_import_inside_the_staged_code_is_there(tmp_path) -> None:
    package = stage(tmp_path)
    staged = {file.relative_to(package).as_posix() for file in package.rglob("*.py")}
    assert staged == {file.relative_to(PACKAGE).as_posix() for file in own_modules()}
    for file in package.rglob("*.py"):
        assert (file.parent / "__init__.py").is_file(), file


def test_what_a_model_needs_is_pinned_as_the_project_pins_it() -> None:
    lines = (PACKAGE.parent / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.strip().lower() for line in lines}
    assert {line.lower() for line in requirements()} <= pinned
    assert not {"matplotlib", "scikit-learn", "captum"} & {line.partition("==")[0] for line in requirements()}


def test_packages_are_found_by_the_name_they_are_installed_by(tmp_path) -> None:
    file = tmp_path / "one.py"
    file.write_text("import os, cv2\nif True:\n    import yaml.nodes\nfrom torch import nn\n")
    assert foreign_packages([file]) == ["PyYAML", "opencv-python-headless", "torch"]


def test_the_digest_is_of_the_code() -> None:
    assert code_digest() == code_digest()
    assert len(code_digest()) == 32
    assert Path(ENTRY).is_file()
