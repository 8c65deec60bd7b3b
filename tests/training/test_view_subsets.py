"""Predictions from subsets of the views, against the network that is shown clips without the others."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from cardio_mlflow.parameters import VIEWS
from cardio_mlflow.training.view_subsets import validation_subsets


@pytest.mark.parametrize("stages", [0, 1])
def test_a_subset_is_what_the_network_makes_of_clips_without_the_other_views(
    tiny_fold, tiny_network, tiny_settings, stages: int
) -> None:
    settings = tiny_settings(stages=stages, motion=True)
    data, network = tiny_fold(settings), tiny_network(settings).eval()
    clips = data.features.clips
    found = {tuple(s.shown.tolist()): s for s in validation_subsets(network, data, settings)}
    present = clips.present[list(data.validation)]
    for subset in product((True, False), repeat=len(VIEWS)):
        shown = torch.tensor(subset)
        has = [i for i, row in enumerate(present) if (row | ~shown).all()]
        if not any(subset) or not has:
            assert subset not in found
            continue
        assert found[subset].patients.tolist() == has
        pixels = torch.stack([clips.clips_of(data.validation[i]) for i in has])
        pixels[:, ~shown] = 255  # what is not shown must not matter
        phased = clips.phased[[data.validation[i] for i in has]]
        with torch.no_grad():
            alone = network(pixels, shown.expand(len(has), -1), phased).targets
        np.testing.assert_allclose(found[subset].targets, alone.double().numpy(), atol=1e-5)
