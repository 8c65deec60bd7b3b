"""The command ``prepare``: its exit status, what it says at the end, what stands on its run."""

import shutil

import pandas as pd
import pytest

SIZES = {"cohort1_size": "4", "num_folds": "2"}


@pytest.fixture
def cohort(workplace, cache, tmp_path):
    """A cohort folder with two clips of each of the first six synthetic patients."""
    assert workplace.command("prepare") == 0
    (made,) = (cache / "synthetic").glob("v*-10-6-*/labels.csv")
    folder = tmp_path / "mine"
    (folder / "dicom").mkdir(parents=True)
    labels = pd.read_csv(made, dtype=str).head(6).assign(cohort=["I"] * 4 + ["II"] * 2)
    labels.to_csv(folder / "labels.csv", index=False)
    for patient in labels["patient_id"]:
        for view in ("FC", "SA"):
            name = f"{patient}_{view}.dcm"
            shutil.copy(made.parent / "dicom" / name, folder / "dicom" / name)
    return folder


def test_all_some_and_none(workplace, cohort, capsys, caplog):
    (whole,) = workplace.runs(step="prepare")
    assert whole.data.tags["refused"] == "0"
    clips = sorted((cohort / "dicom").iterdir())
    clips[0].write_bytes(b"not a DICOM file")
    clips[1].write_bytes(clips[1].read_bytes()[:-5000])
    caplog.clear()
    assert workplace.command("prepare", data=str(cohort), **SIZES) == 0
    assert caplog.messages[-1].endswith("10 of 12 clips are prepared, 2 refused.")
    run = workplace.runs(step="prepare")[-1]
    assert run.info.status == "FINISHED"
    assert run.data.tags["refused"] == "2"
    assert run.data.tags["prepared"] == "10"
    counts = {name: run.data.metrics[f"clips/{name}"] for name in ("OK", "NOT_DICOM", "prepared", "refused")}
    assert counts == {"OK": 10, "NOT_DICOM": 1, "prepared": 10, "refused": 2}
    outcomes = pd.read_csv(workplace.artifact(run, "tables/quality.csv"))["outcome"]
    assert outcomes.value_counts().to_dict() == {"OK": 10, "NOT_DICOM": 1, "TRUNCATED": 1}
    assert workplace.artifact(run, "figures/contact_sheet.png").stat().st_size > 0
    assert "review/" in workplace.artifact(run, "review.html").read_text("utf-8")
    assert len(list(workplace.artifact(run, "review").iterdir())) == 10
    words = ("OK                              10", "TRUNCATED                        1  copy the file again")
    for said in (*words, "quality.csv", "contact_sheet.png", "review.html"):
        assert said in caplog.text
    for clip in clips:
        clip.write_bytes(b"not a DICOM file")
    assert workplace.command("prepare", data=str(cohort), **SIZES) == 1
    assert workplace.runs(step="prepare")[-1].info.status == "FAILED"
    assert "NOT_DICOM" in capsys.readouterr().err


def test_strict_takes_no_refusal(workplace, cohort, capsys):
    assert workplace.command("prepare", data=str(cohort), strict="true", **SIZES) == 0
    next((cohort / "dicom").iterdir()).write_bytes(b"not a DICOM file")
    for command in ("prepare", "main"):
        assert workplace.command(command, data=str(cohort), strict="true", **SIZES) == 1
        assert "11 of 12 clips are prepared, 1 refused. strict=true allows none." in capsys.readouterr().err
        for run in workplace.runs(step=command)[-1], workplace.runs(step="prepare")[-1]:
            assert run.info.status == "FAILED"
            assert "NOT_DICOM" in run.data.tags["failure"]
        assert workplace.artifact(run, "tables/quality.csv").stat().st_size > 0, "what there is can be seen"
    assert not workplace.runs(step="train")


def test_other_steps_only_warn(workplace, cohort, caplog):
    next((cohort / "dicom").iterdir()).write_bytes(b"not a DICOM file")
    given = {"epochs": "1", "stages": "0", "training_frames": "1", **SIZES}
    assert workplace.command("train_fold", data=str(cohort), **given) == 0
    assert "1 of 12 clips were refused" in caplog.text
