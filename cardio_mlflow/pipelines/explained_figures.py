"""Figures of explained patients, and of what the networks attend to over the whole cohort."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

from cardio_mlflow.analysis.predictions import BY_IDENTITY
from cardio_mlflow.data.dataset import load_clips
from cardio_mlflow.explain.patient import Explanation
from cardio_mlflow.figures.frame_attention import cohort_frame_attention, frame_attention, frame_importance
from cardio_mlflow.figures.overlay import ATTRIBUTION, GRADIENT_ROLLOUT, ROLLOUT, sector_mask, top_frames
from cardio_mlflow.figures.overlay_animation import write_animation
from cardio_mlflow.figures.overlay_page import overlay_page, overlay_pair
from cardio_mlflow.figures.style import save_figure, save_with_print
from cardio_mlflow.figures.view_fusion import cohort_view_fusion, view_fusion
from cardio_mlflow.parameters import KEYS, PULMONARY_HYPERTENSION, VIEWS
from cardio_mlflow.pipelines.inputs import StudyInputs
from cardio_mlflow.pipelines.study_runs import FoldNetworks
from cardio_mlflow.settings import Settings
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.training.bundle import used_views
from cardio_mlflow.training.devices import choose_device


@dataclass(frozen=True)
class Patient:
    """Who is explained, and where.

    Attributes:
        number: from 1, which names the folder: an id may not be fit for a file's name.
        patient_id: the id.
        why: why the patient was chosen.
        fold: the fold whose network explains.
    """

    number: int
    patient_id: str
    why: str
    fold: int

    @property
    def folder(self) -> str:
        """The artifact folder.

        >>> Patient(3, "P07", "median error", 1).folder
        'patients/03'
        """
        return f"patients/{self.number:02d}"


def log_patient(
    run: Run, settings: Settings, inputs: StudyInputs, found: Explanation, patient: Patient, loose_frames: int
) -> None:
    """Draw and log everything of one patient: pages as images with steps, animation, files on request.

    Args:
        run: where to.
        settings: ``figure_formats`` of the files.
        inputs: the cohort.
        found: what is to be drawn.
        patient: who it is.
        loose_frames: how many frames of each view and parameter become files of their own.
    """
    figures = patient_figures(settings, inputs, found, patient)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for figure_name, figure in figures.items():
            save_with_print(figure, folder, figure_name, settings.figure_formats)
        key = PULMONARY_HYPERTENSION.key if PULMONARY_HYPERTENSION.key in found.keys else found.keys[0]
        maps = found.attribution.maps[KEYS.index(key)].cpu().numpy()
        write_animation(
            folder / f"cycle_{key}.webp", found.frames, maps, found.present, key=key,
            synthetic=settings.is_synthetic,
        )  # fmt: skip
        if loose_frames:
            _write_loose(folder / "overlays", settings, found, loose_frames)
        run.log_folder(folder, patient.folder)
        for shown in ("overlays", "frame_attention", "gradient_rollout"):
            run.log_image(folder / f"{shown}.png", shown, patient.number)


def patient_figures(
    settings: Settings, inputs: StudyInputs, found: Explanation, patient: Patient
) -> dict[str, Figure]:
    """The figures of one patient, by name."""
    mark, known = settings.is_synthetic, phases_known(inputs, patient.patient_id)
    phases, present = phases_of(found.frames.shape[1]), found.present
    weights = found.output.frame_weights[0].cpu().numpy()
    importance = found.attribution.by_frame.cpu().numpy()
    title = " · ".join(filter(None, [f"{patient.why}, fold {patient.fold}", found.own_heads]))
    pages = {
        "overlays": (found.attribution.maps.cpu().numpy(), ATTRIBUTION),
        "gradient_rollout": (found.gradient_rollout, GRADIENT_ROLLOUT),
    }
    figures = {
        "frame_attention": frame_attention(
            weights, found.alphas["temporal"], phases, present, known, synthetic=mark
        ),
        "frame_importance": frame_importance(
            importance, phases, present, synthetic=mark, phase_known=known, note=found.own_heads
        ),
        "view_fusion": view_fusion(
            found.output.view_weights[0].cpu().numpy(), found.alphas["fusion"], present, synthetic=mark
        ),
    }
    for name, (maps, meaning) in pages.items():
        figures[name] = overlay_page(
            found.frames,
            maps,
            importance,
            present,
            found.keys,
            synthetic=mark,
            title=title,
            phases=phases,
            phase_known=known,
            meaning=meaning,
        )
    for view, at in enumerate(weights.argmax(1)):
        if present[view]:
            flow = found.rollout[view, at]
            figures[f"rollout_{VIEWS[view].name}"] = overlay_pair(
                found.frames[view, at], flow - flow.mean(), synthetic=mark,
                title=f"{VIEWS[view].name}: attention rollout, above and below the mean patch",
                meaning=ROLLOUT, sector=sector_mask(found.frames[view]),
            )  # fmt: skip
    return figures


def log_cohort(run: Run, settings: Settings, inputs: StudyInputs, networks: FoldNetworks) -> None:
    """Weights of frames and views over Cohort I, each patient by the network that was not trained on them."""
    patients = [p for p in inputs.patients("I") if int(inputs.folds[p]) in networks.run_ids]
    frames, views, present, known, alphas = [], [], [], [], []
    for patient in tqdm(patients, desc="attention of the cohort", unit="patient"):
        bundle = networks.of_fold(int(inputs.folds[patient]))
        data = load_clips(
            inputs.prepared.clips_of, [patient], bundle.settings.training_frames, scale=bundle.scale
        )
        mask = data.present & used_views(bundle.settings)
        if not mask.any():
            continue
        device = choose_device()
        with torch.no_grad():
            inputs_of = (t.to(device) for t in (data.clips, mask, data.phased))
            output = bundle.network.to(device).eval()(*inputs_of)
        frames.append(output.frame_weights[0].cpu().numpy())
        views.append(output.view_weights[0].cpu().numpy())
        present.append(mask[0].numpy())
        known.append(phases_known(inputs, patient))
        alphas.append([bundle.network.alphas()[stage] for stage in ("temporal", "fusion")])
    temporal, fusion = np.mean(alphas, axis=0)
    shown, phases = np.stack(present), phases_of(frames[0].shape[1])
    mark = settings.is_synthetic
    run.log_figures(
        {
            "frame_attention": cohort_frame_attention(
                np.stack(frames),
                shown,
                float(temporal),
                phases,
                synthetic=mark,
                phase_known=np.stack(known),
            ),
            "view_fusion": cohort_view_fusion(np.stack(views), shown, float(fusion), synthetic=mark),
        },
        settings.figure_formats,
    )


def phases_of(frames: int) -> NDArray[np.float64]:
    """Phases of evenly spaced frames of a cycle, 0 at its start."""
    return np.arange(frames) / frames


def phases_known(inputs: StudyInputs, patient: str) -> NDArray[np.bool_]:
    """(V,) whether each view's cycle is known to start or end at an R wave."""
    quality = inputs.prepared.quality
    known = quality[quality["patient_id"] == patient].set_index("view")["phase_verified"]
    return np.array([str(known.get(view.code, "")).lower() == "true" for view in VIEWS])


def _write_loose(folder: Path, settings: Settings, found: Explanation, frames: int) -> None:
    """Each view's and parameter's most important frames beside their overlay, in every format."""
    folder.mkdir()
    maps = found.attribution.maps.cpu().numpy()
    best = top_frames(found.attribution.by_frame.cpu().numpy(), min(frames, found.frames.shape[1]))
    formats: Sequence[str] = settings.figure_formats
    for k, key in ((KEYS.index(key), key) for key in found.keys):
        head = ", by its own head" if found.own_heads and key in BY_IDENTITY else ""
        for view in np.flatnonzero(found.present):
            for rank, at in enumerate(best[k, view], 1):
                name = f"{key}_{VIEWS[view].name}_{rank}"
                figure = overlay_pair(
                    found.frames[view, at], maps[k, view, at], synthetic=settings.is_synthetic,
                    title=f"{key}{head}, {VIEWS[view].name}, frame {at + 1}",
                    sector=sector_mask(found.frames[view]),
                )  # fmt: skip
                save_figure(figure, folder / name, formats)
