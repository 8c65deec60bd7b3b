"""Whether attributions hold: deletion and insertion, randomised weights, small noise."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Final, Literal

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from cardio_mlflow.explain.case import Case
from cardio_mlflow.explain.integrated_gradients import SMALLEST_DIFFERENCE, Attribution
from cardio_mlflow.model.network import Network
from cardio_mlflow.parameters import KEYS

SHARES: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Shares of the patches that are changed, of all that differ from the baseline."""
RANDOM_ORDERS: Final = 5
NOISE: Final = 0.02
"""SD of the noise of the stability check, as a share of the gray scale."""

Kind = Literal["deletion", "insertion"]


def deletion_insertion(
    case: Case, baseline: Tensor, attribution: Attribution, patch: int, seed: int
) -> pd.DataFrame:
    """How fast a prediction changes as patches are removed or restored, by attribution and at random.

    Petsiuk V, Das A, Saenko K. RISE. BMVC 2018, for a value in place of a class: 1 is the prediction of the
    whole images, 0 that of the baseline. Patches of all views and frames are ranked together, those that push
    the prediction away from the baseline's most first; those that are the same in the baseline, such as the
    black ones outside the sector, are left out.

    Args:
        case: network and patient.
        baseline: (V, T, h, w) images.
        attribution: of the patient against this baseline.
        patch: side of a patch in pixels.
        seed: of the random orders.

    Returns:
        parameter, kind, order, share, value, low, high (over the random orders); a parameter whose prediction
        hardly differs from the baseline's is left out.
    """
    apart = attribution.outputs - attribution.baseline
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    places = _pooled((case.images != baseline).float()[None], patch)[0]
    places = places * case.present[:, None, None, None]
    random = [torch.from_numpy(rng.random(places.shape)).to(places) for _ in range(RANDOM_ORDERS)]
    for kind in ("deletion", "insertion"):
        by_chance = torch.stack([_curve(case, baseline, o, places, patch, kind) for o in random])
        for k, key in enumerate(KEYS):
            if apart[k].abs() < SMALLEST_DIFFERENCE:
                continue
            order = _pooled(attribution.maps[k : k + 1], patch)[0] * apart[k].sign()
            value = _curve(case, baseline, order, places, patch, kind)[:, k]
            scaled = [
                ((v - attribution.baseline[k]) / apart[k]).tolist() for v in (value, *by_chance[:, :, k])
            ]
            rows += _rows(key, kind, scaled)
    columns = ["parameter", "kind", "order", "share", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def randomised(network: Network, seed: int) -> Network:
    """A copy with random weights: each tensor's are shuffled within it, so that norms stay.

    Adebayo J et al. Sanity checks for saliency maps. NeurIPS 2018: an explanation of the network must change.
    """
    other = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            flat = parameter.detach().cpu().flatten()
            parameter.copy_(flat[torch.randperm(len(flat), generator=generator)].view_as(parameter))
    return other.eval().requires_grad_(False)


def with_noise(images: Tensor, seed: int) -> Tensor:
    """Images with a little noise inside the sector."""
    generator = torch.Generator().manual_seed(seed)
    noise = NOISE * torch.randn(images.shape, generator=generator).to(images)
    return ((images + noise) * (images > 0)).clamp(0, 1)


def map_correlation(
    one: Attribution, other: Attribution, patch: int, *, signed: bool = True
) -> dict[str, float]:
    """Spearman correlation of two attributions over all patches, by parameter.

    NaN where one of them is constant.

    Args:
        one: of a patient.
        other: of the same images, more or less.
        patch: side of a patch in pixels.
        signed: whether what raises and what lowers are distinguished. Where they are not, the maps of all
            networks are alike: Integrated Gradients are multiplied by how far an image is from its baseline.
    """
    shares = (found.maps if signed else found.maps.abs() for found in (one, other))
    maps = [_pooled(share, patch).flatten(1).cpu().numpy() for share in shares]
    shown = maps[0].any(0) | maps[1].any(0)
    found = {}
    for k, key in enumerate(KEYS):
        a, b = maps[0][k, shown], maps[1][k, shown]
        constant = np.ptp(a) == 0 or np.ptp(b) == 0
        found[key] = float("nan") if constant else float(stats.spearmanr(a, b).statistic)
    return found


def check_table(
    original: Attribution, others: Mapping[str, Callable[[], Attribution]], patch: int
) -> pd.DataFrame:
    """Correlation of the map with that of each check: check, parameter, correlation, correlation_unsigned."""
    rows: list[dict[str, object]] = []
    for name, attribute in others.items():
        other = attribute()
        signed = map_correlation(original, other, patch)
        unsigned = map_correlation(original, other, patch, signed=False)
        rows += [
            {
                "check": name,
                "parameter": key,
                "correlation": signed[key],
                "correlation_unsigned": unsigned[key],
            }
            for key in KEYS
        ]
    return pd.DataFrame(rows)


def _rows(key: str, kind: str, scaled: list[list[float]]) -> list[dict[str, object]]:
    """The rows of one parameter and kind: the curve by attribution, and mean and range of the random ones."""
    by_attribution, chance = scaled[0], np.array(scaled[1:])
    rows: list[dict[str, object]] = []
    for at, share in enumerate(SHARES):
        same = {"parameter": key, "kind": kind, "share": share}
        rows.append(
            {**same, "order": "attribution", "value": by_attribution[at], "low": np.nan, "high": np.nan}
        )
        column = chance[:, at]
        rows.append({**same, "order": "random", "value": float(column.mean()),
                     "low": float(column.min()), "high": float(column.max())})  # fmt: skip
    return rows


def _curve(case: Case, baseline: Tensor, order: Tensor, places: Tensor, patch: int, kind: str) -> Tensor:
    """(shares, 9) predictions with the first share of patches, by order, removed or restored."""
    ranked = torch.where(places > 0, order, float("-inf")).flatten()
    rank = torch.empty_like(ranked).scatter_(
        0,
        ranked.argsort(descending=True, stable=True),
        torch.arange(len(ranked), device=order.device).to(order),
    )
    count = int((places > 0).sum())
    versions = []
    for share in SHARES:
        changed = (rank < round(share * count)).view(places.shape)
        wide = changed.repeat_interleave(patch, -2).repeat_interleave(patch, -1)
        wide = wide[..., : baseline.shape[-2], : baseline.shape[-1]]
        first, second = (baseline, case.images) if kind == "deletion" else (case.images, baseline)
        versions.append(torch.where(wide, first, second))
    return case.outputs(torch.stack(versions))


def _pooled(values: Tensor, patch: int) -> Tensor:
    """Sums over patches: (K, V, T, h, w) to (K, V, T, h / patch, w / patch), the last ones smaller."""
    height, width = values.shape[-2:]
    padded = torch.nn.functional.pad(values, (0, -width % patch, 0, -height % patch))
    rows, columns = padded.shape[-2] // patch, padded.shape[-1] // patch
    return padded.view(*padded.shape[:-2], rows, patch, columns, patch).sum((-3, -1))
