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
from cardio_mlflow.figures.tuning import tuning_history, tuning_importance, tuning_parallel, tuning_slices
from cardio_mlflow.pipelines.study_runs import command
from cardio_mlflow.settings import TUNED, Settings
from cardio_mlflow.tracking.finished import predictions_of
from cardio_mlflow.tracking.new_runs import TUNED_BY
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.tuning.search import range_of, values_of
from cardio_mlflow.tuning.storage import is_of_defaults

BEST: Final = "best_settings.yaml"
LEAST_FOR_IMPORTANCE: Final = 4
"""Complete trials before an importance is given."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tuned:
    """A tuning that has ended.

    Attributes:
        study: its trials.
        settings: the best ones.
        is_own: whether the trials stand under this command's run, and not under that of one it has joined.
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
        """The trial of the settings as they were before, None where it did not end well."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return next((trial for trial in complete if is_of_defaults(trial)), None)


def log_tuning(run: Run, settings: Settings, tuned: Tuned, folder: str = "") -> None:
    """Log the best settings, tables, figures, metrics and the comparison with the defaults.

    Args:
        run: where to.
        settings: those that the tuning started from.
        tuned: the tuning.
        folder: of the artifacts, such as ``outer-2/``; empty for the run's own.
    """
    trials, importance = trial_table(tuned.study), importance_table(tuned.study, settings)
    run.log_table(trials, f"{folder}tables/trials.csv")
    run.log_table(importance, f"{folder}tables/importance.csv")
    run.log_text(best_yaml(run, tuned, settings), f"{folder}{BEST}")
    mark = settings.is_synthetic
    figures = {
        "tuning_history": tuning_history(trials, synthetic=mark),
        "tuning_importance": tuning_importance(importance, synthetic=mark),
        "tuning_slices": tuning_slices(trials, synthetic=mark),
        "tuning_parallel": tuning_parallel(trials, synthetic=mark),
    }
    run.log_figures(figures, settings.figure_formats, f"{folder}figures")
    if not folder:
        _tell(run, settings, tuned, trials)


def trial_table(study: Study) -> pd.DataFrame:
    """One row per trial that was started.

    Returns:
        number, state, is_default, value (mean over folds of the lowest validation loss; empty unless
        COMPLETE), last_loss (mean validation loss of its last epoch), epochs, the tuned settings, seconds
        and run_id.
    """
    rows = []
    for trial in study.get_trials(deepcopy=False):
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


def importance_table(study: Study, settings: Settings) -> pd.DataFrame:
    """The share of the losses' variance that each tuned setting explains, the largest first.

    By functional ANOVA (Hutter F, Hoos H, Leyton-Brown K. ICML 2014) on the complete trials. Empty where
    there are too few of them, or nothing varies.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    varied = [n for n in TUNED if range_of(settings, n)[0] < range_of(settings, n)[1]]
    known: dict[str, float] = {}
    if len(complete) >= LEAST_FOR_IMPORTANCE and varied and len({t.value for t in complete}) > 1:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=settings.seed)
        known = optuna.importance.get_param_importances(study, evaluator=evaluator, params=varied)
    return pd.DataFrame({"setting": list(known), "importance": list(known.values())})


def best_yaml(run: Run, tuned: Tuned, settings: Settings) -> str:
    """The best settings as YAML that ``-P settings=`` takes, with the tuning's run that they come from."""
    best = tuned.best
    count, name = len(tuned.study.get_trials(deepcopy=False)), tuned.study.study_name
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


def comparison_with_defaults(tuned: Tuned, settings: Settings) -> pd.DataFrame | None:
    """Paired differences of the best trial to the defaults on the same patients, out of fold.

    None where the defaults are the best, or did not end well.

    Raises:
        InputError: the run of one of both is not in this store.
    """
    defaults, best = tuned.defaults, tuned.best
    if defaults is None or defaults.number == best.number:
        return None
    tables = {
        name: [predictions_of(trial.user_attrs["run_id"]).assign(variant=name)]
        for name, trial in (("defaults", defaults), ("tuned", best))
    }
    return differences(tables, settings.bootstrap, settings.seed, against=("defaults",))


def _tell(run: Run, settings: Settings, tuned: Tuned, trials: pd.DataFrame) -> None:
    """Log and say how the best trial does beside the defaults, and how to use it."""
    best, defaults = tuned.best, tuned.defaults
    states = trials["state"].value_counts()
    words = {"FAIL": "failed or started again"}
    counted = ", ".join(f"{n} {words.get(str(s), str(s).lower())}" for s, n in states.items())
    lines = [f"{len(trials)} trials ({counted}). Best: trial {best.number}, loss {best.value:.4f}, with"]
    lines += [f"    {name} = {value:.3g}" for name, value in values_of(tuned.settings).items()]
    run.log_metrics({"best/loss": float(best.value or 0), "best/trial": float(best.number)})
    compared, reason = None, ""
    try:
        compared = comparison_with_defaults(tuned, settings)
    except InputError as error:
        reason = str(error)
    if defaults is None:
        lines.append("The defaults' own trial did not end well, so there is nothing to compare with.")
    elif reason:
        lines.append(f"Not compared with the defaults: {reason}.")
    elif compared is None:
        lines.append("Nothing did better than the defaults.")
    else:
        run.log_metrics({"defaults/loss": float(defaults.value or 0)})
        run.log_table(compared, "tables/comparison.csv")
        lines.append(f"Loss of the defaults (trial {defaults.number}): {defaults.value:.4f}.")
        then = {name: value for name, value in defaults.params.items() if value != values_of(settings)[name]}
        if then:
            shown = ", ".join(f"{name} = {value:.3g}" for name, value in then.items())
            lines.append(f"The defaults are those that the tuning was started with ({shown}).")
        lines += in_words(compared)
        lines.append(
            "The best was chosen on these patients, so it looks better than it is: see -P nested=true."
        )
    lines.append(f"Train with it: {command('train', settings, settings_from=run.run_id)}")
    run.log_text("\n".join(lines) + "\n", "tuning.txt")
    log.info("%s", "\n".join(lines))
