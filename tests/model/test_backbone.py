from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from cardio_mlflow.errors import InputError
from cardio_mlflow.model.backbone import demo_folder, load_backbone, new_backbone, to_gray

MEAN, SD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.25])


@pytest.fixture
def frames():
    return torch.rand(5, 1, 32, 32, generator=torch.Generator().manual_seed(1))


def as_colour(frames, mean, sd):
    return (frames.expand(-1, 3, -1, -1) - mean.view(1, 3, 1, 1)) / sd.view(1, 3, 1, 1)


@torch.no_grad()
def test_gray_is_exact(tiny_vit, frames):
    colour = tiny_vit(channels=3)
    gray = to_gray(colour, MEAN.tolist(), SD.tolist()).eval()
    expected = colour(as_colour(frames, MEAN, SD)).last_hidden_state
    assert torch.allclose(gray(frames).last_hidden_state, expected, atol=1e-5)
    assert not torch.allclose(
        gray(frames).last_hidden_state, colour(frames.expand(-1, 3, -1, -1))[0], atol=0.1
    )


@torch.no_grad()
def test_a_gray_model_without_normalisation_is_unchanged(tiny_vit, frames):
    vit = tiny_vit()
    assert torch.equal(to_gray(vit, [0.0], [1.0]).eval()(frames)[0], vit(frames)[0])


@torch.no_grad()
def test_loads_a_folder_with_its_own_mean_and_sd(vit_folder, tiny_vit, frames):
    gray = load_backbone(str(vit_folder)).eval()
    expected = tiny_vit(channels=3)(as_colour(frames, MEAN, SD)).last_hidden_state
    assert torch.allclose(gray(frames).last_hidden_state, expected, atol=1e-5)
    assert gray.config.num_channels == 1
    assert gray.pooler is None


@pytest.mark.parametrize(
    ("fields", "mean", "sd"),
    [
        (None, [0.5] * 3, [0.5] * 3),
        ({}, [0.5] * 3, [0.5] * 3),
        ({"do_normalize": False, "image_mean": [0.1] * 3, "image_std": [0.1] * 3}, [0.0] * 3, [1.0] * 3),
    ],
)
@torch.no_grad()
def test_normalisation_that_is_not_stated(vit_folder, tiny_vit, frames, fields, mean, sd):
    path = vit_folder / "preprocessor_config.json"
    path.unlink() if fields is None else path.write_text(json.dumps(fields))
    expected = tiny_vit(channels=3)(as_colour(frames, torch.tensor(mean), torch.tensor(sd))).last_hidden_state
    assert torch.allclose(load_backbone(str(vit_folder)).eval()(frames)[0], expected, atol=1e-5)


def test_no_such_folder_says_how_to_point_backbone_at_one(tmp_path):
    with pytest.raises(InputError, match="-P backbone=<absolute path") as caught:
        load_backbone(str(tmp_path / "none"))
    assert "config.json" in str(caught.value)
    assert "backbone=demo" in str(caught.value)


def leave_config_only(folder):
    (folder / "model.safetensors").unlink()


def make_weights_garbage(folder):
    (folder / "model.safetensors").write_bytes(b"not weights" * 9)


def cut_weights_short(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def break_config(folder):
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
    "spoil",
    [shutil.rmtree, leave_config_only, make_weights_garbage, cut_weights_short, break_config],
)
def test_weights_that_cannot_be_read_are_an_input_error(vit_folder, spoil):
    spoil(vit_folder)
    with pytest.raises(InputError, match="backbone"):
        load_backbone(str(vit_folder))


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_random_weights_are_never_filled_in(vit_folder, change):
    path = vit_folder / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if "layer.1." in name and name.endswith("weight"))
    if change == "missing":
        del weights[name]
    else:
        weights[name] = torch.zeros(3, 3)
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"do not fill .* 1 tensor"):
        load_backbone(str(vit_folder))


def test_the_demo_backbone_is_small_and_loads():
    files = {path.name: path.stat().st_size for path in demo_folder().iterdir()}
    assert "model.safetensors" in files
    assert "preprocessor_config.json" in files
    assert sum(files.values()) < 5_000_000
    vit = load_backbone("demo")
    assert vit.config.num_channels == 1
    assert all(p.dtype == torch.float32 for p in vit.parameters())
    assert all(bool(p.isfinite().all()) for p in vit.parameters())


def test_new_backbone_has_the_configs_shape(tiny_vit):
    vit = tiny_vit()
    again = new_backbone(vit.config.to_dict())
    assert {n: p.shape for n, p in again.named_parameters()} == {
        n: p.shape for n, p in vit.named_parameters()
    }
    assert again.config._attn_implementation == "sdpa"
