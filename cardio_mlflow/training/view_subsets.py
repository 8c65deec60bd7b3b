"""What a network predicts when it is shown fewer views than there are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cardio_mlflow.model.network import Network
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.fit import FoldData
from cardio_mlflow.training.forward import PatientFrames, frames_of_patients
from cardio_mlflow.training.processes import Processes


class SubsetPrediction(NamedTuple):
    """Predictions from one subset of the views.

    Attributes:
        shown: (V,) bool, the views.
        patients: (n,) positions of those that have all of them.
        targets: (n, 9 or 11) their scaled predictions.
    """

    shown: NDArray[np.bool_]
    patients: NDArray[np.int64]
    targets: NDArray[np.float64]


@torch.no_grad()
def predict_subsets(network: Network, found: PatientFrames) -> Iterator[SubsetPrediction]:
    """Predict from each non-empty subset of the views that somebody has whole.

    The backbone is not run: what it makes of a view does not depend on the others.

    Args:
        network: on the device of the frames; left in evaluation mode.
        found: the frame features of N patients by this network.
    """
    network.eval()
    for subset in product((True, False), repeat=found.present.shape[1]):
        shown = torch.tensor(subset, device=found.present.device)
        patients = (found.present | ~shown).all(1).nonzero().flatten()
        if len(patients) and any(subset):
            present = shown.expand(len(patients), -1)
            output = network.from_frames(found.frames[patients], present, found.phased[patients])
            targets = output.targets.double().cpu().numpy()
            yield SubsetPrediction(np.array(subset), patients.cpu().numpy(), targets)


def validation_subsets(network: Network, data: FoldData, settings: Settings) -> Iterator[SubsetPrediction]:
    """`predict_subsets` of a fold's validation patients, in their order; this process alone computes.

    Args:
        network: with the weights that are kept, on the device of ``data.features``.
        data: the fold that it was trained on.
        settings: that it was trained with.
    """
    data.features.prepare(network.encoder.depth - settings.stages)
    try:
        found = frames_of_patients(
            network, data.features, data.validation, settings.stages, settings,
            Processes(device=data.features.device),
        )  # fmt: skip
    finally:
        data.features.close()
    yield from predict_subsets(network, found)
