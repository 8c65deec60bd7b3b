from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR

from cardio_mlflow.training.state import rate_factor, set_rates


@pytest.fixture(scope="module")
def rates(tiny_settings):
    return lambda schedule, warmup: tiny_settings(lr_schedule=schedule, warmup_epochs=warmup)


def test_constant_is_the_default(tiny_settings):
    assert {rate_factor(tiny_settings(), position, 8) for position in (0.01, 3, 7.99)} == {1.0}


@pytest.mark.parametrize(
    ("schedule", "warmup", "position", "factor"),
    [
        ("constant", 2, 0.5, 0.25),
        ("constant", 2, 2.5, 1),
        ("cosine", 0, 0, 1),
        ("cosine", 0, 4, 0.5),
        ("cosine", 0, 8, 0),
        ("cosine", 2, 1, 0.5),
        ("cosine", 2, 5, 0.5),
        ("cosine", 20, 4, 0.5),
    ],
)
def test_factors_of_a_stage_of_eight_epochs(rates, schedule, warmup, position, factor):
    assert rate_factor(rates(schedule, warmup), position, 8) == pytest.approx(factor)


def test_the_cosine_is_that_of_torch(rates):
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = CosineAnnealingLR(optimizer, T_max=10)
    for position in range(10):
        assert rate_factor(rates("cosine", 0), position, 10) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


@given(st.sampled_from(["constant", "cosine"]), st.floats(0, 20), st.floats(0, 1), st.integers(1, 30))
def test_a_factor_lies_between_nothing_and_the_whole_rate(rates, schedule, warmup, share, length):
    factor = rate_factor(rates(schedule, warmup), share * length, length)
    assert -1e-12 <= factor <= 1 + 1e-12


def test_each_group_keeps_its_own_rate():
    groups = [{"params": [torch.zeros(1)], "lr": rate} for rate in (0.1, 0.02)]
    optimizer = SGD(groups, lr=1)
    for factor in (0.5, 0.25, 1.0):
        set_rates(optimizer, factor)
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.1 * factor, 0.02 * factor])
