"""Where and in which dtype the backbone computes."""

from __future__ import annotations

import os
from typing import Literal

import torch


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
