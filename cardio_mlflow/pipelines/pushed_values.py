"""What pushed a new patient's values: Integrated Gradients of the network that speaks for the model."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from cardio_mlflow.errors import InputError
from cardio_mlflow.explain.patient import Explanation, explain_patient
from cardio_mlflow.figures.frame_attention import frame_importance
from cardio_mlflow.figures.overlay_page import overlay_page
from cardio_mlflow.figures.style import save_figure
from cardio_mlflow.parameters import KEYS, VIEWS
from cardio_mlflow.pipelines.explained_figures import phases_of
from cardio_mlflow.pipelines.new_inputs import NewInputs
from cardio_mlflow.pipelines.used_model import UsedModel
from cardio_mlflow.report.explained_page import ExplainedPage, write_explained_page
from cardio_mlflow.report.patient_page import ModelShown
from cardio_mlflow.settings import Settings
from cardio_mlflow.training.ensemble import evaluate

log = logging.getLogger(__name__)


def who_is_explained(asked: str, inputs_asked: dict[str, str]) -> frozenset[str]:
    """Whom a user wants explained.

    Args:
        asked: ids with commas between them, ``all``, or nothing.
        inputs_asked: as of `NewInputs.asked`.

    Raises:
        InputError: an id is not known; ids are not repeated.
    """
    if asked.strip() == "all":
        return frozenset(inputs_asked.values())
    named = [part.strip() for part in asked.split(",") if part.strip()]
    if unknown := sum(name not in inputs_asked for name in named):
        raise InputError(
            f"explain= names {len(named)} patients, of whom {unknown} are not in the input. Give ids as the "
            "files have them, with commas between them, or all."
        )
    return frozenset(inputs_asked[name] for name in named)


def check_explainable(settings: Settings) -> None:
    """InputError where Integrated Gradients would need what a new patient's model does not hold."""
    if settings.ig_baseline == "cohort_mean":
        raise InputError(
            "ig_baseline=cohort_mean needs the clips of the training, which a model does not hold: give "
            "blurred or black."
        )


def write_explained(
    path: Path, patient: str, number: int, inputs: NewInputs, used: UsedModel, settings: Settings,
    model: ModelShown, back: str,
) -> None:  # fmt: skip
    """Write the page of what pushed a patient's values; where that cannot be told, it says why.

    Args:
        path: the file.
        patient: the id.
        number: by which messages name the patient.
        inputs: where the clips are.
        used: the model.
        settings: ``ig_steps`` and so on.
        model: as pages show it.
        back: the address of the patient's own page.
    """
    try:
        name, found = _explain(patient, inputs, used, settings)
    except InputError as reason:
        log.warning("Patient %d could not be explained: %s", number, reason)
        write_explained_page(path, ExplainedPage(patient, model, [str(reason)], pd.DataFrame(), (), back))
        return
    known = inputs.clips([patient]).phased[0].numpy()
    importance, phases = found.attribution.by_frame.cpu().numpy(), phases_of(found.frames.shape[1])
    is_made_up = settings.is_synthetic or used.is_synthetic
    figures = {
        "overlays": overlay_page(
            found.frames, found.attribution.maps.cpu().numpy(), importance, found.present, found.keys,
            synthetic=is_made_up, phases=phases, phase_known=known,
        ),
        "frames": frame_importance(
            importance, phases, found.present, synthetic=is_made_up, phase_known=known, note=found.own_heads
        ),
    }  # fmt: skip
    captions = {
        "overlays": "Regions: of each view the frame that has pushed each parameter most.",
        "frames": "Frames: how far each frame of the cycle has pushed each parameter, in SDs of it.",
    }
    with tempfile.TemporaryDirectory() as folder:
        files = [(save_figure(figure, Path(folder, n))[0], captions[n]) for n, figure in figures.items()]
        how = [*_how(name, found, len(used.networks.bundles)), *filter(None, [found.own_heads])]
        write_explained_page(path, ExplainedPage(patient, model, how, view_shares(found), files, back))


def _explain(patient: str, inputs: NewInputs, used: UsedModel, settings: Settings) -> tuple[str, Explanation]:
    """Explain the network whose predictions lie nearest to the mean of all; returns its name too."""
    clips = inputs.clips([patient])
    targets = evaluate(used.networks, clips, inputs.facts(clips)).targets
    mean = np.mean(list(targets.values()), axis=0)
    distance = {name: float(np.nanmean(np.abs(of - mean))) for name, of in targets.items()}
    nearest = min(distance, key=lambda name: (distance[name], name))
    bundle = used.networks.bundles[nearest]
    return nearest, explain_patient(bundle, inputs.files(patient), patient, settings, None)


def _how(name: str, found: Explanation, networks: int) -> list[str]:
    worst = float(found.attribution.relative_delta.max())
    one = (
        f"The prediction is the mean of {networks} networks. Shown is {name}, whose predictions for this "
        "patient lie nearest to the mean."
        if networks > 1
        else "The model is one network."
    )
    return [
        one,
        "Integrated Gradients share the difference between the prediction and that for an image that shows "
        f"nothing among all pixels of all frames. They miss it by {worst:.1%} at most.",
        "Colour shows what the network has used. It does not show that this is right, nor what causes what.",
    ]


def view_shares(found: Explanation) -> pd.DataFrame:
    """How far each view has pushed each learned parameter, in SDs as text, and the frame that pushed most."""
    by_frame = found.attribution.by_frame.cpu().numpy()
    rows = []
    for key in found.keys:
        own = by_frame[KEYS.index(key)]
        view, frame = np.unravel_index(int(np.abs(own).argmax()), own.shape)
        shares = {v.name: f"{own[i].sum():+.2f}" for i, v in enumerate(VIEWS) if found.present[i]}
        most = f"{VIEWS[int(view)].name}, frame {int(frame) + 1} of {own.shape[1]}"
        rows.append({"parameter": key, **shares, "frame that pushed most": most})
    return pd.DataFrame(rows)
