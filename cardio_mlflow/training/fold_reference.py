"""What a trained network has seen: its reference, from the patients that it was trained and validated on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cardio_mlflow.model.network import Network
from cardio_mlflow.settings import Settings
from cardio_mlflow.training import forward
from cardio_mlflow.training.clip_summaries import FRAMES, pixel_summaries, summarise
from cardio_mlflow.training.familiarity import Reference, Seen
from cardio_mlflow.training.fit import FoldData
from cardio_mlflow.training.processes import Processes


def fit_reference(network: Network, data: FoldData, settings: Settings) -> Reference | None:
    """Describe what a network was trained on, and score its validation patients; None where they are too few.

    This process alone goes over the patients once, batch by batch.

    Args:
        network: with the weights that are kept, on the device of ``data.features``.
        data: the fold that it was trained on.
        settings: that it was trained with.
    """
    data.features.prepare(network.encoder.depth - settings.stages)
    try:
        training, validation = (
            _seen(network, data, patients, settings) for patients in (data.training, data.validation)
        )
    finally:
        data.features.close()
    return Reference.fit(training, validation, frames_looked_at(settings))


def _seen(network: Network, data: FoldData, patients: Sequence[int], settings: Settings) -> Seen:
    """Summaries of some of the fold's patients."""
    processes, features = Processes(device=data.features.device), data.features
    clips, fused = [], []
    for batch, output in forward.outputs(network, features, patients, settings.stages, settings, processes):
        clips.append(summarise(output.frames, batch.present))
        fused.append(output.features.double().cpu().numpy())
    shown = features.clips.present[list(patients)]
    pixels = pixel_summaries(features.clips, patients, shown, frames_looked_at(settings))
    return Seen(np.concatenate(clips), pixels, np.concatenate(fused))


def frames_looked_at(settings: Settings) -> int:
    """How many of a clip's frames the numbers of its pixels are taken from."""
    return min(FRAMES, settings.training_frames)
