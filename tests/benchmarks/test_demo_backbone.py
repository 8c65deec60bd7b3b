from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from benchmarks.demo_backbone import POWERS, Frames, main, pretrain_encoder, render, small_vit
from benchmarks.frames import GEOMETRY
from cardio_mlflow.model.backbone import load_backbone


def frames(count, seed=0):
    """A bright square whose row and column are the geometry; the column is hidden in every third."""
    rng = np.random.default_rng(seed)
    place = rng.integers(0, 17, (count, 2))
    images = torch.zeros(count, 32, 32, dtype=torch.uint8)
    for image, (row, column) in zip(images, place, strict=True):
        image[row : row + 15, column : column + 15] = 220
    geometry = torch.from_numpy((place - 8) / 4.9).float()
    geometry[::3, 1] = math.nan
    tissue = torch.nn.functional.avg_pool2d(images.float().unsqueeze(1), 4).squeeze(1).to(torch.uint8)
    return Frames(images, tissue, geometry)


def run(epochs=6, seed=0):
    torch.manual_seed(7)
    encoder = small_vit(16, 2, 2, 32, 8)
    records = pretrain_encoder(encoder, frames(192), frames(48, 1), epochs, 16, 3e-3, seed)
    return encoder, list(records)


def test_a_few_passes_learn_the_geometry():
    _, records = run()
    assert [r.epoch for r in records] == list(range(1, 7))
    assert records[-1].train_loss < 0.7 * records[0].train_loss
    assert 1 > records[-1].explained > max(0.3, records[0].explained)


def test_the_encoder_is_trained_and_repeatable():
    one, two = (run(epochs=1)[0].state_dict() for _ in range(2))
    torch.manual_seed(7)
    untrained = small_vit(16, 2, 2, 32, 8).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["vit.layers.0.mlp.fc1.weight"], untrained["vit.layers.0.mlp.fc1.weight"])


def test_geometry_that_is_never_shown_teaches_nothing():
    """A value that no frame shows counts for nothing in the loss."""

    def first_pass(fill):
        data = frames(16)
        torch.manual_seed(7)
        encoder = small_vit(16, 2, 2, 32, 8)
        own, other = (
            replace(data, geometry=torch.cat([data.geometry, torch.full((16, 1), value)], 1))
            for value in (fill, 0.0)
        )
        loss = next(pretrain_encoder(encoder, own, other, 1, 8, 1e-3, 0)).train_loss
        return encoder.state_dict(), loss

    hidden, hidden_loss = first_pass(math.nan)
    _, shown_loss = first_pass(9.0)
    assert all(bool(tensor.isfinite().all()) for tensor in hidden.values())
    assert math.isfinite(hidden_loss)
    assert shown_loss > hidden_loss + 10


def test_the_tissue_teaches_the_encoder_by_itself():
    data = frames(192)
    torch.manual_seed(7)
    encoder = small_vit(16, 2, 2, 32, 8)
    unknown = replace(data, geometry=torch.full_like(data.geometry, math.nan))
    records = list(pretrain_encoder(encoder, unknown, frames(8, 1), 6, 16, 3e-3, 0))
    assert 0 < records[-1].train_loss < 0.6 * records[0].train_loss


def test_the_sizes_are_those_asked_for():
    encoder = small_vit(16, 2, 4, 40, 8)
    assert (encoder.width, encoder.depth, encoder.image_size, encoder.token_count) == (16, 2, (40, 40), 26)
    assert encoder(torch.rand(3, 224, 224)).shape == (3, 16)


def test_lengths_and_areas_are_as_large_as_they_are_shown():
    powers = dict(zip(GEOMETRY, POWERS.tolist(), strict=True))
    assert (powers["lv_area"], powers["lv_wall"], powers["valve_opening"]) == (2, 1, 0)


def test_rendered_frames_are_the_same_with_any_number_of_processes():
    one, two = render(2, 1), render(2, 2)
    assert one.images.shape == (32, 112, 112)
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.geometry.nan_to_num(9), two.geometry.nan_to_num(9))
    present = one.geometry[~one.geometry.isnan()]
    assert abs(float(present.mean())) < 1e-5


def test_the_command_makes_a_backbone_that_loads(tmp_path, capsys):
    main(["--patients", "3", "--passes", "1", "--jobs", "1", "--output", str(tmp_path)])
    assert load_backbone(str(tmp_path)).config.num_channels == 1
    assert "pass 1: loss" in capsys.readouterr().out
