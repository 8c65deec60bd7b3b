"""What an attribution is measured against: images that show nothing of this patient."""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import functional

BaselineName = Literal["black", "blurred", "cohort_mean"]
BLUR: Final = 0.1
"""SD of the blur as a share of the image's side: chambers are gone, the brightness of the region stays."""


def baseline_images(images: Tensor, name: BaselineName, cohort_mean: Tensor | None = None) -> Tensor:
    """The baseline of a patient's images.

    ``black``: a black sector. ``blurred``: each frame blurred within its sector. ``cohort_mean``: the mean
    image of each view over the training patients, within the patient's own sector.

    Args:
        images: (V, T, h, w), 0-1; 0 outside the sector.
        name: which one.
        cohort_mean: (V, h, w), for ``cohort_mean``.

    Raises:
        ValueError: ``cohort_mean`` without the mean.
    """
    if name == "black":
        return torch.zeros_like(images)
    sector = (images > 0).any(1, keepdim=True)
    if name == "blurred":
        return blurred_within(images, sector, BLUR * images.shape[-1])
    if cohort_mean is None:
        raise ValueError("the mean of the cohort is needed")
    return cohort_mean[:, None].expand_as(images).to(images) * sector


def blurred_within(images: Tensor, sector: Tensor, sd: float) -> Tensor:
    """Blur of (…, h, w) images that takes nothing from outside the sector: its border stays as bright.

    Normalised convolution: Knutsson H, Westin CF. CVPR 1993.

    Args:
        images: 0 outside the sector.
        sector: bool, broadcastable to the images.
        sd: of the Gaussian in pixels.
    """
    inside = sector.to(images.dtype)
    return blurred(images, sd) / blurred(inside, sd).clamp(min=1e-6) * inside


def blurred(images: Tensor, sd: float) -> Tensor:
    """Gaussian blur of (…, h, w) images by an SD in pixels, cut off at three SDs; borders are mirrored."""
    reach = min(int(3 * sd), min(images.shape[-2:]) - 1)
    at = torch.arange(-reach, reach + 1, dtype=torch.float32, device=images.device)
    kernel = torch.exp(-0.5 * (at / sd) ** 2)
    kernel = (kernel / kernel.sum()).to(images.dtype)
    flat = images.reshape(-1, 1, *images.shape[-2:])
    flat = functional.pad(flat, (reach, reach, reach, reach), mode="reflect")
    flat = functional.conv2d(flat, kernel.view(1, 1, 1, -1))
    return functional.conv2d(flat, kernel.view(1, 1, -1, 1)).view(images.shape)
