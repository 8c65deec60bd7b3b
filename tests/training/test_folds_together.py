from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cardio_mlflow.errors import DivergedError
from cardio_mlflow.training.fit import fit, fit_together
from cardio_mlflow.training.processes import Processes
from cardio_mlflow.training.state import new_state


def other_way_round(fold):
    """The same patients with training and validation exchanged."""
    return replace(fold, training=fold.validation, validation=fold.training)


def test_folds_together_are_what_each_is_alone(tiny_settings, tiny_fold, tiny_network):
    settings = tiny_settings(epochs=4, stages=1, view_dropout=0.3)
    one = tiny_fold(settings)
    folds, seeds = [one, other_way_round(one)], [5, 6]
    states = [new_state(tiny_network(settings), settings) for _ in folds]
    together = list(fit_together(states, folds, settings, seeds, Processes()))
    assert [joint.epoch for joint in together] == [1, 2, 3, 4]
    for place, (fold, seed) in enumerate(zip(folds, seeds, strict=True)):
        alone = list(fit(new_state(tiny_network(settings), settings), fold, settings, seed))
        for joint, record in zip(together, alone, strict=True):
            assert joint.records[place].val_loss == record.val_loss
            assert joint.records[place].train_loss == record.train_loss
            np.testing.assert_array_equal(joint.records[place].predictions, record.predictions)
    losses = [[record.val_loss for record in joint.records] for joint in together]
    assert [joint.val_loss for joint in together] == pytest.approx(np.mean(losses, axis=1))
    assert [state.best_loss for state in states] == np.min(losses, axis=0).tolist()


def test_leaving_early_lets_go_of_the_features(tiny_settings, tiny_fold, tiny_network):
    settings = tiny_settings(epochs=4, stages=1)
    fold = tiny_fold(settings)
    state = new_state(tiny_network(settings), settings)
    joint = fit_together([state], [fold], settings, [1], Processes())
    next(joint)
    assert fold.features.is_kept(state.network.encoder.depth)
    joint.close()
    assert not fold.features.is_kept(state.network.encoder.depth)


def test_a_fold_that_diverges_ends_them_all(tiny_settings, tiny_fold, tiny_network):
    settings = tiny_settings(epochs=3, stages=0)
    fold = tiny_fold(settings)
    states = [new_state(tiny_network(settings), settings) for _ in range(2)]
    joint = fit_together(states, [fold, fold], settings, [1, 2], Processes())
    next(joint)
    for group in states[1].optimizer.param_groups:
        group["initial_lr"] = float("inf")
    with pytest.raises(DivergedError, match="not finite in epoch"):
        list(joint)
