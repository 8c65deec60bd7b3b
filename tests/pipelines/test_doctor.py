from __future__ import annotations

import importlib.metadata
import logging
import subprocess
import sys

import mlflow
import pytest
from pydicom.uid import JPEG2000

from cardio_mlflow.pipelines import doctor
from cardio_mlflow.settings_reading import load_settings


@pytest.fixture
def examined(tmp_path, monkeypatch, caplog):
    """Examine with settings, in an empty folder; returns whether it is ready, and the table."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    before = mlflow.get_tracking_uri()

    def examine(store: str = f"sqlite:///{tmp_path}/mlflow.db", **given: str) -> tuple[bool, str]:
        caplog.clear()
        mlflow.set_tracking_uri(store)
        ready = doctor.examine(load_settings({"cache": str(tmp_path / "cache"), **given}))
        return ready, "\n".join(record.getMessage() for record in caplog.records)

    yield examine
    mlflow.set_tracking_uri(before)


def lines_of(table: str, about: str) -> str:
    return next(line for line in table.splitlines() if line.startswith(about))


def test_a_machine_that_runs_the_tests_is_ready(examined):
    ready, table = examined()
    assert ready
    assert "FAULT" not in table
    for about in (
        "packages",
        "decoders",
        "child process",
        "processor",
        "memory",
        "cache",
        "MLflow",
        "backbone",
    ):
        assert lines_of(table, about)
    assert "JPEG 2000" in lines_of(table, "decoders")


def test_each_fault_is_found_and_says_what_to_do(examined, tmp_path):
    (tmp_path / "file").write_text("")
    ready, table = examined(cache=str(tmp_path / "file" / "cache"))
    assert not ready
    assert "FAULT" in lines_of(table, "cache folder")
    assert "-P cache=" in table

    ready, table = examined("http://127.0.0.1:9")
    assert not ready
    assert "FAULT" in lines_of(table, "MLflow store")
    assert "Traceback" not in table


def test_packages_and_decoders_that_are_missing_are_faults(examined, monkeypatch):
    real = doctor.get_decoder
    versions = importlib.metadata.version

    class Lacking:
        is_available = False

    def version(name: str) -> str:
        if name == "captum":
            raise importlib.metadata.PackageNotFoundError(name)
        return "9.9" if name == "umap-learn" else versions(name)

    monkeypatch.setattr(doctor, "get_decoder", lambda uid: Lacking if uid == JPEG2000 else real(uid))
    monkeypatch.setattr(doctor, "version", version)
    ready, table = examined()
    assert not ready
    assert "FAULT" in lines_of(table, "decoders")
    assert "none for JPEG 2000" in table
    assert "captum missing" in lines_of(table, "packages")
    assert "umap-learn 9.9" in lines_of(table, "packages")
    assert "FAULT" in lines_of(table, "packages")


def test_a_backbone_that_has_to_be_fetched_is_no_fault(examined, tmp_path):
    ready, table = examined(backbone="someone/no-such-vit")
    assert ready
    assert "note" in lines_of(table, "backbone")
    (tmp_path / "vit").mkdir()
    assert " ok " in lines_of(examined(backbone=str(tmp_path / "vit"))[1], "backbone")


def test_the_command_ends_with_a_status(tmp_path):
    command = [sys.executable, "-m", "entry_points.doctor", "--cache", str(tmp_path / "cache")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "This machine is ready." in ended.stderr
    wrong = subprocess.run([*command, "--epoch", "3"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "epochs" in wrong.stderr
