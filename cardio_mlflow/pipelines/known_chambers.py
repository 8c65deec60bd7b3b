"""On the synthetic cohort: how much attribution falls on the chamber that carries a parameter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from cardio_mlflow.analysis.bootstrap import resample
from cardio_mlflow.explain.baselines import baseline_images
from cardio_mlflow.explain.faithfulness import randomised
from cardio_mlflow.explain.integrated_gradients import integrate
from cardio_mlflow.explain.localisation import area_of, share_on, strongest_on
from cardio_mlflow.explain.subject import Subject, subject_of
from cardio_mlflow.figures.overlay import smooth, usual_smoothing
from cardio_mlflow.figures.trust import chamber_shares
from cardio_mlflow.model.network import Network
from cardio_mlflow.parameters import KEYS, VIEW_CODES
from cardio_mlflow.pipelines.explaining import CHECK_STEPS, own_heads
from cardio_mlflow.settings import Settings
from cardio_mlflow.synthetic.anatomy import draw_anatomy
from cardio_mlflow.synthetic.chambers import CARRIERS, chamber_masks
from cardio_mlflow.synthetic.frames import view_frames
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.training.bundle import Bundle, used_views
from cardio_mlflow.training.precision import choose_device

PATIENTS: Final = 6
SEED: Final = 41_000
"""Of patients that are in no cohort."""

Masks = dict[str, NDArray[np.bool_]]


def known_chambers(
    run: Run, settings: Settings, bundle: Bundle, cohort_mean: Tensor | None = None
) -> pd.DataFrame:
    """Share of the absolute attribution on the chambers that carry each parameter, beside chance; logged.

    Six new synthetic patients, whose frames are rendered as a prepared clip shows them.

    Args:
        run: where to.
        settings: ``ig_baseline``, ``ig_tolerance``, ``step_memory``, ``bootstrap``, ``seed``.
        bundle: the network.
        cohort_mean: (V, h, w) mean images, for ``ig_baseline=cohort_mean``.

    Returns:
        parameter, chamber, share and area (means over the patients), ratio with its patient-bootstrap
        interval, ratio_strongest (of the tenth of the sector where the smoothed attribution is strongest,
        which is what the eye sees), and ratio_randomised, of a network of shuffled weights.

    Raises:
        InputError: an attribution misses the tolerance.
    """
    device = choose_device()
    network = bundle.network.to(device)
    shuffled = randomised(network, settings.seed)
    rows: list[dict[str, object]] = []
    explained = _Explained(settings, cohort_mean)
    anatomy = draw_anatomy(draw_hemodynamics(PATIENTS, SEED), SEED)
    for number in tqdm(range(PATIENTS), desc="known chambers", unit="patient"):
        subject, regions = _patient(network, bundle, anatomy.iloc[number], number)
        for name, of in (("trained", network), ("randomised", shuffled)):
            found = explained.maps(replace(subject, network=of))
            rows += [row | {"network": name, "patient": number} for row in _shares(found, subject, regions)]
    table = _summed(pd.DataFrame(rows), settings)
    run.log_table(table, "tables/chambers.csv")
    figure = chamber_shares(table, synthetic=settings.is_synthetic, note=own_heads(bundle))
    run.log_figures({"chambers": figure})
    run.log_metrics({f"explain/chamber_ratio_{row['parameter']}": float(row["ratio"])
                     for row in table.to_dict("records")})  # fmt: skip
    return table


def _patient(
    network: Network, bundle: Bundle, anatomy: pd.Series, number: int
) -> tuple[Subject, list[Masks]]:
    """A rendered patient, and the masks of each view at the size of the network's images."""
    frames, side = bundle.settings.training_frames, network.encoder.image_size[0]
    phases = np.arange(frames) / frames
    clips = np.stack([view_frames(anatomy, code, phases, SEED + number)[0] for code in VIEW_CODES])
    device = next(network.parameters()).device
    shown = used_views(bundle.settings).to(device)
    subject = subject_of(network, torch.from_numpy(clips).to(device), shown, shown)
    return subject, [chamber_masks(anatomy, code, phases, SEED + number, side) for code in VIEW_CODES]


@dataclass(frozen=True)
class _Explained:
    """How attributions are made here."""

    settings: Settings
    cohort_mean: Tensor | None

    def maps(self, subject: Subject) -> NDArray[np.float64]:
        """(9, V, T, h, w)."""
        baseline = baseline_images(subject.images, self.settings.ig_baseline, self.cohort_mean)
        memory = self.settings.step_memory * 2**30
        found = integrate(subject, baseline, CHECK_STEPS, self.settings.ig_tolerance, memory, torch.float32)
        return found.maps.double().cpu().numpy()


def _shares(maps: NDArray[np.float64], subject: Subject, regions: list[Masks]) -> list[dict[str, object]]:
    """Share and area of each parameter's chambers over all views, of one patient."""
    sector = (subject.images > 0).any(1, keepdim=True).expand_as(subject.images).cpu().numpy()
    rows: list[dict[str, object]] = []
    for key, map_ in zip(KEYS, maps, strict=True):
        region = np.zeros_like(sector)
        for view, masks in enumerate(regions):
            for part in CARRIERS[key]:
                if part in masks:
                    region[view] |= masks[part]
        smoothed = np.asarray(smooth(map_, usual_smoothing(map_)), np.float64)
        strongest = strongest_on(smoothed, region, sector)
        rows.append({"parameter": key, "share": share_on(map_, region), "strongest": strongest,
                     "area": area_of(region, sector)})  # fmt: skip
    return rows


def _summed(rows: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Means over patients, and the ratio of the means with its bootstrap interval."""
    drawn = resample(PATIENTS, settings.bootstrap, settings.seed)
    result = []
    for key in KEYS:
        own = rows[rows["parameter"] == key]
        trained, shuffled = (
            own[own["network"] == n].sort_values("patient") for n in ("trained", "randomised")
        )
        share, area = trained["share"].to_numpy(np.float64), trained["area"].to_numpy(np.float64)
        ratios = share[drawn].mean(1) / area[drawn].mean(1)
        low, high = np.quantile(ratios, [0.025, 0.975])
        result.append({
            "parameter": key, "chamber": " and ".join(CARRIERS[key]),
            "share": share.mean(), "area": area.mean(),
            "ratio": share.mean() / area.mean(), "ratio_low": low, "ratio_high": high,
            "ratio_strongest": trained["strongest"].mean() / area.mean(),
            "ratio_randomised": shuffled["share"].mean() / shuffled["area"].mean(),
        })  # fmt: skip
    return pd.DataFrame(result)
