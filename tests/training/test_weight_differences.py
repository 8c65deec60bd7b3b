from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.training.weight_differences import add_difference, difference

DTYPES = (torch.float16, torch.bfloat16, torch.float32)


@given(st.data(), st.sampled_from(DTYPES), st.integers(1, 40))
def test_any_tensor_comes_back_bit_by_bit(data, dtype, count):
    """Also infinities, NaN of any kind and both zeros."""
    size = torch.empty(0, dtype=dtype).element_size()
    raw = st.binary(min_size=count * size, max_size=count * size)
    one, two = (
        torch.from_numpy(np.frombuffer(data.draw(raw), np.uint8).copy()).view(dtype) for _ in range(2)
    )
    found = add_difference(two, difference(one, two))
    assert found.dtype == dtype
    assert torch.equal(found.view(torch.uint8), one.view(torch.uint8))


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3, 4)])
def test_the_shape_stays(shape):
    one, two = torch.randn(shape), torch.randn(shape)
    assert torch.equal(add_difference(two, difference(one, two)), one)


def test_what_lies_near_takes_few_bytes():
    base = 0.04 * torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    near = base + 1e-4 * torch.randn(10_000, generator=torch.Generator().manual_seed(1))
    assert difference(near.bfloat16(), base.bfloat16()).numel() < 0.25 * 20_000
    assert difference(base, base).numel() < 0.02 * 40_000


@pytest.mark.parametrize("damage", ["cut", "changed", "of another size"])
def test_damaged_differences_are_refused(damage):
    base = torch.randn(100)
    packed = difference(torch.randn(100), base)
    if damage == "cut":
        packed = packed[:50]
    if damage == "changed":
        packed[10:20] ^= 255
    if damage == "of another size":
        base = torch.randn(99)
    with pytest.raises(ValueError, match="the differences are"):
        add_difference(base, packed)
