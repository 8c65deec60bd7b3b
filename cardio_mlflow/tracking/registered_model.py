"""The registered model: the networks of a study's folds as an MLflow pyfunc from code.

MLflow runs this file when the model is loaded, with the package's code as it was at registration.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.environment_variables import _MLFLOW_IS_IN_SERVING_ENVIRONMENT
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from cardio_mlflow import __version__, parameters
from cardio_mlflow.analysis.conformal import LEVEL
from cardio_mlflow.errors import InputError
from cardio_mlflow.prediction.answers import answer, answer_table, check_level
from cardio_mlflow.prediction.clip_arrays import ClipArrays, read_arrays
from cardio_mlflow.prediction.clip_table import PatientFiles
from cardio_mlflow.prediction.manifest import CODE, check_files, is_code_of, own_version
from cardio_mlflow.prediction.patient_clips import ClipReader
from cardio_mlflow.prediction.places import Places
from cardio_mlflow.prediction.requests import read_request
from cardio_mlflow.training.ensemble import Ensemble, load_ensemble

log = logging.getLogger(__name__)


class PlainError(MlflowException):  # type: ignore[misc]
    """An error of one sentence that stays as it is: MLflow's server puts a request's data before others."""

    @property
    def message(self) -> str:
        """The sentence."""
        return str(self.args[0])

    @message.setter
    def message(self, text: str) -> None:
        """Nothing is changed."""


class RefusedInput(PlainError):  # noqa: N818 - what happened to the request
    """A request that the model does not take; a server answers with status 400."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, error_code=INVALID_PARAMETER_VALUE)


class ServerFault(PlainError):  # noqa: N818 - as above
    """A fault of the program or of the machine; a server answers with status 500."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, error_code=INTERNAL_ERROR)


class CardioHemodynamics(PythonModel):  # type: ignore[misc]
    """Nine catheterisation values from the clips of four views, with intervals and what speaks against them.

    Input, for N patients, is one of two.

    Arrays by name: ``views``, (N, 4, T, 224, 224), prepared clips, 0 to 255, of A4C, A2C, PSAX, PLAX in this
    order; ``view_mask``, (N, 4), 1 for a view that is there; and, where known, ``phased``, (N, 4), 1 for a
    clip whose first frame stands at an R wave; ``placement``, (N, 4, 3), mm per pixel and the sector's apex
    (x, y) in pixels; ``facts``, (N, 3), heart rate (beats/min), body surface (m²) and mean arterial pressure
    (mmHg), NaN where not known; ``patient_id``.

    A table, list of records or dict of columns: a column for each view, by name or code (FC, TC, SA, LA),
    whose cells hold the path of a DICOM file, such a file in base64, or nothing; and, where known, ``HR``,
    ``BSA``, ``MAP`` and ``patient_id``. In a server paths are taken only below the folder ``files`` of the
    model configuration.

    Parameters: ``level`` of the intervals, 0.9 unless given; ``refuse``, whether to leave out flagged values.

    Output: a table of 9 N rows with the columns patient, parameter, unit, prediction, lower, upper, abnormal
    (beyond the cut-off), ph_probability (of pulmonary hypertension), unfamiliar, flags (why the value should
    not be trusted) and notes.
    """

    ensemble: Ensemble

    def load_context(self, context: PythonModelContext) -> None:
        """Load the networks, after a check of the model's files.

        Raises:
            InputError: the files are not those of the model's list.
        """
        networks = Path(next(iter(context.artifacts.values())))
        model = networks.parents[1]
        _keep_off_the_path(model.joinpath(CODE).resolve(), self.code_folder())
        check_files(model)
        self._say_whose_code(model)
        self.ensemble = load_ensemble(networks if len(context.artifacts) == 1 else networks.parent)
        self._prepare_to_serve(context)

    def _say_whose_code(self, model: Path) -> None:
        """Say so where the code that answers is not the model's own, and how to have that."""
        folder = self.code_folder()
        if folder != model.joinpath(CODE).resolve() and not is_code_of(model, folder):
            log.warning(
                "This model answers with the installed cardio_mlflow %s, which was imported before the model "
                "was loaded, not with its own code, which is of version %s and differs. For its own, load it "
                "in a fresh process before anything imports cardio_mlflow; predict and test do so by "
                "themselves.", __version__, own_version(model),
            )  # fmt: skip

    def _prepare_to_serve(self, context: PythonModelContext) -> None:
        folder = (context.model_config or {}).get("files")
        self._folder = Path(folder) if folder else None
        self._reader = ClipReader()  # starts nothing before the first clip
        self._one_at_a_time = threading.Lock()

    # Without type hints: mlflow would take them for the input's schema, and its errors show the input.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        """Answer a request, see the class.

        Raises:
            RefusedInput: the request cannot be taken.
            ServerFault: in a server, whatever else fails.
        """
        level, refuse = (params or {}).get("level", LEVEL), (params or {}).get("refuse", False)
        is_server = bool(_MLFLOW_IS_IN_SERVING_ENVIRONMENT.get())
        with _faults_named() if is_server else _as_they_are():
            with _refusing():
                check_level(level)
                places = Places(self._folder, is_server)
                asked, names = read_request(model_input, self.ensemble.settings.training_frames, places)
            table = self._table(asked, names, level=level, refuse=refuse)
            return _for_json(table) if is_server else table

    def answer(
        self, model_input: Mapping[str, Any], level: float = LEVEL, refuse: bool = False
    ) -> dict[str, Any]:
        """Answer about prepared clips, and say what the predictions were made from.

        Args:
            model_input: arrays by name, as the class states.
            level: of the intervals.
            refuse: leave out flagged values.

        Returns:
            As ``answers.answer``: arrays, texts and dicts alone, which mean the same to other versions of the
            package.

        Raises:
            RefusedInput: an array has another shape, type or range, or the level is no share.
        """
        with _refusing():
            check_level(level)
            asked = read_arrays(model_input, self.ensemble.settings.training_frames)
        with self._one_at_a_time:
            return answer(self.ensemble, asked.clips, asked.facts, level=level, refuse=refuse)

    def _table(
        self, asked: ClipArrays | tuple[PatientFiles, ...], names: tuple[str, ...], **how: Any
    ) -> pd.DataFrame:
        """The answer to a request; of clip files one patient is held in memory after the other."""
        if isinstance(asked, ClipArrays):
            with self._one_at_a_time:
                return answer_table(answer(self.ensemble, asked.clips, asked.facts, **how), names)
        tables = [answer_table(self._about(patient, **how), [name])
                  for patient, name in zip(asked, names, strict=True)]  # fmt: skip
        return pd.concat(tables, ignore_index=True) if tables else self._nobody()

    def _about(self, patient: PatientFiles, **how: Any) -> dict[str, Any]:
        found = self._reader.read(patient)
        with self._one_at_a_time:
            return answer(self.ensemble, found.clips, found.facts, refused=[found.refused], **how)

    def _nobody(self) -> pd.DataFrame:
        """The empty table."""
        asked = read_arrays({"views": [], "view_mask": []}, self.ensemble.settings.training_frames)
        return answer_table(answer(self.ensemble, asked.clips, asked.facts), ())

    def code_folder(self) -> Path:
        """The folder of the code that answers: the model's own when it was loaded in isolation."""
        return Path(parameters.__file__).resolve().parent


def _keep_off_the_path(own: Path, answering: Path) -> None:
    """Where another package answers than the model's own, take that from the path, where MLflow has put it.

    It is a part of the package: processes that this one starts would take it for the whole.
    """
    if answering != own:
        sys.path[:] = [place for place in sys.path if Path(place).resolve() != own.parent]


@contextmanager
def _refusing() -> Iterator[None]:
    """Say what cannot be used of a request in the one way that MLflow's server passes on unchanged."""
    try:
        yield
    except InputError as refusal:
        raise RefusedInput(str(refusal)) from None


@contextmanager
def _as_they_are() -> Iterator[None]:
    """Let errors through."""
    yield


@contextmanager
def _faults_named() -> Iterator[None]:
    """Name a fault by its kind and place alone: MLflow's server sends tracebacks to whoever asked."""
    try:
        yield
    except MlflowException:
        raise
    except Exception as fault:
        sentence = str(fault) if isinstance(fault, InputError) else _named(fault)
        log.error(sentence)  # noqa: TRY400 - a traceback may hold what the request held
        raise ServerFault(sentence) from fault


def _named(fault: Exception) -> str:
    places = [(Path(f.f_code.co_filename), line) for f, line in traceback.walk_tb(fault.__traceback__)]
    own = [f" in {path.name}, line {line}" for path, line in places if "cardio_mlflow" in path.parts]
    return f"The program failed: {type(fault).__name__}{own[-1] if own else ''}."


def _for_json(table: pd.DataFrame) -> pd.DataFrame:
    """A table without the numbers that JSON does not know: null in their place."""
    plain = table.astype(object).replace({np.inf: None, -np.inf: None})
    return plain.where(plain.notna(), None)


mlflow.models.set_model(CardioHemodynamics())
