"""Time and memory of `validate` and `test` on 308 patients whose predictions are given; target 90 s each.

    python -m benchmarks.evaluation_speed [patients]

Runs `python -m entry_points.validate` in a folder of its own on a predictions table made from the synthetic
hemodynamics, then the same with one worker; prints seconds, their ratio and the peak memory of all processes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from cardio_mlflow.parameters import PARAMETERS
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics

TARGET = 90.0


def predictions_table(patients: int, cohort: str, seed: int = 3) -> pd.DataFrame:
    """Predictions of correlation about 0.75 for synthetic references."""
    labels = draw_hemodynamics(patients, seed)
    rng = np.random.default_rng(seed)
    tables = []
    for p in PARAMETERS:
        reference = labels[p.key].to_numpy(np.float64)
        spread = reference.std(ddof=1)
        prediction = (
            reference.mean() + 0.6 * (reference - reference.mean()) + 0.5 * spread * rng.normal(size=patients)
        )
        fold = pd.array(np.arange(patients) % 5 + 1 if cohort == "I" else [pd.NA] * patients, dtype="Int64")
        tables.append(pd.DataFrame({
            "patient_id": labels.index, "cohort": cohort, "fold": fold, "variant": "full", "parameter": p.key,
            "unit": p.unit, "reference": reference, "prediction": prediction,
        }))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def measure(step: str, table: Path, folder: Path, jobs: int) -> tuple[float, float]:
    """Seconds of a step, and the peak memory of its processes in GiB."""
    command = [sys.executable, "-m", f"entry_points.{step}", "--predictions", str(table), "--jobs", str(jobs)]
    start, peak, done = time.perf_counter(), [0.0], threading.Event()
    child = subprocess.Popen(command, cwd=folder, env=_environment(), stderr=subprocess.DEVNULL)

    def watch() -> None:
        while not done.wait(0.2):
            peak[0] = max(peak[0], _memory(child.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = child.wait()
    done.set()
    watcher.join()
    if status:
        sys.exit(f"{step} ended with status {status}")
    return time.perf_counter() - start, peak[0]


def _environment() -> dict[str, str]:
    import os

    project = Path(__file__).resolve().parents[1]
    return {**os.environ, "PYTHONPATH": str(project)}


def _memory(pid: int) -> float:
    total = 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total / 2**30


def main(patients: int) -> None:
    """Print a line for each step and number of workers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for step, cohort in (("validate", "I"), ("test", "II")):
            table = folder / f"{step}.csv"
            predictions_table(patients, cohort).to_csv(table, index=False)
            seconds, memory = measure(step, table, folder, 2)
            alone, _ = measure(step, table, folder, 1)
            print(f"{step}: {seconds:.0f} s (target {TARGET:.0f}), {memory:.1f} GiB; "
                  f"one worker {alone:.0f} s, {alone / seconds:.1f} times")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 308)
