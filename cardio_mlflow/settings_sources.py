"""Where settings come from beside the command line: the environment and the presets.

This is the only module that reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Final

import yaml

from cardio_mlflow.errors import InputError

PRESETS: Final = ("demo", "study", "recommended")
_LIBRARIES: Final = {"MPLCONFIGDIR": "matplotlib", "NUMBA_CACHE_DIR": "numba", "HF_HOME": "huggingface"}
"""Variables of libraries that name a folder, and its name in the project's cache."""
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


def prepare_for_ray(answer: float) -> None:
    """Set, before Ray is imported, what its client needs to join a cluster, as far as the user has not.

    Where there is a token, the client shows it: the head of a cluster asks for one as soon as its machine
    has it, and the client, unlike the head, does not look for it of its own accord.

    Args:
        answer: seconds within which the cluster must have let the client in.
    """
    token = Path("~/.ray/auth_token").expanduser().is_file()
    if token or os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    for name in ("RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S", "RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S"):
        os.environ.setdefault(name, str(max(1, round(answer / 3))))  # it tries three times


def put_caches_of_libraries(arguments: Sequence[str]) -> None:
    """Put what libraries keep for later into the project's cache, where the user's home cannot be written to.

    It has to be called before matplotlib, numba and transformers are imported, which read this from the
    environment. What the user has set stays.

    Args:
        arguments: of the command line, which may name the ``cache``.
    """
    home = Path.home()
    if home.is_dir() and os.access(home, os.W_OK | os.X_OK):
        return
    words = dict(pairwise([*arguments, ""])) | dict(word.split("=", 1) for word in arguments if "=" in word)
    if cache := words.get("--cache") or from_environment().get("cache"):
        for name, folder in _LIBRARIES.items():
            os.environ.setdefault(name, str(Path(cache) / folder))
