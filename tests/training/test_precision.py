from __future__ import annotations

import os

import pytest
import torch

from cardio_mlflow.training.devices import backbone_autocast, compute_dtype, make_deterministic

CPU = torch.device("cpu")


@pytest.fixture
def cpu_with(monkeypatch):
    return lambda **found: monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)


@pytest.mark.parametrize("found", [{}, {"avx512_bf16": True}])
def test_what_is_asked_for_is_taken(cpu_with, found):
    cpu_with(**found)
    assert compute_dtype("fp32", CPU) == torch.float32
    assert compute_dtype("bf16", CPU) == torch.bfloat16


@pytest.mark.parametrize(
    ("found", "dtype"),
    [
        ({}, torch.float32),
        ({"avx512_bf16": False, "amx_bf16": False, "avx512_f": True}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_auto_on_a_cpu_takes_bf16_where_it_is_native(cpu_with, found, dtype):
    cpu_with(**found)
    assert compute_dtype("auto", CPU) == dtype


@pytest.mark.parametrize("native", [True, False])
def test_auto_on_cuda_does_not_count_emulation(monkeypatch, native):
    def supported(including_emulation=True):
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    expected = torch.bfloat16 if native else torch.float32
    assert compute_dtype("auto", torch.device("cuda")) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_are_computed_in_the_dtype(dtype):
    with backbone_autocast(dtype, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_cuda_is_asked_to_repeat_its_results_and_a_cpu_is_left_alone(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda **given: asked.append(given))
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    make_deterministic(CPU)
    assert not asked
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    make_deterministic(torch.device("cuda"))
    assert asked == [{"mode": True}]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.backends.cudnn.benchmark
