"""Integrated Gradients from shared passes against single calls: `python -m benchmarks.explanation_speed`.

One patient, all nine parameters, four views, eight frames, the demo's backbone, 50 steps from the blurred
images, float32. Compared with it: captum's IntegratedGradients called for each parameter, view and frame, the
other frames held as they are; a few calls are timed and multiplied. Targets: 50 times fewer passes of a frame
through the network, 20 times faster, memory within the setting. Two minutes.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil
import torch
from captum.attr import IntegratedGradients

from benchmarks.frames import view_frames
from cardio_mlflow.explain.case import Case, case_of
from cardio_mlflow.explain.integrated_gradients import baseline_images, integrate
from cardio_mlflow.model.backbone import load_backbone
from cardio_mlflow.parameters import KEYS, VIEW_CODES
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.synthetic.anatomy import draw_anatomy
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics
from cardio_mlflow.training.bundle import network_of

FRAMES = 8
STEPS = 50
CALLS = 4
MEMORY = 1.0
"""GiB that activations and the images of the steps may take."""


def demo_case() -> Case:
    """A synthetic patient as the demo sees them, and the demo's backbone under new heads."""
    settings = load_settings({}, {})
    anatomy = draw_anatomy(draw_hemodynamics(1, 1), 1).iloc[0]
    phases = np.arange(FRAMES) / FRAMES
    clips = np.stack([view_frames(anatomy, code, phases, 1, scale=settings.scale)[0] for code in VIEW_CODES])
    network = network_of(load_backbone("demo"), settings)
    shown = torch.ones(len(VIEW_CODES), dtype=torch.bool)
    return case_of(network, torch.from_numpy(clips), shown, shown)


class Passes:
    """Counts frames that pass through the backbone, forward."""

    def __init__(self, case: Case):
        self.frames = 0
        case.network.encoder.register_forward_hook(self._count)

    def _count(self, _module: object, given: tuple[torch.Tensor], _output: object) -> None:
        self.frames += len(given[0])


def one_call(case: Case, blurred: torch.Tensor, parameter: int, frame: int) -> torch.Tensor:
    """Captum's attribution of one frame for one parameter."""
    shown, start = case.shown, case.with_images(blurred).shown

    def forward(image: torch.Tensor) -> torch.Tensor:
        versions = shown.expand(len(image), *shown.shape).clone()
        versions[:, frame] = image
        features = case.network.encoder(versions.flatten(0, 1))
        return case.from_features(features, len(image)).predictions

    method = IntegratedGradients(forward)
    image = shown[frame : frame + 1]
    return method.attribute(
        image, start[frame : frame + 1], target=parameter, n_steps=STEPS, internal_batch_size=5
    )


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The process's memory at first, and at the end the most of it in between (bytes)."""
    process, ended = psutil.Process(), threading.Event()
    found = [process.memory_info().rss]

    def watch() -> None:
        most = found[0]
        while not ended.wait(0.01):
            most = max(most, process.memory_info().rss)
        found.append(most)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield found
    ended.set()
    watcher.join()


def main() -> None:
    case = demo_case()
    passes = Passes(case)
    blurred = baseline_images(case.images, "blurred")
    integrate(case, blurred, 2, 9.0, MEMORY * 2**30, torch.float32)  # warm
    passes.frames, seconds = 0, []
    with peak_memory() as peak:
        for _ in range(3):
            start = time.perf_counter()
            found = integrate(case, blurred, STEPS, 0.01, MEMORY * 2**30, torch.float32)
            seconds.append(time.perf_counter() - start)
    ours, our_passes = statistics.median(seconds), passes.frames // 3
    grown = (peak[-1] - peak[0]) / 2**30
    passes.frames, seconds = 0, []
    for call in range(CALLS):
        start = time.perf_counter()
        one_call(case, blurred, call % len(KEYS), call % len(case.shown))
        seconds.append(time.perf_counter() - start)
    calls = len(KEYS) * len(case.shown)
    theirs, their_passes = statistics.median(seconds) * calls, passes.frames // CALLS * calls
    delta = float(found.relative_delta.max())
    print(f"shared passes: {ours:.1f} s, {found.steps} steps, {our_passes} frames forward, delta {delta:.2%}")
    print(f"peak memory: {grown:.2f} GiB more than before, {MEMORY} allowed")
    print(
        f"one call a parameter, view and frame: {calls} calls, {theirs:.0f} s, {their_passes} frames forward"
    )
    fewer, faster = their_passes / our_passes, theirs / ours
    print(f"{fewer:.0f} times fewer passes (target 50), {faster:.0f} times faster (target 20)")


if __name__ == "__main__":
    main()
