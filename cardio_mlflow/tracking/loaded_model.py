"""A model that is loaded from its folder with its own code, found whole beforehand."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from numpy.typing import NDArray

from cardio_mlflow.analysis.conformal import LEVEL
from cardio_mlflow.data.dataset import ClipTensor
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.prediction.manifest import check_files
from cardio_mlflow.tracking.model_code import PACKAGE
from cardio_mlflow.training.stroke_volume import Predicted

FloatArray = NDArray[np.float64]

REFUSED: Final = "INVALID_PARAMETER_VALUE"
"""MLflow's code of an error whose reason is the request."""

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What a model says about N patients; the last five are missing from models of earlier versions.

    Attributes:
        predicted: (N, 9) in the units of the parameter table, and which way they came.
        features: (N, D) fused features by the name of the network, such as ``fold-2``.
        lower: (N, 9) lower ends of the intervals, NaN where there are none; `upper` likewise.
        unfamiliar: (N,) bool, whether something speaks against trusting a patient's values.
        flags: N lists of 9 texts: what speaks against each value.
        ph_probability: (N,), of pulmonary hypertension; NaN where it is not known.
    """

    predicted: Predicted
    features: Mapping[str, FloatArray]
    lower: FloatArray | None = None
    upper: FloatArray | None = None
    unfamiliar: NDArray[np.bool_] | None = None
    flags: Sequence[Sequence[str]] | None = None
    ph_probability: FloatArray | None = None


@dataclass(frozen=True)
class LoadedModel:
    """A model that answers; `code_folder` is of the code that does, its own where it has some."""

    code_folder: Path
    _model: PyFuncModel

    @property
    def has_own_code(self) -> bool:
        """Whether the code inside the model answers, not the installed package."""
        return self.code_folder != PACKAGE

    @property
    def about(self) -> Mapping[str, str]:
        """What the model says of itself, such as its ``study`` and ``cohort``."""
        return dict(self._model.metadata.metadata or {})

    def evaluate(self, data: ClipTensor, facts: FloatArray) -> Answer:
        """Predict for prepared clips of N patients, and return what the predictions were made from.

        Args:
            data: the clips, cropped to the sector as they are prepared.
            facts: (N, 3), see `FACTS`.

        Raises:
            InputError: the clips do not have the shape that the model takes.
        """
        if data.clips.ndim != 5 or data.clips.shape[1] != len(VIEW_CODES):
            raise InputError(
                f"Prepared clips must be (N, {len(VIEW_CODES)}, T, H, W), not {tuple(data.clips.shape)}."
            )
        with _refusing():
            found = self._model.unwrap_python_model().answer(model_input(data, facts))
        predicted = Predicted(found["predictions"], found["direct"], found["derived"])
        more = ("lower", "upper", "unfamiliar", "flags", "ph_probability")
        return Answer(predicted, found["features"], *(found.get(name) for name in more))

    def predict(
        self, request: Mapping[str, Any] | pd.DataFrame, level: float = LEVEL, refuse: bool = False
    ) -> pd.DataFrame:
        """Answer a request, as the class of the registered model states it, by a table.

        Args:
            request: arrays by name, or a table with a column for each view.
            level: of the intervals.
            refuse: leave out flagged values.

        Raises:
            InputError: the request cannot be taken.
        """
        with _refusing():
            table: pd.DataFrame = self._model.predict(request, params={"level": level, "refuse": refuse})
        return table


def model_input(data: ClipTensor, facts: FloatArray) -> dict[str, Any]:
    """What a model takes, as its class states, from prepared clips of N patients.

    Args:
        data: the clips, cropped to the sector as they are prepared.
        facts: (N, 3), see `FACTS`.
    """
    return {
        "views": data.clips.numpy(),
        "view_mask": data.present.numpy().astype(np.uint8),
        "phased": data.phased.numpy().astype(np.uint8),
        "placement": data.placement.numpy(),
        "facts": facts,
    }


def load_checked(folder: Path, digest: str = "") -> LoadedModel:
    """Load a model from its folder with its own code, after a check of its files.

    Args:
        folder: with an MLmodel.
        digest: that the list of its files is known to have, see `check_files`.

    Raises:
        InputError: it is no model of this project, is damaged, or was changed; nothing of it was run.
    """
    check_files(folder, digest)
    return load_unchecked(folder)


def load_unchecked(folder: Path) -> LoadedModel:
    """Load a model from its folder with its own code."""
    with _own_code():
        model = mlflow.pyfunc.load_model(str(folder))
    loaded = LoadedModel(model.unwrap_python_model().code_folder(), model)
    if not loaded.has_own_code:
        log.warning("The model carries no code of its own: the installed code answers.")
    return loaded


@contextmanager
def _own_code() -> Iterator[None]:
    """Hide this package while a model is loaded, so that the code inside the model answers.

    A package that is imported already would hide the model's own. What Python has compiled beside the
    model's code, and what no check has looked at, is not used, and nothing is written there.
    """
    hidden = {name: module for name, module in sys.modules.items() if _is_ours(name)}
    before = list(sys.path), sys.pycache_prefix, sys.dont_write_bytecode
    for name in hidden:
        del sys.modules[name]
    try:
        with tempfile.TemporaryDirectory() as nothing:
            sys.pycache_prefix, sys.dont_write_bytecode = nothing, True
            yield
    finally:
        for name in [name for name in sys.modules if _is_ours(name)]:
            del sys.modules[name]
        sys.modules.update(hidden)
        sys.path[:], sys.pycache_prefix, sys.dont_write_bytecode = before


def _is_ours(name: str) -> bool:
    return name == "cardio_mlflow" or name.startswith("cardio_mlflow.")


@contextmanager
def _refusing() -> Iterator[None]:
    """Pass on what a model refuses as an `InputError` of this package, which its own code does not know."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != REFUSED:
            raise
        raise InputError(str(error.message)) from None
