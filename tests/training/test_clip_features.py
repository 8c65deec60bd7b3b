"""Features of clips: what they are, and that what is kept is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.training.clip_features import LOOKS, clip_features, describe, in_cells, moved
from tests.families import gray_family

CLIPS = {
    name: np.random.default_rng(i).integers(0, 256, (32, 60, 60), np.uint8) for i, name in enumerate("abc")
}


def test_features_are_kept_by_clip_and_encoder(vit_folder, tmp_path):
    read = []

    def frames_of(clip):
        read.append(clip)
        return CLIPS[clip]

    first = clip_features(["a", "b", "a"], frames_of, str(vit_folder), tmp_path / "kept", "fp32")
    assert read == ["a", "b"]
    (folder,) = (tmp_path / "kept").iterdir()
    (folder / "b").write_bytes((folder / "b").read_bytes()[:50])  # a loss of power
    again = clip_features(["c", "b", "a"], frames_of, str(vit_folder), tmp_path / "kept", "fp32")
    assert read == ["a", "b", "c", "b"]
    assert list(again) == ["c", "b", "a"]
    assert all(np.array_equal(again[clip], first[clip]) for clip in first)
    clip_features(["a"], frames_of, str(vit_folder), tmp_path / "kept", "bf16")
    assert read[4:] == ["a"]


@pytest.mark.parametrize("family", ["siglip_vision", "dinov2_with_registers", "dinov3"])
def test_the_first_look_is_the_clip_as_it_is_whatever_the_backbone(family, tmp_path):
    encoder = FrameEncoder(gray_family(family, tmp_path)).requires_grad_(False)
    found = describe(encoder, CLIPS["a"], torch.float32)
    assert found.shape == (len(LOOKS), 8 * encoder.width)
    frames = torch.from_numpy(CLIPS["a"][[0, 12]]) / 255
    patches = encoder.patches(encoder.blocks(encoder.tokens(frames, 0), 0)).mean(0, keepdim=True)
    expected = in_cells(patches, encoder.grid)[0].numpy()
    np.testing.assert_allclose(found[0].astype(np.float32), expected, atol=3e-3)
    assert np.abs(found[1:].astype(np.float32) - expected).max(axis=1).min() > 0.01


def test_a_large_encoder_looks_once(tmp_path, monkeypatch):
    encoder = FrameEncoder(gray_family("dinov3", tmp_path)).requires_grad_(False)
    nine = describe(encoder, CLIPS["a"], torch.float32)
    monkeypatch.setattr("cardio_mlflow.training.clip_features.LARGE", 0)
    once = describe(encoder, CLIPS["a"], torch.float32)
    assert once.shape == (1, nine.shape[1])
    np.testing.assert_allclose(once[0].astype(np.float32), nine[0].astype(np.float32), atol=3e-3)


def test_cells_hold_the_mean_and_the_largest_token():
    tokens = torch.arange(16.0).view(1, 16, 1)
    assert in_cells(tokens, (4, 4)).tolist() == [[2.5, 4.5, 10.5, 12.5, 5, 7, 13, 15]]


def test_a_look_moves_the_picture():
    frames = np.zeros((1, 40, 40), np.uint8)
    frames[0, 18:22, 28:32] = 255
    assert np.array_equal(moved(frames, *LOOKS[0]), frames)
    rows, columns = np.nonzero(moved(frames, 0.0, 1.0, 0.1, -0.1)[0])
    assert (rows.mean().round(), columns.mean().round()) == (16, 34)
    rows, columns = np.nonzero(moved(frames, 90.0, 1.0, 0.0, 0.0)[0] > 99)
    assert rows.mean() < 13
    assert abs(columns.mean() - 20) < 1.5
