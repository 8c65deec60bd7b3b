"""The registered model in this process: whatever it is given, and what it says where that will not do."""

from __future__ import annotations

import base64

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.dataset import prepared_clips, with_heart_rates
from cardio_mlflow.parameters import KEYS, VIEW_CODES, VIEWS
from cardio_mlflow.prediction.answers import COLUMNS
from cardio_mlflow.tracking.loaded_model import model_input
from tests.data.small_clips import PLANTED


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")


@pytest.fixture(scope="module")
def prepared(folder):
    """The arrays of the four clips."""
    clips = {view.code: prepare_clip(folder / "clips" / f"{view.name}.dcm") for view in VIEWS}
    data = prepared_clips(["one"], [clips])
    return model_input(data, with_heart_rates(np.array([[70, 1.9, 92.0]]), data))


def test_files_and_prepared_arrays_give_the_same(local, clips, folder, prepared) -> None:
    facts = {"HR": 70, "BSA": 1.9, "MAP": 92}
    by_path = {view.code: str(folder / "clips" / f"{view.name}.dcm") for view in VIEWS}
    tables = [local.predict(pd.DataFrame([row | facts])) for row in (clips, by_path)]
    for table in (*tables, local.predict([clips | facts])):
        pd.testing.assert_frame_equal(table, local.predict(prepared))
    direct = local.unwrap_python_model().answer(prepared)
    assert direct["predictions"][0].tolist() == tables[0]["prediction"].tolist()
    assert direct["derived"][0].tolist() == [key in ("CO", "CI", "SVRI") for key in KEYS]


def test_a_batch_of_thirty_two_is_thirty_two_of_one(local, prepared) -> None:
    many = {name: np.repeat(array, 32, axis=0) for name, array in prepared.items()}
    many["views"] = np.stack([np.roll(many["views"][i], i, axis=1) for i in range(32)])
    together = local.predict(many)
    for i in (0, 31):
        alone = local.predict({name: array[i : i + 1] for name, array in many.items()})
        assert together["prediction"][9 * i : 9 * i + 9].tolist() == alone["prediction"].tolist()


def test_the_mask_may_be_of_any_type(local, prepared) -> None:
    for dtype in (bool, np.uint8, np.int64, np.float32):
        found = local.predict(prepared | {"view_mask": prepared["view_mask"].astype(dtype)})
        assert found["prediction"].tolist() == local.predict(prepared)["prediction"].tolist()


def test_nobody_is_a_table_without_rows(local) -> None:
    for nothing in (pd.DataFrame(), [], {"views": np.zeros((0, 4, 32, 224, 224)), "view_mask": []}):
        found = local.predict(nothing)
        assert tuple(found.columns) == COLUMNS
        assert found.empty


def test_black_views_are_flagged_and_refused_on_request(local, prepared) -> None:
    black = prepared | {"views": np.zeros_like(prepared["views"])}
    found = local.predict(black)
    assert found["unfamiliar"].all()
    assert "A4C: is black; A2C: is black" in found["flags"][0]
    assert found["prediction"].notna().all()
    refused = local.predict(black, params={"refuse": True})
    assert refused[["prediction", "lower", "upper", "abnormal", "ph_probability"]].isna().all(axis=None)


def test_a_refusal_stays_one_sentence_whatever_is_put_before_it(local) -> None:
    with pytest.raises(MlflowException) as refused:
        local.predict([{"A4C": PLANTED, "HR": 0}])
    error = refused.value
    error.message = f"Failed to predict data '{PLANTED}'. {error.message}"
    assert (
        error.message == str(error) == "row 1, HR: outside 20 to 300; leave it empty where it is not known."
    )
    assert error.get_http_status_code() == 400
    assert PLANTED not in error.serialize_as_json()


def test_paths_are_read_anywhere_here_and_in_a_server_below_its_folder(
    folder, local, clips, monkeypatch
) -> None:
    path = str(folder / "clips" / "A4C.dcm")
    assert local.predict([{"A4C": path}])["prediction"].notna().all()
    bound = mlflow.pyfunc.load_model(str(folder / "model"), model_config={"files": str(folder / "clips")})
    assert bound.predict([{"A4C": "A4C.dcm"}])["prediction"].notna().all()
    with pytest.raises(MlflowException, match="leads out of the folder"):
        bound.predict([{"A4C": str(folder / "model" / "MLmodel")}])
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    with pytest.raises(MlflowException, match="reads no files by path"):
        local.predict([{"A4C": path}])
    assert bound.predict([{"A4C": "gone.dcm"}])["notes"][0].startswith("A4C: refused, UNREADABLE")


def test_a_fault_of_the_program_is_named_and_nothing_else_is_told(
    local, prepared, serving, monkeypatch, caplog
) -> None:
    def fail(*_, **__):
        raise KeyError(PLANTED)

    monkeypatch.setattr("cardio_mlflow.prediction.answers.evaluate", fail)
    with pytest.raises(MlflowException) as failed:
        local.predict(prepared)
    assert failed.value.get_http_status_code() == 500
    assert failed.value.message.startswith("The program failed: KeyError in answers.py, line ")
    assert PLANTED not in failed.value.serialize_as_json()
    assert PLANTED not in caplog.text
    monkeypatch.delenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT")
    with pytest.raises(KeyError, match=PLANTED.replace("^", r"\^")):
        local.predict(prepared)


def test_a_decoder_that_cannot_be_started_is_a_fault_and_not_the_clients(
    local, clips, serving, monkeypatch
) -> None:
    from cardio_mlflow.errors import InputError

    def fail(*_, **__):
        raise InputError("The process that decodes clips could not be started.")

    monkeypatch.setattr("cardio_mlflow.data.batch.sandbox.Sandbox.prepare", fail)
    with pytest.raises(MlflowException, match="could not be started") as failed:
        local.predict([clips])
    assert failed.value.get_http_status_code() == 500


def test_numbers_that_json_does_not_know_are_null_in_a_server(local, serving) -> None:
    bad = base64.b64encode(b"no clip" * 1000).decode()
    found = local.predict([dict.fromkeys(VIEW_CODES, bad)])
    assert found["prediction"].tolist() == found["abnormal"].tolist() == [None] * 9
