"""Decision curve of predicted pulmonary hypertension."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cardio_mlflow.figures.style import NEUTRAL, ONE_COLUMN, WITHOUT_PH, new_figure, say_empty, styled
from cardio_mlflow.parameters import PULMONARY_HYPERTENSION

_PALE_BLUE = "#D3DFEB"


def decision_curve_figure(decision_curve: pd.DataFrame, note: str, *, synthetic: bool) -> Figure:
    """Draw net benefit by threshold probability: by prediction, for treating all, for treating none.

    Args:
        decision_curve: `cardio_mlflow.analysis.decision_curve.decision_curve`'s result.
        note: why it is empty; "" when it is not.
        synthetic: whether the patients are synthetic.
    """
    with styled():
        figure = new_figure(ONE_COLUMN, ONE_COLUMN * 0.95, synthetic=synthetic)
        axes = figure.subplots()
        axes.set(xlabel="threshold probability (no unit)", ylabel="net benefit (per patient)")
        if decision_curve.empty:
            say_empty(axes, note or "no decision curve")
            return figure
        threshold, model, low, high, treat_all = (
            decision_curve[name].to_numpy(np.float64)
            for name in ("threshold", "model", "model_low", "model_high", "treat_all")
        )
        axes.plot(threshold, model, color=WITHOUT_PH, linewidth=1.6, zorder=3, label="by prediction")
        axes.fill_between(threshold, low, high, color=_PALE_BLUE, linewidth=0, zorder=0, label="its 95 % CI")
        axes.plot(threshold, treat_all, color=NEUTRAL, linestyle="--", linewidth=1, label="treat all")
        axes.axhline(0, color="black", linestyle=":", linewidth=1, label="treat none")
        prevalence = float(decision_curve["prevalence"].iloc[0])
        floor = -0.25 * max(prevalence, 0.1)
        axes.set(xlim=(0, 1), ylim=(floor, 1.15 * float(np.nanmax([prevalence, *high, *model, 0.05]))))
        criterion = f"{PULMONARY_HYPERTENSION.key} {PULMONARY_HYPERTENSION.criterion}"
        n = int(decision_curve["n"].iloc[0])
        axes.set_title(f"{criterion}, n = {n}, {100 * prevalence:.0f} % have it")
        figure.legend(loc="outside lower center", ncols=2)
    return figure
