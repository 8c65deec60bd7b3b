"""Whether the tuning finds the best, and its cost: `python -m benchmarks.tuning_search [search] [overhead]`.

`search`: a training whose best learning rates are known: stochastic gradient descent on two quadratics, one
for the task parameters and one for the backbone, whose expected loss after each step has a closed form.
Thirty trials with the project's sampler and pruner, forty seeds, beside random search. Targets: both rates
within a factor of two of the best in 90 % of the seeds, a lower mean loss than random search. Half a minute.

`overhead`: seconds that a trial takes beside its training (database, MLflow, sampler, pruner), for the first
trials and for those after two hundred. Target: 0.2 s. Two minutes.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import mlflow
import numpy as np
import optuna
from optuna import Trial
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler

from cardio_mlflow.parameters import FACTS, KEYS
from cardio_mlflow.pipelines import trials
from cardio_mlflow.pipelines.trials import Tuning, run_trial
from cardio_mlflow.pipelines.tuning_workers import begin_trial, study_of
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.tracking.new_runs import command_run
from cardio_mlflow.training.fit import EpochRecord, JointEpoch
from cardio_mlflow.training.scaling import fit_scaler
from cardio_mlflow.tuning.search import pruner_of, sampler_of, suggested

TRIALS = 30
SEEDS = 40
EPOCHS = 18
STEPS = 10
"""Steps an epoch."""
NOISE = 0.02
"""SD of what is measured, as a share of the loss."""


@dataclass(frozen=True)
class Quadratic:
    """0.5 · curvature · x² from x = 1, with gradients of a noise variance."""

    curvature: float
    noise: float

    def loss(self, rate: float, steps: int) -> float:
        """Expected loss after some steps of gradient descent; no more than a hundred times the first one."""
        shrink = (1 - rate * self.curvature) ** 2
        if shrink >= 1:
            return 50 * self.curvature
        spread = rate**2 * self.noise * (1 - shrink**steps) / (1 - shrink)
        return float(0.5 * self.curvature * (shrink**steps + spread))


TASK = Quadratic(curvature=30.0, noise=600.0)
BACKBONE = Quadratic(curvature=300.0, noise=6000.0)


def best_rate(problem: Quadratic) -> float:
    """The rate of the lowest loss at the end, by a fine grid."""
    grid = np.geomspace(1e-6, 1e-1, 20_001)
    return float(grid[np.argmin([problem.loss(rate, EPOCHS * STEPS) for rate in grid])])


def loss_of(settings: Settings, epoch: int) -> float:
    """Expected loss; weight decay, layer decay and dropout matter a little, least at their defaults."""
    steps = epoch * STEPS
    aside = 0.02 * (np.log10(settings.weight_decay) + 4) ** 2 + 0.2 * (settings.layer_decay - 0.8) ** 2
    aside += 0.5 * (settings.dropout - 0.15) ** 2
    return TASK.loss(settings.task_lr, steps) + BACKBONE.loss(settings.vit_lr, steps) + float(aside)


def search(settings: Settings, seed: int, *, random: bool) -> tuple[Settings, int]:
    """The best settings of a search, and how many trials were pruned."""
    noise = np.random.default_rng(seed)
    pruner = NopPruner() if random else pruner_of(settings)
    study = optuna.create_study(pruner=pruner)

    def train(trial: Trial) -> float:
        own = suggested(trial, settings)
        seen = []
        for epoch in range(1, EPOCHS + 1):
            seen.append(loss_of(own, epoch) * (1 + NOISE * noise.normal()))
            trial.report(seen[-1], epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return min(seen)

    for number in range(TRIALS):
        study.sampler = RandomSampler(seed * 1000 + number) if random else sampler_of(seed, number)
        study.optimize(train, n_trials=1)
    best = settings.model_copy(update=study.best_params)
    return best, sum(t.state == optuna.trial.TrialState.PRUNED for t in study.trials)


def show_search() -> bool:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = load_settings({"epochs": str(EPOCHS)}, {})
    wanted = {"task_lr": best_rate(TASK), "vit_lr": best_rate(BACKBONE)}
    known = ", ".join(f"{rate} {value:.2e}" for rate, value in wanted.items())
    print(f"best: {known}; {TRIALS} trials, {SEEDS} seeds")
    means, reached = {}, {}
    for name, random in (("TPE with pruning", False), ("random search", True)):
        found = [search(settings, seed, random=random) for seed in range(SEEDS)]
        close = {
            rate: [0.5 <= getattr(own, rate) / value <= 2 for own, _ in found]
            for rate, value in wanted.items()
        }
        close["both"] = [all(rates) for rates in zip(*close.values(), strict=True)]
        near = {rate: sum(hits) for rate, hits in close.items()}
        means[name] = statistics.mean(loss_of(own, EPOCHS) for own, _ in found)
        reached[name] = near["both"]
        pruned = statistics.mean(count for _, count in found)
        told = ", ".join(f"{rate} {count} of {SEEDS}" for rate, count in near.items())
        print(f"{name:<17} within a factor of two: {told}; mean loss {means[name]:.3f}; {pruned:.1f} pruned")
    return reached["TPE with pruning"] >= 0.9 * SEEDS and means["TPE with pruning"] < means["random search"]


class NoTraining:
    """A training set whose folds train in no time: what is left of a trial is its overhead."""

    processes = None
    references = np.random.default_rng(1).lognormal(1, 0.3, (20, len(KEYS)))

    def epochs(self, _states: object, _folds: object, settings: Settings, *_: object) -> Iterator[JointEpoch]:
        """Epochs of two folds with the losses of the known problem."""
        scaled = np.random.default_rng(0).normal(size=self.references.shape)
        for epoch in range(1, settings.epochs + 1):
            loss = loss_of(settings, epoch)
            record = EpochRecord(epoch, 0, loss, loss, scaled, {}, 1e-3, 1e-4, improved=True)
            yield JointEpoch((record, record))

    def fold(self, fold: int, *_: object) -> trials._TrialFold:
        """A fold that has been trained."""
        data = SimpleNamespace(validation=range(len(self.references)))
        state = SimpleNamespace(best_loss=1.0, best_predictions=np.zeros_like(self.references))
        facts = np.full((len(self.references), len(FACTS)), np.nan)
        scaler = fit_scaler(self.references)
        return trials._TrialFold(fold, data, scaler, self.references, facts, state)  # type: ignore[arg-type]

    @property
    def patients(self) -> list[str]:
        """Their ids."""
        return [f"P{i:02d}" for i in range(len(self.references))]


def show_overhead() -> bool:
    settings = load_settings({"epochs": str(EPOCHS), "n_trials": "220"}, {})
    data, seconds = NoTraining(), []
    nobody = SimpleNamespace(digest="none")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(patch.object(trials, "fit_together", data.epochs))
        stack.enter_context(patch.object(trials, "_trial_fold", data.fold))
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        own = settings.model_copy(update={"cache": Path(folder)})
        run = stack.enter_context(command_run())
        address = f"sqlite:///{folder}/tuning.db"
        tuning = Tuning(own, nobody, "overhead", address, (1, 2), run.run_id, run.run_id)  # type: ignore[arg-type]
        study = study_of(tuning)
        for _ in range(settings.n_trials):
            start = time.perf_counter()
            begin_trial(tuning, study, lambda trial: run_trial(tuning, trial, data))  # type: ignore[arg-type]
            seconds.append(time.perf_counter() - start)
        pruned = [t.state == optuna.trial.TrialState.PRUNED for t in study.trials]
    full = [s for s, given_up in zip(seconds, pruned, strict=True) if not given_up]
    late = [s for s, given_up in zip(seconds[200:], pruned[200:], strict=True) if not given_up]
    first, last = statistics.median(full[:10]), statistics.median(late or seconds[200:])
    after = statistics.median(seconds[200:])
    print(f"a whole trial beside its training: {first:.3f} s at the start, {last:.3f} s after 200 trials")
    print(f"median of all trials after 200: {after:.3f} s; {sum(pruned)} of {len(pruned)} pruned")
    return last <= 0.2


def main() -> None:
    wanted = sys.argv[1:] or ["search", "overhead"]
    shown = {"search": show_search, "overhead": show_overhead}
    met = [shown[name]() for name in wanted]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
