"""How much attribution falls on the chamber that carries a parameter, beside chance.

    python -m benchmarks.known_chambers [--figures FOLDER] [--model study] [--patients 6] [--study NAME ...]

The network is one of a trained study in the MLflow store of this folder: that of its lowest fold, or what
`--model` names as `visualize` takes it. It explains new synthetic patients, of whom it is known where the
chambers lie; their frames are rendered as the network sees a clip. Printed for each parameter: the share of
the absolute attribution on its chambers over their share of the sector, with the interval over patients; the
same of the tenth of the sector where the smoothed attribution is strongest, which is what the eye sees; and
that of a network of shuffled weights. `--figures` also draws them. Settings can follow, such as
`--ig_baseline black` (not cohort_mean). Aim: three times chance. Minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.chamber_shares import chamber_shares, ratio_words
from benchmarks.chambers import CARRIERS, Masks, chamber_masks
from benchmarks.frames import Scale, view_frames
from benchmarks.localisation import area_of, share_on, strongest_on
from cardio_mlflow.analysis.bootstrap import resample
from cardio_mlflow.explain.case import Case, case_of
from cardio_mlflow.explain.faithfulness import randomised
from cardio_mlflow.explain.integrated_gradients import baseline_images, integrate
from cardio_mlflow.explain.patient import CHECK_STEPS, CPU_MOST, own_heads
from cardio_mlflow.figures.overlay import smooth, usual_smoothing
from cardio_mlflow.figures.style import save_figure
from cardio_mlflow.parameters import KEYS, VIEW_CODES
from cardio_mlflow.pipelines.command_line import parse_arguments
from cardio_mlflow.pipelines.study_runs import STUDY, find_networks
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.synthetic.anatomy import draw_anatomy
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics
from cardio_mlflow.tracking.store import prepare_store
from cardio_mlflow.training.bundle import Bundle, used_views
from cardio_mlflow.training.devices import choose_device, step_bytes

SEED: Final = 41_000
"""Of patients that are in no cohort."""


def main(arguments: Sequence[str] | None = None) -> None:
    options, rest = _options().parse_known_args(arguments)
    settings = load_settings(parse_arguments(rest))
    prepare_store()
    with tempfile.TemporaryDirectory() as folder:
        networks = find_networks(settings, options.model, Path(folder))
        fold = min(networks.run_ids)
        bundle = networks.of_fold(fold)
    print(f"network of fold {fold}, {options.patients} synthetic patients: ratio to chance, 95 % interval")
    table = known_chambers(bundle, settings, options.patients)
    for row in table.to_dict("records"):
        beside = f"strongest tenth {row['ratio_strongest']:.2f}, randomised {row['ratio_randomised']:.2f}"
        print(f"{row['parameter']:8s} {row['chamber']:14s} {ratio_words(row)}; {beside}")
    if options.figures:
        figure = chamber_shares(table, synthetic=True, note=own_heads(bundle))
        print(*save_figure(figure, options.figures / "chambers", settings.figure_formats), sep="\n")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.known_chambers", allow_abbrev=False)
    parser.add_argument("--figures", type=Path, help="folder for the figure")
    parser.add_argument("--model", default=STUDY, help="study, an alias or version, or a run")
    parser.add_argument("--patients", type=int, default=6, help="how many to simulate")
    return parser


def known_chambers(bundle: Bundle, settings: Settings, patients: int) -> pd.DataFrame:
    """Share of the absolute attribution on the chambers that carry each parameter, beside chance.

    Args:
        bundle: the network, and the scale at which it sees clips.
        settings: ``ig_baseline``, ``ig_tolerance``, ``step_memory``, ``bootstrap``, ``seed``.
        patients: how many new synthetic patients it explains.

    Returns:
        parameter, chamber, share and area (means over the patients), ratio with its patient-bootstrap
        interval, ratio_strongest (of the tenth of the sector where the smoothed attribution is strongest),
        and ratio_randomised, of a network of shuffled weights.

    Raises:
        InputError: an attribution misses the tolerance.
        ValueError: the baseline is ``cohort_mean``.
    """
    bundle.network.to(choose_device())
    networks = {"trained": bundle.network, "randomised": randomised(bundle.network, settings.seed)}
    anatomy = draw_anatomy(draw_hemodynamics(patients, SEED), SEED)
    rows: list[dict[str, object]] = []
    for number in tqdm(range(patients), desc="known chambers", unit="patient"):
        case, regions = _patient(bundle, anatomy.iloc[number], number)
        for name, network in networks.items():
            maps = _maps(replace(case, network=network), settings)
            rows += [row | {"network": name, "patient": number} for row in _shares(maps, case, regions)]
    return _summed(pd.DataFrame(rows), settings)


def _patient(bundle: Bundle, anatomy: pd.Series, number: int) -> tuple[Case, list[dict[str, Masks]]]:
    """A rendered patient, and the masks of each view at the size of the network's images."""
    network, frames = bundle.network, bundle.settings.training_frames
    scale: Scale = "sector" if bundle.scale is None else "physical"
    phases, seed = np.arange(frames) / frames, SEED + number
    clips = np.stack([view_frames(anatomy, code, phases, seed, scale=scale)[0] for code in VIEW_CODES])
    device = next(network.parameters()).device
    shown = used_views(bundle.settings).to(device)
    case = case_of(network, torch.from_numpy(clips).to(device), shown, shown)
    side = network.encoder.image_size[0]
    return case, [chamber_masks(anatomy, code, phases, seed, side, scale) for code in VIEW_CODES]


def _maps(case: Case, settings: Settings) -> NDArray[np.float64]:
    """(9, V, T, h, w) attributions."""
    baseline = baseline_images(case.images, settings.ig_baseline)
    memory = step_bytes(settings.step_memory, choose_device(), CPU_MOST)
    found = integrate(case, baseline, CHECK_STEPS, settings.ig_tolerance, memory, torch.float32)
    return found.maps.double().cpu().numpy()


def _shares(
    maps: NDArray[np.float64], case: Case, regions: list[dict[str, Masks]]
) -> list[dict[str, object]]:
    """Share and area of each parameter's chambers over all views, of one patient."""
    sector = (case.images > 0).any(1, keepdim=True).expand_as(case.images).cpu().numpy()
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
    drawn = resample(rows["patient"].nunique(), settings.bootstrap, settings.seed)
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


if __name__ == "__main__":
    main()
