"""Where settings come from beside the command line: the environment and the presets.

This is the only module that reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from typing import Final

import yaml

from cardio_mlflow.errors import InputError

PRESETS: Final = ("demo", "study", "recommended")
ENVIRONMENT_PREFIX: Final = "CARDIOAI_"


def from_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Names and values of the ``CARDIOAI_*`` variables.

    Args:
        environment: the environment to read; the process's own by default.
    """
    return {
        name.removeprefix(ENVIRONMENT_PREFIX).lower(): value
        for name, value in (os.environ if environment is None else environment).items()
        if name.startswith(ENVIRONMENT_PREFIX) and value
    }


def preset_values(name: str) -> dict[str, object]:
    """A preset's settings.

    Raises:
        InputError: there is no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"There is no preset called {name!r}. Known: {', '.join(PRESETS)}.")
    text = resources.files("cardio_mlflow").joinpath("presets", f"{name}.yaml").read_text(encoding="utf-8")
    values: dict[str, object] = yaml.safe_load(text)
    return {"preset": name} | values


def launched_processes() -> int:
    """How many processes ``torch.distributed.run`` has started for this command; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_rank() -> int:
    """This process's number among them, 0-based."""
    return int(os.environ.get("RANK", "0"))
