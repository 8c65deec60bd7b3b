"""Clips in the older tensor format."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cardio_mlflow.data.outcomes import (
    MAX_FRAME_PIXELS,
    MAX_FRAMES,
    MAX_INFLATED_BYTES,
    MAX_SIDE,
    ClipRefused,
    Outcome,
)

_MAX_FILE_BYTES: Final = 1024**3
_LOADING_FAULTS: Final = (
    pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, TypeError, KeyError, IndexError,
    AttributeError, OverflowError, MemoryError,
)  # fmt: skip


def read_tensor(path: Path) -> NDArray[np.float32]:
    """Read a ``.pt`` clip: one float tensor of values from 0 to 1, T × H × W.

    The file is loaded with ``weights_only=True``: it can hold tensors and nothing that runs.

    Raises:
        ClipRefused: TOO_LARGE, SINGLE_FRAME or BAD_TENSOR.
    """
    import torch  # here, so that workers which only read DICOM start without it

    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ClipRefused(Outcome.TOO_LARGE, f"the file has more than {_MAX_FILE_BYTES} bytes")
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except _LOADING_FAULTS as fault:
        raise ClipRefused(
            Outcome.BAD_TENSOR, f"not a readable tensor file ({type(fault).__name__})"
        ) from None
    plain = isinstance(loaded, torch.Tensor) and loaded.layout is torch.strided
    if not plain or loaded.ndim != 3 or not loaded.is_floating_point():
        raise ClipRefused(Outcome.BAD_TENSOR, "the file does not hold one float tensor T x H x W")
    _check_shape(*loaded.shape)  # first: a small file can hold a large view of few values
    clip: NDArray[np.float32] = loaded.detach().to(torch.float32).contiguous().numpy()
    if not np.isfinite(clip).all() or clip.min() < -1e-6 or clip.max() > 1 + 1e-6:
        raise ClipRefused(Outcome.BAD_TENSOR, "values that are not numbers from 0 to 1")
    return clip


def _check_shape(frames: int, rows: int, columns: int) -> None:
    size = f"{frames} frames of {rows} x {columns} pixels"
    too_large = max(rows, columns) > MAX_SIDE or rows * columns > MAX_FRAME_PIXELS or frames > MAX_FRAMES
    if too_large or 4 * frames * rows * columns > MAX_INFLATED_BYTES:
        raise ClipRefused(Outcome.TOO_LARGE, size)
    if min(rows, columns) < 16:
        raise ClipRefused(Outcome.BAD_TENSOR, f"frames of {rows} x {columns} pixels are no clip")
    if frames < 2:
        raise ClipRefused(Outcome.SINGLE_FRAME, "a still image, not a clip")
