"""The optimiser with its learning rates, and the state that an epoch hands to the next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.swa_utils import get_swa_avg_fn

from cardio_mlflow.model.network import Network
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.forward import ScaledPredictions


def build_optimizer(network: Network, settings: Settings) -> AdamW:
    """AdamW (Loshchilov and Hutter 2019), fused; frozen parameters have no gradient and stay."""
    return AdamW(parameter_groups(network, settings), fused=True)


def parameter_groups(network: Network, settings: Settings) -> list[dict[str, Any]]:
    """The groups, each with its own learning rate.

    Task parameters have task_lr, but gates gate_lr: at task_lr AdamW moves a gate's logit by 0.1 to 0.2 in a
    whole training. The block at depth d from the top has vit_lr · layer_decay^d; the final layer norm goes
    with the topmost block. Vectors (biases, norms, gates) have no weight decay.

    Returns:
        Dicts with name, lr, weight_decay and params; every parameter but the embeddings' in exactly one.
    """
    layers = list(reversed(network.encoder.layer_groups()))
    gates = gates_of(network)
    task = [p for p in parameters_of(network.task_modules) if not any(p is gate for gate in gates)]
    own = {"name": "gates", "lr": settings.gate_lr, "weight_decay": 0.0, "params": gates}
    groups: list[dict[str, Any]] = [own] if gates else []
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


def _decayed(
    name: str, parameters: list[nn.Parameter], lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    matrices, vectors = ([p for p in parameters if (p.ndim > 1) == wanted] for wanted in (True, False))
    group = {"name": name, "lr": lr}
    return [
        {**group, "weight_decay": weight_decay, "params": matrices},
        {**group, "weight_decay": 0.0, "params": vectors},
    ]


@dataclass
class TrainingState:
    """All that later epochs depend on, and what is kept of the training; ``fit`` changes it.

    Random numbers are not part of it: each epoch draws from its own seed.

    Attributes:
        network: the network in training.
        optimizer: its optimiser.
        epoch: epochs that are done.
        best_epoch: the epoch that is kept, so far: of lowest validation loss, or with ``keep=last`` the last;
            0 before the first.
        best_loss: its validation loss.
        best_weights: what training had changed by then, by name, in host memory.
        best_predictions: (N_val, 9 or 11) its scaled predictions.
        best_features: (N_val, D) its fused features.
        mean_weights: with ``keep=last`` the mean over the epochs that are averaged.
        averaged: over how many epochs.
    """

    network: Network
    optimizer: AdamW
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    best_predictions: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, len(KEYS))))
    best_features: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    mean_weights: dict[str, Tensor] = field(default_factory=dict)
    averaged: int = 0

    def trained_weights(self) -> dict[str, Tensor]:
        """A copy of the weights that the present stage trains, by name, in host memory.

        Stages only add to what is trained, so all other weights are still those of the start.
        """
        return {name: weight.to("cpu", copy=True) for name, weight in self.trained()}

    def trained(self) -> Iterator[tuple[str, Tensor]]:
        """The weights themselves that the present stage trains, by name."""
        return ((name, p.detach()) for name, p in self.network.named_parameters() if p.requires_grad)

    def average(self) -> None:
        """Take the present weights into the mean (stochastic weight averaging, Izmailov et al., UAI 2018)."""
        update = get_swa_avg_fn()  # type: ignore[no-untyped-call]
        for name, weight in self.trained_weights().items():
            mean = self.mean_weights.get(name, weight)
            self.mean_weights[name] = update(mean, weight, self.averaged)
        self.averaged += 1

    def keep(self, loss: float, found: ScaledPredictions) -> None:
        """Keep the present weights, their validation loss and what they predict for those patients."""
        self.best_epoch, self.best_loss = self.epoch, loss
        self.best_predictions, self.best_features = found
        self.best_weights = self.trained_weights()


def new_state(network: Network, settings: Settings) -> TrainingState:
    """The state before the first epoch."""
    return TrainingState(network, build_optimizer(network, settings))


def put_weights(network: Network, weights: Mapping[str, Tensor]) -> Network:
    """Put trained weights into a network that has those of the start; every other weight stays.

    Raises:
        RuntimeError: a name or a shape does not fit the network.
    """
    network.load_state_dict(network.state_dict() | dict(weights), strict=True)
    return network


def rate_factor(settings: Settings, position: float, length: int) -> float:
    """The factor on the learning rates at a position of a stage.

    The warm-up is linear over the first ``warmup_epochs``. After it the factor stays 1 (``constant``), or
    falls to 0 at the stage's end as 0.5 · (1 + cos(pi · share)) (``cosine``; Loshchilov and Hutter 2017,
    arXiv:1608.03983, without restarts within a stage).

    Args:
        settings: lr_schedule and warmup_epochs.
        position: epochs of the stage that are done, with fractions.
        length: epochs of the stage.
    """
    warmup = min(settings.warmup_epochs, length)
    if position < warmup:
        return position / warmup
    if settings.lr_schedule == "constant":
        return 1.0
    share = (position - warmup) / max(length - warmup, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def set_rates(optimizer: Optimizer, factor: float) -> None:
    """Set each group's learning rate to the one that it was built with times a factor."""
    for group in optimizer.param_groups:  # under the name that torch's own schedulers give it
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
