"""Which device a worker process computes on: GPUs are taken one a worker."""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import torch
from filelock import FileLock, Timeout

_EVERY: Final = 0.2


@contextmanager
def claimed_device(devices: Sequence[torch.device]) -> Iterator[torch.device]:
    """Hold a device that no other worker of this user on this machine holds; waits until one is free.

    The system drops the lock of a worker that dies.

    Args:
        devices: those to choose from; where there is one, as a CPU, it is shared.
    """
    if len(devices) == 1:
        yield devices[0]
        return
    folder = Path(tempfile.gettempdir()) / f"cardio_mlflow-{getpass.getuser()}"
    folder.mkdir(exist_ok=True)
    locks = [FileLock(folder / f"{name_of(device)}.lock") for device in devices]
    taken = -1
    while taken < 0:
        taken = next((i for i, lock in enumerate(locks) if _acquired(lock)), -1)
    try:
        yield devices[taken]
    finally:
        locks[taken].release()


def name_of(device: torch.device) -> str:
    """What tells a GPU from the others of a machine, whichever of them this process sees."""
    return str(torch.cuda.get_device_properties(device).uuid)


def available_devices() -> list[torch.device]:
    """The GPUs that this process sees, or the CPU."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.device("cuda", i) for i in range(count)] or [torch.device("cpu")]


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=_EVERY)
    except Timeout:
        return False
    return True


def choose_device() -> torch.device:
    """The first CUDA device, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_dtype(precision: Literal["auto", "bf16", "fp32"], device: torch.device) -> torch.dtype:
    """The dtype of the backbone's matrix products.

    ``auto`` takes bfloat16 where the device multiplies it natively: CUDA with bf16, and CPUs with
    AVX512-BF16 or AMX-BF16; else float32.
    """
    if precision == "fp32":
        return torch.float32
    if precision == "bf16" or _native_bf16(device):
        return torch.bfloat16
    return torch.float32


def backbone_autocast(dtype: torch.dtype, device: torch.device) -> torch.autocast:
    """The context in which the backbone runs."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def kernels(device: torch.device) -> str:
    """What a result's last bits depend on beside the numbers: torch's version and the device's kind."""
    if device.type == "cuda":
        return f"{torch.__version__} {torch.cuda.get_device_name(device)}"
    return f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()}"


def make_deterministic(device: torch.device) -> None:
    """Have CUDA repeat its results bit by bit; CPUs do.

    cuBLAS needs a fixed workspace for that (https://docs.nvidia.com/cuda/cublas/#results-reproducibility).
    Anything that cannot be repeated raises: with warnings only, attention would take its faster, unrepeatable
    backward pass.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True)
        torch.backends.cudnn.benchmark = False


def _native_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
