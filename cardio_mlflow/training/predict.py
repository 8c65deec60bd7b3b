"""From kept activations to the network's output, for training and for validation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cardio_mlflow.model.network import Network, Output
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.activations import Activations
from cardio_mlflow.training.backbone_pass import frame_features, plan_pass
from cardio_mlflow.training.devices import backbone_autocast, step_bytes
from cardio_mlflow.training.frozen_features import FrozenFeatures
from cardio_mlflow.training.processes import Processes

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(read: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """What ``read`` gives for each item, in order, whatever the number of threads.

    Args:
        read: called with an item; it must draw no random numbers.
        items: what to read.
        workers: threads, each of which reads one item ahead; 0 reads when the result is asked for.

    >>> list(read_ahead(str, [1, 2, 3], workers=2))
    ['1', '2', '3']
    """
    if not workers:
        yield from map(read, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting = iter(items)
        running = deque(pool.submit(read, item) for item in islice(waiting, workers))
        try:
            while running:
                result = running.popleft().result()
                running.extend(pool.submit(read, item) for item in islice(waiting, 1))
                yield result
        finally:
            for future in running:
                future.cancel()


VALIDATION_BATCH: Final = 16


@dataclass(frozen=True)
class Batch:
    """A batch of B patients.

    Attributes:
        patients: B positions in the cohort.
        copies: the augmented copy of each; 0 is the original.
        present: (B, V) bool, the views that are shown.
        phased: (B, V) bool, the clips whose phase is verified.
    """

    patients: tuple[int, ...]
    copies: tuple[int, ...]
    present: Tensor
    phased: Tensor


@dataclass(frozen=True)
class Forward:
    """The way of a batch through a network whose topmost ``blocks`` blocks may be trained.

    Attributes:
        network: the network.
        features: the activations of its frozen part.
        blocks: how many of the topmost blocks may differ from the pretrained ones.
        settings: ``step_memory`` and ``data_workers``.
        processes: those that share the batch.
    """

    network: Network
    features: FrozenFeatures
    blocks: int
    settings: Settings
    processes: Processes

    @property
    def depth(self) -> int:
        """Number of frozen blocks."""
        return self.network.encoder.depth - self.blocks

    def read(self, batches: Sequence[Batch]) -> Iterator[Activations]:
        """The activations of this process's share of each batch, in order.

        Those that are kept are read ahead by ``data_workers`` threads.
        """
        ahead = self.settings.data_workers if self.features.is_kept(self.depth) else 0
        return read_ahead(self._read, batches, ahead)

    def output(self, batch: Batch, activations: Activations) -> Output:
        """The output for a whole batch, from what ``read`` gives for it."""
        device = self.features.device
        present, phased = batch.present.to(device), batch.phased.to(device)
        activations = activations.to(device)
        if not self.blocks:
            rows, place = activations.select(present)
            return self.network.from_frame_features(rows[place], present, phased)
        mine = self.processes.share(len(present))
        tokens, place = activations.select(present[mine.start : mine.stop])
        local = self._frame_features(tokens)[place]
        counts = [
            int(present[share.start : share.stop].sum()) * self.features.clips.frames
            for share in self.processes.shares(len(present))
        ]
        return self.network.from_frame_features(self.processes.gather(local, counts), present, phased)

    def _frame_features(self, tokens: Tensor) -> Tensor:
        """(U, L, D) tokens of different frames to their (U, D) features, float32."""
        encoder, dtype = self.network.encoder, self.features.dtype
        memory = step_bytes(self.settings.step_memory, self.features.device)
        plan = plan_pass(encoder, self.blocks, len(tokens), dtype, memory)
        with backbone_autocast(dtype, self.features.device):
            return frame_features(encoder, tokens, self.depth, plan).float()

    def _read(self, batch: Batch) -> Activations:
        """The activations of this process's patients; pinned where they go to a GPU."""
        count = len(batch.patients)
        mine = self.processes.share(count) if self.blocks else range(count)
        patients, copies = batch.patients[mine.start : mine.stop], batch.copies[mine.start : mine.stop]
        found = self.features.batch(patients, copies, self.depth)
        on_its_way = self.features.device.type == "cuda" and found.rows.device.type == "cpu"
        return found.pin() if on_its_way else found


def predict_scaled(forward: Forward, patients: Sequence[int]) -> NDArray[np.float64]:
    """Scaled targets (N, 9 or 11), as predicted for N patients of the cohort on their unaugmented clips.

    The network is left in evaluation mode.
    """
    return _evaluate(forward, patients, lambda output: output.targets)


def fused_features(forward: Forward, patients: Sequence[int]) -> NDArray[np.float64]:
    """Fused features (N, D), those that the heads see, for N patients on their unaugmented clips.

    The network is left in evaluation mode.
    """
    return _evaluate(forward, patients, lambda output: output.features)


def _evaluate(
    forward: Forward, patients: Sequence[int], wanted: Callable[[Output], Tensor]
) -> NDArray[np.float64]:
    """A part of the output for N patients, (N, ...)."""
    forward.network.eval()
    batches = []
    for start in range(0, len(patients), VALIDATION_BATCH):
        chosen = tuple(patients[start : start + VALIDATION_BATCH])
        clips = forward.features.clips
        views = clips.present[list(chosen)], clips.phased[list(chosen)]
        batches.append(Batch(chosen, (0,) * len(chosen), *views))
    parts = []
    with torch.no_grad():
        for batch, activations in zip(batches, forward.read(batches), strict=True):
            parts.append(wanted(forward.output(batch, activations)).double().cpu().numpy())
    return np.concatenate(parts)
