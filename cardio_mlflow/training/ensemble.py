"""The networks of a study's folds as one model: on disk with what they share once, and how they answer.

The folds start from the same backbone and leave its lower blocks as they are. These are stored once, are
held in memory once, and a patient's clips go through them once; from there on each network goes its own way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor

from cardio_mlflow import __version__
from cardio_mlflow.analysis.conformal import Calibration
from cardio_mlflow.data.dataset import ClipTensor, frame_positions
from cardio_mlflow.data.picture.physical_scale import mm_shown
from cardio_mlflow.model.backbone import new_backbone
from cardio_mlflow.model.network import Network, Output
from cardio_mlflow.parameters import FACTS
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import settings_from_yaml
from cardio_mlflow.training.backbone_pass import Activations, join
from cardio_mlflow.training.bundle import (
    BACKBONE,
    SCALE,
    SETTINGS,
    VERSION,
    WEIGHTS,
    Bundle,
    check_seen,
    load_bundle,
    network_of,
    scale_fields,
    scale_from,
    used_views,
)
from cardio_mlflow.training.devices import choose_device, compute_dtype
from cardio_mlflow.training.familiarity import Familiarity
from cardio_mlflow.training.forward import Batch, forward
from cardio_mlflow.training.frozen_features import Sources
from cardio_mlflow.training.processes import Processes
from cardio_mlflow.training.scaling import TargetScaler
from cardio_mlflow.training.shared_weights import (
    NOTHING,
    Weights,
    as_stored,
    fill,
    shared_depth,
    split_weights,
)
from cardio_mlflow.training.stroke_volume import Predicted
from cardio_mlflow.training.weight_differences import add_difference, difference

SHARED: Final = "shared.safetensors"
SCALERS: Final = "scalers.json"
CALIBRATION: Final = "calibration.json"
FAMILIARITY: Final = "familiarity.safetensors"
HALF: Final = 1e-3  # SDs by which half precision may change a prediction, at most


@dataclass(frozen=True)
class Ensemble:
    """The networks of a study, and what is known about their answers.

    Attributes:
        bundles: by the name of the fold, such as ``fold-2``; of one architecture and with the same settings.
        calibration: what intervals are made from; None: the model gives none.
        familiarity: what tells whether a patient is like those of training; None: the model cannot.
    """

    bundles: Mapping[str, Bundle]
    calibration: Calibration | None = None
    familiarity: Familiarity | None = None

    @property
    def settings(self) -> Settings:
        """The settings that every network was trained with."""
        return next(iter(self.bundles.values())).settings

    @cached_property
    def shared_depth(self) -> int:
        """How many of the lowest blocks, embeddings included, are equal in all networks; or `NOTHING`."""
        return shared_depth([bundle.network.encoder for bundle in self.bundles.values()])


def save_ensemble(ensemble: Ensemble, folder: Path, *, half: ClipTensor | None = None) -> None:
    """Write an ensemble into a folder, which is made if need be; no path of this machine is in its files.

    The tensors that differ are whole for the first network, and for the others differences from it.

    Args:
        ensemble: to write.
        folder: where to.
        half: clips; matrices are written in half precision as far as that changes no network's prediction for
            these by more than `HALF`. None: all in single precision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = split_weights({name: bundle.network for name, bundle in ensemble.bundles.items()})
    shared, own = whole if half is None else _smallest(ensemble, *whole, half)
    base = next(iter(own.values()))
    files = {SHARED: shared}
    for name, weights in own.items():
        packed = {key: difference(tensor, base[key]) for key, tensor in weights.items()}
        files[f"{name}.safetensors"] = weights if weights is base else packed
    for name, weights in files.items():
        save_file({key: tensor.contiguous().cpu() for key, tensor in weights.items()}, str(folder / name))
    bundles = ensemble.bundles
    scales = {name: scale_fields(b.scale) for name, b in bundles.items() if b.scale is not None}
    texts = {
        SETTINGS: ensemble.settings.portable().to_yaml(),
        BACKBONE: json.dumps(_config(ensemble), indent=1),
        SCALERS: json.dumps({n: json.loads(b.scaler.to_json()) for n, b in bundles.items()}, indent=1),
        VERSION: json.dumps({"cardio_mlflow": __version__}),
        **({SCALE: json.dumps(scales, indent=1)} if scales else {}),
    }
    if ensemble.calibration is not None:
        texts[CALIBRATION] = ensemble.calibration.to_json()
    if ensemble.familiarity is not None:
        save_arrays(ensemble.familiarity.to_arrays(), str(folder / FAMILIARITY))
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def load_ensemble(folder: Path) -> Ensemble:
    """Read an ensemble; also one of a single bundle, which is the folder itself or in a folder of its own.

    Raises:
        InputError: the settings are of another version.
        RuntimeError: the weights do not fill the networks exactly.
    """
    if plain := [found for found in (folder, *folder.iterdir()) if (found / WEIGHTS).is_file()]:
        return ensemble_of({path.name: load_bundle(path) for path in sorted(plain)})
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.[jy][sa]*")}
    settings, scalers = settings_from_yaml(texts[SETTINGS]), json.loads(texts[SCALERS])
    names = sorted(scalers)
    own = [load_file(folder / f"{name}.safetensors") for name in names]
    base, *others = own
    own = [base, *({n: add_difference(base[n], packed) for n, packed in other.items()} for other in others)]
    networks = _filled(json.loads(texts[BACKBONE]), settings, load_file(folder / SHARED), own)
    scales = {name: scale_from(fields) for name, fields in json.loads(texts.get(SCALE, "{}")).items()}
    bundles = {
        name: Bundle(network, settings, TargetScaler.from_json(json.dumps(scalers[name])), scales.get(name))
        for name, network in zip(names, networks, strict=True)
    }
    calibration = Calibration.from_json(texts[CALIBRATION]) if CALIBRATION in texts else None
    file = folder / FAMILIARITY
    known = Familiarity.from_arrays(load_arrays(file)) if file.is_file() else None
    return Ensemble(bundles, calibration, known)


def ensemble_of(bundles: Mapping[str, Bundle], calibration: Calibration | None = None) -> Ensemble:
    """The ensemble of a study's bundles, which tells by what they were trained on what is unlike it."""
    references = {name: bundle.reference for name, bundle in bundles.items()}
    return Ensemble(bundles, calibration, Familiarity.of(references))


def _config(ensemble: Ensemble) -> dict[str, Any]:
    network = next(iter(ensemble.bundles.values())).network
    config = network.encoder.vit.config.to_dict()
    return {name: value for name, value in config.items() if name != "_name_or_path"}


def _filled(
    config: Mapping[str, Any], settings: Settings, shared: Weights, own: Sequence[Weights]
) -> list[Network]:
    networks = [network_of(new_backbone(config), settings) for _ in own]
    fill(networks, shared, own)
    return [network.eval() for network in networks]


def _smallest(
    ensemble: Ensemble, shared: Weights, own: Mapping[str, Weights], clips: ClipTensor
) -> tuple[Weights, Mapping[str, Weights]]:
    """The weights in as few bytes as keep the predictions for these clips, see `HALF`.

    Where the backbone multiplies in bfloat16, its matrices are kept in it, to the same numbers.
    """
    wanted = evaluate(ensemble, clips).targets
    multiplied = compute_dtype(ensemble.settings.precision, choose_device())
    blocks = torch.float16 if multiplied == torch.float32 else multiplied
    for dtypes in ((blocks, torch.float16), (torch.float32, torch.float16), (blocks, torch.float32)):
        less = as_stored(shared, *dtypes), {name: as_stored(w, *dtypes) for name, w in own.items()}
        networks = _filled(_config(ensemble), ensemble.settings, less[0], list(less[1].values()))
        tried = zip(ensemble.bundles.items(), networks, strict=True)
        changed = Ensemble({name: replace(bundle, network=network) for (name, bundle), network in tried})
        found = evaluate(changed, clips).targets
        if all(np.abs(found[name] - wanted[name]).max(initial=0) <= HALF for name in wanted):
            return less
    return shared, own


class Evaluated(NamedTuple):
    """What an ensemble's networks say about N patients.

    Attributes:
        predicted: by network, each (N, 9).
        targets: (N, 9 or 11) in scaled target space, which is in SDs, by network.
        features: (N, D) fused features by network.
        frames: (N, V, T, D) frame features by network, 0 for a missing view.
        present: (N, V) bool, the views that were given and that the networks use.
    """

    predicted: Mapping[str, Predicted]
    targets: Mapping[str, NDArray[np.float64]]
    features: Mapping[str, NDArray[np.float64]]
    frames: Mapping[str, Tensor]
    present: Tensor


def evaluate(ensemble: Ensemble, data: ClipTensor, facts: NDArray[np.float64] | None = None) -> Evaluated:
    """What each network says of prepared clips, the same to the last bit as by itself.

    Patients go through one at a time, so that whoever else is asked about makes no difference.

    Args:
        ensemble: its networks.
        data: clips of N patients as they are prepared.
        facts: (N, 3), see `FACTS`; None: nothing is known.

    Raises:
        InputError: a patient has none of the views that the networks were trained on.
    """
    settings, present = ensemble.settings, data.present & used_views(ensemble.settings)
    check_seen(present, settings)
    shown = replace(data, present=present)
    facts = np.full((len(data), len(FACTS)), np.nan) if facts is None else facts
    patients = [_evaluate_one(ensemble, shown, patient) for patient in range(len(data))]
    targets, features, frames = {}, {}, {}
    for name, bundle in ensemble.bundles.items():
        targets[name], features[name], frames[name] = _empty(bundle, present)
        for patient, outputs in enumerate(patients):
            targets[name][patient] = outputs[name].targets[0].double().cpu().numpy()
            features[name][patient] = outputs[name].features[0].double().cpu().numpy()
            frames[name][patient] = outputs[name].frames[0].cpu()
    predicted = {name: b.scaler.predicted(targets[name], facts) for name, b in ensemble.bundles.items()}
    return Evaluated(predicted, targets, features, frames, present)


def _empty(bundle: Bundle, present: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64], Tensor]:
    """Room for the scaled targets, fused features and frame features of N patients by a network."""
    count, width = len(present), bundle.network.encoder.width
    frames = torch.zeros(*present.shape, bundle.settings.training_frames, width)
    return np.empty((count, len(bundle.network.heads.heads))), np.empty((count, width)), frames


@torch.no_grad()
def _evaluate_one(ensemble: Ensemble, data: ClipTensor, patient: int) -> dict[str, Output]:
    """The output of each network for the patient at this position."""
    own = slice(patient, patient + 1)
    positions = frame_positions(data.frames, ensemble.settings.training_frames)
    one = ClipTensor(
        data.patient_ids[own], data.clips[own][:, :, positions], data.present[own], data.placement[own],
        data.phased[own],
    )  # fmt: skip
    device, shared, outputs = choose_device(), {}, {}
    dtype = compute_dtype(ensemble.settings.precision, device)
    batch = Batch((0,), (0,), one.present, one.phased)
    for name, bundle in ensemble.bundles.items():
        network = bundle.network
        if network.training or next(network.parameters()).device != device:
            network = network.to(device).eval()
        sources = Sources(network.encoder, replace(one, scale=bundle.scale), None, 0, dtype)
        start = None
        if ensemble.shared_depth != NOTHING:
            key = _shown_at(one, bundle)
            if key not in shared:
                shared[key] = sources.compute(0, 0, [ensemble.shared_depth])[ensemble.shared_depth]
            start = ensemble.shared_depth, shared[key]
        found = _from(sources, start)
        outputs[name] = forward(network, batch, join([found]), 0, bundle.settings, Processes(device=device))
    return outputs


def _from(sources: Sources, start: tuple[int, Activations] | None) -> Activations:
    """The frame features of the only patient, from what is computed already."""
    depth = sources.encoder.depth
    if start is not None and start[0] == depth:
        return start[1]
    return sources.compute(0, 0, [depth], start)[depth]


def _shown_at(one: ClipTensor, bundle: Bundle) -> tuple[float, ...]:
    """At which scale a network sees the clips of the only patient: equal where it sees the same pixels."""
    if bundle.scale is None:
        return ()
    sizes = mm_shown(one.placement[0].numpy(), bundle.scale.fallback_mm)
    return tuple(sizes[one.present[0].numpy()].tolist())
