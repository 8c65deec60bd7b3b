"""What is explained: a network with one patient's images of the views that are present."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cardio_mlflow.errors import InputError
from cardio_mlflow.model.frame_encoder import resize_frames
from cardio_mlflow.model.network import Network, Output, unit_range


@dataclass(frozen=True)
class Case:
    """A network and one patient.

    Attributes:
        network: in evaluation mode, its parameters without gradients.
        images: (V, T, h, w), 0-1, at the backbone's image size; 0 for a missing view.
        present: (V,) bool, the views that the network sees, at least one.
        phased: (V,) bool, the views whose phase is verified.
    """

    network: Network
    images: Tensor
    present: Tensor
    phased: Tensor

    @property
    def shown(self) -> Tensor:
        """(F, h, w), the frames of the present views in order."""
        return self.images[self.present].flatten(0, 1)

    def with_images(self, images: Tensor) -> Case:
        """The same with other images."""
        return replace(self, images=images)

    def by_view(self, of_frames: Tensor) -> Tensor:
        """What belongs to the frames shown, by view and time, with 0 for missing views.

        Args:
            of_frames: (K, F, *).

        Returns:
            (K, V, T, *).
        """
        views, frames = self.images.shape[:2]
        whole = of_frames.new_zeros(len(of_frames), views, frames, *of_frames.shape[2:])
        count = int(self.present.sum())
        whole[:, self.present] = of_frames.reshape(len(of_frames), count, frames, *of_frames.shape[2:])
        return whole

    def from_features(self, features: Tensor, patients: int = 1) -> Output:
        """The output from (patients · F, D) frame features of several versions of the patient."""
        present, phased = (views.expand(patients, -1) for views in (self.present, self.phased))
        return self.network.from_frame_features(features, present, phased)

    @torch.no_grad()
    def outputs(self, images: Tensor) -> Tensor:
        """(N, 9) scaled predictions for (N, V, T, h, w) images of the same views."""
        rows = []
        for version in images:
            frames = version[self.present].flatten(0, 1)
            rows.append(self.from_features(self.network.encoder(frames)).predictions[0].float())
        return torch.stack(rows)


def case_of(network: Network, clips: Tensor, present: Tensor, phased: Tensor) -> Case:
    """Make a case of a patient; the network is put in evaluation mode and its parameters are frozen.

    Args:
        network: trained.
        clips: (V, T, H, W), uint8 or float 0-1, on the network's device.
        present: (V,) bool.
        phased: (V,) bool, where the phase is verified.

    Raises:
        InputError: no view is present.
    """
    if not present.any():
        raise InputError("There is no view to explain: this patient has none of the views that are used.")
    network.eval().requires_grad_(False)
    images = resize_frames(unit_range(clips.flatten(0, 1)), network.encoder.image_size)
    images = images.view(*clips.shape[:2], *images.shape[-2:]).clone()
    images[~present] = 0
    return Case(network, images, present, phased)
