"""What a process computes on: its GPU or CPU, how much of its memory, and in which arithmetic."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import product
from typing import Final, Literal

import torch
from filelock import BaseFileLock, FileLock, Timeout

from cardio_mlflow.errors import InputError
from cardio_mlflow.machine import free_memory, lock_folder

_EVERY: Final = 0.2
_ON_CPU: Final = re.compile("not enough memory|can't allocate memory|bad_alloc")
"""How torch reports a refused allocation of a CPU's memory."""
_CLAIMED: Final[list[tuple[torch.device, BaseFileLock]]] = []
"""The device of this process, once it has one, and the lock on it."""
NETWORK_MEMORY: Final = 2.0
"""GiB of a network that trains, beside the activations of a step: ViT-Base, its gradients and moments, and
the libraries."""
LEAST_STEP: Final = 1.0
"""GiB that a step may take at least, where the machine says how much."""


def step_bytes(step_memory: float, device: torch.device, cpu_most: float = math.inf) -> float:
    """Bytes that the activations of a step may take.

    Args:
        step_memory: GiB, as the setting; 0 for what fits.
        device: where the step is computed.
        cpu_most: GiB; what fits on a CPU is limited to this.
    """
    fits = step_memory or min(fitting_step(device), cpu_most if device.type == "cpu" else math.inf)
    return fits * 2**30


@lru_cache
def fitting_step(device: torch.device, sharing: int = 1, networks: int = 1) -> float:
    """GiB that fit for the activations of a step, found out once per process.

    A power of two, so that runs on one machine, which has not always as much room to the byte, go through
    the backbone in the same chunks and end with the same numbers.

    Args:
        device: where the step is computed.
        sharing: how many workers share the device's memory.
        networks: that each of them trains at the same time.
    """
    room = memory_of(device) / 2**30 / sharing - NETWORK_MEMORY * networks
    return 2.0 ** math.floor(math.log2(room)) if room > LEAST_STEP else LEAST_STEP


def memory_of(device: torch.device) -> float:
    """Bytes that this command may take of a device: nine tenths of a GPU, what is free of a CPU's."""
    if device.type == "cuda":
        return 0.9 * torch.cuda.get_device_properties(device).total_memory
    return free_memory()


def claimed_device(sharing: int = 1) -> torch.device:
    """The device that this worker process keeps until it ends; waits where none is free.

    Of several GPUs each has up to ``sharing`` of this user's workers on this machine, the same number as far
    as that goes. The system drops the lock of a worker that ends, in whatever way. A single device, as a CPU,
    is shared without a lock.
    """
    devices = available_devices()
    if len(devices) == 1:
        return devices[0]
    while not _CLAIMED:
        for place, device in product(range(sharing), devices):
            lock = FileLock(lock_folder() / f"{name_of(device)}-{place}.lock")
            if _acquired(lock):
                _CLAIMED.append((device, lock))
                break
    return _CLAIMED[0][0]


@contextmanager
def enough_memory() -> Iterator[None]:
    """Say what to lower where memory runs out, that of a GPU or of the machine.

    Raises:
        InputError: it has run out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        gpu = isinstance(error, torch.OutOfMemoryError)
        if not gpu and not isinstance(error, MemoryError) and not _ON_CPU.search(str(error)):
            raise
        raise InputError(
            f"The memory of the {'GPU' if gpu else 'machine'} ran out. Lower what is computed at once: "
            "-P batch_size=… (of a training), -P step_memory=… (GiB of a step; twice the time at most), "
            "-P jobs=1 (side by side), -P ig_steps=… (of explanations). Other programs may hold memory too. "
            "What was done before is kept."
        ) from error


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
