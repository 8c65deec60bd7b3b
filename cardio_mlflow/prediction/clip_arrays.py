"""A request as arrays: prepared clips of N patients, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cardio_mlflow.data.clips import PREPARED_SIZE
from cardio_mlflow.data.dataset import ClipTensor
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import FACT_RANGES, FACTS, VIEW_CODES

Array = NDArray[Any]

_MM: Final = (0.01, 10.0)  # of a pixel of a prepared clip, whose sector is 1 cm to 2 m deep
_V: Final = len(VIEW_CODES)
_NAMES: Final = ("views", "view_mask", "phased", "placement", "facts", "patient_id")


class ClipArrays(NamedTuple):
    """Prepared clips of N patients, (N, 3) facts, see `FACTS`, and ids, empty where none are given."""

    clips: ClipTensor
    facts: NDArray[np.float64]
    patient_ids: tuple[str, ...]


def read_arrays(given: Mapping[str, Any], frames: int) -> ClipArrays:
    """Check arrays of prepared clips of N patients.

    Args:
        given: ``views``, (N, V, T, 224, 224), whole numbers 0 to 255 or fractions 0 to 1; ``view_mask``,
            (N, V), 1 for a view that is there; and perhaps ``phased``, (N, V), 1 for a clip whose first frame
            stands at an R wave; ``placement``, (N, V, 3), mm per pixel and x and y of the sector's apex in
            pixels, NaN where not known; ``facts``, (N, 3), NaN where not known; ``patient_id``, N texts.
        frames: that the networks look at: T is as many or more.

    Raises:
        InputError: a name is not known or missing, or an array has another shape, type or range.
    """
    if unknown := sum(name not in _NAMES for name in given):
        raise InputError(f"{unknown} of {len(given)} arrays are not known; known are {', '.join(_NAMES)}.")
    if "view_mask" not in given:
        raise InputError(f"view_mask is missing: (N, {_V}), 1 for each view that is there.")
    views = _views(_array(given, "views"), frames)
    patients = len(views)
    present = _switches(given, "view_mask", patients)
    phased = _switches(given, "phased", patients) if "phased" in given else np.zeros_like(present)
    placement = _numbers(given, "placement", (patients, _V, 3))
    facts = _numbers(given, "facts", (patients, len(FACTS)))
    _check_placement(placement)
    _check_facts(facts)
    ids = _ids(given, patients)
    clips, shown, placed, verified = map(torch.from_numpy, (views, present, placement, phased))
    return ClipArrays(ClipTensor(ids, clips, shown, placed, verified), facts, ids)


def _array(given: Mapping[str, Any], name: str) -> Array:
    """An array of numbers or truth values."""
    try:
        array = np.asarray(given[name])
    except (ValueError, TypeError):  # lists of different lengths
        raise InputError(f"{name} is no array: its rows differ in length.") from None
    if array.dtype.kind not in "buif":
        raise InputError(f"{name} must hold numbers, not {array.dtype.name}.")
    return array


def _views(views: Array, frames: int) -> NDArray[np.uint8]:
    """(N, V, T, H, W) uint8."""
    side = PREPARED_SIZE
    if views.size == 0 and len(np.atleast_1d(views)) == 0:
        return np.zeros((0, _V, frames, side, side), np.uint8)
    if views.ndim != 5 or views.shape[1] != _V or views.shape[3:] != (side, side) or views.shape[2] < frames:
        raise InputError(
            f"views must be (N, {_V}, T, {side}, {side}) with T = {frames} or more, as clips are prepared, "
            f"not {views.shape}."
        )
    if views.dtype == np.uint8:
        return np.require(views, requirements=["C", "W"])
    if views.dtype.kind == "b":
        raise InputError("views must be uint8, not bool.")
    most = 1 if views.dtype.kind == "f" else 255
    if not (views.min() >= 0 and views.max() <= most):
        raise InputError(f"views of {views.dtype.name} must lie within 0 and {most}, and some do not.")
    whole = np.rint(views * 255) if most == 1 else views
    return whole.astype(np.uint8)


def _switches(given: Mapping[str, Any], name: str, patients: int) -> NDArray[np.bool_]:
    """(N, V) truth values, from them or from 0 and 1 of any type."""
    array = _shaped(_array(given, name), name, (patients, _V))
    if not np.isin(array, (0, 1)).all():
        raise InputError(f"{name} must hold 0 and 1 alone, or false and true.")
    return array.astype(bool)


def _numbers(given: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Numbers of this shape, NaN where the array is not given or an element of a list is null."""
    if given.get(name) is None:
        return np.full(shape, np.nan)
    try:
        array = np.array(given[name], dtype=np.float64)
    except (ValueError, TypeError):
        raise InputError(f"{name} must be {shape} numbers, empty where one is not known.") from None
    if np.isinf(array).any():
        raise InputError(f"{name} must be finite; NaN where one is not known.")
    return _shaped(array, name, shape)


def _shaped(array: Array, name: str, shape: tuple[int, ...]) -> Array:
    if array.size == 0 and 0 in shape:
        return array.reshape(shape)
    if array.shape != shape:
        raise InputError(f"{name} must be {shape}, as views have it, not {array.shape}.")
    return array


def _check_placement(placement: NDArray[np.float64]) -> None:
    size = placement[..., 0]
    low, high = _MM
    if ((size < low) | (size > high)).any():
        raise InputError(f"placement: mm per pixel must lie within {low:g} and {high:g}, or be NaN.")


def _check_facts(facts: NDArray[np.float64]) -> None:
    for name, column in zip(FACTS, facts.T, strict=True):
        low, high = FACT_RANGES[name]
        if outside := np.flatnonzero((column < low) | (column > high)).tolist():
            raise InputError(
                f"facts: {name} of patient {outside[0] + 1} is outside {low:g} to {high:g}; NaN where it is "
                "not known."
            )


def _ids(given: Mapping[str, Any], patients: int) -> tuple[str, ...]:
    if given.get("patient_id") is None:
        return ("",) * patients
    ids = np.atleast_1d(np.asarray(given["patient_id"])).tolist()
    if len(ids) != patients or not all(isinstance(one, str | int) for one in ids):
        raise InputError(f"patient_id must be {patients} texts or whole numbers, one for each of views.")
    return tuple(map(str, ids))
