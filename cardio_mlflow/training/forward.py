"""The way of a batch through the network, the same in training, in validation and in the registered model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cardio_mlflow.model.network import Network, Output
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.backbone_pass import Activations, frame_features, plan_pass
from cardio_mlflow.training.devices import backbone_autocast, step_bytes
from cardio_mlflow.training.frozen_features import FrozenFeatures
from cardio_mlflow.training.processes import Processes

VALIDATION_BATCH: Final = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


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


class ScaledPredictions(NamedTuple):
    """The network's output for N patients: (N, 9 or 11) scaled targets, (N, D) fused features."""

    targets: NDArray[np.float64]
    features: NDArray[np.float64]


class PatientFrames(NamedTuple):
    """The frame features of N patients by one network, on its device.

    Attributes:
        frames: (N, V, T, D), 0 for a missing view.
        present: (N, V) bool, the views that are shown.
        phased: (N, V) bool, as in `Batch`.
    """

    frames: Tensor
    present: Tensor
    phased: Tensor


def forward(
    network: Network, batch: Batch, activations: Activations, blocks: int, settings: Settings,
    processes: Processes,
) -> Output:  # fmt: skip
    """The output for a whole batch, from the activations of its frozen blocks.

    Args:
        network: on its device.
        batch: the same in every process.
        activations: of this process's share of the batch, from ``read_batches``.
        blocks: how many of the topmost blocks may differ from the pretrained ones and are run here.
        settings: ``step_memory``.
        processes: those that share the batch.
    """
    device = next(network.parameters()).device
    present, phased = batch.present.to(device), batch.phased.to(device)
    activations = activations.to(device)
    if not blocks:
        rows, place = activations.select(present)
        return network.from_frame_features(rows[place], present, phased)
    mine = processes.share(len(present))
    tokens, place = activations.select(present[mine.start : mine.stop])
    encoder, dtype = network.encoder, tokens.dtype
    plan = plan_pass(encoder, blocks, len(tokens), dtype, step_bytes(settings.step_memory, device))
    with backbone_autocast(dtype, device):
        features = frame_features(encoder, tokens, encoder.depth - blocks, plan).float()
    frames = activations.frame_of.shape[-1]
    counts = [int(present[s.start : s.stop].sum()) * frames for s in processes.shares(len(present))]
    return network.from_frame_features(processes.gather(features[place], counts), present, phased)


@torch.no_grad()
def outputs(
    network: Network, features: FrozenFeatures, patients: Sequence[int], blocks: int, settings: Settings,
    processes: Processes,
) -> Iterator[tuple[Batch, Output]]:  # fmt: skip
    """The output for N patients of the cohort on their unaugmented clips, batch by batch.

    The network is left in evaluation mode.

    Args:
        network: on the device of ``features``.
        features: the activations of its frozen blocks.
        patients: N positions in the cohort.
        blocks: how many of the topmost blocks may differ from those of ``features``.
        settings: ``step_memory`` and ``data_workers``.
        processes: those that share the batches.
    """
    network.eval()
    batches, clips = [], features.clips
    for start in range(0, len(patients), VALIDATION_BATCH):
        chosen = list(patients[start : start + VALIDATION_BATCH])
        still = (0,) * len(chosen)
        batches.append(Batch(tuple(chosen), still, clips.present[chosen], clips.phased[chosen]))
    read = read_batches(features, batches, network.encoder.depth - blocks, settings, processes)
    for batch, activations in zip(batches, read, strict=True):
        yield batch, forward(network, batch, activations, blocks, settings, processes)


def predict(
    network: Network, features: FrozenFeatures, patients: Sequence[int], blocks: int, settings: Settings,
    processes: Processes,
) -> ScaledPredictions:  # fmt: skip
    """Predict N patients of the cohort; arguments as of `outputs`."""
    targets, fused = [], []
    for _, output in outputs(network, features, patients, blocks, settings, processes):
        targets.append(output.targets.double().cpu().numpy())
        fused.append(output.features.double().cpu().numpy())
    return ScaledPredictions(np.concatenate(targets), np.concatenate(fused))


def frames_of_patients(
    network: Network, features: FrozenFeatures, patients: Sequence[int], blocks: int, settings: Settings,
    processes: Processes,
) -> PatientFrames:  # fmt: skip
    """The frame features of N patients of the cohort; arguments as of `outputs`."""
    found = list(outputs(network, features, patients, blocks, settings, processes))
    return PatientFrames(
        torch.cat([output.frames for _, output in found]),
        torch.cat([batch.present for batch, _ in found]).to(features.device),
        torch.cat([batch.phased for batch, _ in found]).to(features.device),
    )


def read_batches(
    features: FrozenFeatures, batches: Sequence[Batch], depth: int, settings: Settings, processes: Processes
) -> Iterator[Activations]:
    """The activations after ``depth`` blocks of this process's share of each batch, in order.

    Those that are kept are read ahead by ``data_workers`` threads, and pinned where they go to a GPU. At full
    depth every process takes the whole batch.
    """
    is_shared = depth < features.encoder.depth

    def read(batch: Batch) -> Activations:
        count = len(batch.patients)
        mine = processes.share(count) if is_shared else range(count)
        chosen = slice(mine.start, mine.stop)
        found = features.batch(batch.patients[chosen], batch.copies[chosen], depth)
        on_its_way = features.device.type == "cuda" and found.rows.device.type == "cpu"
        return found.pin() if on_its_way else found

    return read_ahead(read, batches, settings.data_workers if features.is_kept(depth) else 0)


def read_ahead(read: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """The result of ``read`` for each item, in order, whatever the number of threads.

    Args:
        read: must draw no random numbers.
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
