"""How far something lies from groups of what is known: Mahalanobis distances with shrinkage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COMPONENTS: Final = 48
"""Principal components, at most, and no more than a quarter of what is fitted."""
LEAST_MEMBERS: Final = 12
"""Members below which a group is not described."""
_FLAT: Final = 0.05
"""The least spread of a number, in shares of the median spread: what never varied may vary a little."""


@dataclass(frozen=True)
class Groups:
    """Known groups of one common covariance, in the space of their principal components.

    The last coordinate is the logarithm of what the components leave: something may be unlike all that is
    known in a direction in which nothing known varies.

    Attributes:
        centre: (S,) mean of each number over all groups.
        spread: (S,) its SD, with a floor.
        basis: (S, K) principal components of the standardised numbers, in half precision.
        means: (G, K + 1), NaN for a group of too few.
        precision: (K + 1, K + 1) inverse of the covariance within groups.
    """

    centre: Array
    spread: Array
    basis: Array
    means: Array
    precision: Array

    @classmethod
    def fit(cls, values: Array, group: NDArray[np.int64], groups: int) -> Self | None:
        """Describe groups; None where none of them has enough members.

        Args:
            values: (N, S) finite numbers.
            group: (N,) to which group each belongs.
            groups: how many there are, G.
        """
        described = np.flatnonzero(np.bincount(group, minlength=groups) >= LEAST_MEMBERS)
        if not len(described):
            return None
        centre, spread = values.mean(0), values.std(0)
        spread = np.maximum(spread, max(_FLAT * float(np.median(spread)), 1e-9))
        count = max(1, min(COMPONENTS, len(values) // 4, values.shape[1]))
        basis = np.linalg.svd((values - centre) / spread, full_matrices=False)[2][:count].T
        basis = basis.astype(np.float16).astype(np.float64)
        coordinates = cls(centre, spread, basis, np.empty((0, 0)), np.empty((0, 0))).coordinates(values)
        means = np.full((groups, coordinates.shape[1]), np.nan)
        for number in described:
            means[number] = coordinates[group == number].mean(0)
        within = (coordinates - means[group])[np.isin(group, described)]
        return cls(
            centre, spread, basis, means, np.asarray(np.linalg.inv(shrunk_covariance(within)), np.float64)
        )

    @property
    def described(self) -> NDArray[np.bool_]:
        """(G,) which groups had enough members."""
        return np.asarray(np.isfinite(self.means).all(1))

    def coordinates(self, values: Array) -> Array:
        """(N, S) numbers to (N, K + 1): components, and the logarithm of the mean square that they leave."""
        scaled = (values - self.centre) / self.spread
        components = scaled @ self.basis
        left = (scaled**2).mean(-1) - (components**2).sum(-1) / scaled.shape[-1]
        return np.concatenate([components, np.log(np.maximum(left, 1e-3))[..., None]], axis=-1)

    def distances(self, values: Array) -> Array:
        """(N, G) logarithm of the Mahalanobis distance of (N, S) numbers to each group.

        NaN for a group of too few, and where a number is NaN.
        """
        away = self.coordinates(values)[:, None] - self.means
        squares = np.einsum("ngi,ij,ngj->ng", away, self.precision, away)
        return np.asarray(np.log(np.maximum(squares, 1e-12)) / 2)

    def to_arrays(self) -> dict[str, NDArray[np.floating]]:
        """By name: the basis in half precision, all else in single; row by row, as safetensors reads."""
        kept = {name: np.asarray(values, np.float32, order="C") for name, values in vars(self).items()}
        return kept | {"basis": np.asarray(self.basis, np.float16, order="C")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.floating]]) -> Self:
        """Read what `to_arrays` gave."""
        return cls(**{name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()})


def shrunk_covariance(values: Array) -> Array:
    """Covariance of (N, K) values, shrunk to a multiple of the identity as Ledoit and Wolf (2004) do.

    Doi 10.1016/S0047-259X(03)00096-4: the share is the one of least expected squared error, estimated.
    """
    count, width = values.shape
    centred = values - values.mean(0)
    covariance = centred.T @ centred / count
    scale = float(np.trace(covariance)) / width
    target = scale * np.eye(width)
    apart = float(((covariance - target) ** 2).sum())
    noise = float(((centred**2).sum(1) ** 2).mean() - (covariance**2).sum()) / count
    share = min(1.0, max(0.0, noise / apart)) if apart > 0 else 1.0
    return np.asarray((1 - share) * covariance + share * target + 1e-9 * np.eye(width))
