"""Explaining one patient with the network that was not trained on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cardio_mlflow.analysis.predictions import BY_IDENTITY
from cardio_mlflow.data.dataset import Files, load_clips
from cardio_mlflow.errors import InputError
from cardio_mlflow.explain.case import Case, case_of
from cardio_mlflow.explain.faithfulness import check_table, deletion_insertion, randomised, with_noise
from cardio_mlflow.explain.integrated_gradients import Attribution, baseline_images, integrate
from cardio_mlflow.explain.rollout import attention_rollout, gradient_rollout, patch_relevance
from cardio_mlflow.model.network import Output
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.bundle import Bundle, used_views
from cardio_mlflow.training.devices import choose_device, compute_dtype, step_bytes

CHECK_STEPS = 10
"""Steps of the quadrature in checks, at first; their attributions are held to the same tolerance."""
CPU_MOST = 4.0
"""GiB that a step takes at most on a CPU, where more make it no faster."""

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Explanation:
    """One patient, explained.

    Attributes:
        frames: (V, T, 224, 224) uint8, those that the network saw.
        present: (V,) bool.
        output: of the network.
        alphas: share of attention by stage.
        attribution: Integrated Gradients.
        rollout: (V, T, rows, columns) share of each patch in its frame's feature.
        gradient_rollout: (9, V, T, rows, columns).
        baseline: (V, T, h, w) what the attribution is measured against.
        case: network and images.
        keys: the parameters that the network has learned; maps of others say nothing.
        own_heads: of `own_heads`.
    """

    frames: NDArray[np.uint8]
    present: NDArray[np.bool_]
    output: Output
    alphas: dict[str, float]
    attribution: Attribution
    rollout: FloatArray
    gradient_rollout: FloatArray
    baseline: Tensor
    case: Case
    keys: tuple[str, ...] = KEYS
    own_heads: str = ""


def explain_patient(
    bundle: Bundle, files: Files, patient: str, settings: Settings, cohort_mean: Tensor | None
) -> Explanation:
    """Explain a patient.

    Args:
        bundle: a network that was not trained on them.
        files: their prepared clips by view code.
        patient: their id.
        settings: ``ig_steps``, ``ig_tolerance``, ``ig_baseline``, ``rollout_heads``, ``step_memory``.
        cohort_mean: (V, h, w) mean images, for ``ig_baseline=cohort_mean``.

    Raises:
        InputError: there is no view to explain, or the attribution misses its tolerance.
    """
    data = load_clips(lambda _: files, [patient], bundle.settings.training_frames, scale=bundle.scale)
    device = choose_device()
    present = data.present[0] & used_views(bundle.settings)
    case = case_of(
        bundle.network.to(device), *(t.to(device) for t in (data.clips[0], present, data.phased[0]))
    )
    baseline = baseline_images(case.images, settings.ig_baseline, cohort_mean)
    attribution = _attribute(case, baseline, settings, bundle, settings.ig_steps, settings.ig_tolerance)
    encoder = case.network.encoder
    grid, memory = encoder.grid, step_bytes(settings.step_memory, device, CPU_MOST)
    flow = attention_rollout(encoder, case.shown, settings.rollout_heads, memory)
    rollout, weighted = patch_relevance(flow, grid), patch_relevance(gradient_rollout(case, memory), grid)
    with torch.no_grad():
        output = case.from_features(encoder(case.shown).float())
    return Explanation(
        data.clips[0].numpy(), present.numpy(), output, case.network.alphas(), attribution,
        case.by_view(rollout[None])[0].cpu().numpy(), weighted.cpu().numpy(), baseline, case,
        bundle.scaler.learned, own_heads(bundle),
    )  # fmt: skip


def own_heads(bundle: Bundle) -> str:
    """What a figure says about CO, CI and SVRI where they can follow from stroke volume; else nothing."""
    if not bundle.scaler.stroke:
        return ""
    return f"{', '.join(BY_IDENTITY)}: by their own heads, not from stroke volume."


def checks_of(found: Explanation, bundle: Bundle, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Whether a patient's attribution holds: deletion and insertion curves, and the maps of the checks."""
    case, patch = found.case, patch_side(found)
    curves = deletion_insertion(case, found.baseline, found.attribution, patch, settings.seed)
    other = replace(case, network=randomised(case.network, settings.seed))
    noisy = case.with_images(with_noise(case.images, settings.seed))

    def again(changed: Case, check: str) -> Attribution:
        try:
            return _attribute(changed, found.baseline, settings, bundle, CHECK_STEPS, settings.ig_tolerance)
        except InputError as error:
            raise InputError(f"The check with {check} failed. {error}") from error

    changed = {"randomised weights": other, "small noise": noisy}
    checks = {check: partial(again, case, check) for check, case in changed.items()}
    return curves, check_table(found.attribution, checks, patch)


def patch_side(found: Explanation) -> int:
    """Side of a patch of the backbone in pixels of its image."""
    return found.case.images.shape[-2] // found.case.network.encoder.grid[0]


def _attribute(
    case: Case, baseline: Tensor, settings: Settings, bundle: Bundle, steps: int, tolerance: float
) -> Attribution:
    device = case.images.device  # on CPUs bfloat16 makes the backward pass of small backbones slower
    dtype = compute_dtype(bundle.settings.precision, device) if device.type == "cuda" else torch.float32
    memory = step_bytes(settings.step_memory, device, CPU_MOST)
    return integrate(case, baseline, steps, tolerance, memory, dtype)
