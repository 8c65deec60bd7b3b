"""What a tuning ends with: the best settings, tables and figures of the trials, and how the defaults do."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
import optuna
import pandas as pd
import yaml
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from cardio_mlflow.analysis.comparison import differences, in_words
from cardio_mlflow.errors import InputError
from cardio_mlflow.figures.tuning import tuning_curves, tuning_history, tuning_importance, tuning_slices
from cardio_mlflow.pipelines.study_runs import command
from cardio_mlflow.settings import TUNED, Settings
from cardio_mlflow.tracking.finished import predictions_of
from cardio_mlflow.tracking.new_runs import TUNED_BY
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tuning.search import range_of, values_of
from cardio_mlflow.tuning.storage import is_of_defaults, trials_of

BEST: Final = "best_settings.yaml"
LEAST_FOR_IMPORTANCE: Final = 4
"""Complete trials before an importance is given."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tuned:
    """A tuning that has ended: its trials and the best settings.

    ``is_own`` where the trials stand under this command's run, and not under that of one it has joined.
    """

    study: Study
    settings: Settings
    is_own: bool

    @property
    def best(self) -> FrozenTrial:
        """The trial of the lowest loss."""
        return self.study.best_trial

    @property
    def defaults(self) -> FrozenTrial | None:
        """The trial of the settings as they were before, None where it did not finish."""
        complete = (trial for trial in trials_of(self.study) if trial.state == TrialState.COMPLETE)
        return next((trial for trial in complete if is_of_defaults(trial)), None)


def log_tuning(run: Run, settings: Settings, tuned: Tuned, folder: str = "") -> None:
    """Log the best settings, tables, figures, metrics and the comparison with the defaults.

    Args:
        run: where to.
        settings: those that the tuning started from.
        tuned: the tuning.
        folder: of the artifacts, such as ``outer-2/``; empty for the run's own.
    """
    trials, mark = trial_table(tuned.study), settings.is_synthetic
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=settings.seed)
    importance = importance_of(tuned.study, settings, evaluator)
    run.log_table(trials, f"{folder}tables/trials.csv")
    run.log_table(
        pd.DataFrame(importance.items(), columns=["setting", "importance"]), f"{folder}tables/importance.csv"
    )
    run.log_text(best_yaml(run, tuned, settings), f"{folder}{BEST}")
    figures = {
        "tuning_history": tuning_history(tuned.study, tuned.defaults, synthetic=mark),
        "tuning_curves": tuning_curves(tuned.study, tuned.defaults, synthetic=mark),
        "tuning_slices": tuning_slices(tuned.study, tuned.defaults, list(TUNED), synthetic=mark),
        "tuning_importance": tuning_importance(tuned.study, importance, evaluator, synthetic=mark),
    }
    run.log_figures(figures, settings.figure_formats, f"{folder}figures")
    if not folder:
        _summarise(run, settings, tuned, trials)


def trial_table(study: Study) -> pd.DataFrame:
    """One row per trial that was started.

    Returns:
        number, state, is_default, value (mean over folds of the lowest validation loss; empty unless
        COMPLETE), last_loss (mean validation loss of its last epoch), epochs, the tuned settings, seconds
        and run_id.
    """
    rows = []
    for trial in trials_of(study):
        if trial.state == TrialState.WAITING:
            continue
        losses = trial.intermediate_values
        last = max(losses) if losses else 0
        rows.append(
            {"number": trial.number, "state": trial.state.name, "is_default": is_of_defaults(trial),
             "value": trial.value if trial.state == TrialState.COMPLETE else None,
             "last_loss": losses.get(last), "epochs": last}
            | {name: trial.params.get(name) for name in TUNED}
            | {"seconds": trial.duration.total_seconds() if trial.duration else None,
               "run_id": trial.user_attrs.get("run_id", "")}
        )  # fmt: skip
    columns = ["number", "state", "is_default", "value", "last_loss", "epochs", *TUNED, "seconds", "run_id"]
    table = pd.DataFrame(rows, columns=columns)
    numbers = ["value", "last_loss", *TUNED, "seconds"]
    return table.astype(dict.fromkeys(numbers, np.float64))


def importance_of(
    study: Study, settings: Settings, evaluator: optuna.importance.BaseImportanceEvaluator
) -> dict[str, float]:
    """The share of the losses' variance that each tuned setting explains, the largest first.

    By functional ANOVA (Hutter F, Hoos H, Leyton-Brown K. ICML 2014) on the complete trials. Empty where
    there are too few of them, or nothing varies.
    """
    complete = [trial for trial in trials_of(study) if trial.state == TrialState.COMPLETE]
    varied = [n for n in TUNED if range_of(settings, n)[0] < range_of(settings, n)[1]]
    if len(complete) < LEAST_FOR_IMPORTANCE or not varied or len({t.value for t in complete}) == 1:
        return {}
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator, params=varied))


def best_yaml(run: Run, tuned: Tuned, settings: Settings) -> str:
    """The best settings as YAML that ``-P settings=`` takes, with the tuning's run that they come from."""
    best = tuned.best
    count, name = len(trials_of(tuned.study)), tuned.study.study_name
    head = (
        f"# Best of {count} trials of the tuning {name}: trial {best.number}, mean validation loss "
        f"{best.value:.4f}.\n"
    )
    synthetic = "# Tuned on the synthetic cohort.\n" if settings.is_synthetic else ""
    best_values = values_of(tuned.settings)
    others = {k: v for k, v in tuned.settings.configuration().items() if k not in best_values}
    same = yaml.safe_dump({"preset": settings.preset, **others}, sort_keys=False, allow_unicode=True)
    best_text = yaml.safe_dump(best_values | {TUNED_BY: run.run_id}, sort_keys=False)
    return f"{head}{synthetic}{best_text}# All else as the trials had it:\n{same}"


def _summarise(run: Run, settings: Settings, tuned: Tuned, trials: pd.DataFrame) -> None:
    """Log and say how the best trial does beside the defaults, and how to use it."""
    best = tuned.best
    words = trials["state"].replace("FAIL", "failed or started again").str.lower()
    counted = ", ".join(f"{count} {state}" for state, count in words.value_counts().items())
    lines = [f"{len(trials)} trials ({counted}). Best: trial {best.number}, loss {best.value:.4f}, with"]
    lines += [f"    {name} = {value:.3g}" for name, value in values_of(tuned.settings).items()]
    run.log_metrics({"best/loss": float(best.value or 0), "best/trial": float(best.number)})
    lines += _against_defaults(run, settings, tuned)
    lines.append(f"Train with it: {command('train', settings, settings_from=run.run_id)}")
    run.log_text("\n".join(lines) + "\n", "tuning.txt")
    log.info("%s", "\n".join(lines))


def _against_defaults(run: Run, settings: Settings, tuned: Tuned) -> list[str]:
    """Log and say how the best trial does beside the defaults: paired by patient, out of fold."""
    defaults, best = tuned.defaults, tuned.best
    if defaults is None:
        return ["The defaults' own trial did not finish, so there is nothing to compare with."]
    if defaults.number == best.number:
        return ["Nothing did better than the defaults."]
    try:
        tables = {
            name: [predictions_of(trial.user_attrs["run_id"]).assign(variant=name)]
            for name, trial in (("defaults", defaults), ("tuned", best))
        }
        compared = differences(tables, settings.bootstrap, settings.seed, against=("defaults",))
    except InputError as error:
        return [f"Not compared with the defaults: {error}."]
    run.log_metrics({"defaults/loss": float(defaults.value or 0)})
    run.log_table(compared, "tables/comparison.csv")
    lines = [f"Loss of the defaults (trial {defaults.number}): {defaults.value:.4f}."]
    now = values_of(settings)
    if then := [f"{name} = {value:.3g}" for name, value in defaults.params.items() if value != now[name]]:
        lines.append(f"The defaults are those that the tuning was started with ({', '.join(then)}).")
    return [
        *lines, *in_words(compared),
        "The best was chosen on these patients, so it looks better than it is: see -P nested=true.",
    ]  # fmt: skip
