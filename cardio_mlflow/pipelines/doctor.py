"""Whether this machine is ready, and what to do where it is not."""

from __future__ import annotations

import logging
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final, Literal

import torch
from huggingface_hub import try_to_load_from_cache
from joblib import cpu_count
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from cardio_mlflow.data.batch.sandbox import Limits, Sandbox
from cardio_mlflow.data.files.header_values import CODECS, Codec
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.errors import InputError
from cardio_mlflow.machine import free_memory
from cardio_mlflow.model.backbone import DEMO_BACKBONE
from cardio_mlflow.pipelines.command_line import help_text, parse_arguments, quiet
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import check_names, load_settings
from cardio_mlflow.tracking.store import StoreError, prepare_store
from cardio_mlflow.tracking.store_faults import refusal, shown_address
from cardio_mlflow.training.devices import available_devices, compute_dtype, memory_of

State = Literal["ok", "note", "FAULT"]

LEAST_MEMORY: Final = 6.0
"""GiB that the demo takes with what other programs need beside it: it was seen to take 4.9."""
LEAST_DISK: Final = 5.0
"""GiB of the cache folder that the demo takes, with room to spare."""
_GIB: Final = 2**30

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        state: FAULT where a command would fail, note where something is slower or missing that not everybody
            needs.
        found: in words.
        advice: what to do; empty where nothing is.
    """

    about: str
    state: State
    found: str
    advice: str = ""


def examine_as_command() -> None:
    """`examine` with the settings of the command line; exits with 1 where something is at fault."""
    arguments = sys.argv[1:]
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(help_text("doctor", examine, {}))
        return
    quiet()
    try:
        given = parse_arguments(arguments)
        check_names(given, Settings.model_fields, "setting")
        ready = examine(load_settings(given))
    except InputError as error:
        sys.stderr.write(f"\nThis did not work:\n{error}\n")
        sys.exit(1)
    sys.exit(0 if ready else 1)


def examine(settings: Settings) -> bool:
    """Is this machine ready: packages, decoders, processor, GPU, memory, disk, store and backbone.

    Nothing is trained and no run of its own is made; the status is 1 where something has to be mended.
    """
    findings = [finding for check in CHECKS for finding in check(settings)]
    width = max(len(finding.about) for finding in findings)
    for one in findings:
        log.info("%-*s  %-5s  %s", width, one.about, one.state, one.found)
        if one.advice:
            log.info("%s  %s", " " * (width + 7), one.advice)
    faults = sum(one.state == "FAULT" for one in findings)
    log.info("%s", f"{faults} to mend, see FAULT above." if faults else "This machine is ready.")
    return not faults


def _packages(_: Settings) -> Iterator[Finding]:
    wanted = [line.partition("==") for line in requires("cardio-mlflow") or () if "extra ==" not in line]
    other = [f"{name} {_installed(name)} (tested: {pinned})" for name, _, pinned in wanted
             if _installed(name) != pinned]  # fmt: skip
    found = f"Python {platform.python_version()}, {len(wanted)} packages"
    if not other:
        yield Finding("packages", "ok", f"{found}, all as tested")
        return
    missing = any(" missing" in text for text in other)
    yield Finding("packages", "FAULT" if missing else "note", f"{found}; {'; '.join(other)}",
                  "pip install -e . in the project's folder and a fresh environment.")  # fmt: skip


def _installed(name: str) -> str:
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return "missing"


def _decoders(_: Settings) -> Iterator[Finding]:
    coded = {syntax: codec for syntax, codec in CODECS.items() if codec is not Codec.NATIVE}
    lacking = {codec for syntax, codec in coded.items() if not get_decoder(UID(syntax)).is_available}
    if lacking:
        yield Finding("decoders", "FAULT", f"none for {', '.join(sorted(lacking))}",
                      "pip install -e . again: pylibjpeg, python-gdcm and pillow decode them.")  # fmt: skip
    else:
        yield Finding("decoders", "ok", ", ".join(dict.fromkeys(coded.values())))


def _sandbox(settings: Settings) -> Iterator[Finding]:
    """A file that is no DICOM, given to a real child process, has to come back refused."""
    sandbox = Sandbox(Limits(settings.clip_seconds, settings.clip_memory))
    with tempfile.TemporaryDirectory() as folder, sandbox:
        path = Path(folder) / "clip.dcm"
        path.write_bytes(b"no DICOM")
        try:
            sandbox.prepare(path)
            outcome = Outcome.OK
        except ClipRefused as refused:
            outcome = refused.outcome
    if outcome is Outcome.NOT_DICOM:
        yield Finding("child process", "ok", "reads files within limits of time and memory")
    else:
        yield Finding("child process", "FAULT", f"answers {outcome} where NOT_DICOM is right",
                      "Does the system let programs start others?")  # fmt: skip


def _computing(settings: Settings) -> Iterator[Finding]:
    threads = torch.get_num_threads()
    yield Finding("processor", "ok", f"{cpu_count()} cores for this process, {threads} threads in torch; "
                  f"{settings.workers} clips are prepared side by side")  # fmt: skip
    for device in available_devices():
        dtype = str(compute_dtype(settings.precision, device)).removeprefix("torch.")
        if device.type == "cpu":
            yield Finding("GPU", "note", f"none; the backbone computes in {dtype} on the processor",
                          "The demo needs none. The study preset does: days on a processor.")  # fmt: skip
        else:
            memory = memory_of(device) / _GIB
            yield Finding(
                str(device), "ok", f"{torch.cuda.get_device_name(device)}, {memory:.0f} GiB free, {dtype}"
            )


def _memory(_: Settings) -> Iterator[Finding]:
    free = free_memory() / _GIB
    enough = free >= LEAST_MEMORY
    yield Finding("memory", "ok" if enough else "note", f"{free:.1f} GiB free to this process",
                  "" if enough else f"The demo may need {LEAST_MEMORY:g}: -P jobs=1 takes less.")  # fmt: skip


def _cache(settings: Settings) -> Iterator[Finding]:
    folder = settings.cache
    advice = "Give a folder that you may write to: -P cache=<folder>, CARDIOAI_CACHE or XDG_CACHE_HOME."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free / _GIB
    except OSError as fault:
        yield Finding("cache folder", "FAULT", f"{folder} cannot be written ({fault.strerror})", advice)
        return
    wanted = settings.cache_disk + settings.feature_disk
    found = f"{folder}, {free:.0f} GiB free; it may come to take {wanted:.0f} (cache_disk, feature_disk)"
    if free < LEAST_DISK:
        yield Finding("cache folder", "note", found, f"The demo takes up to {LEAST_DISK:g}. {advice}")
    else:
        yield Finding("cache folder", "ok", found)


def _store(_: Settings) -> Iterator[Finding]:
    try:
        yield Finding("MLflow store", "ok", shown_address(prepare_store()))
    except (InputError, StoreError) as error:
        reason = refusal(error) if isinstance(error, StoreError) else error
        first, *rest = str(reason).splitlines()
        yield Finding("MLflow store", "FAULT", first, " ".join(line.strip() for line in rest))


def _backbone(settings: Settings) -> Iterator[Finding]:
    name = settings.backbone
    if name == DEMO_BACKBONE or Path(name).is_dir():
        yield Finding("backbone", "ok", f"{settings.backbone_name}, on this machine")
    elif isinstance(try_to_load_from_cache(name, "model.safetensors"), str):
        yield Finding("backbone", "ok", f"{name}, in the cache of the model hub")
    else:
        yield Finding("backbone", "note", f"{name} is not on this machine: fetched when needed",
                      "Without network: bring a folder of it, see docs/how-to/own-backbone.md.")  # fmt: skip


CHECKS: Final[tuple[Callable[[Settings], Iterator[Finding]], ...]] = (
    _packages, _decoders, _sandbox, _computing, _memory, _cache, _store, _backbone,
)  # fmt: skip
"""What is examined, in the order of the table."""
