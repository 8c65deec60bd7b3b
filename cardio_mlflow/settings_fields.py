"""Every setting: its name, type, default, what is allowed, and what it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from cardio_mlflow.parameters import VIEW_CODES, VIEWS, view
from cardio_mlflow.settings_variants import Variant, parse_variants

Range = tuple[float, float]
"""Lowest and highest value of what is tuned."""
RANGES = tuple(f"{name}_range" for name in ("task_lr", "vit_lr", "layer_decay", "weight_decay", "dropout"))


class SettingsFields(BaseModel):
    """The settings of a run. The field names are the ``-P`` names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Literal["demo", "study", "recommended"] = Field(description="the set of defaults to start from")
    data: str = Field("synthetic", min_length=1, description="'synthetic', or the path of a cohort folder")
    study: str = Field("", description="name that ties runs together; empty: <preset>-<cohort>")
    cache: Path = Field(
        default_factory=lambda: Path(platformdirs.user_cache_dir("cardio_mlflow")),
        description="folder for the synthetic cohort, prepared clips, frozen features and checkpoints",
    )
    prepare_jobs: int = Field(
        0, ge=0, le=1024, description="clips prepared, and figures drawn, side by side; 0: as many as fit"
    )
    jobs: int = Field(
        0, ge=0, le=1024, description="folds, variants or trials side by side; 0: as many as fit"
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
    strict: bool = Field(False, description="prepare, main: fail when any clip is refused")
    clip_seconds: float = Field(
        120.0, gt=0, le=86400, description="time limit for the preparation of one clip"
    )
    clip_memory: int = Field(
        1024, ge=256, description="memory a preparation process may take over its start, MiB (Linux)"
    )
    cache_disk: float = Field(40.0, ge=0, description="GiB that prepared clips may take in the cache folder")
    synthetic_patients: int = Field(ge=8, le=9999, description="patients of the synthetic cohort")
    synthetic_seed: int = Field(7, ge=0, description="seed of the synthetic cohort")

    studies: Literal["ask", "newest", "nearest"] = Field(
        "ask", description="of a patient's several studies: stop and ask, the newest, or nearest to rhc_date"
    )
    cohort1_size: int = Field(ge=2, description="rows of Cohort I when the sheet has no cohort column")
    num_folds: int = Field(5, ge=2, le=20, description="folds of Cohort I")
    folds: str = Field("", description="a folds.csv (patient_id, fold); empty: the cohort folder's, or drawn")
    train_indices: str = Field("", description="0-based rows of Cohort I to train on, e.g. 0-179,200,210-234")

    backbone: str = Field(description="'demo', a local folder in Hugging Face format, or a hub name")
    variant: Variant = Field("full", description="which of the networks train_fold trains")
    views: tuple[str, ...] = Field(
        VIEW_CODES, min_length=1, description="the views that the network sees, of A4C, A2C, PSAX, PLAX"
    )
    scale: Literal["sector", "physical"] = Field(
        "sector", description="frames cropped to the sector, or all at one physical scale, a pixel so many mm"
    )
    motion: bool = Field(False, description="a third path in time: harmonics of the frames over the cycle")
    identities: bool = Field(
        False,
        description="predict stroke volume; CO, CI, SVRI follow from it where HR, BSA, MAP are known",
    )
    attention_heads: int = Field(4, ge=1, le=64, description="heads of temporal attention and view fusion")
    dropout: float = Field(0.15, ge=0, lt=1, description="dropout in the nine heads")
    view_dropout: float = Field(ge=0, lt=1, description="chance that training hides a view of a patient")

    epochs: int = Field(ge=1, le=10000, description="epochs of a fold")
    stages: int = Field(ge=0, description="unfreezing stages after the first, one more block each")
    stage_epochs: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (),
        description="epochs of every stage, such as 30,4,4, which sets epochs and stages; or one number, of "
        "each stage but the last; 0: epochs / (stages + 1)",
    )
    unfreezing: Literal["progressive", "at_once"] = Field(
        "progressive", description="one more block a stage, or all `stages` blocks from the first epoch on"
    )
    batch_size: int = Field(ge=1, le=4096, description="patients a step")
    training_frames: int = Field(
        ge=1, le=32, description="frames of the 32 that the network sees, evenly spaced"
    )
    task_lr: float = Field(gt=0, le=1, description="learning rate of everything but the backbone")
    gate_lr: float = Field(0.05, gt=0, le=1, description="learning rate of the gates, without weight decay")
    vit_lr: float = Field(gt=0, le=1, description="learning rate of the topmost unfrozen block")
    layer_decay: float = Field(gt=0, le=1, description="factor on vit_lr for each block further down")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="AdamW's decoupled weight decay")
    lr_schedule: Literal["constant", "cosine"] = Field(
        "constant", description="learning rates within a stage"
    )
    warmup_epochs: float = Field(
        0.0, ge=0, le=1000, description="epochs of linear warm-up at the start of each stage"
    )
    keep: Literal["best", "last"] = Field(
        "best",
        description="the epoch of lowest validation loss, or the mean of the weights over the last epochs",
    )
    gradient_clip: float = Field(5.0, gt=0, description="largest norm of the gradient")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="dtype of the backbone's arithmetic"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of folds, weights, batches and bootstrap")
    feature_disk: float = Field(
        20.0,
        ge=0,
        description="GiB of frozen features in the cache folder, for each worker side by side; 0: never kept",
    )
    step_memory: float = Field(
        0.0,
        ge=0,
        description="GiB that a step's activations may take; beyond it they are computed twice; 0: what fits",
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

    variants: tuple[Variant, ...] = Field((), description="variants of the ablation; empty: all")
    more_variants: str = Field(
        "", description="further variants of the ablation, such as 'frozen: stages=0; apical: views=A4C,A2C'"
    )
    repeats: int = Field(
        1, ge=1, le=100, description="seeds that each variant of the ablation is trained with"
    )
    ablation_folds: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="folds of the ablation; empty: all"
    )
    n_trials: int = Field(20, ge=1, le=100000, description="trials of a tuning, earlier runs included")
    timeout: float = Field(
        0.0, ge=0, description="seconds after which a tuning starts no trial, earlier runs included; 0: none"
    )
    tune_folds: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="folds that a trial is trained on, all at the same time; empty: all"
    )
    task_lr_range: Range = Field((1e-5, 1e-2), description="tuning: lowest and highest task_lr, log scale")
    vit_lr_range: Range = Field((1e-6, 1e-3), description="tuning: lowest and highest vit_lr, log scale")
    layer_decay_range: Range = Field((0.5, 1.0), description="tuning: lowest and highest layer_decay")
    weight_decay_range: Range = Field(
        (1e-6, 1e-1), description="tuning: lowest and highest weight_decay, log scale"
    )
    dropout_range: Range = Field((0.0, 0.5), description="tuning: lowest and highest dropout")
    pruner: Literal["median", "hyperband", "none"] = Field(
        "median", description="rule that ends a trial early by its validation loss so far"
    )
    storage: str = Field(
        "", description="address of the tuning's database (postgresql:…); empty: a file beside the store"
    )
    nested: bool = Field(False, description="tune: once inside each outer fold, whose patients take no part")
    challenger: bool = Field(
        False, description="tune: train all folds with the best settings and register them as challenger"
    )
    champion: Literal["mean", "best_fold"] = Field(
        "mean", description="what is registered: the folds' mean, or one"
    )
    ig_steps: int = Field(50, ge=2, le=10000, description="steps of Integrated Gradients from the baseline")
    ig_tolerance: float = Field(
        0.01,
        gt=0,
        le=1,
        description="largest share by which attributions may miss the difference in prediction",
    )
    ig_baseline: Literal["black", "blurred", "cohort_mean"] = Field(
        "blurred", description="what Integrated Gradients are measured against: an image that shows nothing"
    )
    rollout_heads: Literal["mean", "max", "min"] = Field(
        "mean", description="how the heads of a block become one in attention rollout"
    )
    bootstrap: int = Field(1000, ge=100, le=100000, description="resamples of every interval")
    figure_formats: tuple[Literal["png", "eps", "tiff", "pdf", "svg"], ...] = Field(
        ("png", "eps", "tiff"),
        description="formats of figures, of validate, test and visualize's loose ones; png is always made",
    )
    skip_train: bool = Field(False, description="main: use the folds that are already trained")
    training_only: bool = Field(
        False, description="main: train the folds only; no validation, registration or test"
    )
    skip_ablation: bool = Field(False, description="main: leave out the ablation")
    skip_visualize: bool = Field(False, description="main: leave out what the networks look at")
    skip_test: bool = Field(False, description="main: leave out the test on Cohort II")
    explained_patients: str = Field(
        "median", description="main: whom visualize explains, as its patients=; none leaves it out"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, value: object, info: ValidationInfo) -> object:
        """Refuse true and false (``yes`` and ``no`` too, in YAML) where a number or a text belongs."""
        parts = value if isinstance(value, list | tuple) else [value]
        wants_one = cls.model_fields[info.field_name or ""].annotation is bool
        if not wants_one and any(isinstance(part, bool) for part in parts):
            raise ValueError("it is neither true nor false; put a text into quotes")
        return value

    @field_validator(*RANGES, mode="before")
    @classmethod
    def _two_numbers(cls, limits: object) -> object:
        if isinstance(limits, tuple) and len(limits) != 2:
            raise ValueError("two numbers, the lowest and the highest, are given with a comma between them")
        return limits

    @field_validator(
        "variants", "ablation_folds", "tune_folds", "figure_formats", "views", *RANGES, mode="before"
    )
    @classmethod
    def _split(cls, value: object, info: ValidationInfo) -> object:
        """Read a comma-separated list; ``all`` stands for the default, whatever the preset has."""
        if not isinstance(value, str):
            return value
        if value.strip() == "all":
            return cls.model_fields[info.field_name or ""].default
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("stage_epochs", mode="before")
    @classmethod
    def _epochs_of_stages(cls, value: object) -> object:
        """One number or several; 0 stands for none."""
        parts = value.split(",") if isinstance(value, str) else value
        parts = parts if isinstance(parts, list | tuple) else [parts]
        return () if [str(part).strip() for part in parts] == ["0"] else tuple(parts)

    @field_validator("figure_formats", mode="after")
    @classmethod
    def _with_png(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        """PNG first: the report and the page show it."""
        return tuple(dict.fromkeys(("png", *formats)))

    @field_validator("more_variants", mode="after")
    @classmethod
    def _understood(cls, text: str) -> str:
        parse_variants(text)
        return text

    @field_validator("storage", mode="after")
    @classmethod
    def _without_password(cls, address: str) -> str:
        """Refuse a password, since settings are logged."""
        if re.search(r"://[^?]*:.*@|[?&](password|passwd|pwd|passfile|sslpassword)=", address, re.IGNORECASE):
            raise ValueError(
                "settings are logged, so an address may hold no password: put it in PGPASSWORD or ~/.pgpass, "
                "and delete the run that has logged this one (mlflow gc)"
            )
        return address

    @field_validator(*RANGES, mode="after")
    @classmethod
    def _ordered(cls, limits: Range, info: ValidationInfo) -> Range:
        """A range from low to high, of values that the setting allows."""
        name = (info.field_name or "").removesuffix("_range")
        low, high = limits
        if not low <= high:
            raise ValueError("the lowest value comes first")
        if name == "dropout" and not (low >= 0 and high < 1):
            raise ValueError("dropout has to be at least 0 and less than 1")
        if name != "dropout" and not (low > 0 and high <= 1):
            log_scale = "" if name == "layer_decay" else ", as its scale is logarithmic"
            raise ValueError(f"{name} has to be more than 0{log_scale}, and at most 1")
        return limits

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
        "storage",
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
