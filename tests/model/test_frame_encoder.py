from __future__ import annotations

import pytest
import torch

from cardio_mlflow.model.frame_encoder import FrameEncoder, resize_frames


@pytest.fixture
def encoder(tiny_vit):
    return FrameEncoder(tiny_vit())


@pytest.fixture
def frames():
    return torch.rand(4, 32, 32, generator=torch.Generator().manual_seed(2))


def test_sizes(encoder):
    assert (encoder.depth, encoder.width, encoder.image_size, encoder.token_count) == (3, 16, (32, 32), 17)


@torch.no_grad()
def test_tokens_are_the_models_hidden_states(encoder, frames):
    states = encoder.vit(pixel_values=frames.unsqueeze(1), output_hidden_states=True).hidden_states
    for depth in range(encoder.depth):
        assert torch.allclose(encoder.tokens(frames, depth), states[depth], atol=1e-6)


def test_resizing_by_a_whole_factor_keeps_the_mean_and_flat_images():
    frames = torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(4))
    small = resize_frames(frames, (32, 32))
    assert small.shape == (2, 32, 32)
    assert torch.allclose(small.mean((1, 2)), frames.mean((1, 2)), atol=2e-3)
    assert torch.allclose(resize_frames(torch.full((1, 50, 70), 0.3), (32, 32)), torch.tensor(0.3))


def test_resizing_smooths_away_what_the_small_image_cannot_show():
    noise = torch.rand(1, 224, 224, generator=torch.Generator().manual_seed(5))
    assert float(resize_frames(noise, (32, 32)).std()) < 0.2 * float(noise.std())


def test_resizing_to_the_same_size_changes_nothing():
    frames = torch.rand(2, 32, 32)
    assert resize_frames(frames, (32, 32)) is frames
    assert resize_frames(frames.expand(1, 2, 32, 32)[0], (32, 32)).shape == (2, 32, 32)
