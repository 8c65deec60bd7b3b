"""The model behind `mlflow models serve`, as clients see it: answers, refusals, and nothing of a patient."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests

from cardio_mlflow.parameters import KEYS, VIEWS
from cardio_mlflow.prediction.answers import COLUMNS
from tests.data.small_clips import PLANTED
from tests.forked import kill_with_children
from tests.waiting import wait_for

NAMES = [view.name for view in VIEWS]


@dataclass(frozen=True)
class Server:
    """A running server; ``said`` is the file of what it has written."""

    address: str
    said: Path

    def ask(self, body: object, kind: str = "application/json") -> requests.Response:
        data = body if isinstance(body, str) else json.dumps(body)
        return requests.post(
            f"{self.address}/invocations", data=data, headers={"Content-Type": kind}, timeout=120
        )

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.address}/{path}", timeout=60)

    def is_up(self) -> bool:
        try:
            return self.get("ping").ok
        except requests.RequestException:
            return False


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder / "model"),
               "--env-manager", "local", "-h", "127.0.0.1", "-p", port]  # fmt: skip
    given = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_PYFUNC_INFERENCE_CONFIG": json.dumps({"files": str(folder / "clips")}),
    }
    running = Server(f"http://127.0.0.1:{port}", folder / "said")
    with running.said.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | given, stdout=said, stderr=said, start_new_session=True
        )

    def is_up() -> bool:
        assert process.poll() is None, running.said.read_text()
        return running.is_up()

    wait_for(is_up)
    yield running
    kill_with_children(process.pid)
    process.wait()


def table_of(response: requests.Response) -> pd.DataFrame:
    """The table in an answer, which is strict JSON."""
    assert response.status_code == 200, response.text

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return pd.DataFrame(json.loads(response.text, parse_constant=refuse)["predictions"])


def test_four_files_are_answered_as_in_this_process(server, clips, local, folder) -> None:
    row = clips | {"patient_id": "one", "HR": 70, "BSA": 1.9, "MAP": 92}
    forms = [
        {"dataframe_records": [row]},
        {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}},
        {"inputs": [row]},
        {"inputs": {name: [cell] for name, cell in row.items()}},
        {"instances": [row]},
        {"dataframe_records": [row | {view: f"{view}.dcm" for view in NAMES}]},
    ]
    wanted = local.predict(pd.DataFrame([row]))
    assert tuple(wanted.columns) == COLUMNS
    for form in forms:
        found = table_of(server.ask(form))
        assert tuple(found.columns) == COLUMNS
        assert found["parameter"].tolist() == list(KEYS)
        assert found["patient"].eq("one").all()
        np.testing.assert_allclose(found["prediction"], wanted["prediction"], rtol=1e-6)
        assert found["lower"].isna().all(), "a model without calibration has no intervals"
        assert found["abnormal"].tolist() == wanted["abnormal"].tolist()
        assert found["flags"].tolist() == wanted["flags"].tolist()
        assert found["notes"].tolist() == wanted["notes"].tolist()


def test_one_bad_file_is_a_missing_view_and_four_leave_the_patient_out(server, clips) -> None:
    bad = base64.b64encode(b"no clip" * 1000).decode()
    rows = [clips | {"A2C": bad}, dict.fromkeys(NAMES, bad), clips | {"A2C": None}]
    found = table_of(server.ask({"dataframe_records": rows}))
    one, two, three = (found[found["patient"] == name] for name in ("1", "2", "3"))
    assert "A2C: refused, NOT_DICOM" in one["notes"].iloc[0]
    assert two["prediction"].isna().all()
    assert set(two["flags"]) == {"no view to predict from"}
    np.testing.assert_allclose(list(one["prediction"]), list(three["prediction"]), rtol=1e-6)
    refused = table_of(server.ask({"dataframe_records": rows[1:], "params": {"refuse": True, "level": 0.5}}))
    assert refused["prediction"].notna().tolist() == [False] * 9 + [True] * 9


def test_arrays_and_nobody(server, local) -> None:
    views = np.zeros((1, 4, 4, 224, 224), np.uint8)
    views[0, 2] = 50
    body = {"inputs": {"views": views.tolist(), "view_mask": [[0, 0, 1, 0]]}}
    found = table_of(server.ask(body))
    wanted = local.predict({"views": views, "view_mask": [[0, 0, 1, 0]]})
    np.testing.assert_allclose(found["prediction"], wanted["prediction"], rtol=1e-6)
    for nothing in ({"dataframe_records": []}, {"inputs": {"views": [], "view_mask": []}}, {"inputs": []}):
        assert server.ask(nothing).json() == {"predictions": []}


def test_what_is_refused_is_refused_in_one_sentence(server, clips, folder) -> None:
    secret = PLANTED
    row = clips | {"patient_id": secret}
    bodies = {
        "row 1, HR: outside 20 to 300": {"dataframe_records": [row | {"HR": 0}]},
        "row 1, A4C: a clip is the path": {"dataframe_records": [row | {"A4C": 5}]},
        "row 1, A2C: the path leads out": {"dataframe_records": [row | {"A2C": f"../{secret}"}]},
        "1 of the 6 columns": {"dataframe_records": [row | {secret: 1}]},
        "level must lie between 0 and 1": {"dataframe_records": [row], "params": {"level": 90}},
        "at most 64": {"dataframe_records": [{"A4C": secret}] * 65},
        "0 and 1 alone": {"inputs": {"views": [[[[[0.5] * 224] * 224] * 4] * 4], "view_mask": [[9] * 4]}},
        "must be (N, 4, T": {"inputs": {"views": [[[[[77] * 64] * 64] * 4] * 4], "view_mask": [1]}},
        "or a table with a column for each view": {"inputs": [[secret]]},
    }  # fmt: skip
    for said, body in bodies.items():
        response = server.ask(body)
        assert response.status_code == 400, response.text
        assert said in response.json()["message"]
        assert len(response.text) < 500
        for hidden in (secret, clips["A4C"][:40], str(folder), "Traceback", "77, 77"):
            assert hidden not in response.text


def test_health_and_version_are_those_of_mlflow(server) -> None:
    assert server.get("ping").status_code == server.get("health").status_code == 200
    assert server.get("version").text == mlflow.__version__


def test_eight_clients_at_once_get_what_each_asked_for(server, clips) -> None:
    def ask(number: int) -> pd.DataFrame:
        kept = {view: text for place, (view, text) in enumerate(clips.items()) if (number + 1) >> place & 1}
        return table_of(server.ask({"dataframe_records": [kept | {"patient_id": number}]}))

    with ThreadPoolExecutor(8) as several:
        together = list(several.map(ask, range(8)))
    for number in (0, 5):
        pd.testing.assert_frame_equal(together[number], ask(number))
    assert [table["patient"].iloc[0] for table in together] == list("01234567")


def test_nothing_of_a_patient_is_in_the_servers_log(server, clips, folder) -> None:
    said = server.said.read_text()
    assert "POST /invocations" in said
    for hidden in (PLANTED, clips["A4C"][:40], "clips/A4C", "Traceback"):
        assert hidden not in said
