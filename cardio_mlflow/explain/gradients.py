"""Gradients of all nine predictions with respect to the images, from one pass through the backbone.

The backbone sees each frame by itself, so the gradient of a prediction is that of the frame features, pulled
back through the backbone frame by frame: one forward pass serves all predictions, each with a backward pass.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from cardio_mlflow.explain.case import Case
from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.training.devices import backbone_autocast

GRAPH_FLOATS: Final = 16.0
"""Numbers of a token's width that a block keeps for the backward pass, roughly; attention needs none."""


def shared_gradients(case: Case, frames: Tensor, versions: int, dtype: torch.dtype, chunk: int) -> Tensor:
    """Gradients of the nine scaled predictions of several versions of a patient's images.

    Args:
        case: the network and the views.
        frames: (versions · F, h, w) images.
        versions: how many versions of the patient they are.
        dtype: of the backbone's arithmetic.
        chunk: frames that go through the backbone at a time; where it is not all of them, they go twice.

    Returns:
        (9, versions · F, h, w), float32.
    """
    encoder = case.network.encoder
    parts = list(torch.split(frames.detach(), chunk))
    kept = [part.requires_grad_() for part in parts] if len(parts) == 1 else parts
    with torch.set_grad_enabled(len(parts) == 1):
        features = [_features(encoder, part, dtype) for part in kept]
    pulled = feature_gradients(case, torch.cat([f.detach() for f in features]), versions)
    found = []
    for number, (part, back) in enumerate(zip(parts, torch.split(pulled, chunk, dim=1), strict=True)):
        if len(parts) == 1:
            found.append(_pull_back(kept[0], features[0], back))
            continue
        again = part.requires_grad_()
        with torch.enable_grad():
            found.append(_pull_back(again, _features(encoder, again, dtype), back))
        parts[number] = part.detach()
    return torch.cat(found, dim=1)


def frames_at_once(case: Case, memory: float, dtype: torch.dtype) -> int:
    """How many frames' activations, kept for the backward pass, fit into a memory (bytes); at least one."""
    encoder = case.network.encoder
    a_frame = encoder.token_count * encoder.width * encoder.depth * GRAPH_FLOATS * dtype.itemsize
    return max(1, int(memory // a_frame))


def _features(encoder: FrameEncoder, frames: Tensor, dtype: torch.dtype) -> Tensor:
    with backbone_autocast(dtype, frames.device):
        features: Tensor = encoder(frames)
    return features.float()


def feature_gradients(case: Case, features: Tensor, versions: int) -> Tensor:
    """Gradients of the nine predictions with respect to the frame features.

    Args:
        case: network and views.
        features: (N, D), of the shown frames of several versions of the patient.
        versions: how many.

    Returns:
        (9, N, D).
    """
    with torch.enable_grad():
        features = features.requires_grad_()
        summed = case.from_features(features, versions).predictions.sum(0)  # versions do not mix
        rows = [torch.autograd.grad(value, features, retain_graph=True)[0] for value in summed]
    return torch.stack(rows)


def _pull_back(frames: Tensor, features: Tensor, gradients: Tensor) -> Tensor:
    """(9, N, D) gradients of features to (9, N, h, w) gradients of the frames."""
    last = len(gradients) - 1
    rows = [
        torch.autograd.grad(features, frames, grad, retain_graph=number < last)[0]
        for number, grad in enumerate(gradients)
    ]
    return torch.stack(rows)
