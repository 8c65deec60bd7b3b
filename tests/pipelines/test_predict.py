"""predict as a command: what it writes, with a store and without, after a kill, and what it refuses."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, VIEW_CODES
from cardio_mlflow.pipelines import predict as step
from cardio_mlflow.pipelines.inputs import cohort_folder
from cardio_mlflow.pipelines.prediction_results import Results
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.tracking.runs import SilentRun
from tests.pipelines.conftest import SMALL, Workplace

STUDY = {"study": "demo-synthetic"}
ROUGHLY = {"ig_steps": "5", "ig_tolerance": "1"}


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"patient": str, "patient_id": str})


@pytest.fixture(scope="module")
def model(studied: Workplace) -> Path:
    """The folder of the registered model."""
    (run,) = studied.runs(**STUDY, step="validate")
    return studied.artifact(run, "model")


@pytest.fixture(scope="module")
def dicom(studied: Workplace) -> Path:
    """The synthetic cohort's clips."""
    return cohort_folder(load_settings(SMALL | {"cache": str(studied.cache)}, {})) / "dicom"


@pytest.fixture
def place(studied: Workplace, tmp_path: Path) -> Workplace:
    """An empty store, and the study's cache."""
    return Workplace(tmp_path, studied.cache)


@pytest.fixture
def three(tmp_path: Path, dicom: Path) -> Path:
    """Clips of three patients, no label sheet: one in a folder of their own, one whose only clip is none."""
    folder = tmp_path / "new"
    (folder / "dicom" / "Q-2").mkdir(parents=True)
    first, second = sorted({path.name[:-7] for path in dicom.glob("*.dcm")})[:2]
    for code in VIEW_CODES:
        for source, target in ((first, f"{first}_{code}.dcm"), (second, f"Q-2/{code}.dcm")):
            if (clip := dicom / f"{source}_{code}.dcm").exists():
                shutil.copy(clip, folder / "dicom" / target)
    (folder / "dicom" / "Z9_A4C.dcm").write_bytes(b"no DICOM file")
    return folder


def options(model: Path, data: Path, output: Path, **more: str) -> dict[str, str]:
    return {"input": str(data), "model": str(model), "output": str(output), **more}


def test_the_same_patients_get_the_numbers_of_the_test(studied: Workplace) -> None:
    (tested,) = studied.runs(**STUDY, step="test")
    told = read(studied.artifact(tested, "predictions.csv"))
    assert studied.command("predict", input="synthetic", study="predicting") == 0
    (run,) = studied.runs(study="predicting", step="predict")
    found = read(studied.artifact(run, "predictions.csv")).rename(columns={"patient": "patient_id"})
    assert found["patient_id"].nunique() == int(SMALL["synthetic_patients"])
    both = told.merge(found, on=["patient_id", "parameter"], suffixes=("_test", "_predict"))
    assert len(both) == len(told)
    for key in KEYS:
        own = both[both["parameter"] == key]
        span = np.ptp(told.loc[told["parameter"] == key, "reference"])
        np.testing.assert_allclose(
            own["prediction_predict"], own["prediction_test"], atol=1e-4 * span, rtol=0
        )


def test_the_run_holds_tags_counts_and_pages(studied: Workplace, three: Path, capfd, caplog) -> None:
    assert studied.command("predict", input=str(three), study="pages", explain="Q-2", **ROUGHLY) == 0
    (run,) = studied.runs(study="pages", step="predict")
    champion = studied.client.get_model_version_by_alias("cardio-hemodynamics", "champion")
    assert run.data.tags["model_version"] == str(champion.version)
    assert run.data.tags["model_study"] == "demo-synthetic"
    assert run.data.metrics["patients"] == 3
    assert run.data.metrics["without_value"] == 1
    assert run.data.metrics["clips/refused"] == 1
    pages = sorted(path.name for path in studied.artifact(run, "patients").iterdir())
    assert [name.partition("_")[0] for name in pages] == ["1", "2", "2", "3"]
    assert "2_Q-2_explained.html" in pages
    index = studied.artifact(run, "index.html").read_text("utf-8")
    assert all((studied.artifact(run, "patients") / Path(link).name).is_file()
               for link in re.findall('href="([^"]+)"', index))  # fmt: skip
    assert index.index("Z9") < index.index("Q-2"), "whoever is flagged stands first"
    quality = read(studied.artifact(run, "tables/quality.csv"))
    assert quality.set_index("patient_id").loc["Z9", "outcome"] == "NOT_DICOM"
    said = "".join([*capfd.readouterr(), caplog.text])
    assert "3 patients: 1 flagged, 1 without any value." in said
    assert not any(name in said for name in ("Q-2", "Z9"))
    assert not list((studied.cache / "predictions").iterdir()), "the artifacts are what is kept"


def test_pages_stand_alone_and_say_what_became_of_each_clip(
    place: Workplace, model: Path, three: Path
) -> None:
    out = place.folder / "out"
    assert place.command("predict", **options(model, three, out, explain="Q-2", **ROUGHLY)) == 0
    (page,) = out.glob("patients/3_Z9.html")
    text = page.read_text("utf-8")
    assert "Refused: not a DICOM file (NOT_DICOM)" in text
    assert "A4C: refused, NOT_DICOM" in text
    assert "no view to predict from" in text
    (page,) = out.glob("patients/2_Q-2.html")
    text = page.read_text("utf-8")
    assert text.count("data:image/webp") >= 2
    assert "learned from a synthetic cohort" in text
    assert not re.search(r'(src|href)="(?!data:|\.\./index\.html|2_Q-2_explained\.html)', text)
    explained = (out / "patients" / "2_Q-2_explained.html").read_text("utf-8")
    assert explained.count("data:image/png") == 2
    assert "Integrated Gradients" in explained


def test_a_killed_run_goes_on_and_ends_as_one_never_killed(
    place: Workplace, model: Path, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = place.folder / "whole", place.folder / "stopped"
    assert place.command("predict", **options(model, three, whole)) == 0
    monkeypatch.setattr(step, "CHUNK", 1)
    append, count = Results.append, iter(range(10))

    def killed(results: Results, table: pd.DataFrame) -> None:
        if next(count) == 2:
            raise KeyboardInterrupt
        append(results, table)

    with monkeypatch.context() as patching:
        patching.setattr(Results, "append", killed)
        assert place.command("predict", **options(model, three, stopped)) == 130
    assert Results(stopped).done() == 2
    before = {path.name: path.stat().st_mtime_ns for path in stopped.glob("patients/[12]*")}
    assert place.command("predict", **options(model, three, stopped)) == 0
    assert {path.name: path.stat().st_mtime_ns for path in stopped.glob("patients/[12]*")} == before
    names = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(stopped) for path in stopped.rglob("*") if path.is_file())
    assert all((whole / name).read_bytes() == (stopped / name).read_bytes() for name in names)
    assert place.command("predict", **options(model, three, stopped, refuse="true")) == 1


def test_flagged_values_are_left_out_where_that_is_asked_for(
    place: Workplace, model: Path, three: Path
) -> None:
    assert place.command("predict", **options(model, three, place.folder / "kept")) == 0
    assert place.command("predict", **options(model, three, place.folder / "left", refuse="true")) == 0
    kept, left = (read(place.folder / name / "predictions.csv") for name in ("kept", "left"))
    flagged = kept["flags"].notna()
    assert left.loc[flagged, "prediction"].isna().all()
    pd.testing.assert_series_equal(left.loc[~flagged, "prediction"], kept.loc[~flagged, "prediction"])


def test_pseudonyms_stand_in_table_names_and_pages(place: Workplace, model: Path, three: Path) -> None:
    out, key = place.folder / "out", place.folder / "private" / "a.key"
    given = options(model, three, out, pseudonymize="true", pseudonym_key=str(key))
    assert place.command("predict", **given) == 0
    names = read(out / "predictions.csv")["patient"].unique()
    assert all(re.fullmatch("S[0-9A-Z]{12}", name) for name in names)
    written = [path for path in out.rglob("*") if path.is_file()]
    assert len([path for path in written if path.parent.name == "patients"]) == 3
    for path in written:
        assert "Q-2" not in path.name
        assert b"Q-2" not in path.read_bytes()


def test_facts_of_the_user_are_used(place: Workplace, model: Path, three: Path) -> None:
    """CO, CI and SVRI follow from stroke volume and body surface, the others do not."""
    values = {}
    for surface in ("1.5", "2.0"):
        (three / "patients.csv").write_text(f"patient_id,HR,BSA,MAP\nQ-2,70,{surface},90\n")
        out = place.folder / surface
        assert place.command("predict", **options(model, three, out)) == 0
        table = read(out / "predictions.csv")
        values[surface] = table[table["patient"] == "Q-2"].set_index("parameter")["prediction"]
    same = values["1.5"] == values["2.0"]
    assert set(KEYS) - set(same.index[same]) == {"CO", "CI", "SVRI"}


@pytest.mark.parametrize(
    ("given", "said"),
    [({"explain": "Q-2,nobody"}, "names 2 patients, of whom 1 are not in the input"),
     ({"level": "90"}, "level= is the share"),
     ({"explain": "all", "ig_baseline": "cohort_mean"}, "ig_baseline=cohort_mean needs"),
     ({"model": "nothing"}, "neither a version nor an alias"),
     ({"model": "/nowhere/model"}, "names a folder that is not there"),
     ({"input": "/nowhere"}, "names nothing that is there")],
)  # fmt: skip
def test_what_cannot_be_is_said_in_words(
    place: Workplace, model: Path, three: Path, capfd, given, said
) -> None:
    assert place.command("predict", **(options(model, three, place.folder / "out") | given)) == 1
    message = capfd.readouterr().err
    assert said in message
    assert "Traceback" not in message
    assert "Q-2" not in message


def test_nobody_with_a_clip_that_can_be_prepared(place: Workplace, model: Path, capfd) -> None:
    (place.folder / "new").mkdir()
    (place.folder / "new" / "P_A4C.dcm").write_bytes(b"no DICOM file")
    assert place.command("predict", **options(model, place.folder / "new", place.folder / "out")) == 1
    assert "None of the 1 clips could be prepared" in capfd.readouterr().err
    assert (place.folder / "out" / "quality.csv").is_file()


def test_no_store_is_touched_where_the_model_is_a_folder(
    model: Path, three: Path, studied: Workplace
) -> None:
    """As ``python -m entry_points.predict`` in a folder without a store."""
    project = Path(__file__).resolve().parents[2]
    away = three.parent / "away"
    away.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "CARDIOAI_"))}
    command = [sys.executable, "-m", "entry_points.predict", "--input", str(three), "--model", str(model),
               "--cache", str(studied.cache)]  # fmt: skip
    environment = kept | {"PYTHONPATH": str(project)}
    done = subprocess.run([*command, "--output", str(away / "out")], cwd=away, env=environment,
                          capture_output=True, text=True, check=False, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"Look at {away / 'out' / 'index.html'}" in done.stderr
    assert [path.name for path in away.iterdir()] == ["out"]


def test_without_a_store_it_has_to_be_said_where_to_write(model: Path, three: Path) -> None:
    run = SilentRun()
    run.given = frozenset({"data"})
    with pytest.raises(InputError, match="output= is missing"):
        step.predict(load_settings({"data": str(three)}, {}), run, str(model), "", "", "0.9")
    run.given = frozenset()
    with pytest.raises(InputError, match="input= is missing"):
        step.predict(load_settings({}, {}), run, str(model), "", "", "0.9")


@pytest.mark.parametrize(
    ("model", "needed"),
    [("champion", True), ("3", True), ("a" * 32, True), ("./model", False), ("/m", False)],
)
def test_a_store_is_needed_unless_the_model_is_a_folder(model: str, needed: bool) -> None:
    assert step.needs_store({"model": model}) is needed
