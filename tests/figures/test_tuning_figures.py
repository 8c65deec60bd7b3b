from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import optuna
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from optuna import Study
from optuna.trial import FrozenTrial, TrialState, create_trial
from PIL import Image

from cardio_mlflow.figures import style
from cardio_mlflow.figures.style import SYNTHETIC_MARK, save_figure
from cardio_mlflow.figures.tuning import tuning_curves, tuning_history, tuning_importance, tuning_slices
from cardio_mlflow.settings import TUNED

EVALUATOR = optuna.importance.FanovaImportanceEvaluator(seed=0)
RANGES = {
    "task_lr": (1e-5, 1e-2), "vit_lr": (1e-6, 1e-4), "layer_decay": (0.5, 1.0),
    "weight_decay": (1e-6, 1e-2), "dropout": (0.0, 0.5),
}  # fmt: skip


def study_of(count: int, losses: dict[int, float] | None = None) -> Study:
    """Trials of which each third is pruned and each seventh fails; the first is of the default settings."""
    rng = np.random.default_rng(count)
    study = optuna.create_study()
    kinds = {n: optuna.distributions.FloatDistribution(*RANGES[n], log=log) for n, log in TUNED.items()}
    for number in range(count):
        state = TrialState.PRUNED if number % 3 == 2 else TrialState.COMPLETE
        state = TrialState.FAIL if number % 7 == 6 else state
        values = {n: float(rng.uniform(*RANGES[n])) for n in TUNED}
        loss = (losses or {}).get(number, 0.5 + 0.2 * values["dropout"] + 0.01 * rng.uniform())
        study.add_trial(create_trial(
            state=state, value=loss if state == TrialState.COMPLETE else None, params=values,
            distributions=kinds, user_attrs={"defaults": number == 0},
            intermediate_values={epoch: loss + 0.1 / epoch for epoch in range(2, 4)},
        ))  # fmt: skip
    return study


def drawn(study: Study, *, synthetic: bool) -> dict[str, Figure]:
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    defaults: FrozenTrial | None = next((t for t in complete if t.user_attrs["defaults"]), None)
    importance: dict[str, float] = {}
    if len({t.value for t in complete}) > 3:
        importance = optuna.importance.get_param_importances(study, evaluator=EVALUATOR)
    return {
        "history": tuning_history(study, defaults, synthetic=synthetic),
        "slices": tuning_slices(study, defaults, list(TUNED), synthetic=synthetic),
        "curves": tuning_curves(study, defaults, synthetic=synthetic),
        "importance": tuning_importance(study, importance, EVALUATOR, synthetic=synthetic),
    }


def words(figure: Figure) -> str:
    figure.canvas.draw()
    shown = [t for t in figure.findobj(mpl.text.Text) if t.get_text() and t.get_visible()]
    assert min(text.get_fontsize() for text in shown) >= 6.5
    return " ".join(text.get_text() for text in shown)


@pytest.mark.parametrize("count", [1, 2, 20, 100])
def test_figures_are_marked_legible_and_saved_whole_and_leave_no_trace(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "DPI", 100)
    before = dict(mpl.rcParams), dict(mpl.style.library["ggplot"])
    study = study_of(count)
    for name, figure in drawn(study, synthetic=True).items():
        png, eps = save_figure(figure, tmp_path / name, ("png", "eps"))
        assert eps.stat().st_size > 0
        pixels = np.asarray(Image.open(png).convert("L"))
        assert all(edge.min() > 250 for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])), name
        assert SYNTHETIC_MARK in words(figure)
        assert "Plot" not in words(figure), "Optuna's own title"
    assert (dict(mpl.rcParams), dict(mpl.style.library["ggplot"])) == before
    assert not plt.get_fignums()
    assert not any(SYNTHETIC_MARK in words(figure) for figure in drawn(study, synthetic=False).values())


def test_the_history_holds_every_trial_the_best_and_the_defaults() -> None:
    study = study_of(20)
    figure = drawn(study, synthetic=False)["history"]
    (axes,) = figure.axes
    complete, pruned = (
        study.get_trials(states=(state,)) for state in (TrialState.COMPLETE, TrialState.PRUNED)
    )
    marks = {marks.get_label(): marks.get_offsets() for marks in axes.collections}
    np.testing.assert_allclose(marks["complete"], [(t.number, t.value) for t in complete])
    last = [(t.number, t.intermediate_values[3]) for t in pruned]
    np.testing.assert_allclose(marks["pruned, at the last loss"], last)
    assert f"best: {study.best_value:.4g}" in words(figure)
    assert f"default settings: {study.trials[0].value:.4g}" in words(figure)
    assert "off the scale" not in words(figure)


def test_losses_far_above_the_others_are_off_the_scale_and_counted_but_not_the_defaults() -> None:
    for losses, said in (({3: 30.0, 4: np.inf}, "1 off the scale"), ({0: 3.0}, "")):
        figure = drawn(study_of(20, losses), synthetic=False)["history"]
        top = figure.axes[0].get_ylim()[1]
        assert ("off the scale" in words(figure)) == bool(said)
        assert said in words(figure)
        assert top < 1 if said else top > 3


def test_slices_set_each_setting_against_the_objective() -> None:
    study = study_of(20)
    *panels, _ = drawn(study, synthetic=False)["slices"].axes
    assert {axes.get_xlabel().split("\n")[0] for axes in panels} == set(TUNED)
    for axes in panels:
        name = axes.get_xlabel().split("\n")[0]
        assert axes.get_xscale() == ("log" if TUNED[name] else "linear")
        best, default = axes.lines
        assert (best.get_xdata()[0], best.get_ydata()[0]) == (study.best_params[name], study.best_value)
        assert default.get_xdata()[0] == study.trials[0].params[name]


def test_importance_has_the_largest_on_top_and_too_few_trials_say_so() -> None:
    figure = drawn(study_of(30), synthetic=False)["importance"]
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == sorted(widths)
    assert figure.axes[0].get_yticklabels()[-1].get_text() == "dropout", "the loss was made from it"
    assert "too few trials" in words(drawn(study_of(2), synthetic=False)["importance"])


def test_curves_tell_the_best_and_the_defaults_from_the_others() -> None:
    study = study_of(20)
    figure = drawn(study, synthetic=False)["curves"]
    labels = [line.get_label() for line in figure.axes[0].lines if not line.get_label().startswith("_")]
    assert set(labels) == {f"best: trial {study.best_trial.number}", "default settings"}
    assert len(figure.axes[0].lines) == 18, "all but the two that failed"


def test_equal_losses_and_fixed_settings_are_drawn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        figures = drawn(study_of(12, dict.fromkeys(range(12), 0.5)), synthetic=False)
        for figure in figures.values():
            figure.canvas.draw()
    assert figures.keys() == drawn(study_of(20), synthetic=False).keys()
