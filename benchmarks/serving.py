"""The model in use: ``python -m benchmarks.serving MODEL [requests] [clients]``.

MODEL is a folder with an MLmodel, or an address such as models:/cardio-hemodynamics@champion.

First in this process, one patient: prepared clips, and four DICOM files, at first and after. Then behind
``mlflow models serve``: so many requests (500) from so many clients (8), each with a patient's DICOM files in
base64 (prepared clips are too large for JSON: 6.4 million numbers a patient). It prints how long requests
take, how many a second are answered, how many fail, and the memory of the server with the processes that
decode its clips, after a fifth of the requests and at the end. Clips are those of 16 synthetic patients.

Expect 150 ms and 1.5 s at most for one patient once all has started, no failure, and memory that stays the
same. About ten minutes on two idle cores, which clients, server and decoders share; where they are busy with
other things requests run into the server's 60 s (status 504).
"""

from __future__ import annotations

import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import psutil
import requests

from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.dataset import prepared_clips
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.synthetic.cohort import make_cohort
from cardio_mlflow.tracking.loaded_model import model_input

PATIENTS = 16
SEED = 19
REPEATS = 10

Row = Mapping[str, str]


def main() -> None:
    model, *numbers = sys.argv[1:]
    asked, clients = (int(n) for n in (*numbers, *(500, 8)[len(numbers) :]))
    with tempfile.TemporaryDirectory() as folder:
        rows = patients(Path(folder))
        in_process(model, rows)
        with server(model, Path(folder)) as address:
            served(address, rows, asked, clients)


def patients(folder: Path) -> list[Row]:
    """The paths of the DICOM files of synthetic patients, a row each."""
    clips = make_cohort(folder / "cohort", PATIENTS, PATIENTS, SEED, jobs=2) / "dicom"
    ids = sorted({path.stem.rpartition("_")[0] for path in clips.glob("*.dcm")})
    found = [{code: clips / f"{one}_{code}.dcm" for code in VIEW_CODES} for one in ids]
    return [{code: str(path) for code, path in of.items() if path.exists()} for of in found]


def in_process(model: str, rows: Sequence[Row]) -> None:
    """Print how long one patient takes without a server, at first and after."""
    start = time.perf_counter()
    loaded = mlflow.pyfunc.load_model(model)
    print(f"load: {time.perf_counter() - start:.1f} s")
    whole = next(row for row in rows if len(row) == len(VIEW_CODES))
    data = prepared_clips(["one"], [{code: prepare_clip(Path(path)) for code, path in whole.items()}])
    arrays = model_input(data, np.full((1, 3), np.nan))
    for name, given in {"prepared clips": arrays, "four DICOM files": [whole]}.items():
        first, *rest = [seconds(lambda given=given: loaded.predict(given)) for _ in range(REPEATS + 1)]
        print(f"{name}: first {first:.3f} s, then median {statistics.median(rest):.3f} s, "
              f"slowest {max(rest):.3f} s")  # fmt: skip


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextmanager
def server(model: str, folder: Path) -> Iterator[str]:
    """The address of a server of the model, as long as this lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local",
               "-h", "127.0.0.1", "-p", port]  # fmt: skip
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, env=os.environ | {"PATH": path}, stdout=said, stderr=said)
        try:
            while not is_up(f"http://127.0.0.1:{port}/ping"):
                if process.poll() is not None:
                    raise SystemExit((folder / "said").read_text())
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                one.kill()


def is_up(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False


def served(address: str, rows: Sequence[Row], asked: int, clients: int) -> None:
    """Ask a server, and print what came of it."""
    bodies = [json.dumps({"dataframe_records": [in_base64(row)]}) for row in rows]
    print(f"requests of {np.mean([len(body) for body in bodies]) / 2**20:.1f} MiB on average")
    done, memory, lock = 0, {}, threading.Lock()

    def ask(number: int) -> tuple[float, str]:
        nonlocal done
        start = time.perf_counter()
        try:
            answer = requests.post(f"{address}/invocations", data=bodies[number % len(bodies)],
                                   headers={"Content-Type": "application/json"}, timeout=300)  # fmt: skip
            end = "" if answer.ok and len(answer.json()["predictions"]) == 9 else str(answer.status_code)
        except requests.RequestException as fault:
            end = type(fault).__name__
        took = time.perf_counter() - start
        with lock:
            done += 1
            if done in (clients, asked // 5, asked // 2, asked):
                memory[done] = mebibytes(address)
        return took, end

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as several:
        found = list(several.map(ask, range(asked)))
    whole = time.perf_counter() - start
    times = np.array([took for took, _ in found])
    failed = Counter(end for _, end in found if end)
    ways = f" ({dict(failed)})" if failed else ""
    print(f"{asked} requests from {clients} clients: {failed.total()} failed{ways}; "
          f"{asked / whole:.2f} requests/s; "
          f"p50 {np.percentile(times, 50):.2f} s, p99 {np.percentile(times, 99):.2f} s")  # fmt: skip
    for number, (parent, children) in sorted(memory.items()):
        print(f"after {number} requests: server {parent:.0f} MiB, decoders {children:.0f} MiB")


def in_base64(row: Row) -> dict[str, str]:
    return {code: base64.b64encode(Path(path).read_bytes()).decode() for code, path in row.items()}


def mebibytes(address: str) -> tuple[float, float]:
    """Resident memory of the process that listens, and of its children."""
    port = int(address.rpartition(":")[2])
    listening = {
        c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port
    }
    parent = psutil.Process(min(pid for pid in listening if pid is not None))
    of_children = sum(child.memory_info().rss for child in parent.children(recursive=True))
    return parent.memory_info().rss / 2**20, of_children / 2**20


if __name__ == "__main__":
    main()
