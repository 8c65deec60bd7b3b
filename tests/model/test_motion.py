from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.model.motion import HARMONICS, PARTS, MotionPath, motion_of

TIMES = torch.arange(16, dtype=torch.float64) / 16


def parts_of(features: torch.Tensor, phased: bool) -> list[torch.Tensor]:
    """SD, amplitudes, cosines and sines, each (N, D) or (N, HARMONICS, D)."""
    found = motion_of(features, torch.full((len(features),), phased))
    parts = found.view(len(features), PARTS, -1)
    return list(torch.split(parts, [1, HARMONICS, HARMONICS, HARMONICS], 1))


@given(st.floats(0.1, 5), st.floats(-np.pi, np.pi), st.integers(1, HARMONICS), st.floats(-3, 3))
def test_amplitude_and_phase_of_a_cosine_are_found(amplitude, phase, harmonic, level):
    wave = level + amplitude * torch.cos(2 * np.pi * harmonic * TIMES - phase)
    spread, amplitudes, cosines, sines = parts_of(wave[None, :, None], phased=True)
    expected = np.zeros(HARMONICS)
    expected[harmonic - 1] = 1
    assert amplitudes[0, :, 0].numpy() == pytest.approx(amplitude * expected, abs=1e-5)
    assert cosines[0, :, 0].numpy() == pytest.approx(amplitude * np.cos(phase) * expected, abs=1e-5)
    assert sines[0, :, 0].numpy() == pytest.approx(amplitude * np.sin(phase) * expected, abs=1e-5)
    assert spread.item() == pytest.approx(amplitude / np.sqrt(2), abs=1e-5)


@given(st.integers(1, 15))
def test_without_a_verified_phase_where_the_cycle_starts_makes_no_difference(turn):
    features = torch.randn(3, 16, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    turned = features.roll(turn, 1)
    known, unknown = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)
    assert torch.allclose(motion_of(features, unknown), motion_of(turned, unknown), atol=1e-6)
    assert not torch.allclose(motion_of(features, known), motion_of(turned, known), atol=1e-2)


@pytest.mark.parametrize("frames", range(1, 7))
def test_harmonics_that_the_frames_cannot_show_are_zero(frames):
    features = torch.randn(2, frames, 3)
    _, amplitudes, cosines, _ = parts_of(features, phased=True)
    shown = min((frames - 1) // 2, HARMONICS)
    assert (amplitudes[:, :shown] > 1e-3).all()
    assert (cosines[:, shown:] == 0).all()
    assert (amplitudes[:, shown:] < 1e-5).all()


def test_a_heart_that_stands_still_has_finite_gradients():
    features = torch.ones(2, 8, 3, requires_grad=True)
    motion_of(features, torch.ones(2, dtype=torch.bool)).square().sum().backward()
    assert features.grad.isfinite().all()


def test_a_missing_view_is_left_alone_and_changes_nothing():
    path = MotionPath(4)
    features, pooled = torch.randn(2, 4, 8, 4), torch.randn(2, 4, 4)
    present = torch.tensor([[True, False, True, True], [True, True, False, True]])
    phased = torch.ones_like(present)
    out = path(features, pooled, present, phased)
    assert torch.equal(out[~present], pooled[~present])
    assert (out[present] != pooled[present]).any(1).all()
    changed = features.clone()
    changed[~present] += 1
    assert torch.equal(path(changed, pooled, present, phased), out)
