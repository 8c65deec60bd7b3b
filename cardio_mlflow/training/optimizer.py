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

    Task parameters have task_lr, but gates gate_lr: at task_lr AdamW moves a gate's logit by 0.1 to 0.2 in a
    whole training. The block at depth d from the top has vit_lr · layer_decay^d; the final layer norm goes
    with the topmost block. Vectors (biases, norms, gates) have no weight decay.

    Returns:
        Dicts with name, lr, rate (the lr before any schedule), weight_decay and params; every parameter but
        the embeddings' in exactly one.
    """
    layers = list(reversed(network.encoder.layer_groups()))
    gates = gates_of(network)
    task = [p for p in parameters_of(network.task_modules) if not any(p is gate for gate in gates)]
    groups = [_group("gates", gates, settings.gate_lr, 0.0)] if gates else []
    groups += _decayed("task", task, settings.task_lr, settings.weight_decay)
    for depth, layer in enumerate(layers):
        modules = [layer, network.encoder.final_norm] if depth == 0 else [layer]
        lr = settings.vit_lr * settings.layer_decay**depth
        groups += _decayed(f"block-{len(layers) - depth}", parameters_of(modules), lr, settings.weight_decay)
    return groups


def gates_of(network: Network) -> list[nn.Parameter]:
    """The learned gates of the stages, of the motion path last."""
    named = ((name.rpartition(".")[2], p) for m in network.task_modules for name, p in m.named_parameters())
    return [p for name, p in named if name == "gate"]


def parameters_of(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """All parameters of some modules."""
    return [p for module in modules for p in module.parameters()]


def _group(name: str, params: list[nn.Parameter], lr: float, weight_decay: float) -> dict[str, Any]:
    return {"name": name, "lr": lr, "rate": lr, "weight_decay": weight_decay, "params": params}


def _decayed(
    name: str, parameters: list[nn.Parameter], lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    return [
        _group(name, [p for p in parameters if p.ndim > 1], lr, weight_decay),
        _group(name, [p for p in parameters if p.ndim <= 1], lr, 0.0),
    ]
