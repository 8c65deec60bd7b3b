"""One look for every figure: sizes, colours, the synthetic mark, and how a figure is saved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from cardio_mlflow.files import whole_file
from cardio_mlflow.parameters import KEYS, PARAMETERS, Parameter

ONE_COLUMN: Final = 3.4
"""Width of a printed column in inches."""
TWO_COLUMNS: Final = 7.1
"""Width of a printed page in inches."""
DPI: Final = 300
FORMATS: Final = ("png", "eps", "tiff", "pdf", "svg")
SYNTHETIC_MARK: Final = "synthetic cohort"

_MUTED: Final = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499",
)  # fmt: skip
PARAMETER_COLOURS: Final[Mapping[str, str]] = MappingProxyType(dict(zip(KEYS, _MUTED, strict=True)))
"""One colour per parameter, everywhere: Paul Tol's colour-blind-safe "muted" scheme."""
WITHOUT_PH: Final = "#4477AA"
WITH_PH: Final = "#CC3311"
NEUTRAL: Final = "#555555"
PALE: Final = "#BBBBBB"
BAND: Final = "#DDDDDD"
"""Intervals: a solid colour, because EPS holds no transparency."""
STAGE_BAND: Final = "#EEEEEE"
SERIES: Final = ("#4477AA", "#EE7733", "#228833", "#AA3377", "#66CCEE", "#CCBB44", "#BBBBBB", "#000000")
"""Colours of folds and other unnamed series (Paul Tol, "bright" and "vibrant")."""

_STYLE: Final[Mapping[str, object]] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.framealpha": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "lines.linewidth": 1.2,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "savefig.dpi": DPI,
    "image.interpolation": "nearest",
    "ps.fonttype": 42,
    "pdf.fonttype": 42,
    "svg.hashsalt": "cardio_mlflow",
}
_COLOURS_OF: Final = ("get_facecolor", "get_edgecolor", "get_color")
_METADATA: Final[Mapping[str, Mapping[str, None]]] = MappingProxyType(
    {"pdf": MappingProxyType({"CreationDate": None}), "svg": MappingProxyType({"Date": None})}
)
"""No time of writing, so that the same figure gives the same file."""


@contextmanager
def styled() -> Iterator[None]:
    """Draw with the project's style inside the block, and leave matplotlib's settings as they were."""
    with mpl.rc_context(dict(_STYLE)):
        yield


def new_figure(width: float, height: float, *, synthetic: bool) -> Figure:
    """An empty figure of a size in inches; a synthetic one carries its mark along the right edge."""
    return fit_to_page(Figure(), width, height, synthetic=synthetic)


def fit_to_page(figure: Figure, width: float, height: float, *, synthetic: bool) -> Figure:
    """Give a figure, perhaps one that a library has drawn, its size in inches, layout and mark."""
    figure.set_size_inches(width, height)
    strip = 0.17 / width if synthetic else 0
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, 1 - strip, 1)))
    if synthetic:
        figure.text(
            1 - 0.04 / width, 0.5, SYNTHETIC_MARK, rotation=90, ha="right", va="center", fontsize=7,
            color=NEUTRAL,
        )  # fmt: skip
    return figure


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


def label_with_unit(parameter: Parameter, what: str) -> str:
    """An axis label such as ``reference meanPAP (mmHg)``."""
    return f"{what} {parameter.key} ({parameter.unit})"


def r_with_interval(performance: pd.DataFrame, key: str) -> str:
    """Text such as ``r 0.81 (0.74 to 0.86)`` from a performance table; says when r is not defined."""
    rows = performance[performance["parameter"] == key]
    if rows.empty or np.isnan(rows["r"].iloc[0]):
        return "r not defined"
    return f"r {with_interval(*rows[['r', 'r_low', 'r_high']].iloc[0])}"


def with_interval(value: float, low: float, high: float, *, undefined: str = "not defined") -> str:
    """Text such as ``0.61 (0.55 to 0.67)``; says where the value or the interval is not defined.

    >>> with_interval(0.61, -0.55, 0.67), with_interval(0.61, np.nan, np.nan)
    ('0.61 (−0.55 to 0.67)', '0.61 (no interval)')
    """
    interval = f"{signed(low)} to {signed(high)}" if np.isfinite([low, high]).all() else "no interval"
    return undefined if np.isnan(value) else f"{signed(value)} ({interval})"


def signed(value: float, decimals: int = 2) -> str:
    """A number with a true minus sign, and none before zero.

    >>> signed(-0.314), signed(0.5), signed(-0.001), signed(-0.4, 0)
    ('−0.31', '0.50', '0.00', '0')
    """
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def say_empty(axes: Axes, reason: str) -> None:
    """Write in an axes why it shows nothing."""
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color=NEUTRAL, wrap=True)
    axes.set_xticks([])
    axes.set_yticks([])


def save_figure(figure: Figure, path_without_suffix: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Save a figure at 300 DPI, each file written under a temporary name and renamed.

    PNG and TIFF (RGB, LZW) come from one rendering.

    Args:
        figure: any figure of this package.
        path_without_suffix: the folder is made when it is missing.
        formats: of `FORMATS`.

    Returns:
        The files, in the order of `formats`.

    Raises:
        ValueError: an unknown format, or EPS is wanted of a transparent artist, which it cannot hold.
    """
    if unknown := sorted(set(formats) - set(FORMATS)):
        raise ValueError(f"unknown figure format {', '.join(unknown)}: choose among {', '.join(FORMATS)}")
    if "eps" in formats and (transparent := transparent_artists(figure)):
        raise ValueError(f"EPS holds no transparency: draw {transparent[0]} in an opaque colour")
    path_without_suffix.parent.mkdir(parents=True, exist_ok=True)
    pixels = _rendered(figure) if {"png", "tiff"} & set(formats) else None
    paths = []
    for suffix in formats:
        path = path_without_suffix.with_name(f"{path_without_suffix.name}.{suffix}")
        with whole_file(path) as part:
            if pixels is not None and suffix in ("png", "tiff"):
                options = {"compression": "tiff_lzw"} if suffix == "tiff" else {}
                pixels.save(part, format=suffix, dpi=(DPI, DPI), **options)
            else:
                with styled():
                    figure.savefig(part, format=suffix, dpi=DPI, metadata=_METADATA.get(suffix))
        paths.append(path)
    return paths


def save_with_print(figure: Figure, folder: Path, name: str, formats: Sequence[str]) -> None:
    """Save a figure as PNG in ``folder``, and in the other `formats` in ``folder/print``."""
    save_figure(figure, folder / name)
    if for_print := [suffix for suffix in formats if suffix != "png"]:
        save_figure(figure, folder / "print" / name, for_print)


def transparent_artists(figure: Figure) -> list[Artist]:
    """The visible artists of a figure that are drawn, but not wholly opaque."""
    return [artist for artist in figure.findobj() if artist.get_visible() and _is_transparent(artist)]


def _is_transparent(artist: Artist) -> bool:
    opacity = artist.get_alpha()
    if opacity is not None and bool(np.any(np.asarray(opacity) < 1)):
        return True
    for name in _COLOURS_OF:
        colours = getattr(artist, name)() if hasattr(artist, name) else "none"
        if isinstance(colours, str) and colours in ("none", "face"):
            continue
        opacities = to_rgba_array(colours)[:, 3]
        if bool(np.any((opacities > 0) & (opacities < 1))):
            return True
    return False


def _rendered(figure: Figure) -> Image.Image:
    """The figure's pixels at 300 DPI, RGB."""
    buffer = BytesIO()
    with styled():
        figure.savefig(buffer, format="rgba", dpi=DPI)
    width, height = (int(inches * DPI) for inches in figure.get_size_inches())
    return Image.frombytes("RGBA", (width, height), buffer.getvalue()).convert("RGB")
