"""From a command line to a pipeline inside an MLflow run, with errors a person can read."""

from __future__ import annotations

import errno
import logging
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from transformers.utils.logging import disable_progress_bar

from cardio_mlflow.errors import InputError
from cardio_mlflow.pipelines.tuning_results import BEST
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import (
    DECLARED,
    check_names,
    from_environment,
    launched_processes,
    load_settings,
    read_settings_yaml,
)
from cardio_mlflow.tracking.finished import FinishedRun, only_run, runs_called
from cardio_mlflow.tracking.new_runs import TUNED_BY, command_run, tags_of
from cardio_mlflow.tracking.runs import STOPPED_BY, Run
from cardio_mlflow.tracking.store import StoreError
from cardio_mlflow.tracking.store_faults import refusal
from cardio_mlflow.training.devices import enough_memory


def quiet() -> None:
    """Plain messages of this package, and only what matters of others."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("cardio_mlflow").setLevel(logging.INFO)
    for noisy in ("transformers", "alembic", "huggingface_hub"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # its tracebacks; what it raises is explained
    disable_progress_bar()
    logging.captureWarnings(capture=True)  # of libraries, to the user no use
    logging.getLogger("py.warnings").setLevel(logging.ERROR)


LARGEST: Final = 100_000
"""Bytes of a settings file; every setting together takes some five thousand."""


def stored_settings(source: str) -> tuple[dict[str, Any], str]:
    """Read the settings that ``-P settings=`` names, and find the tuning that has chosen them.

    Of a whole settings.yaml only what a trained fold depends on is taken: names, paths, workers and what
    comes after training stay those of this command.

    Args:
        source: the path of a YAML file, or the id or the name of an MLflow run: of a tuning, whose best
            settings are taken, or of any other, whose own are.

    Returns:
        The values by name, and the id of the tuning's run; empty where none is known.

    Raises:
        InputError: there is no such file or run, several runs have that name, or it holds no settings.
    """
    if text := _text_of_file(source):
        return _parsed(text, source)
    found = runs_called(source)
    if not found:
        raise InputError(
            f"settings={source}: there is no such file (looked for it from {Path.cwd()}), and no run of this "
            "store has that id or name. Give a file's absolute path, or the run id that the tuning printed."
        )
    run = only_run(found, f"settings={source}")
    values, tuned_by = _parsed(_text_of(run), source)
    return values, tuned_by or _tuning_of(run)


def _tuning_of(run: FinishedRun) -> str:
    """The run of the tuning that a run belongs to, or has its settings from."""
    of_tuning = {"tune": run.run_id, "trial": run.tags.get("mlflow.parentRunId", "")}
    return of_tuning.get(run.tags.get("step", ""), "") or run.tags.get(TUNED_BY, "")


def _text_of_file(source: str) -> str:
    """What the file of this path holds; nothing where there is none.

    Raises:
        InputError: it is too large, empty, or cannot be read.
    """
    try:
        path = Path(source).expanduser()
        if not path.is_file():
            return ""
        if path.stat().st_size > LARGEST:
            raise InputError(f"settings={source} is no settings file: it has more than {LARGEST} bytes.")
        text = path.read_text(encoding="utf-8", errors="replace")
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            return ""
        raise InputError(f"settings={source} cannot be read: {type(error).__name__}.") from error
    if not text.strip():
        raise InputError(f"settings={source} is empty.")
    return text


def _text_of(run: FinishedRun) -> str:
    if run.has(BEST):
        return run.text(BEST)
    if run.tags.get("step") == "tune":
        raise InputError(
            f"The tuning in the run {run.name} has no best settings: it has not ended, or was a nested one, "
            f"which has them for each outer fold. Give the file's path: download outer-1/{BEST} and so on."
        )
    if run.has("settings.yaml"):
        return run.text("settings.yaml")
    raise InputError(f"The run {run.name} has no settings.")


def _parsed(text: str, source: str) -> tuple[dict[str, Any], str]:
    values = read_settings_yaml(text, f"settings={source}")
    tuned_by = str(values.pop(TUNED_BY, ""))
    whole = values.keys() >= {"preset", "study", "cache"}
    kept = set(load_settings({}, {}).configuration()) | {"preset", "variant"} if whole else values
    return {name: value for name, value in values.items() if name in kept}, tuned_by


Pipeline = Callable[..., object]
"""A step, called with the settings, its run and its own options."""

SETTINGS_SOURCE: Final = "settings"
"""The option of every step that names where settings are taken from."""

RESUMING: Final = ("main", "train", "train_fold", "ablation", "tune")
"""The steps that ``resume`` is for."""

log = logging.getLogger(__name__)


def run_command(
    step: str, pipeline: Pipeline, options: Mapping[str, str] | None = None,
    also_called: Mapping[str, str] | None = None,
    needs_store: Callable[[Mapping[str, str]], bool] = lambda _: True,
) -> None:  # fmt: skip
    """Run a pipeline as a command; one that does not end well exits with another status than 0.

    The arguments are ``--name value`` pairs: settings, and the pipeline's own options. The run is
    tagged and holds the resolved settings before the pipeline starts. What the user can mend is shown
    on one screen, without a traceback, and stands on the run as the tag ``failure``.

    Args:
        step: the name of the step, as on the run's tag.
        pipeline: called with the settings, the run and the options as keywords.
        options: the pipeline's own options and their defaults, as text.
        also_called: other names of settings that this step's users would think of.
        needs_store: whether the step, with these arguments, cannot do without an MLflow store. One that can
            has no run where ``mlflow run`` has made none and no store is named.
    """
    arguments = sys.argv[1:]
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(help_text(step, pipeline, options or {}))
        return
    quiet()
    for stop in (signal.SIGINT, signal.SIGTERM):  # a batch system's stop ends the run as Ctrl-C does
        signal.signal(stop, _interrupt)
    try:
        with command_run(needs_store(_understood(arguments))) as run:
            run.set_tags({"step": step})
            run.rename(step)
            with enough_memory(), _note_of_a_stop(run, step, arguments):
                given = _renamed(parse_arguments(arguments), also_called or {})
                _start(step, pipeline, given, dict(options or {}), run)
    except (InputError, StoreError) as error:
        reason = refusal(error) if isinstance(error, StoreError) else error
        sys.stderr.write(f"\nThis did not work:\n{reason}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write(
            f"\nStopped. What was done is kept; the run has the tag {STOPPED_BY}.\n"
            f"{how_to_resume(step, arguments)}\n"
        )
        sys.exit(130)


def parse_arguments(arguments: Sequence[str]) -> dict[str, str]:
    """Read ``--name value`` and ``--name=value`` pairs; dashes within a name count as underscores.

    Raises:
        InputError: a word that is no name, a name without a value, or a name given twice.

    >>> parse_arguments(["--fold", "2", "--vit-lr=3e-5"])
    {'fold': '2', 'vit_lr': '3e-5'}
    """
    given: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        if not word.startswith("--"):
            raise InputError(f"{word!r} is not understood: settings are given as --name value.")
        name, equals, value = word.removeprefix("--").partition("=")
        if not equals:
            value = next(words, "--")
            if value.startswith("--"):
                raise InputError(f"--{name} has no value: settings are given as --name value.")
        name = name.replace("-", "_")
        if name in given:
            raise InputError(f"--{name} is given twice.")
        given[name] = value
    return given


def _understood(arguments: Sequence[str]) -> dict[str, str]:
    """The arguments; none where they are not understood, which is said once there is a run to say it on."""
    try:
        return parse_arguments(arguments)
    except InputError:
        return {}


def _renamed(given: Mapping[str, str], also_called: Mapping[str, str]) -> dict[str, str]:
    """Arguments under the settings' own names; InputError where one is given by both names."""
    for other, name in also_called.items():
        if other in given and name in given:
            raise InputError(f"--{other} and --{name} are the same setting: give one of them.")
    return {also_called.get(name, name): value for name, value in given.items()}


def how_to_resume(step: str, arguments: Sequence[str]) -> str:
    """The command that goes on after a stop.

    >>> how_to_resume("train_fold", ["--fold", "2", "--study", "auto"])
    'Go on with: mlflow run . -e train_fold -P fold=2 -P resume=true --env-manager local'
    """
    if launched_processes() > 1:
        return "Go on with the same command and --resume true"
    given = {name: value for name, value in parse_arguments(arguments).items() if value != "auto"}
    given |= {"resume": "true"} if step in RESUMING else {}
    pairs = " ".join(f"-P {name}={shlex.quote(value)}" for name, value in given.items())
    return " ".join(f"Go on with: mlflow run . -e {step} {pairs} --env-manager local".split())


def help_text(step: str, pipeline: Pipeline, options: Mapping[str, str]) -> str:
    """The pipeline's docstring and the table of settings."""
    lines = [
        f"mlflow run . -e {step} --env-manager local [-P name=value ...]",
        "",
        (pipeline.__doc__ or "").strip(),
        "",
    ]
    lines += [f"  {name:<20} default {default}" for name, default in options.items()]
    lines.append(f"  {SETTINGS_SOURCE:<20} a YAML file of settings, or the id or name of a run that has some")
    for name, field in Settings.model_fields.items():
        lines.append(f"  {name:<20} {field.description}")
    return "\n".join(lines) + "\n"


def _start(step: str, pipeline: Pipeline, given: dict[str, str], options: dict[str, str], run: Run) -> None:
    check_names(given, [*Settings.model_fields, *options, SETTINGS_SOURCE], "setting")
    if launched_processes() > 1 and step != "train_fold":
        raise InputError(
            "torch.distributed.run is for train_fold alone. The other steps start their processes "
            f"themselves: mlflow run . -e {step} -P jobs=…"
        )
    own = {name: given.pop(name, default) for name, default in options.items()}
    source = given.pop(SETTINGS_SOURCE, "")
    stored, tuned_by = stored_settings(source) if source else ({}, "")
    settings = load_settings(given, stored=stored)
    typed = {name for name, value in given.items() if value not in (DECLARED.get(name), "")}
    run.given = frozenset({*typed, *stored, *from_environment()})
    run.set_tags(tags_of(settings, step, **({TUNED_BY: tuned_by} if tuned_by else {})))
    run.log_settings(settings)
    _make_cache(settings.cache)
    pipeline(settings, run, **own)


def _make_cache(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cache={folder}: this folder cannot be made ({error.strerror}). Give one that can: "
            "-P cache=<absolute path of a folder>"
        ) from error


@contextmanager
def _note_of_a_stop(run: Run, step: str, arguments: Sequence[str]) -> Iterator[None]:
    """Where the user stops the run, say on its page how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        run.note(f"Stopped. {how_to_resume(step, arguments)}")
        raise


def _interrupt(stop: int, _frame: FrameType | None) -> None:
    """Stop once: what ``mlflow run`` sends after a Ctrl-C must not cut off the run's end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt(signal.Signals(stop).name)
