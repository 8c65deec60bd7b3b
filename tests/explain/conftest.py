"""A tiny patient and network to explain."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from cardio_mlflow.explain.case import Case, case_of
from cardio_mlflow.model.network import build_network


@pytest.fixture
def tiny_case(tiny_vit) -> Callable[..., Case]:
    """A network with four views of three frames; by default the third view is missing."""

    def build(missing: int | None = 2, frames: int = 3, seed: int = 0, variant: str = "full") -> Case:
        network = build_network(tiny_vit(seed=seed), variant, 2, 0.1, seed)
        generator = torch.Generator().manual_seed(seed)
        clips = torch.randint(1, 256, (4, frames, 40, 40), generator=generator, dtype=torch.uint8)
        present = torch.ones(4, dtype=torch.bool)
        if missing is not None:
            present[missing] = False
        return case_of(network, clips, present, present)

    return build
