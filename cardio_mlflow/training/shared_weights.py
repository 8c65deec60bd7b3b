"""What the networks of a study have in common: tensors that are equal in all, and the blocks they fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.model.network import Network
from cardio_mlflow.model.vit_families import family_of

NOTHING: Final = -1
"""The shared depth of networks of which not even the embeddings are equal."""

Weights = Mapping[str, Tensor]
"""Tensors of a network by name."""


def split_weights(networks: Mapping[str, Network]) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """The tensors that are equal in all networks, and by network those that are not."""
    states = {name: network.state_dict() for name, network in networks.items()}
    first, *others = states.values()
    shared = {name: tensor for name, tensor in first.items() if all(_equal(tensor, s[name]) for s in others)}
    own = {
        network: {name: tensor for name, tensor in state.items() if name not in shared}
        for network, state in states.items()
    }
    return shared, own


def fill(networks: Sequence[Network], shared: Weights, own: Sequence[Weights]) -> None:
    """Give networks of one architecture their weights; they hold the shared ones together.

    Raises:
        RuntimeError: the weights do not fill a network exactly.
    """
    kinds = networks[0].state_dict()
    trained = {name for name, _ in networks[0].named_parameters()}

    def held(name: str, tensor: Tensor) -> Tensor:
        tensor = tensor.to(kinds[name].dtype) if name in kinds else tensor
        return nn.Parameter(tensor) if name in trained else tensor

    together = {name: held(name, tensor) for name, tensor in shared.items()}
    for network, weights in zip(networks, own, strict=True):
        alone = {name: held(name, tensor) for name, tensor in weights.items()}
        network.load_state_dict(together | alone, strict=True, assign=True)


def as_stored(weights: Weights, block_dtype: torch.dtype, task_dtype: torch.dtype) -> dict[str, Tensor]:
    """Weights with the matrices of the backbone's blocks and those of the task modules in these dtypes.

    What is small, and what fixes the embeddings, stays as it is.
    """

    def dtype_of(name: str, tensor: Tensor) -> torch.dtype:
        if tensor.ndim < 2 or not tensor.is_floating_point():
            return tensor.dtype
        if not name.startswith("encoder."):
            return task_dtype
        return tensor.dtype if "embeddings." in name else block_dtype

    return {name: tensor.to(dtype_of(name, tensor)) for name, tensor in weights.items()}


def shared_depth(encoders: Sequence[FrameEncoder]) -> int:
    """How many of the lowest blocks, embeddings included, are equal in all encoders; or `NOTHING`."""
    first, *others = encoders
    states = [encoder.state_dict() for encoder in others]
    differing = [
        name
        for name, tensor in first.state_dict().items()
        if not all(_equal(tensor, state[name]) for state in states)
    ]
    return min(map(_level_in(first), differing), default=first.depth)


def _level_in(encoder: FrameEncoder) -> Callable[[str], int]:
    """Gives, by a tensor's name, the blocks below it; the final norm counts as part of the topmost block."""
    family = family_of(encoder.vit.config)
    blocks, norm = f"vit.{family.blocks}.", f"vit.{family.final_norm}."

    def level(name: str) -> int:
        if name.startswith(blocks):
            return int(name.removeprefix(blocks).partition(".")[0])
        return encoder.depth - 1 if name.startswith(norm) else NOTHING

    return level


def _equal(one: Tensor, two: Tensor) -> bool:
    return one.data_ptr() == two.data_ptr() or torch.equal(one, two)
