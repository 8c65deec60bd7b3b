"""Each family against transformers' own forward on the colour image."""

from __future__ import annotations

import json
import pickle
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    ConvNextConfig,
    ConvNextModel,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SwinConfig,
    SwinModel,
)

from cardio_mlflow.errors import InputError
from cardio_mlflow.model.backbone import load_backbone, new_backbone
from cardio_mlflow.model.frame_encoder import FrameEncoder, compute_dtype_of
from cardio_mlflow.training.devices import backbone_autocast
from tests.families import FAMILIES, MEAN, SD, frames_of, gray_family, run_whole, save_family


@pytest.fixture(params=FAMILIES)
def name(request):
    return request.param


@torch.no_grad()
def test_a_gray_frame_gives_what_its_colour_image_gives(name, tmp_path):
    colour, frames, tiny = save_family(name, tmp_path), frames_of(name), FAMILIES[name]
    encoder = FrameEncoder(load_backbone(str(tmp_path)).eval())
    mean, sd = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(SD).view(1, 3, 1, 1)
    states = run_whole(name, colour, (frames[:, None].expand(-1, 3, -1, -1) - mean) / sd).last_hidden_state
    assert (encoder.prefix_count, encoder.image_size) == (tiny.prefix, (tiny.side, tiny.side))
    assert states.shape == (3, encoder.token_count, 16)
    torch.testing.assert_close(encoder(frames), states[:, tiny.prefix :].mean(1), rtol=0, atol=1e-4)
    assert states.std() > 0.1
    tokens = encoder.blocks(encoder.tokens(frames, 0), 0)
    torch.testing.assert_close(encoder.patches(tokens), states[:, tiny.prefix :], rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_a_pass_can_start_at_any_depth_in_any_mode(name, tmp_path, dtype):
    encoder, frames = FrameEncoder(gray_family(name, tmp_path)), frames_of(name)
    with backbone_autocast(dtype, torch.device("cpu")):
        whole = encoder(frames)
        for depth in range(4):
            tokens = encoder.tokens(frames, depth)
            assert tokens.dtype == dtype == compute_dtype_of(tokens)
            assert torch.equal(encoder.train().pool(encoder.blocks(tokens, depth)), whole)
            encoder.eval()


def test_the_configuration_as_json_is_enough_to_build_it_again(name, tmp_path):
    vit = gray_family(name, tmp_path)
    again = new_backbone(json.loads(json.dumps(vit.config.to_dict())))
    again.load_state_dict(vit.state_dict(), strict=True)
    frames = frames_of(name)
    with torch.no_grad():
        assert torch.equal(FrameEncoder(again.eval())(frames), FrameEncoder(vit)(frames))


def test_a_configuration_without_a_type_is_a_vits(tmp_path):
    config = gray_family("vit", tmp_path).config.to_dict()
    del config["model_type"]
    assert type(new_backbone(config)).__name__ == "ViTModel"


def test_weights_that_do_not_fill_the_family_are_refused(name, tmp_path):
    save_family(name, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    norm = re.compile(r"(?!head)(\w+\.)?(post_layernorm|layernorm|norm)\.weight")
    (lost,) = filter(norm.fullmatch, weights)
    del weights[lost]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"do not fill a .* 1 tensor"):
        load_backbone(str(tmp_path))


def test_a_pickle_alone_is_refused_unread(tmp_path):
    save_family("vit", tmp_path)

    class Harm:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was read",))

    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(InputError, match=r"pickle .* never loaded .*\n.*save_pretrained"):
        load_backbone(str(tmp_path))


def test_safetensors_of_something_else_do_not_let_a_pickle_in(tmp_path):
    save_family("vit", tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").rename(tmp_path / "another.safetensors")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_backbone(str(tmp_path))


def test_a_pickle_beside_safetensors_is_left_alone(tmp_path):
    save_family("vit", tmp_path)
    alone = load_backbone(str(tmp_path)).state_dict()
    (tmp_path / "pytorch_model.bin").write_bytes(b"anything")
    beside = load_backbone(str(tmp_path)).state_dict()
    assert beside.keys() == alone.keys()
    assert all(torch.equal(beside[name], weight) for name, weight in alone.items())


def test_weights_of_another_family_are_refused(tmp_path):
    save_family("dinov2", tmp_path / "one")
    save_family("vit", tmp_path / "two")
    shutil.copy(tmp_path / "one" / "config.json", tmp_path / "two" / "config.json")
    with pytest.raises(InputError, match="do not fill a DINOv2"):
        load_backbone(str(tmp_path / "two"))


SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
OTHERS = {
    "swin": lambda: SwinModel(SwinConfig(embed_dim=8, depths=[1], num_heads=[2])),
    "convnext": lambda: ConvNextModel(ConvNextConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1])),
    "clip": lambda: CLIPModel(CLIPConfig(text_config=SMALL, vision_config=SMALL)),
    "siglip2_vision_model": lambda: Siglip2VisionModel(Siglip2VisionConfig(**SMALL)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_models_are_refused_and_the_message_says_which_are_taken(tmp_path, kind):
    OTHERS[kind]().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"type '{kind}'") as caught:
        load_backbone(str(tmp_path))
    for title in ("ViT", "DeiT", "DINOv2", "DINOv2 with registers", "DINOv3 ViT", "ViT-MAE", "SigLIP"):
        assert title in str(caught.value)


def test_a_type_that_transformers_does_not_know_is_refused(tmp_path):
    save_family("vit", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "of-tomorrow"}))
    with pytest.raises(InputError, match="type 'of-tomorrow'"):
        load_backbone(str(tmp_path))


@torch.no_grad()
def test_the_preprocessing_may_stand_in_a_processors_file(tmp_path):
    vit, frames = gray_family("siglip", tmp_path), frames_of("siglip")
    states = json.loads((tmp_path / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": states}))
    again = load_backbone(str(tmp_path)).eval()
    assert torch.equal(FrameEncoder(again)(frames), FrameEncoder(vit)(frames))


@pytest.mark.parametrize("states", [{}, {"size": {"shortest_edge": 42}}, {"size": 42}])
def test_positions_of_any_size_follow_what_the_preprocessing_states(tmp_path, states):
    save_family("dinov2", tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(states))
    side = 42 if states else 70
    assert FrameEncoder(load_backbone(str(tmp_path))).image_size == (side, side)
