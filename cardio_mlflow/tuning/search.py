"""How the next trial is chosen, and when one is given up."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Final

from optuna import Trial
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler

from cardio_mlflow.settings import TUNED, Settings

STARTUP_TRIALS: Final = 5
"""Trials that are drawn at random, before TPE has something to learn from; the defaults are one of them."""
UNPRUNED_TRIALS: Final = 4
"""Complete trials before the median says anything."""


def sampler_of(seed: int, number: int) -> TPESampler:
    """The sampler of one trial: a multivariate tree-structured Parzen estimator.

    Bergstra J et al. Algorithms for hyper-parameter optimization. NeurIPS 2011. It is seeded by the trial's
    number too, so that a tuning that was stopped goes on with other random numbers, and one worker alone
    repeats its trials. Trials that run elsewhere count as bad, so that workers do not try the same.

    Args:
        seed: of the tuning.
        number: of the trial, 0-based.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(
            seed=(seed * 100_003 + number) % 2**31, n_startup_trials=STARTUP_TRIALS, multivariate=True,
            constant_liar=True,
        )  # fmt: skip


def first_pruned(settings: Settings) -> int:
    """The first epoch after which a trial may be pruned: half way, or with ``hyperband`` a sixth of it.

    Earlier, rates that are too high look better than they are: pruning from a third on found the best rates
    of a known problem in 78 % of the searches, from half way on in 93 % (benchmarks.tuning_search).
    """
    return max(1, settings.epochs // (6 if settings.pruner == "hyperband" else 2))


def pruner_of(settings: Settings) -> BasePruner:
    """The rule that gives up a trial by the validation losses of its epochs.

    ``median``: its best loss so far is worse than the median of the other trials at this epoch (Golovin D et
    al. Google Vizier. KDD 2017). ``hyperband``: Li L et al. J Mach Learn Res 2018;18:1-52, with a factor of
    three. Neither gives one up before `first_pruned`.
    """
    first = first_pruned(settings)
    if settings.pruner == "median":
        return MedianPruner(n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=first)
    if settings.pruner == "hyperband":
        return HyperbandPruner(min_resource=first, max_resource=settings.epochs, reduction_factor=3)
    return NopPruner()


def range_of(settings: Settings, name: str) -> tuple[float, float]:
    """Lowest and highest value of a tuned setting."""
    limits: tuple[float, float] = getattr(settings, f"{name}_range")
    return limits


def suggested(trial: Trial, settings: Settings) -> Settings:
    """The settings of a trial: the five as the trial suggests them, all others as they are."""
    values = {
        name: trial.suggest_float(name, *range_of(settings, name), log=log) for name, log in TUNED.items()
    }
    return with_values(settings, values)


def with_values(settings: Settings, values: Mapping[str, float]) -> Settings:
    """The settings with other values of what is tuned.

    Raises:
        ValidationError: a value is not allowed.
    """
    return Settings.model_validate(settings.model_dump() | {name: values[name] for name in TUNED})


def values_of(settings: Settings) -> dict[str, float]:
    """The values of what is tuned."""
    return {name: float(getattr(settings, name)) for name in TUNED}


def outside_ranges(settings: Settings) -> list[str]:
    """The values of what is tuned that lie outside their range, such as ``dropout=0.6``."""
    return [
        f"{name}={value:g}"
        for name, value in values_of(settings).items()
        if not range_of(settings, name)[0] <= value <= range_of(settings, name)[1]
    ]


def identity_of(settings: Settings, **more: object) -> dict[str, object]:
    """All that the trials of one tuning have to share, so that their losses can be compared, by name."""
    shared = {name: value for name, value in settings.configuration().items() if name not in TUNED}
    return shared | {f"{name}_range": list(range_of(settings, name)) for name in TUNED} | more
