"""The motion path: what a weighted mean of frames cannot see of a heart cycle."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

HARMONICS: Final = 2
"""Of the cycle. The frames are few, and higher harmonics of a feature are mostly noise."""
PARTS: Final = 1 + 3 * HARMONICS
"""Numbers made of each number of a frame feature: SD, and of each harmonic amplitude, cosine and sine."""
GAIN: Final = 10.0
"""Features move by about a tenth of what they are: times this the path starts at the size of the others."""
SMALLEST: Final = 1e-6
"""Added to an amplitude (in squares), so that a frame feature that stands still has a gradient."""


class MotionPath(nn.Module):
    """Add what moves over the cycle to a view's pooled feature.

    The frames are equally spaced over one cycle, so the discrete Fourier transform of a frame feature over
    time has its harmonics. Of the first `HARMONICS` ones the amplitude goes in, and the cosine and sine parts
    (amplitude and phase together) where the phase is verified, 0 elsewhere; and the SD over the frames:

        out = pooled + beta · W [SD, amplitudes, cosines, sines],   beta = sigmoid(gate)
    """

    def __init__(self, width: int):
        """Build for frame features of ``width`` numbers."""
        super().__init__()
        self.linear = nn.Linear(PARTS * width, width)
        self.gate = nn.Parameter(torch.zeros(()))

    @property
    def alpha(self) -> Tensor:
        """The share beta of the path, 0 to 1."""
        return self.gate.sigmoid()

    def forward(self, features: Tensor, pooled: Tensor, present: Tensor, phased: Tensor) -> Tensor:
        """Add the path.

        Args:
            features: (B, V, T, D) frame features.
            pooled: (B, V, D) what temporal attention makes of them.
            present: (B, V) bool view mask.
            phased: (B, V) bool, where the first frame is known to stand at an R wave.

        Returns:
            (B, V, D), unchanged for a missing view.
        """
        moved = self.linear(GAIN * motion_of(features[present], phased[present]))
        added = pooled.new_zeros(pooled.shape).masked_scatter(present.unsqueeze(-1), moved.to(pooled))
        return pooled + self.alpha * added


def motion_of(features: Tensor, phased: Tensor) -> Tensor:
    """SD and harmonics of features over the cycle.

    Args:
        features: (N, T, D), equally spaced over one cycle.
        phased: (N,) bool, where the phase is verified.

    Returns:
        (N, PARTS · D): SD over time (biased); amplitude of each harmonic; its cosine and sine parts, 0 where
        the phase is not verified. Harmonics that T frames cannot show are 0.
    """
    frames = features.shape[1]
    found = torch.fft.rfft(features, dim=1)[:, 1 : (frames - 1) // 2 + 1][:, :HARMONICS] * (2 / frames)
    missing = HARMONICS - found.shape[1]
    cosines, sines = (nn.functional.pad(part, (0, 0, 0, missing)) for part in (found.real, -found.imag))
    amplitudes = (cosines.square() + sines.square() + SMALLEST**2).sqrt()
    known = phased[:, None, None]
    spread = features.std(1, correction=0, keepdim=True) if frames > 1 else torch.zeros_like(features)
    return torch.cat([spread, amplitudes, cosines * known, sines * known], 1).flatten(1)
