"""Typed, frozen settings: a preset, then the environment, then what was given on the command line."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import platformdirs
import yaml
from joblib import cpu_count
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import VIEW_CODES, VIEWS, view
from cardio_mlflow.settings_errors import check_names, explain
from cardio_mlflow.settings_sources import ENVIRONMENT_PREFIX, from_environment, preset_values
from cardio_mlflow.settings_variants import VARIANTS, Variant, parse_variants

DECLARED: Final = {"preset": "auto", "data": "auto", "study": "auto"}
"""The ``-P`` parameters that MLproject declares for every entry point, and their value when left alone."""

SEED_STEP: Final = 1000
"""From the seed of one repeat of the ablation to that of the next; a fold adds its number."""

_NOT_PART_OF_THE_CONFIGURATION: Final = {
    "preset", "data", "study", "cache", "jobs", "folds", "variants", "ablation_folds", "champion",
    "bootstrap", "figure_formats", "skip_train", "training_only", "pseudonymize", "pseudonym_key",
    "check_text", "clip_seconds", "clip_memory",
    "backend", "cluster", "resume", "feature_disk", "step_memory", "data_workers", "more_variants", "repeats",
}  # fmt: skip
_OF_THE_COHORT: Final = {
    "num_folds", "cohort1_size", "synthetic_patients", "synthetic_seed", "train_indices", "seed",
}  # fmt: skip
"""What all variants share, so that they are compared on the same patients, folds and seeds."""


class Settings(BaseModel):
    """Every setting of a run, resolved. The field names are the ``-P`` names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Literal["demo", "study"] = Field(description="the set of defaults to start from")
    data: str = Field("synthetic", min_length=1, description="'synthetic', or the path of a cohort folder")
    study: str = Field("", description="name that ties runs together; empty: <preset>-<cohort>")
    cache: Path = Field(
        default_factory=lambda: Path(platformdirs.user_cache_dir("cardio_mlflow")),
        description="folder for the synthetic cohort, prepared clips, frozen features and checkpoints",
    )
    jobs: int = Field(
        0, ge=0, le=1024, description="worker processes, clips or folds side by side; 0: as many as fit"
    )
    backend: Literal["loky", "ray", "dask"] = Field(
        "loky", description="where folds and variants run side by side: this machine, Ray or Dask"
    )
    cluster: str = Field(
        "", description="address of the Ray head or the Dask scheduler; empty: one on this machine"
    )
    resume: bool = Field(
        False, description="go on with what was killed or stopped, and take the folds that are done"
    )

    pseudonymize: bool = Field(
        False, description="replace patient ids by keyed pseudonyms in everything that is written"
    )
    pseudonym_key: str = Field(
        "", description="key file of the pseudonyms; empty: one in your configuration folder, made if missing"
    )
    check_text: bool = Field(False, description="mark clips with text left inside the sector for review")
    clip_seconds: float = Field(
        120.0, gt=0, le=86400, description="time limit for the preparation of one clip"
    )
    clip_memory: int = Field(
        1024, ge=256, description="memory a preparation process may take over its start, MiB (Linux)"
    )
    synthetic_patients: int = Field(ge=8, le=9999, description="patients of the synthetic cohort")
    synthetic_seed: int = Field(7, ge=0, description="seed of the synthetic cohort")

    cohort1_size: int = Field(ge=2, description="rows of Cohort I when the sheet has no cohort column")
    num_folds: int = Field(5, ge=2, le=20, description="folds of Cohort I")
    folds: str = Field("", description="a folds.csv (patient_id, fold); empty: the cohort folder's, or drawn")
    train_indices: str = Field("", description="0-based rows of Cohort I to train on, e.g. 0-179,200,210-234")

    backbone: str = Field(description="'demo', a local folder in Hugging Face format, or a hub name")
    variant: Variant = Field("full", description="which of the six networks train_fold trains")
    views: tuple[str, ...] = Field(
        VIEW_CODES, min_length=1, description="the views that the network sees, of A4C, A2C, PSAX, PLAX"
    )
    attention_heads: int = Field(4, ge=1, le=64, description="heads of temporal attention and view fusion")
    dropout: float = Field(0.15, ge=0, lt=1, description="dropout in the nine heads")
    view_dropout: float = Field(ge=0, lt=1, description="chance that training hides a view of a patient")

    epochs: int = Field(ge=1, le=10000, description="epochs of a fold")
    stages: int = Field(ge=0, description="unfreezing stages after the first, one more block each")
    stage_epochs: int = Field(0, ge=0, description="epochs of a stage; 0: epochs / (stages + 1)")
    unfreezing: Literal["progressive", "at_once"] = Field(
        "progressive", description="one more block a stage, or all `stages` blocks from the first epoch on"
    )
    batch_size: int = Field(ge=1, le=4096, description="patients a step")
    training_frames: int = Field(
        ge=1, le=32, description="frames of the 32 that the network sees, evenly spaced"
    )
    task_lr: float = Field(gt=0, le=1, description="learning rate of everything but the backbone")
    vit_lr: float = Field(gt=0, le=1, description="learning rate of the topmost unfrozen block")
    layer_decay: float = Field(gt=0, le=1, description="factor on vit_lr for each block further down")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="AdamW's decoupled weight decay")
    lr_schedule: Literal["constant", "cosine"] = Field(
        "constant", description="learning rates within a stage"
    )
    warmup_epochs: float = Field(
        0.0, ge=0, le=1000, description="epochs of linear warm-up at the start of each stage"
    )
    gradient_clip: float = Field(5.0, gt=0, description="largest norm of the gradient")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="dtype of the backbone's arithmetic"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of folds, weights, batches and bootstrap")
    feature_disk: float = Field(
        20.0, ge=0, description="GiB that frozen features may take in the cache folder; 0: never kept"
    )
    step_memory: float = Field(
        4.0, gt=0, description="GiB that a step's activations may take; beyond it they are computed twice"
    )
    data_workers: int = Field(1, ge=0, le=64, description="threads that read batches ahead")

    augmented_copies: int = Field(
        0, ge=0, le=64, description="augmented copies of a patient beside the original"
    )
    rotation: float = Field(
        0.0, ge=0, le=45, description="augmentation: largest rotation about the apex, degrees"
    )
    shift: float = Field(
        0.0, ge=0, le=0.3, description="augmentation: largest shift, share of the image side"
    )
    zoom: float = Field(0.0, ge=0, le=0.5, description="augmentation: largest zoom, share, one a patient")
    gain: float = Field(0.0, ge=0, le=0.9, description="augmentation: largest change of gain, share")
    speckle: float = Field(0.0, ge=0, le=1, description="augmentation: SD of multiplicative noise")

    variants: tuple[Variant, ...] = Field(VARIANTS, min_length=1, description="variants of the ablation")
    more_variants: str = Field(
        "", description="further variants of the ablation, such as 'frozen: stages=0; apical: views=A4C,A2C'"
    )
    repeats: int = Field(
        1, ge=1, le=100, description="seeds that each variant of the ablation is trained with"
    )
    ablation_folds: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="folds of the ablation; empty: all"
    )
    champion: Literal["mean", "best_fold"] = Field(
        "mean", description="what is registered: the folds' mean, or one"
    )
    bootstrap: int = Field(1000, ge=100, le=100000, description="resamples of every interval")
    figure_formats: tuple[Literal["png", "eps", "tiff", "pdf", "svg"], ...] = Field(
        ("png", "eps", "tiff"), description="formats of the figures of validate and test; png is always made"
    )
    skip_train: bool = Field(False, description="main: use the folds that are already trained")
    training_only: bool = Field(False, description="main: stop after the folds and the registration")

    @field_validator("variants", "ablation_folds", "figure_formats", "views", mode="before")
    @classmethod
    def _split(cls, value: object, info: ValidationInfo) -> object:
        """Read a comma-separated list; ``all`` stands for the default, whatever the preset has."""
        if not isinstance(value, str):
            return value
        if value.strip() == "all":
            return cls.model_fields[info.field_name or ""].default
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("figure_formats", mode="after")
    @classmethod
    def _with_png(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        """PNG first: the report and the page show it."""
        return tuple(dict.fromkeys(("png", *formats)))

    @field_validator("views", mode="after")
    @classmethod
    def _view_codes(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Codes in the order of the view table, whatever they were called."""
        try:
            codes = {view(name).code for name in names}
        except KeyError:
            raise ValueError(f"there is no such view; known: {', '.join(v.name for v in VIEWS)}") from None
        return tuple(code for code in VIEW_CODES if code in codes)

    @field_validator(
        "data",
        "study",
        "more_variants",
        "cache",
        "folds",
        "train_indices",
        "backbone",
        "pseudonym_key",
        "cluster",
        mode="after",
    )
    @classmethod
    def _printable(cls, value: str | Path) -> str | Path:
        if not str(value).isprintable():
            raise ValueError("it holds a line break or a character that cannot be printed")
        return value

    @field_validator("data", "cache", "folds", "backbone", "pseudonym_key", mode="before")
    @classmethod
    def _home(cls, value: object) -> object:
        """Expand a leading ``~``, which a shell leaves alone after ``-P name=``."""
        if not (isinstance(value, str) and value.startswith("~")):
            return value
        try:
            return str(Path(value).expanduser())
        except RuntimeError:
            raise ValueError("there is no home folder of that name") from None

    @field_validator("study", mode="after")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if any(c in value for c in "'\"\\`/"):
            raise ValueError("a study's name has no quotes or slashes")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        for name in ("variants", "ablation_folds"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} names one twice")
        if too_high := [fold for fold in self.ablation_folds if fold > self.num_folds]:
            raise ValueError(f"ablation_folds names fold {too_high[0]}, but num_folds is {self.num_folds}")
        for name in parse_variants(self.more_variants):
            self._check_variant(name)
        if self.stage_epochs and self.stage_epochs * self.stages >= self.epochs:
            raise ValueError(
                f"stage_epochs={self.stage_epochs} with stages={self.stages} leaves no epoch for the last "
                f"stage: epochs must be more than {self.stage_epochs * self.stages}"
            )
        if self.is_synthetic and self.cohort1_size > self.synthetic_patients:
            raise ValueError(
                f"cohort1_size={self.cohort1_size} is more than synthetic_patients={self.synthetic_patients}"
            )
        return self

    @property
    def is_synthetic(self) -> bool:
        """Whether the built-in synthetic cohort is used."""
        return self.data == "synthetic"

    @property
    def workers(self) -> int:
        """Worker processes: ``jobs``, or one for each core this process may use."""
        return self.jobs or cpu_count()

    @property
    def cohort_name(self) -> str:
        """``synthetic``, or the cohort folder's name."""
        return "synthetic" if self.is_synthetic else Path(self.data).resolve().name

    @property
    def study_name(self) -> str:
        """The study's name, given or made from the preset and the cohort."""
        return self.study or re.sub(r"[^\w.+-]", "_", f"{self.preset}-{self.cohort_name}")

    @property
    def all_variants(self) -> tuple[str, ...]:
        """The variants that the ablation compares, those of ``more_variants`` last."""
        return (*self.variants, *parse_variants(self.more_variants))

    def for_variant(self, name: str, repeat: int = 1) -> Settings:
        """The settings that a variant of the ablation is trained with.

        Args:
            name: one of the six, or one of ``more_variants``.
            repeat: 1-based; each has another seed.

        Raises:
            ValidationError: the variant changes a setting to what is not allowed.
        """
        changes = parse_variants(self.more_variants).get(name, {"variant": name})
        seed = (self.seed + SEED_STEP * (repeat - 1)) % 2**31
        return Settings.model_validate(self.model_dump() | {"more_variants": "", "seed": seed} | changes)

    def _check_variant(self, name: str) -> None:
        """Refuse a further variant that cannot be trained, or not on the patients of the others."""
        changes = parse_variants(self.more_variants)[name]
        allowed = self.configuration().keys() - _OF_THE_COHORT | {"variant"}
        for setting in changes:
            if setting not in allowed:
                raise ValueError(
                    f"the variant {name} cannot change {setting}; variants may change "
                    f"{', '.join(sorted(allowed))}"
                )
        try:
            self.for_variant(name)
        except ValidationError as error:
            reason = explain(error, Settings.model_json_schema())
            raise ValueError(f"the variant {name} cannot be trained: {reason}") from None

    def configuration(self) -> dict[str, Any]:
        """The settings that a trained fold depends on: without names, paths and what comes after training."""
        return self.model_dump(mode="json", exclude=_NOT_PART_OF_THE_CONFIGURATION | {"variant"})

    def digest(self) -> str:
        """Twelve hex digits that are equal for runs of the same configuration.

        The variant is left out, so that the variants of one ablation share it.
        """
        text = json.dumps(self.configuration(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def to_yaml(self) -> str:
        """All settings as YAML, in the order of this class."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_settings(given: Mapping[str, str], environment: Mapping[str, str] | None = None) -> Settings:
    """Resolve settings: ``given`` wins over ``CARDIOAI_*`` variables, which win over the preset.

    Args:
        given: names and values as typed after ``-P``. An empty value, and ``auto`` for a declared
            parameter, stand for not given.
        environment: the environment to read; the process's own by default.

    Raises:
        InputError: an unknown name (with the nearest known one) or a value that is not allowed
            (with what is).

    >>> load_settings({"epochs": "4"}, {"CARDIOAI_EPOCHS": "9", "CARDIOAI_SEED": "3"}).epochs
    4
    """
    values: dict[str, object] = dict(from_environment(environment))
    check_names(values, Settings.model_fields, f"setting (from a {ENVIRONMENT_PREFIX}* variable)")
    values |= {name: value for name, value in given.items() if value not in (DECLARED.get(name), "")}
    check_names(values, Settings.model_fields, "setting")
    preset = str(values.get("preset", "demo"))
    try:
        return Settings.model_validate(preset_values(preset) | values)
    except ValidationError as error:
        raise InputError(explain(error, Settings.model_json_schema())) from None


def settings_from_yaml(text: str) -> Settings:
    """Read settings written by ``Settings.to_yaml``.

    Raises:
        InputError: the text is not a settings file of this version.
    """
    try:
        return Settings.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        detail = (
            explain(error, Settings.model_json_schema())
            if isinstance(error, ValidationError)
            else "it is not YAML"
        )
        raise InputError(f"These settings were not written by this version: {detail}") from None
