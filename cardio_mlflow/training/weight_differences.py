"""Weights of a network as their difference from another's, without loss and in few bytes.

Networks of one start stay near each other: what training has changed in a weight is small beside it. The
bits of two floats of one sign, read as whole numbers, are as many steps apart as there are floats between
them, so the difference is a small whole number; written byte by byte, most of the upper ones 0, it is
compressed well (Lindstrom and Isenburg, IEEE TVCG 2006, code floats by such differences).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_WHOLE: Final[Mapping[int, type[np.signedinteger]]] = {2: np.int16, 4: np.int32}
"""Whole numbers of as many bytes as a float."""


def difference(tensor: Tensor, base: Tensor) -> Tensor:
    """What makes a tensor out of another of its shape and dtype (of 2 or 4 bytes): (B,) uint8."""
    steps = np.subtract(_bits(tensor), _bits(base))  # wraps around
    sign_last = (steps << 1) ^ (steps >> (8 * steps.itemsize - 1))
    planes = sign_last.view(np.uint8).reshape(-1, steps.itemsize).T
    packer = zlib.compressobj(strategy=zlib.Z_RLE)
    return torch.frombuffer(bytearray(packer.compress(planes.tobytes()) + packer.flush()), dtype=torch.uint8)


def add_difference(base: Tensor, packed: Tensor) -> Tensor:
    """The tensor that `difference` has packed.

    Raises:
        ValueError: these are no differences from a tensor of this size.
    """
    bits = _bits(base)
    unpacker = zlib.decompressobj()
    try:
        planes = unpacker.decompress(packed.numpy().tobytes(), bits.nbytes + 1)
    except zlib.error as error:
        raise ValueError("the differences are damaged") from error
    if len(planes) != bits.nbytes:
        raise ValueError(f"the differences are {len(planes)} bytes, not {bits.nbytes}")
    by_number = np.frombuffer(planes, np.uint8).reshape(bits.itemsize, -1).T.copy()
    sign_last = by_number.view(_WHOLE[bits.itemsize]).ravel()
    unsigned = sign_last.view(f"u{bits.itemsize}")
    steps = (unsigned >> 1).view(sign_last.dtype) ^ -(sign_last & 1)
    return torch.from_numpy(np.add(bits, steps)).view(base.dtype).reshape(base.shape)


def _bits(tensor: Tensor) -> NDArray[np.signedinteger]:
    """A tensor's floats as whole numbers, one after the other."""
    whole = torch.int16 if tensor.element_size() == 2 else torch.int32
    flat: NDArray[np.signedinteger] = tensor.contiguous().cpu().view(whole).numpy().ravel()
    return flat
