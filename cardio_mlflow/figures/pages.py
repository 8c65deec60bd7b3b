"""A page of nine axes, one parameter each in table order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cardio_mlflow.figures.style import TWO_COLUMNS, new_figure
from cardio_mlflow.parameters import KEYS, PARAMETERS, Parameter


def parameter_page(
    draw: Callable[[Axes, Parameter], None],
    handles: Sequence[Artist] = (),
    *,
    synthetic: bool,
    height: float = TWO_COLUMNS * 1.02,
    title: str = "",
    shown: Collection[str] = KEYS,
) -> Figure:
    """Draw 3×3 axes, one parameter each in table order, with one legend below and one title above.

    Args:
        draw: draws one parameter in its axes.
        handles: of the legend; none leaves it out.
        synthetic: whether the patients are synthetic.
        height: of the page in inches.
        title: in words; empty leaves it out.
        shown: the parameters that there are; the place of another stays empty.
    """
    figure = new_figure(TWO_COLUMNS, height, synthetic=synthetic)
    for axes, wanted in zip(figure.subplots(3, 3).flat, PARAMETERS, strict=True):
        if wanted.key in shown:
            draw(axes, wanted)
        else:
            axes.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=8)
    if handles:
        figure.legend(handles=list(handles), loc="outside lower center", ncols=len(handles))
    return figure
