"""Time and memory of the main job, from nothing: `python -m benchmarks.main_job [name=value ...]`.

Runs `mlflow run . --env-manager local` in an empty folder with an empty cache, and prints the wall time,
the time of each step, and the largest sum of resident memory over the processes. Targets on two cores:
12 minutes, 6 GB, two minutes for the synthetic cohort and its preparation, 90 s a fold.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        status, seconds, peak = measure(folder)
        if status == 0:
            steps(Path(folder))
            _, alone, _ = measure(folder, "-e", "train_fold", "-P", "fold=2")
            print(f"{alone:7.1f} s  train_fold alone, cohort prepared")
        print(f"status {status}; {seconds / 60:.1f} min in all; {peak / 1e9:.2f} GB at most")


def measure(folder: str, *words: str) -> tuple[int, float, int]:
    """Run a command; returns its status, wall seconds and peak bytes."""
    settings = [word for pair in sys.argv[1:] for word in ("-P", pair)]
    command = ["mlflow", "run", str(PROJECT), "--env-manager", "local", *words, *settings]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "CARDIOAI_"))}
    start, peak, done = time.monotonic(), [0], threading.Event()
    process = subprocess.Popen(command, cwd=folder, env=kept | {"XDG_CACHE_HOME": f"{folder}/cache"})
    watcher = threading.Thread(target=watch, args=(process.pid, peak, done))
    watcher.start()
    status = process.wait()
    done.set()
    watcher.join()
    return status, time.monotonic() - start, peak[0]


def watch(root: int, peak: list[int], done: threading.Event) -> None:
    """Keep the largest sum of resident memory of a process and its descendants, in bytes."""
    while not done.wait(0.5):
        peak[0] = max(peak[0], sum(resident(pid) for pid in family(root)))


def family(root: int) -> list[int]:
    """A process and its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def resident(pid: int) -> int:
    """Resident memory of a process in bytes; 0 when it has gone. Shared pages are counted in each."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0


def steps(folder: Path) -> None:
    """Print how long each run took."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    runs = mlflow.search_runs(experiment_names=["Default"], output_format="list")
    for run in sorted(runs, key=lambda run: run.info.start_time):
        print(f"{(run.info.end_time - run.info.start_time) / 1000:7.1f} s  {run.info.run_name}")


if __name__ == "__main__":
    main()
