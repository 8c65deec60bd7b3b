"""Where settings come from: presets, the environment, the command line, YAML; and what is wrong with them.

This is the only module that reads the environment.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, get_args

import yaml
from pydantic import ValidationError

from cardio_mlflow.errors import InputError
from cardio_mlflow.settings import Preset, Settings, overlaid

DECLARED: Final = {"preset": "auto", "data": "auto", "study": "auto"}
"""The ``-P`` parameters that MLproject declares for every entry point, and their value when left alone."""
PRESETS: Final = get_args(Preset)
ENVIRONMENT_PREFIX: Final = "CARDIOAI_"
_LIBRARIES: Final = {"MPLCONFIGDIR": "matplotlib", "NUMBA_CACHE_DIR": "numba", "HF_HOME": "huggingface"}
"""Variables of libraries that name a folder, and its name in the project's cache."""
LONGEST: Final = 100
"""Characters of a refused value that are repeated."""
FAULTS: Final = (
    yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError,
)  # fmt: skip
"""What PyYAML raises of a hostile text, beside its own errors."""


def load_settings(
    given: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
    stored: Mapping[str, object] | None = None,
) -> Settings:
    """Resolve settings: ``given``, then ``stored``, then ``CARDIOAI_*`` variables, then the preset.

    Args:
        given: names and values as typed after ``-P``. An empty value, and ``auto`` for a declared
            parameter, stand for not given.
        environment: the environment to read; the process's own by default.
        stored: settings of a file or of another run.

    Raises:
        InputError: an unknown name (with the nearest known one) or a value that is not allowed
            (with what is).

    >>> load_settings({"epochs": "4"}, {"CARDIOAI_EPOCHS": "9", "CARDIOAI_SEED": "3"}).epochs
    4
    """
    own = {name: value for name, value in given.items() if value not in (DECLARED.get(name), "")}
    layers: dict[str, Mapping[str, object]] = {
        f"setting (from a {ENVIRONMENT_PREFIX}* variable)": from_environment(environment),
        "setting (in the stored settings)": stored or {},
        "setting": own,
    }
    presets = [str(layer["preset"]) for layer in layers.values() if "preset" in layer]
    for what, layer in layers.items():
        check_names(layer, Settings.model_fields, what)
    values: dict[str, object] = preset_values(presets[-1] if presets else "demo")
    for layer in layers.values():
        values = overlaid(values, layer)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise InputError(explain(error, Settings.model_json_schema())) from None


def settings_from_yaml(text: str) -> Settings:
    """Read settings written by ``Settings.to_yaml``.

    Raises:
        InputError: the text is not a settings file of this version.
    """
    values = read_settings_yaml(text, "These settings were not written by this version: the text")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        detail = explain(error, Settings.model_json_schema())
        raise InputError(f"These settings were not written by this version: {detail}") from None


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


def stop_telemetry() -> None:
    """Have MLflow, which is yet to be imported, report nothing to its makers, unless the user has set it to.

    Its thread changes the environment while others read it, of which a request to a server can fail.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


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


class _PlainLoader(yaml.SafeLoader):
    """Builds plain values only, none of them twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds an alias, which may make a small file huge")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if again := [name for number, name in enumerate(names) if name in names[:number]]:
            raise yaml.YAMLError(f"it gives {again[0][:40]} twice")
        values: dict[Any, Any] = super().construct_mapping(node, deep)
        return values


def read_settings_yaml(text: str, source: str) -> dict[str, object]:
    r"""Read names and values from YAML.

    Args:
        text: the file's.
        source: what it is called in an error.

    Raises:
        InputError: it is not YAML, gives a name twice, holds an alias, or is no mapping of names.

    >>> read_settings_yaml("epochs: 4\nviews: [A4C, A2C]", "my.yaml")
    {'epochs': 4, 'views': ['A4C', 'A2C']}
    """
    try:
        values = yaml.load(text, _PlainLoader)
    except FAULTS as error:
        plain = type(error) is yaml.YAMLError
        raise InputError(f"{source} is not YAML of settings{f': {error}' if plain else ''}.") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise InputError(f"{source} holds no settings: each line has to be `name: value`.")
    return values


def check_names(names: Iterable[str], known: Iterable[str], noun: str) -> None:
    """Refuse an unknown name and offer the nearest known one.

    Raises:
        InputError: a name is not among the known ones.
    """
    known = list(known)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name[:LONGEST], known, n=1, cutoff=0.4)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
            raise InputError(f"There is no {noun} called {_shortened(name)!r}. {hint}")


def explain(error: ValidationError, schema: Mapping[str, Any]) -> str:
    """Say in words, a line each, which values are not allowed and what is; of each setting the first fault.

    Args:
        error: what the settings' validation raised.
        schema: the settings' JSON schema.
    """
    first = {str(d["loc"][:1]): d for d in reversed(error.errors(include_url=False))}
    return "\n".join(_explain_one(dict(d), schema) for d in reversed(first.values()))


def _explain_one(detail: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    message = str(detail["msg"]).removeprefix("Value error, ")
    if not detail["loc"]:
        return f"These settings do not fit together: {message}."
    name = str(detail["loc"][0])
    allowed = _allowed(schema["properties"].get(name, {}))
    value = "…" if name == "storage" else _shortened(str(detail["input"]))  # it may hold a password
    return f"{name}={value} is not allowed: {message}.{f' Allowed: {allowed}.' if allowed else ''}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _allowed(setting: Mapping[str, Any]) -> str:
    """The allowed range of a setting, in words, from its own schema."""
    item = setting.get("items", setting)
    if "enum" in item:
        return ", ".join(map(str, item["enum"]))
    bounds = {"minimum": "at least {}", "exclusiveMinimum": "more than {}",
              "maximum": "at most {}", "exclusiveMaximum": "less than {}"}  # fmt: skip
    said = [words.format(item[key]) for key, words in bounds.items() if key in item]
    kind = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}.get(
        item.get("type", "")
    )
    return " ".join(filter(None, [kind, " and ".join(said)]))
