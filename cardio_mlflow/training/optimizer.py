"""The optimiser: discriminative learning rates as explicit parameter groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import AdamW

from cardio_mlflow.model.network import Network
from cardio_mlflow.settings import Settings


def build_optimizer(network: Network, settings: Settings) -> AdamW:
    """AdamW (Loshchilov and Hutter 2019), fused; frozen parameters have no gradient and stay."""
    return AdamW(parameter_groups(network, settings), fused=True)


def parameter_groups(network: Network, settings: Settings) -> list[dict[str, Any]]:
    """The groups, each with its own learning rate.

    Task parameters have task_lr; the block at depth d from the top has vit_lr · layer_decay^d; the
    final layer norm goes with the topmost block. Vectors (biases, norms, queries' gate) have no
    weight decay.

    Returns:
        Dicts with name, lr, rate (the lr before any schedule), weight_decay and params; every parameter but
        the embeddings' in exactly one.
    """
    layers = list(reversed(network.encoder.layer_groups()))
    task = [network.temporal, network.fusion, network.heads]
    groups = _decayed("task", task, settings.task_lr, settings.weight_decay)
    for depth, layer in enumerate(layers):
        modules = [layer, network.encoder.final_norm] if depth == 0 else [layer]
        lr = settings.vit_lr * settings.layer_decay**depth
        groups += _decayed(f"block-{len(layers) - depth}", modules, lr, settings.weight_decay)
    return groups


def _decayed(name: str, modules: Iterable[nn.Module], lr: float, weight_decay: float) -> list[dict[str, Any]]:
    parameters = [p for module in modules for p in module.parameters()]
    shared = {"name": name, "lr": lr, "rate": lr}
    return [
        shared | {"weight_decay": weight_decay, "params": [p for p in parameters if p.ndim > 1]},
        shared | {"weight_decay": 0.0, "params": [p for p in parameters if p.ndim <= 1]},
    ]
