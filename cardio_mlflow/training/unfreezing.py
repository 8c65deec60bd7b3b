"""Progressive unfreezing: which blocks of the backbone are trained in which epoch."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from torch import nn

from cardio_mlflow.errors import InputError
from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.model.network import Network
from cardio_mlflow.settings import Settings

log = logging.getLogger(__name__)


def unfrozen_blocks(epoch: int, epochs: int, stages: int, stage_epochs: Sequence[int] = ()) -> int:
    """How many of the topmost blocks are trained in an epoch: the number of the stage.

    Args:
        epoch: 1-based.
        epochs: epochs in all.
        stages: stages after the first, each with one more block.
        stage_epochs: epochs of every stage; or one number, of each stage but the last; none gives every stage
            epochs / (stages + 1).

    >>> [unfrozen_blocks(e, 9, 2) for e in range(1, 10)]
    [0, 0, 0, 1, 1, 1, 2, 2, 2]
    >>> [unfrozen_blocks(e, 9, 2, (6, 2, 1)) for e in range(1, 10)]
    [0, 0, 0, 0, 0, 0, 1, 1, 2]
    """
    if len(stage_epochs) > 1:
        return bisect_right(list(accumulate(stage_epochs[:-1])), epoch - 1)
    if stage_epochs:
        return min(stages, (epoch - 1) // stage_epochs[0])
    return (epoch - 1) * (stages + 1) // epochs


def stage_schedule(settings: Settings, encoder: FrameEncoder) -> list[int]:
    """How many of the topmost blocks are trained in each epoch, the first one's first.

    Warns where there are fewer epochs than stages, so that some blocks are never trained by themselves.

    Raises:
        InputError: there are more stages than blocks.
    """
    check_stages(settings.stages, encoder)
    if settings.unfreezing == "at_once":
        return [settings.stages] * settings.epochs
    if settings.epochs <= settings.stages:
        log.warning("epochs=%d is too few for stages=%d: each needs an epoch, so some are skipped.",
                    settings.epochs, settings.stages)  # fmt: skip
    return [
        unfrozen_blocks(epoch, settings.epochs, settings.stages, settings.stage_epochs)
        for epoch in range(1, settings.epochs + 1)
    ]


def check_stages(stages: int, encoder: FrameEncoder) -> None:
    """Refuse more stages than the backbone has blocks.

    Raises:
        InputError: there are too few blocks.
    """
    if stages > encoder.depth:
        raise InputError(
            f"stages={stages} is not allowed: this backbone has {encoder.depth} blocks. "
            f"Allowed: a whole number at least 0 and at most {encoder.depth}."
        )


def prepare_stage(network: Network, blocks: int) -> None:
    """Set what is trained: the task parameters and the topmost ``blocks`` blocks.

    The final layer norm belongs to the topmost block; the embeddings are never trained. The frozen
    part is put in evaluation mode, so that its output is deterministic.
    """
    network.train()
    network.encoder.requires_grad_(False)
    network.encoder.eval()
    for module in trained_modules(network, blocks):
        module.requires_grad_(True)
        module.train()


def trained_modules(network: Network, blocks: int) -> list[nn.Module]:
    """What is trained of the encoder: the topmost ``blocks`` blocks and, with any, the final layer norm."""
    layers = network.encoder.layer_groups()
    return [*layers[len(layers) - blocks :], network.encoder.final_norm] if blocks else []
