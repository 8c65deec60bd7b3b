"""What is tuned: five settings within their ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from optuna import Trial

from cardio_mlflow.settings import Settings

TUNED: Final[Mapping[str, bool]] = {
    "task_lr": True, "vit_lr": True, "layer_decay": False, "weight_decay": True, "dropout": False,
}  # fmt: skip
"""The settings that are tuned, and whether on a log scale."""


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
