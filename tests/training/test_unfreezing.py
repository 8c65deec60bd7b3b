from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.errors import InputError
from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.model.network import build_network
from cardio_mlflow.training.unfreezing import check_stages, prepare_stage, unfrozen_blocks


def schedule(epochs, stages, stage_epochs=()):
    return [unfrozen_blocks(epoch, epochs, stages, stage_epochs) for epoch in range(1, epochs + 1)]


def test_the_studys_schedule():
    blocks = schedule(100, 12)
    lengths = Counter(blocks)
    assert blocks == sorted(blocks)
    assert (blocks[0], blocks[-1]) == (0, 12)
    assert sorted(lengths) == list(range(13))
    assert set(lengths.values()) == {7, 8}


@given(st.integers(0, 12), st.data())
def test_stages_are_equally_long_to_one_epoch(stages, data):
    epochs = data.draw(st.integers(stages + 1, 200))
    blocks = schedule(epochs, stages)
    lengths = Counter(blocks)
    assert blocks == sorted(blocks)
    assert sorted(lengths) == list(range(stages + 1))
    assert max(lengths.values()) - min(lengths.values()) <= 1


@given(st.integers(0, 6), st.integers(1, 9), st.integers(1, 30))
def test_stage_epochs_fixes_the_length_of_all_but_the_last(stages, stage_epochs, rest):
    blocks = schedule(stages * stage_epochs + rest, stages, (stage_epochs,))
    assert blocks == [k for k in range(stages) for _ in range(stage_epochs)] + [stages] * rest


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_a_list_gives_every_stage_its_own_length(lengths):
    blocks = schedule(sum(lengths), len(lengths) - 1, lengths)
    assert blocks == [stage for stage, length in enumerate(lengths) for _ in range(length)]


@given(st.integers(1, 5), st.integers(0, 12))
def test_few_epochs_never_go_back_or_past_the_last_stage(epochs, stages):
    blocks = schedule(epochs, stages)
    assert blocks == sorted(blocks)
    assert blocks[0] == 0
    assert max(blocks) <= stages


@pytest.mark.parametrize("blocks", range(4))
def test_exactly_the_topmost_blocks_are_trained_and_the_rest_is_in_evaluation_mode(tiny_vit, blocks):
    network = build_network(tiny_vit(), "full", 2, 0.1, 0).eval()
    prepare_stage(network, 3)  # a later stage, from which it goes back
    prepare_stage(network, blocks)
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    tops = tuple(f"encoder.vit.layers.{i}." for i in range(3 - blocks, 3))
    final = ("encoder.vit.layernorm.",) if blocks else ()
    prefixes = ("temporal.", "fusion.", "heads.", *final, *tops)
    assert trained == {name for name, _ in network.named_parameters() if name.startswith(prefixes)}
    assert all(any(name.startswith(top) for name in trained) for top in tops)
    vit = network.encoder.vit
    assert [layer.training for layer in vit.layers] == [i >= 3 - blocks for i in range(3)]
    assert not any(module.training for module in vit.embeddings.modules())
    assert all(part.training for part in (network.temporal, network.fusion, network.heads))


def test_more_stages_than_blocks_are_refused(tiny_vit):
    encoder = FrameEncoder(tiny_vit())
    check_stages(3, encoder)
    with pytest.raises(InputError, match=r"stages=4 .* at least 0 and at most 3"):
        check_stages(4, encoder)
