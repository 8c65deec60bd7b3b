"""The training engine against the plain loop: `python -m benchmarks.training_engine [speed] [growth]`.

`speed`: a whole schedule of thirteen stages with ViT-Base (random weights, saved and loaded locally), plain
loop in fp32, engine in fp32 and in precision=auto. Targets: 6 times faster over all, a frozen epoch 30 times,
the same final loss in fp32 to rounding. `patients=`, `frames=` and `stage_epochs=` change its size: 10, 1, 2.
About fifteen minutes on two cores.

`growth`: what doubling patients, frames, stages, folds and workers costs, with a small backbone. Two minutes.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import torch
from transformers import ViTModel

from benchmarks.engine_folds import (
    BASE,
    SMALL,
    fold_of,
    machine,
    network_of,
    saved_backbone,
    settings_of,
)
from benchmarks.plain_training import plain_training
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.fit import fit
from cardio_mlflow.training.state import new_state

SHOWN = (0, 1, 6, 12)
"""Stages whose epochs are shown."""


@dataclass(frozen=True)
class Timed:
    """A training: the stage, training loss and seconds of each epoch, and what was spent before the first."""

    stages: Sequence[int]
    losses: Sequence[float]
    seconds: Sequence[float]
    before: float = 0.0

    def columns(self) -> list[float]:
        """Seconds in all, and of the median epoch of each stage shown."""
        pairs = list(zip(self.stages, self.seconds, strict=True))
        shown = [statistics.median(s for stage, s in pairs if stage == wanted) for wanted in SHOWN]
        return [sum(self.seconds) + self.before, *shown]


def main() -> None:
    options = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    parts = [word for word in sys.argv[1:] if "=" not in word] or ["speed", "growth"]
    print(machine())
    for part in parts:
        {"speed": speed, "growth": growth}[part](options)


def speed(options: dict[str, str]) -> None:
    patients, each = int(options.get("patients", 10)), int(options.get("stage_epochs", 2))
    given = {
        "epochs": 13 * each, "stages": 12, "batch_size": 4, "training_frames": options.get("frames", 1),
    }  # fmt: skip
    settings = settings_of(**given)
    views = settings.training_frames * 4
    print(f"\nViT-Base, {patients} patients of {views} frames, 13 stages of {each} epochs; seconds")
    print(f"{'':26}{'all':>10}" + "".join(f"{f'stage {stage}':>10}" for stage in SHOWN))
    with tempfile.TemporaryDirectory() as name:
        vit = saved_backbone(Path(name), BASE)
        plain = timed_plain(vit, settings, Path(name), patients)
        print(f"{'plain loop, fp32':26}" + "".join(f"{value:10.3f}" for value in plain.columns()))
        for precision in ("fp32", "auto"):
            own = settings_of(**given, precision=precision)
            compare(f"engine, {precision}", timed_engine(vit, own, Path(name) / precision, patients), plain)


def compare(label: str, engine: Timed, plain: Timed) -> None:
    """Print an engine's seconds, how many times faster that is, and how far its losses are from the plain."""
    print(f"{label:26}" + "".join(f"{value:10.3f}" for value in engine.columns()))
    ratios = [p / e for p, e in zip(plain.columns(), engine.columns(), strict=True)]
    print(f"{'  times faster':26}" + "".join(f"{ratio:10.1f}" for ratio in ratios))
    frozen = engine.stages.count(0)
    with_pass = sum(plain.seconds[:frozen]) / (sum(engine.seconds[:frozen]) + engine.before)
    apart = [abs(e / p - 1) for e, p in zip(engine.losses, plain.losses, strict=True)]
    print(f"  {engine.before:.1f} s of all are the pass that stores the frozen features of every stage;")
    print(f"  the frozen stage together with that pass: {with_pass:.1f} times faster")
    print(f"  training losses differ by {max(apart):.1e} of themselves at most, the last by {apart[-1]:.1e}")
    print(
        f"  (first loss {plain.losses[0]:.4f}; last {plain.losses[-1]:.4f}, engine {engine.losses[-1]:.4f})"
    )


def timed_plain(vit: ViTModel, settings: Settings, folder: Path, patients: int) -> Timed:
    data = fold_of(vit, settings, folder / "plain", patients)
    epochs = list(plain_training(network_of(vit, settings), data, settings, 0))
    return Timed([e.stage for e in epochs], [e.train_loss for e in epochs], [e.seconds for e in epochs])


def timed_engine(vit: ViTModel, settings: Settings, folder: Path, patients: int) -> Timed:
    data = fold_of(vit, settings, folder, patients)
    start = time.perf_counter()
    data.features.prepare(12, range(11, -1, -1))
    before, records, seconds = time.perf_counter() - start, [], []
    start = time.perf_counter()
    for record in fit(new_state(network_of(vit, settings), settings), data, settings, 0):
        seconds.append(time.perf_counter() - start)
        records.append(record)
        start = time.perf_counter()
    return Timed([r.stage for r in records], [r.train_loss for r in records], seconds, before)


def growth(_options: dict[str, str]) -> None:
    base = {"patients": 12, "frames": 4, "stages": 2, "folds": 1}
    print(f"\nSmall backbone (width 128, 4 blocks), {base}, 3 epochs a stage; seconds of a")
    print("whole training, frozen features included, and the ratio to the first line; medians of 3")
    first = 0.0
    for change in ({}, {"patients": 24}, {"frames": 8}, {"stages": 4}, {"folds": 2}):
        seconds = statistics.median(small_training(**base | change) for _ in range(3))
        first = first or seconds
        told = "".join(f"{name} {base[name]} -> {value}" for name, value in change.items())
        print(f"  {told or 'as above':40}{seconds:8.2f}{seconds / first:8.2f}")
    one, two = (statistics.median(in_workers(workers) for _ in range(3)) for workers in (1, 2))
    told = "four folds, workers 1 -> 2, a thread each"
    print(f"  {told:40}{two:8.2f}{two / one:8.2f}  (one worker: {one:.2f})")


def small_training(patients: int, frames: int, stages: int, folds: int) -> float:
    """Seconds of training ``folds`` folds that share their frozen features."""
    settings = settings_of(
        epochs=(stages + 1) * 3, stages=stages, batch_size=4, training_frames=frames, precision="auto"
    )
    with tempfile.TemporaryDirectory() as name:
        vit = saved_backbone(Path(name), SMALL)
        start = time.perf_counter()
        data = fold_of(vit, settings, Path(name), patients)
        for seed in range(folds):
            list(fit(new_state(network_of(vit, settings), settings), data, settings, seed))
        return time.perf_counter() - start


def in_workers(workers: int) -> float:
    """Seconds of four folds in so many processes, which are started beforehand."""
    with joblib.parallel_config(backend="loky", n_jobs=workers):
        joblib.Parallel()(joblib.delayed(one_thread_training)() for _ in range(workers))
        start = time.perf_counter()
        joblib.Parallel(batch_size=1)(joblib.delayed(one_thread_training)() for _ in range(4))
        return time.perf_counter() - start


def one_thread_training() -> float:
    torch.set_num_threads(1)
    return small_training(12, 4, 2, 1)


if __name__ == "__main__":
    main()
