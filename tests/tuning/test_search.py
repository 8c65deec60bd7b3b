from __future__ import annotations

import optuna
import pytest
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

from cardio_mlflow.settings import TUNED
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.tuning.search import (
    STARTUP_TRIALS,
    UNPRUNED_TRIALS,
    identity_of,
    pruner_of,
    sampler_of,
    suggested,
    values_of,
    with_values,
)


def ask(number: int, seed: int = 0) -> dict[str, float]:
    study = optuna.create_study(sampler=sampler_of(seed, number))
    return values_of(suggested(study.ask(), load_settings({}, {})))


def test_a_trial_is_within_its_ranges_and_changes_nothing_else() -> None:
    settings = load_settings({"task_lr_range": "2e-4,3e-4", "dropout_range": "0.1,0.1"}, {})
    trial = optuna.create_study(sampler=sampler_of(3, 0)).ask()
    own = suggested(trial, settings)
    assert 2e-4 <= own.task_lr <= 3e-4
    assert own.dropout == 0.1
    assert own.model_copy(update=values_of(settings)) == settings
    assert with_values(settings, values_of(own)) == own
    logarithmic = {name: trial.distributions[name].log for name in TUNED}
    assert logarithmic == TUNED


def test_each_trial_has_random_numbers_of_its_own_that_repeat() -> None:
    assert ask(4) == ask(4)
    assert ask(4) != ask(5)
    assert ask(4) != ask(4, seed=1)


def test_log_ranges_are_drawn_on_a_log_scale() -> None:
    rates = sorted(ask(number)["task_lr"] for number in range(60))
    assert 1e-5 <= rates[0] < 1e-4
    assert 1e-4 < rates[30] < 1e-3, "the middle of 1e-5 to 1e-2"


def test_the_pruner_leaves_the_first_epochs_alone() -> None:
    settings = load_settings({"epochs": "18"}, {})
    pruner = pruner_of(settings)
    assert isinstance(pruner, MedianPruner)
    study = optuna.create_study(pruner=pruner)
    for _ in range(UNPRUNED_TRIALS):
        trial = study.ask()
        for epoch in range(1, 19):
            trial.report(1.0, epoch)
        study.tell(trial, 1.0)
    bad = study.ask()
    pruned = []
    for epoch in range(1, 10):
        bad.report(2.0, epoch)
        pruned.append(bad.should_prune())
    assert pruned == [False] * 8 + [True]
    good = study.ask()
    good.report(0.5, 9)
    assert not good.should_prune()


@pytest.mark.parametrize(("name", "kind"), [("hyperband", HyperbandPruner), ("none", NopPruner)])
def test_other_pruners(name: str, kind: type) -> None:
    assert isinstance(pruner_of(load_settings({"pruner": name}, {})), kind)


def test_what_trials_share_is_all_but_what_is_tuned() -> None:
    def shared(**given: str) -> dict[str, object]:
        return identity_of(load_settings(given, {}), folds=[1])

    assert shared() == shared(task_lr="0.01", dropout="0.4", n_trials="99", jobs="2", pruner="none")
    for changed in ({"epochs": "20"}, {"seed": "1"}, {"task_lr_range": "1e-4,1e-2"}):
        assert shared() != shared(**changed)
    assert STARTUP_TRIALS > UNPRUNED_TRIALS
