"""Clip files prepared for a request: as for a cohort, and refused one by one."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.prediction.clip_table import PatientFiles
from cardio_mlflow.prediction.patient_clips import ClipReader
from cardio_mlflow.prediction.places import Sent
from tests.data.small_clips import fan, write_clip

NOTHING = np.array([np.nan, 1.8, np.nan])


@pytest.fixture(scope="module")
def reader() -> Iterator[ClipReader]:
    with ClipReader() as reader:
        yield reader


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "a.dcm", fan())


def sent(content: bytes) -> Sent:
    return Sent(base64.b64encode(content).decode())


def test_a_file_that_is_sent_is_prepared_as_one_that_lies_here(reader, clip, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files = {"SA": sent(clip.read_bytes()), "LA": clip}
    found = reader.read(PatientFiles("x", files, NOTHING))
    wanted = prepare_clip(clip)
    assert found.clips.patient_ids == ("x",)
    assert found.clips.present.tolist() == [[False, False, True, True]]
    assert found.refused == {}
    for view in files:
        assert np.array_equal(found.clips.clips[0, VIEW_CODES.index(view)].numpy(), wanted.frames)
    assert not found.clips.clips[0, :2].any()
    assert found.clips.placement[0, 2, 1:].tolist() == list(wanted.quality.placement[1:])
    assert found.facts[0, 0] == pytest.approx(60_000 / wanted.quality.heartbeat_ms)
    assert found.facts[0, 1] == 1.8
    assert not list(tmp_path.iterdir()), "nothing of it is left"


def test_files_that_cannot_be_prepared_leave_the_others(reader, clip, tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    files = {"FC": sent(b"no clip" * 1000), "TC": tmp_path / "gone.dcm", "SA": clip, "LA": tmp_path / "pipe"}
    found = reader.read(PatientFiles("", files, NOTHING))
    assert found.refused == {
        "FC": Outcome.NOT_DICOM, "TC": Outcome.UNREADABLE, "LA": Outcome.UNREADABLE,
    }  # fmt: skip
    assert found.clips.present.tolist() == [[False, False, True, False]]


def test_a_patient_without_a_clip(reader) -> None:
    found = reader.read(PatientFiles("", {"FC": Path("/nowhere")}, np.array([60.0, np.nan, 90.0])))
    assert not found.clips.present.any()
    assert found.facts[0, 0] == 60, "the rate that was given stays"
    assert torch.isnan(found.clips.placement).all()
    assert not reader.read(PatientFiles("", {}, NOTHING)).clips.present.any()
