"""What an epoch of training hands to the next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import AdamW
from torch.optim.swa_utils import get_swa_avg_fn

from cardio_mlflow.model.network import Network
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.optimizer import build_optimizer


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
    mean_weights: dict[str, Tensor] = field(default_factory=dict)
    averaged: int = 0

    def trained_weights(self) -> dict[str, Tensor]:
        """A copy of the weights that the present stage trains, by name, in host memory.

        Stages only add to what is trained, so all other weights are still those of the start.
        """
        named = self.network.named_parameters()
        return {name: p.detach().cpu().clone() for name, p in named if p.requires_grad}

    def average(self) -> None:
        """Take the present weights into the mean (stochastic weight averaging, Izmailov et al., UAI 2018)."""
        update = get_swa_avg_fn()  # type: ignore[no-untyped-call]
        for name, weight in self.trained_weights().items():
            mean = self.mean_weights.get(name, weight)
            self.mean_weights[name] = update(mean, weight, self.averaged)
        self.averaged += 1

    def keep(self, loss: float, predictions: NDArray[np.float64], weights: dict[str, Tensor]) -> None:
        """Keep weights of the present epoch, and what they give for the validation patients."""
        self.best_epoch, self.best_loss, self.best_predictions = self.epoch, loss, predictions
        self.best_weights = weights

    def keep_best(self, loss: float, predictions: NDArray[np.float64]) -> bool:
        """Take note of an epoch's validation; whether it is the best so far."""
        if loss >= self.best_loss:
            return False
        self.keep(loss, predictions, self.trained_weights())
        return True


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
