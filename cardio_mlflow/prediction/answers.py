"""What a model answers about patients: values with intervals, and what speaks against trusting them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cardio_mlflow.analysis.conformal import LEVEL, Calibration, mean_over_networks
from cardio_mlflow.data.dataset import ClipTensor
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import KEYS, PARAMETERS, PULMONARY_HYPERTENSION, VIEW_CODES, view_name
from cardio_mlflow.prediction.remarks import faults, notes
from cardio_mlflow.training.bundle import used_views
from cardio_mlflow.training.ensemble import Ensemble, Evaluated, evaluate

Array = NDArray[Any]
Answers = dict[str, Any]

OUTSIDE: Final = "outside the training range"
COLUMNS: Final = ("patient", "parameter", "unit", "prediction", "lower", "upper", "abnormal",
                  "ph_probability", "unfamiliar", "flags", "notes")  # fmt: skip

_VALUES: Final = ("predictions", "direct", "lower", "upper")


def answer(
    ensemble: Ensemble, clips: ClipTensor, facts: NDArray[np.float64], *, level: float = LEVEL,
    refuse: bool = False, refused: Sequence[Mapping[str, Outcome]] | None = None,
) -> Answers:  # fmt: skip
    """Answer about N patients, one after the other, so that none makes a difference to another.

    Args:
        ensemble: the model.
        clips: of N patients, as they are prepared; a patient of whom no view is used gets no prediction.
        facts: (N, 3), see `FACTS`; NaN where one is not known.
        level: of the intervals, above 0 and below 1.
        refuse: leave out values that are flagged.
        refused: for each patient, by view code, why a clip could not be prepared.

    Returns:
        ``predictions`` and ``direct``, (N, 9) in their units, the mean over the networks, NaN of a parameter
        that none has learned; ``derived``, (N, 9) bool, those that follow from stroke volume by an identity;
        ``lower`` and ``upper``, (N, 9), NaN where the model has no intervals; ``ph_probability``, (N,);
        ``unfamiliar``, (N,) bool, whether something speaks against trusting any value; ``flags``, N lists of
        9 texts, what speaks against each value; ``notes``, N texts; ``features``, (N, D) by network, NaN of
        a patient without a prediction.

    """
    found = [
        _about(ensemble, _only(clips, i), facts[i : i + 1], level, refused[i] if refused else {})
        for i in range(len(clips))
    ]
    answers = _joined(found, list(ensemble.bundles))
    return _without_flagged(answers) if refuse else answers


def check_level(level: float) -> None:
    """Check the level of intervals; InputError where it is no share."""
    if not 0 < level < 1:
        raise InputError("level must lie between 0 and 1, such as 0.9.")


def answer_table(answers: Answers, patients: Sequence[str]) -> pd.DataFrame:
    """One row per patient and parameter, the columns of `COLUMNS`; arguments as `answer` gives them."""
    count = len(patients)
    flags = [text for of_patient in answers["flags"] for text in of_patient]
    predictions = answers["predictions"].reshape(-1)
    columns: dict[str, object] = {
        "patient": [name for name in patients for _ in KEYS],
        "parameter": list(KEYS) * count,
        "unit": [p.unit for p in PARAMETERS] * count,
        "prediction": predictions,
        "lower": answers["lower"].reshape(-1),
        "upper": answers["upper"].reshape(-1),
        "abnormal": _abnormal(predictions),
        "ph_probability": np.repeat(answers["ph_probability"], len(KEYS)),
        "unfamiliar": np.array([bool(text) for text in flags], dtype=bool),
        "flags": flags,
        "notes": [text for text in answers["notes"] for _ in KEYS],
    }
    return pd.DataFrame(columns)[list(COLUMNS)]


def _abnormal(predictions: Array) -> Any:
    """Whether each of N · 9 predictions lies beyond its cut-off; NA where there is none."""
    told = [
        pd.NA if np.isnan(value) else parameter.is_abnormal(value)
        for value, parameter in zip(predictions, PARAMETERS * (len(predictions) // len(KEYS)), strict=True)
    ]
    return pd.array(told, dtype="boolean")


def _only(clips: ClipTensor, patient: int) -> ClipTensor:
    """The clips of the patient at this position."""
    own = slice(patient, patient + 1)
    return ClipTensor(
        clips.patient_ids[own], clips.clips[own], clips.present[own], clips.placement[own], clips.phased[own],
        clips.rr_ms[own], clips.scale,
    )  # fmt: skip


def _about(
    ensemble: Ensemble, clips: ClipTensor, facts: Array, level: float, refused: Mapping[str, Outcome]
) -> Answers:
    """The answer about the only patient."""
    settings = ensemble.settings
    used = (clips.present & used_views(settings))[0].tolist()
    seen = [code for code, is_used in zip(VIEW_CODES, used, strict=True) if is_used]
    told: Answers = {"notes": [notes(clips, facts, settings, refused, _unjudged(ensemble, seen))]}
    reasons = faults(clips, seen)
    if not seen:
        told["flags"] = [["; ".join(reasons)] * len(KEYS)]
        return _no_answer(ensemble) | told | {"unfamiliar": np.array([True])}
    found = evaluate(ensemble, clips, facts)
    reasons += _unfamiliar(ensemble, found, clips, reasons)
    answers = _mean_of(found) | _intervals(ensemble.calibration, found, level)
    flags = _flags(answers["predictions"][0], reasons, ensemble.calibration)
    return answers | told | {"unfamiliar": np.array([any(flags)]), "flags": [flags]}


def _mean_of(found: Evaluated) -> Answers:
    of_networks = found.predicted.items()
    return {
        "predictions": mean_over_networks({name: of.predictions for name, of in of_networks}),
        "direct": mean_over_networks({name: of.direct for name, of in of_networks}),
        "derived": np.all([of.derived for _, of in of_networks], axis=0),
        "features": dict(found.features),
    }


def _intervals(calibration: Calibration | None, found: Evaluated, level: float) -> Answers:
    if calibration is None:
        nothing = _nothing(1)
        return {"lower": nothing, "upper": nothing, "ph_probability": np.full(1, np.nan)}
    by_network = {name: of.predictions for name, of in found.predicted.items()}
    present, outcome = found.present.numpy(), PULMONARY_HYPERTENSION
    lower, upper = calibration.intervals(by_network, present, level)
    probability = calibration.probability_above(outcome.key, outcome.cutoff, by_network, present)
    return {"lower": lower, "upper": upper, "ph_probability": probability}


def _unfamiliar(ensemble: Ensemble, found: Evaluated, clips: ClipTensor, known: Sequence[str]) -> list[str]:
    """What the model finds unlike its training, without what is known already."""
    if ensemble.familiarity is None:
        return []
    (reasons,) = ensemble.familiarity.judge(found.frames, found.features, clips, found.present)
    return [reason for reason in reasons if reason not in known]


def _unjudged(ensemble: Ensemble, seen: Sequence[str]) -> list[str]:
    """Names of the views that are seen and of which the model cannot say whether they are familiar."""
    names = [view_name(code) for code in seen]
    familiarity = ensemble.familiarity
    return [name for name in names if familiarity is None or name in familiarity.not_judged]


def _flags(predictions: Array, reasons: Sequence[str], calibration: Calibration | None) -> list[str]:
    """What speaks against each of the nine values of a patient."""
    ranges = {} if calibration is None else calibration.training_range()
    flags = []
    for key, value in zip(KEYS, predictions.tolist(), strict=True):
        low, high = ranges.get(key, (-np.inf, np.inf))
        flags.append("; ".join([*reasons, *([OUTSIDE] if value < low or value > high else [])]))
    return flags


def _no_answer(ensemble: Ensemble) -> Answers:
    """The numbers of a patient of whom nothing can be said."""
    nothing = np.full((1, 1), np.nan)
    return {name: _nothing(1) for name in _VALUES} | {
        "derived": np.zeros((1, len(KEYS)), bool), "ph_probability": np.full(1, np.nan),
        "features": dict.fromkeys(ensemble.bundles, nothing),
    }  # fmt: skip


def _nothing(patients: int) -> NDArray[np.float64]:
    return np.full((patients, len(KEYS)), np.nan)


def _joined(found: Sequence[Answers], networks: Sequence[str]) -> Answers:
    """The answers about N patients, one each, as one."""
    joined: Answers = {name: np.concatenate([_nothing(0), *(of[name] for of in found)]) for name in _VALUES}
    joined["derived"] = np.concatenate([_nothing(0).astype(bool), *(of["derived"] for of in found)])
    joined["ph_probability"] = np.concatenate([np.empty(0), *(of["ph_probability"] for of in found)])
    joined["unfamiliar"] = np.concatenate([np.empty(0, bool), *(of["unfamiliar"] for of in found)])
    joined["flags"] = [text for of in found for text in of["flags"]]
    joined["notes"] = [text for of in found for text in of["notes"]]
    joined["features"] = {name: _stacked([of["features"][name] for of in found]) for name in networks}
    return joined


def _stacked(features: Sequence[Array]) -> Array:
    """(N, D) of N arrays (1, D), of which (1, 1) stands for a patient without features."""
    width = max((one.shape[1] for one in features), default=0)
    return np.concatenate([np.empty((0, width)), *(np.broadcast_to(one, (1, width)) for one in features)])


def _without_flagged(answers: Answers) -> Answers:
    """The answers without the values that are flagged, and the probability of whoever's meanPAP is."""
    flagged = np.array([[bool(text) for text in texts] for texts in answers["flags"]], dtype=bool)
    flagged = flagged.reshape(-1, len(KEYS))
    kept = {name: np.where(flagged, np.nan, answers[name]) for name in _VALUES}
    of_outcome = flagged[:, KEYS.index(PULMONARY_HYPERTENSION.key)]
    return answers | kept | {"ph_probability": np.where(of_outcome, np.nan, answers["ph_probability"])}
