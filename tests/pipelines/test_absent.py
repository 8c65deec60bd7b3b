"""A cohort in which nobody has one parameter, and too few of a fold's patients have others."""

import shutil

import numpy as np
import pandas as pd
import pytest

from cardio_mlflow.parameters import KEYS
from cardio_mlflow.pipelines import inputs
from cardio_mlflow.settings_reading import load_settings
from tests.pipelines.conftest import SMALL

OPTIONS = {"study": "absent", "cohort1_size": "6", "epochs": "1", "stages": "0", "views": "FC"}


def read(path):
    return pd.read_csv(path, dtype={"patient_id": str, "person": str})


@pytest.fixture(scope="module")
def folder(tmp_path_factory, cache):
    """Nine examinations of seven persons without PVR; CO and SVRI stand in the rows of the first fold."""
    made = inputs.cohort_folder(load_settings(SMALL | {"cache": str(cache)}, {}))
    home = tmp_path_factory.mktemp("absent") / "hospital"
    (home / "dicom").mkdir(parents=True)
    for path in sorted((made / "dicom").glob("*_FC.dcm"))[:9]:
        shutil.copy(path, home / "dicom")
    labels = (
        pd.read_csv(made / "labels.csv", dtype={"patient_id": str}).drop(columns=["PVR", "cohort"])[:9].copy()
    )
    labels.loc[3:5, "CO"] = np.nan
    labels.loc[4:5, "SVRI"] = np.nan
    labels["person"] = ["Roe", "Roe", "", "", "", "", "Doe", "Doe", ""]
    labels.to_csv(home / "labels.csv", index=False)
    folds = pd.DataFrame({"patient_id": labels["patient_id"][:6], "fold": [1, 1, 1, 2, 2, 2]})
    folds.to_csv(home / "folds.csv", index=False)
    return home


def test_a_study_without_a_parameter(workplace, folder, caplog, few_figures):
    given = OPTIONS | {"data": str(folder)}
    for step in ("train", "validate", "test"):
        assert workplace.command(step, **given) == 0
    assert "Nobody has a value of PVR" in caplog.text
    assert "fold-1 leaves out CO, SVRI, PVR" in caplog.text
    assert "9 patients of the sheet are examinations of 7 persons" in caplog.text
    (first, second) = workplace.runs(study="absent", step="train_fold")
    assert "val/mae_PVR" not in second.data.metrics
    assert "val/mae_CO" not in first.data.metrics
    (validated,) = workplace.runs(study="absent", step="validate")
    pooled = read(workplace.artifact(validated, "predictions.csv"))
    assert pooled["prediction"].notna().all()
    assert set(pooled["parameter"]) == set(KEYS) - {"PVR"}
    assert set(pooled.loc[pooled["parameter"] == "CO", "fold"]) == {2}
    assert pooled["person"].nunique() == 5
    performance = read(workplace.artifact(validated, "tables/performance.csv")).set_index("parameter")
    assert (performance.loc["meanPAP", "n"], performance.loc["SVRI", "n"]) == (6, 1)
    assert not [name for name in validated.data.metrics if name.endswith("_PVR")]
    report = workplace.artifact(validated, "report.html").read_text()
    assert "PVR is not predicted: without references it cannot be learned" in report
    assert "CO is not predicted in fold 1" in report
    assert "examinations of 5 persons" in report
    (tested,) = workplace.runs(study="absent", step="test")
    table = read(workplace.artifact(tested, "predictions.csv"))
    assert set(table["parameter"]) == set(KEYS) - {"PVR"}
    assert len(table) == 3 * 8
    patients = table["patient_id"].tolist()[::8]
    assert table["person"].tolist()[::8] == [patients[0], patients[0], patients[2]]  # not as in the sheet
