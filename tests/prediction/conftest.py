"""A model of two tiny networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from cardio_mlflow.parameters import PARAMETERS
from cardio_mlflow.training.bundle import Bundle, network_of
from cardio_mlflow.training.ensemble import Ensemble
from cardio_mlflow.training.scaling import fit_scaler


@pytest.fixture(scope="session")
def tiny_ensemble(tiny_settings, tiny_vit) -> Callable[..., Ensemble]:
    """Networks with weights of their own; ``parts`` are the calibration and the like."""

    def build(parts: dict[str, object] | None = None, **changes: object) -> Ensemble:
        settings, bundles = tiny_settings(**changes), {}
        for fold in (1, 2):
            network, rng = network_of(tiny_vit(), settings).eval(), np.random.default_rng(fold)
            with torch.no_grad(), torch.random.fork_rng():
                torch.manual_seed(fold)
                for parameter in (p for module in network.task_modules for p in module.parameters()):
                    parameter.add_(0.1 * torch.randn_like(parameter))
            references = np.stack([p.cutoff * rng.lognormal(0, 0.3, 30) for p in PARAMETERS], 1)
            facts = np.tile([75.0, 1.9, 90.0], (30, 1)) if settings.identities else None
            bundles[f"fold-{fold}"] = Bundle(network, settings, fit_scaler(references, facts))
        return Ensemble(bundles, **(parts or {}))

    return build
