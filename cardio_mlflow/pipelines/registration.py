"""Registering a study's networks as one model."""

from __future__ import annotations

import base64
import hashlib
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cardio_mlflow.analysis.conformal import calibrate
from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.dataset import ClipTensor, prepared_clips
from cardio_mlflow.parameters import VIEW_CODES, view
from cardio_mlflow.report.model_card import FILE as CARD
from cardio_mlflow.synthetic.example import example_clips, example_facts
from cardio_mlflow.tracking.finished import FinishedRun
from cardio_mlflow.tracking.model_code import code_digest
from cardio_mlflow.tracking.registry import (
    download_networks,
    log_candidate,
    register,
    versions_with,
)
from cardio_mlflow.tracking.runs import Run
from cardio_mlflow.training.bundle import SCALER, WEIGHTS, Bundle, load_bundle
from cardio_mlflow.training.ensemble import Ensemble, ensemble_of, save_ensemble

log = logging.getLogger(__name__)


def registered(
    run: Run, champion: str, shared: Mapping[str, str], folds: Mapping[int, FinishedRun],
    subsets: pd.DataFrame | None, card: str,
) -> str:  # fmt: skip
    """The version with the weights of these folds and this code: the one that is there, or a new one.

    Args:
        run: that registers it.
        champion: ``mean`` of all folds, or ``best_fold``.
        shared: tags that the version shares with the study's runs.
        folds: the study's, by number.
        subsets: pooled out-of-fold predictions from subsets of the views; None: there are none.
        card: the model card, which goes with the model.

    Raises:
        InputError: a fold's networks are gone.
    """
    chosen = list(folds.values()) if champion == "mean" else [best_fold(folds)]
    numbers = [int(fold.tags["fold"]) for fold in chosen]
    with tempfile.TemporaryDirectory() as folder:
        places = {
            f"fold-{n}": _fetched(fold, n, Path(folder)) for n, fold in zip(numbers, chosen, strict=True)
        }
        tags = {
            **shared, "champion": champion, "folds": ",".join(map(str, numbers)),
            "weights_digest": weights_digest(places), "code_digest": code_digest(),
        }  # fmt: skip
        if known := versions_with(tags):
            log.info("Version %s has these weights already; no other is registered.", known[0].number)
            return known[0].number
        bundles = {name: load_bundle(place) for name, place in places.items()}
        path = Path(folder) / "ensemble"
        save_ensemble(
            _calibrated(bundles, subsets),
            path,
            half=example_patient(next(iter(bundles.values())).settings.views),
        )
        (path / CARD).write_text(card, encoding="utf-8")
        return register(run, log_candidate(run, path, tags, example_request()), tags)


def weights_digest(bundles: Mapping[str, Path]) -> str:
    """32 hexadecimal digits, equal for models of equal weights and scaling."""
    digest = hashlib.blake2b(digest_size=16)
    for name, bundle in sorted(bundles.items()):
        for file in (WEIGHTS, SCALER):
            content = hashlib.blake2b((bundle / file).read_bytes()).hexdigest()
            digest.update(f"{name}/{file} {content}\n".encode())
    return digest.hexdigest()


def best_fold(folds: Mapping[int, FinishedRun]) -> FinishedRun:
    """The fold with the lowest validation loss."""
    return min(folds.values(), key=lambda fold: fold.metrics["best/loss"])


def example_request() -> pd.DataFrame:
    """A request that the registered model answers: a synthetic patient's clips in base64, and facts."""
    clips = {name: base64.b64encode(content).decode() for name, content in example_clips().items()}
    return pd.DataFrame([{"patient_id": "SYNTHETIC", **clips, **example_facts()}])


def example_patient(views: Sequence[str] = VIEW_CODES) -> ClipTensor:
    """The prepared clips of the example, several times: all of them, and each of some views alone."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = {}
        for name, content in example_clips().items():
            path = Path(folder) / f"{name}.dcm"
            path.write_bytes(content)
            prepared[view(name).code] = prepare_clip(path)
    shown = [prepared, *({code: prepared[code]} for code in views)]
    return prepared_clips([str(number) for number in range(len(shown))], shown)


def _fetched(fold: FinishedRun, number: int, folder: Path) -> Path:
    return download_networks(fold.run_id, folder / fold.run_id) / f"fold-{number}"


def _calibrated(bundles: Mapping[str, Bundle], subsets: pd.DataFrame | None) -> Ensemble:
    """The ensemble, with intervals by the errors of all folds where these are known.

    Those of the best fold alone would be too few, and too small: it is the best by these very errors.
    """
    if subsets is None:
        log.warning("The folds were trained by an earlier version: the model gives no intervals.")
        return ensemble_of(bundles)
    return ensemble_of(bundles, calibrate(subsets))
