"""Cohort I as folds and variants train on it, with everything they share."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from cardio_mlflow.data.dataset import ClipFiles, open_clips
from cardio_mlflow.data.picture.physical_scale import PhysicalScale, median_scale
from cardio_mlflow.errors import InputError
from cardio_mlflow.model.backbone import load_backbone
from cardio_mlflow.model.frame_encoder import FrameEncoder
from cardio_mlflow.model.network import Network
from cardio_mlflow.pipelines.inputs import StudyInputs, training_subset
from cardio_mlflow.settings import Settings, Use, settings_for
from cardio_mlflow.training.activation_store import ActivationStore
from cardio_mlflow.training.augmentation import Augmentation
from cardio_mlflow.training.bundle import network_of, used_views
from cardio_mlflow.training.devices import compute_dtype, make_deterministic
from cardio_mlflow.training.fit import FoldData
from cardio_mlflow.training.frozen_features import FrozenFeatures, Sources, frozen
from cardio_mlflow.training.processes import Processes
from cardio_mlflow.training.scaling import TargetScaler, fit_scaler
from cardio_mlflow.training.unfreezing import check_stages

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSet:
    """Cohort I, with the frozen features that all folds and variants share.

    Attributes:
        inputs: the cohort.
        patients: ids of the N patients, in sheet order.
        references: (N, 9) references in their units.
        facts: (N, 3) heart rate, body surface, mean arterial pressure, see `FACTS`.
        scale: the physical scale at which clips are shown; None: as they are prepared.
        trainable: ids that may be trained on.
        features: clips and frozen activations of the N patients.
        backbone: the pretrained backbone; networks get a copy.
        processes: those that train one fold together.
    """

    inputs: StudyInputs
    patients: tuple[str, ...]
    references: NDArray[np.float64]
    facts: NDArray[np.float64]
    scale: PhysicalScale | None
    trainable: set[str]
    features: FrozenFeatures
    backbone: PreTrainedModel
    processes: Processes

    def network(self, settings: Settings) -> Network:
        """A new network of the settings' variant on a copy of the backbone, on the device."""
        return network_of(copy.deepcopy(self.backbone), settings).to(self.features.device)

    def fold(
        self, fold: int, settings: Settings, without: int | None = None
    ) -> tuple[FoldData, TargetScaler]:
        """The data of one fold, and the scaler fitted on its training patients.

        Args:
            fold: whose patients are validated on; all others are trained on.
            settings: whether stroke volume is learned too.
            without: a fold whose patients are neither trained nor validated on.

        Raises:
            InputError: nobody is left to train on or to validate on.
        """
        of_patient = [int(self.inputs.folds[p]) for p in self.patients]
        validation = tuple(i for i, f in enumerate(of_patient) if f == fold)
        training = tuple(
            i
            for i, f in enumerate(of_patient)
            if f not in (fold, without) and self.patients[i] in self.trainable
        )
        if not training or not validation:
            raise InputError(
                f"Fold {fold} has {len(training)} training and {len(validation)} validation patients with "
                "prepared clips: it needs at least one of each."
            )
        rows = list(training)
        scaler = fit_scaler(self.references[rows], self.facts[rows] if settings.identities else None)
        targets = scaler.targets(self.references, self.facts)
        return FoldData(self.features, targets, training, validation), scaler


def made_from(settings: Settings) -> tuple[object, ...]:
    """What of the settings a training set is made from: where it is equal, so are the training sets."""
    return tuple(getattr(settings, name) for name in settings_for(Use.FEATURES))


def load_training_set(
    settings: Settings, inputs: StudyInputs, processes: Processes | None = None
) -> TrainingSet:
    """Open Cohort I and load the backbone. Cohort II is not read.

    Patients without any of the settings' ``views`` are left out; the log says how many.

    Args:
        settings: what to train.
        inputs: the cohort.
        processes: those that train one fold together; this one alone by default.

    Raises:
        InputError: nobody has a prepared clip, or the backbone cannot be used.
    """
    clips = _clips(settings, inputs)
    processes = processes or Processes()
    make_deterministic(processes.device)
    backbone = load_backbone(settings.backbone)
    check_backbone(settings, backbone)
    dtype = compute_dtype(settings.precision, processes.device)
    encoder = frozen(FrameEncoder(copy.deepcopy(backbone)).to(processes.device), dtype)
    sources = Sources(encoder, clips, Augmentation.from_settings(settings), settings.augmented_copies, dtype)
    features = FrozenFeatures(
        sources, ActivationStore(settings.cache / "features", settings.feature_disk * 2**30)
    )
    references = inputs.references(clips.patient_ids)
    trainable = training_subset(settings, inputs)
    facts = inputs.facts(clips.patient_ids)
    return TrainingSet(
        inputs, clips.patient_ids, references, facts, clips.scale, trainable, features, backbone, processes
    )


def check_backbone(settings: Settings, backbone: PreTrainedModel) -> None:
    """Check that a network of these settings can be built on a backbone.

    Raises:
        InputError: it has fewer blocks than there are stages, or its width does not suit the heads.
    """
    check_stages(settings.stages, FrameEncoder(backbone))
    if backbone.config.hidden_size % settings.attention_heads:
        raise InputError(
            f"attention_heads={settings.attention_heads} does not divide this backbone's width, "
            f"{backbone.config.hidden_size}."
        )


def _clips(settings: Settings, inputs: StudyInputs) -> ClipFiles:
    """The prepared clips of the Cohort I patients that have one of the views that are used."""
    patients = inputs.patients("I")
    if not patients:
        raise InputError(
            "No patient of Cohort I has a prepared clip. quality.csv says what was wrong with each."
        )
    patients = with_used_views(settings, inputs, patients)
    clips = open_clips(inputs.prepared.clips_of, patients, settings.training_frames)
    present = clips.present & used_views(settings)
    scale = median_scale(clips.placement, present) if settings.scale == "physical" else None
    return replace(clips, present=present, scale=scale)


def with_used_views(settings: Settings, inputs: StudyInputs, patients: tuple[str, ...]) -> tuple[str, ...]:
    """The patients that have one of the settings' ``views``; the log says how many have none.

    Raises:
        InputError: nobody has.
    """
    clips = open_clips(inputs.prepared.clips_of, patients, 1)
    has = (clips.present & used_views(settings)).any(1).tolist()
    kept = tuple(patient for patient, seen in zip(patients, has, strict=True) if seen)
    if not kept:
        raise InputError(f"No patient has one of the views that are used: {', '.join(settings.views)}.")
    if len(kept) < len(patients):
        log.warning("%d of %d patients are left out: they have none of the views that are used, %s.",
                    len(patients) - len(kept), len(patients), ", ".join(settings.views))  # fmt: skip
    return kept
