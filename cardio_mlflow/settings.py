"""Every setting of a run: type, default, what is allowed, what it is, and what it is for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from enum import Flag, auto
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_origin

import platformdirs
import yaml
from joblib import cpu_count
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cardio_mlflow.machine import free_memory
from cardio_mlflow.parameters import VIEW_CODES, VIEWS, view
from cardio_mlflow.variants import VARIANTS, WITH_MOTION, Variant, parse_variants

PREPARING_MEMORY: Final = 2**29
"""Bytes of a process that prepares clips or draws figures."""
SEED_STEP: Final = 1000
"""From the seed of one repeat of the ablation to that of the next; a fold adds its number."""

Preset = Literal["demo", "study", "recommended"]


class Use(Flag):
    """What a setting is for. Each has TRAINING or RUN, and what else applies."""

    TRAINING = auto()
    """A trained fold depends on it: it is part of the configuration and its digest."""
    RUN = auto()
    """Names, places, processes, and what comes beside or after the training."""
    COHORT = auto()
    """All variants of an ablation share it, so that they are compared on the same patients and folds."""
    FEATURES = auto()
    """A training set is made from it: where these are equal, it is loaded once."""
    RANGE = auto()
    """Where the tuning searches for the setting of the same name without ``_range``."""
    LOG = auto()
    """It does so on a logarithmic scale."""
    ANALYSIS = auto()
    """The judgement of predictions depends on it."""
    PRIVATE = auto()
    """It may hold paths, names of machines and users, or ids of patients: never handed on."""


RUN, TRAINING, COHORT, FEATURES, RANGE, LOG, ANALYSIS, PRIVATE = (
    Use.RUN, Use.TRAINING, Use.COHORT, Use.FEATURES, Use.RANGE, Use.LOG, Use.ANALYSIS, Use.PRIVATE,
)  # fmt: skip


def setting(use: Use, about: str, default: Any = ..., **limits: Any) -> Any:
    """Declare a setting: what it is for, what it is, its default (none: each preset has one), its limits."""
    if "default_factory" not in limits:
        limits["default"] = default
    return Field(description=about, json_schema_extra={"use": use.value}, **limits)


def _two_numbers(limits: object) -> object:
    if isinstance(limits, tuple) and len(limits) != 2:
        raise ValueError("two numbers, the lowest and the highest, are given with a comma between them")
    return limits


def _ordered(limits: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
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


def _home(value: object) -> object:
    """Expand a leading ``~``, which a shell leaves alone after ``-P name=``."""
    if not (isinstance(value, str) and value.startswith("~")):
        return value
    try:
        return str(Path(value).expanduser())
    except RuntimeError:
        raise ValueError("there is no home folder of that name") from None


def _user_cache() -> Path:
    return Path(platformdirs.user_cache_dir("cardio_mlflow"))


Range = Annotated[tuple[float, float], BeforeValidator(_two_numbers), AfterValidator(_ordered)]
Numbers = tuple[Annotated[int, Field(ge=1)], ...]
FilePath = Annotated[str, BeforeValidator(_home)]


class Settings(BaseModel):
    """Every setting of a run, resolved. The field names are the ``-P`` names."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    # fmt: off
    # the run and this machine
    preset: Preset = setting(RUN, "the set of defaults to start from")
    data: FilePath = setting(RUN | PRIVATE, "'synthetic', or the path of a cohort folder",
        "synthetic", min_length=1)
    export: FilePath = setting(RUN | PRIVATE,
        "a PACS export (a folder, a zip file or a DICOMDIR): what sort reads, and where clips.csv may point; "
        "empty: the one that the cohort folder was sorted from on this machine", "")
    study: str = setting(RUN, "name that ties runs together; empty: <preset>-<cohort>", "")
    cache: Annotated[Path, BeforeValidator(_home)] = setting(RUN | FEATURES | PRIVATE,
        "folder for the synthetic cohort, prepared clips, frozen features and checkpoints",
        default_factory=_user_cache)
    prepare_jobs: int = setting(RUN, "clips prepared, and figures drawn, side by side; 0: as many as fit",
        0, ge=0, le=1024)
    jobs: int = setting(RUN, "folds, variants or trials side by side; 0: as many as fit", 0, ge=0, le=1024)
    backend: Literal["loky", "ray", "dask"] = setting(RUN,
        "where folds and variants run side by side: this machine, Ray or Dask", "loky")
    cluster: str = setting(RUN | PRIVATE,
        "address of the Ray head or the Dask scheduler; empty: one on this machine", "")
    resume: bool = setting(RUN, "go on with what was killed or stopped, and take the folds that are done",
        False)
    checkpoint_minutes: float = setting(RUN,
        "minutes of training that a killed fold loses at most, beside an epoch; 0: none", 1.0, ge=0, le=1440)

    # the cohort
    pseudonymize: bool = setting(RUN, "replace patient ids by keyed pseudonyms in everything that is written",
        False)
    pseudonym_key: FilePath = setting(RUN | PRIVATE,
        "key file of the pseudonyms; empty: one in your configuration folder, made if missing", "")
    check_text: bool = setting(RUN, "mark clips with text left inside the sector for review", False)
    strict: bool = setting(RUN, "prepare, main: fail when any clip is refused", False)
    clip_seconds: float = setting(RUN, "time limit for the preparation of one clip", 120.0, gt=0, le=86400)
    clip_memory: int = setting(RUN, "memory a preparation process may take over its start, MiB (Linux)",
        1024, ge=256)
    cache_disk: float = setting(RUN, "GiB that prepared clips may take in the cache folder", 40.0, ge=0)
    synthetic_patients: int = setting(TRAINING | COHORT, "patients of the synthetic cohort", ge=8, le=9999)
    synthetic_seed: int = setting(TRAINING | COHORT, "seed of the synthetic cohort", 7, ge=0)
    studies: Literal["ask", "newest", "nearest"] = setting(RUN,
        "of a patient's several studies: stop and ask, the newest, or nearest to rhc_date", "ask")
    cohort1_size: int = setting(TRAINING | COHORT, "rows of Cohort I when the sheet has no cohort column",
        ge=2)
    num_folds: int = setting(TRAINING | COHORT, "folds of Cohort I", 5, ge=2, le=20)
    folds: FilePath = setting(RUN | PRIVATE,
        "a folds.csv (patient_id, fold); empty: the cohort folder's, or drawn", "")
    train_indices: str = setting(TRAINING | COHORT | FEATURES,
        "0-based rows of Cohort I to train on, e.g. 0-179,200,210-234", "")

    # the network
    backbone: FilePath = setting(TRAINING | FEATURES,
        "'demo', a local folder in Hugging Face format, or a hub name")
    variant: Variant = setting(RUN, "which of the networks train_fold trains", "full")
    views: tuple[str, ...] = setting(TRAINING | FEATURES,
        "the views that the network sees, of A4C, A2C, PSAX, PLAX", VIEW_CODES, min_length=1)
    scale: Literal["sector", "physical"] = setting(TRAINING | FEATURES,
        "frames cropped to the sector, or all at one physical scale, a pixel so many mm", "sector")
    motion: bool = setting(TRAINING, "a third path in time: harmonics of the frames over the cycle", False)
    identities: bool = setting(TRAINING,
        "predict stroke volume; CO, CI, SVRI follow from it where HR, BSA, MAP are known", False)
    attention_heads: int = setting(TRAINING | FEATURES, "heads of temporal attention and view fusion",
        4, ge=1, le=64)
    dropout: float = setting(TRAINING, "dropout in the nine heads", 0.15, ge=0, lt=1)
    view_dropout: float = setting(TRAINING, "chance that training hides a view of a patient", ge=0, lt=1)

    # the training
    epochs: int = setting(TRAINING, "epochs of a fold", ge=1, le=10000)
    stages: int = setting(TRAINING, "unfreezing stages after the first, one more block each", ge=0)
    stage_epochs: Numbers = setting(TRAINING,
        "epochs of every stage, such as 30,4,4, which sets epochs and stages; or one number, of each "
        "stage but the last; 0: epochs / (stages + 1)", ())
    unfreezing: Literal["progressive", "at_once"] = setting(TRAINING,
        "one more block a stage, or all `stages` blocks from the first epoch on", "progressive")
    batch_size: int = setting(TRAINING, "patients per step", ge=1, le=4096)
    training_frames: int = setting(TRAINING | FEATURES,
        "frames of the 32 that the network sees, evenly spaced", ge=1, le=32)
    task_lr: float = setting(TRAINING, "learning rate of everything but the backbone", gt=0, le=1)
    gate_lr: float = setting(TRAINING, "learning rate of the gates, without weight decay", 0.05, gt=0, le=1)
    vit_lr: float = setting(TRAINING, "learning rate of the topmost unfrozen block", gt=0, le=1)
    layer_decay: float = setting(TRAINING, "factor on vit_lr for each block further down", gt=0, le=1)
    weight_decay: float = setting(TRAINING, "AdamW's decoupled weight decay", 1e-4, ge=0, le=1)
    lr_schedule: Literal["constant", "cosine"] = setting(TRAINING, "learning rates within a stage",
        "constant")
    warmup_epochs: float = setting(TRAINING, "epochs of linear warm-up at the start of each stage",
        0.0, ge=0, le=1000)
    keep: Literal["best", "last"] = setting(TRAINING,
        "the epoch of lowest validation loss, or the mean of the weights over the last epochs", "best")
    gradient_clip: float = setting(TRAINING, "largest norm of the gradient", 5.0, gt=0)
    precision: Literal["auto", "bf16", "fp32"] = setting(TRAINING | FEATURES,
        "dtype of the backbone's arithmetic", "auto")
    seed: int = setting(TRAINING | COHORT | ANALYSIS, "seed of folds, weights, batches and bootstrap",
        0, ge=0, le=2**31 - 1)
    feature_disk: float = setting(RUN | FEATURES,
        "GiB of frozen features in the cache folder, for each worker side by side; 0: never kept", 20.0, ge=0)
    step_memory: float = setting(RUN,
        "GiB that a step's activations may take; beyond it they are computed twice; 0: what fits", 0.0, ge=0)
    data_workers: int = setting(RUN, "threads that read batches ahead", 1, ge=0, le=64)

    # augmentation
    augmented_copies: int = setting(TRAINING | FEATURES, "augmented copies of a patient beside the original",
        0, ge=0, le=64)
    rotation: float = setting(TRAINING | FEATURES, "augmentation: largest rotation about the apex, degrees",
        0.0, ge=0, le=45)
    shift: float = setting(TRAINING | FEATURES, "augmentation: largest shift, share of the image side",
        0.0, ge=0, le=0.3)
    zoom: float = setting(TRAINING | FEATURES, "augmentation: largest zoom, share, one per patient",
        0.0, ge=0, le=0.5)
    gain: float = setting(TRAINING | FEATURES, "augmentation: largest change of gain, share",
        0.0, ge=0, le=0.9)
    speckle: float = setting(TRAINING | FEATURES, "augmentation: SD of multiplicative noise", 0.0, ge=0, le=1)

    # the ablation
    variants: tuple[Variant, ...] = setting(RUN, "variants of the ablation; empty: all", ())
    more_variants: str = setting(RUN | PRIVATE,
        "further variants of the ablation, such as 'frozen: stages=0; apical: views=A4C,A2C'", "")
    repeats: int = setting(RUN, "seeds that each variant of the ablation is trained with", 1, ge=1, le=100)
    ablation_folds: Numbers = setting(RUN, "folds of the ablation; empty: all", ())

    # the tuning
    n_trials: int = setting(RUN, "trials of a tuning, earlier runs included", 20, ge=1, le=100000)
    timeout: float = setting(RUN,
        "seconds after which a tuning starts no trial, earlier runs included; 0: none", 0.0, ge=0)
    tune_folds: Numbers = setting(RUN, "folds that a trial is trained on, all at the same time; empty: all",
        ())
    task_lr_range: Range = setting(RUN | RANGE | LOG, "tuning: lowest and highest task_lr, log scale",
        (1e-5, 1e-2))
    vit_lr_range: Range = setting(RUN | RANGE | LOG, "tuning: lowest and highest vit_lr, log scale",
        (1e-6, 1e-3))
    layer_decay_range: Range = setting(RUN | RANGE, "tuning: lowest and highest layer_decay", (0.5, 1.0))
    weight_decay_range: Range = setting(RUN | RANGE | LOG,
        "tuning: lowest and highest weight_decay, log scale", (1e-6, 1e-1))
    dropout_range: Range = setting(RUN | RANGE, "tuning: lowest and highest dropout", (0.0, 0.5))
    pruner: Literal["median", "hyperband", "none"] = setting(RUN,
        "rule that ends a trial early by its validation loss so far", "median")
    storage: str = setting(RUN | PRIVATE,
        "address of the tuning's database (postgresql:…); empty: a file beside the store", "")
    nested: bool = setting(RUN, "tune: once inside each outer fold, whose patients take no part", False)
    challenger: bool = setting(RUN,
        "tune: train all folds with the best settings and register them as challenger", False)

    # what follows the training
    champion: Literal["mean", "best_fold"] = setting(RUN, "what is registered: the folds' mean, or one",
        "mean")
    ig_steps: int = setting(RUN, "steps of Integrated Gradients from the baseline", 50, ge=2, le=10000)
    ig_tolerance: float = setting(RUN,
        "largest share by which attributions may miss the difference in prediction", 0.01, gt=0, le=1)
    ig_baseline: Literal["black", "blurred", "cohort_mean"] = setting(RUN,
        "what Integrated Gradients are measured against: an image that shows nothing", "blurred")
    rollout_heads: Literal["mean", "max", "min"] = setting(RUN,
        "how the heads of a block become one in attention rollout", "mean")
    bootstrap: int = setting(RUN | ANALYSIS, "resamples of every interval", 1000, ge=100, le=100000)
    figure_formats: tuple[Literal["png", "eps", "tiff", "pdf", "svg"], ...] = setting(RUN | ANALYSIS,
        "formats of all figures (png,eps,tiff,pdf,svg); png is always made", ("png",))
    skip_train: bool = setting(RUN, "main: use the folds that are already trained", False)
    training_only: bool = setting(RUN, "main: train the folds only; no validation, registration or test",
        False)
    skip_ablation: bool = setting(RUN, "main: leave out the ablation", False)
    skip_visualize: bool = setting(RUN, "main: leave out what the networks look at", False)
    skip_test: bool = setting(RUN, "main: leave out the test on Cohort II", False)
    refuse: bool = setting(RUN, "predict: leave out values that are flagged", False)
    explained_patients: str = setting(RUN | PRIVATE,
        "main: whom visualize explains, as its patients=; none leaves it out", "median")
    # fmt: on

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        """Split a comma-separated list (``all`` stands for its default, whatever the preset has).

        True and false, in YAML ``yes`` and ``no`` too, are refused where a number or a text belongs.
        """
        field = cls.model_fields[info.field_name or ""]
        parts = value if isinstance(value, list | tuple) else [value]
        if field.annotation is not bool and any(isinstance(part, bool) for part in parts):
            raise ValueError("it is neither true nor false; put a text into quotes")
        if not isinstance(value, str) or get_origin(field.annotation) is not tuple:
            return value
        if value.strip() == "all" and info.field_name != "figure_formats":
            return field.default
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

    @field_validator("views", mode="after")
    @classmethod
    def _view_codes(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Codes in the order of the view table, whatever they were called."""
        try:
            codes = {view(name).code for name in names}
        except KeyError:
            raise ValueError(f"there is no such view; known: {', '.join(v.name for v in VIEWS)}") from None
        return tuple(code for code in VIEW_CODES if code in codes)

    @field_validator("*", mode="after")
    @classmethod
    def _printable(cls, value: object) -> object:
        if isinstance(value, str | Path) and not str(value).isprintable():
            raise ValueError("it holds a line break or a character that cannot be printed")
        return value

    @field_validator("study", mode="after")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if any(c in value for c in "'\"\\`/"):
            raise ValueError("a study's name has no quotes or slashes")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        for name in ("variants", "ablation_folds", "tune_folds"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} names one twice")
            too_high = [n for n in getattr(self, name) if isinstance(n, int) and n > self.num_folds]
            if too_high:
                raise ValueError(f"{name} names fold {too_high[0]}, but num_folds is {self.num_folds}")
        for name in parse_variants(self.more_variants):
            self._check_variant(name)
        self._check_stage_epochs()
        if WITH_MOTION in (self.variant, *self.variants) and not self.motion:
            raise ValueError(
                f"{WITH_MOTION} is the network without its motion path: give motion=true with it"
            )
        if self.is_synthetic and self.cohort1_size > self.synthetic_patients:
            raise ValueError(
                f"cohort1_size={self.cohort1_size} is more than synthetic_patients={self.synthetic_patients}"
            )
        return self

    def _check_stage_epochs(self) -> None:
        given = ",".join(map(str, self.stage_epochs))
        if len(self.stage_epochs) == 1 and self.stage_epochs[0] * self.stages >= self.epochs:
            raise ValueError(
                f"stage_epochs={given} with stages={self.stages} leaves no epoch for the last "
                f"stage: epochs must be more than {self.stage_epochs[0] * self.stages}"
            )
        if len(self.stage_epochs) > 1:
            if (self.epochs, self.stages) != (sum(self.stage_epochs), len(self.stage_epochs) - 1):
                raise ValueError(
                    f"stage_epochs={given} are {sum(self.stage_epochs)} epochs in "
                    f"{len(self.stage_epochs) - 1} stages after the first, not epochs={self.epochs} and "
                    f"stages={self.stages}: leave those out"
                )
            if self.unfreezing == "at_once":
                raise ValueError("unfreezing=at_once has one stage: give epochs, and no list in stage_epochs")

    @property
    def is_synthetic(self) -> bool:
        """Whether the built-in synthetic cohort is used."""
        return self.data == "synthetic"

    @property
    def workers(self) -> int:
        """Processes that prepare or draw: ``prepare_jobs``, or one per core, as far as memory has room."""
        return self.prepare_jobs or max(1, min(cpu_count(), free_memory() // PREPARING_MEMORY))

    @property
    def cohort_name(self) -> str:
        """``synthetic``, or the cohort folder's name."""
        return "synthetic" if self.is_synthetic else Path(self.data).resolve().name

    @property
    def study_name(self) -> str:
        """The study's name, given or made from the preset and the cohort."""
        return self.study or re.sub(r"[^\w.+-]", "_", f"{self.preset}-{self.cohort_name}")

    @property
    def backbone_name(self) -> str:
        """The backbone without the folders that it lies in: of a local one its folder's name."""
        local = Path(self.backbone).is_absolute() or self.backbone.startswith(".")
        return Path(self.backbone).name if local else self.backbone

    @property
    def all_variants(self) -> tuple[str, ...]:
        """The variants that the ablation compares, those of ``more_variants`` last."""
        named = self.variants or tuple(v for v in VARIANTS if self.motion or v != WITH_MOTION)
        return (*named, *parse_variants(self.more_variants))

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
        shared = self.model_dump() | {"more_variants": "", "variants": (), "seed": seed}
        return Settings.model_validate(overlaid(shared, changes))

    def _check_variant(self, name: str) -> None:
        """Refuse a further variant that cannot be trained, or not on the patients of the others."""
        changes = parse_variants(self.more_variants)[name]
        allowed = {*settings_for(Use.TRAINING), "variant"} - {*settings_for(Use.COHORT)}
        for setting in changes:
            if setting not in allowed:
                raise ValueError(
                    f"more_variants: {name} cannot change {setting}; variants may change "
                    f"{', '.join(sorted(allowed))}"
                )
        try:
            self.for_variant(name)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]
            where = "".join(f"{setting}={reason['input']}: " for setting in reason["loc"][:1])
            said = str(reason["msg"]).removeprefix("Value error, ")
            raise ValueError(f"more_variants: {name} cannot be trained: {where}{said}") from None

    def configuration(self) -> dict[str, Any]:
        """The settings that a trained fold depends on, the variant apart."""
        return self.model_dump(mode="json", include=set(settings_for(Use.TRAINING)))

    def digest(self) -> str:
        """Twelve hex digits that are equal for runs of the same configuration.

        The variant is left out, so that the variants of one ablation share it.
        """
        text = json.dumps(self.configuration(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def portable(self) -> Settings:
        """The settings without what belongs to the machine or the people that they come from."""
        private = set(settings_for(Use.PRIVATE))
        named = {"data": self.cohort_name, "backbone": self.backbone_name, "cache": "cache"}
        return Settings.model_validate(self.model_dump(exclude=private) | named)

    def to_yaml(self) -> str:
        """All settings as YAML, in the order of this class."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def uses_of(fields: Mapping[str, Any]) -> dict[str, Use]:
    """What each setting is for.

    Raises:
        TypeError: it does not say so, or not whether a trained fold depends on it.
    """
    found = {}
    for name, field in fields.items():
        use = Use((field.json_schema_extra or {}).get("use", 0))
        if (Use.TRAINING in use) is (Use.RUN in use):
            raise TypeError(f"the setting {name} has to be declared as Use.TRAINING or as Use.RUN")
        found[name] = use
    return found


_USES: Final = uses_of(Settings.model_fields)


def settings_for(use: Use) -> tuple[str, ...]:
    """The names of the settings that are for this, in their order."""
    return tuple(name for name, own in _USES.items() if use in own)


TUNED: Final[Mapping[str, bool]] = {
    name.removesuffix("_range"): Use.LOG in _USES[name] for name in settings_for(Use.RANGE)
}
"""The settings that a tuning varies, and whether on a logarithmic scale."""


def overlaid(values: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Settings with some of them changed.

    A list in ``stage_epochs`` says how many epochs and stages there are; where only these are changed, or
    blocks are unfrozen at once, the list no longer holds and is left out.

    >>> overlaid({"epochs": 18, "stages": 2}, {"stage_epochs": "30,4"})
    {'epochs': 34, 'stages': 1, 'stage_epochs': '30,4'}
    >>> overlaid({"epochs": 34, "stages": 1, "stage_epochs": [30, 4]}, {"epochs": "9"})
    {'epochs': '9', 'stages': 1, 'stage_epochs': ()}
    """
    changed = {**values, **changes}
    parts = changed.get("stage_epochs", ())
    parts = parts.split(",") if isinstance(parts, str) else parts
    if not (isinstance(parts, list | tuple) and len(parts) > 1):
        return changed
    if "stage_epochs" not in changes:
        other = {"epochs", "stages"} & changes.keys() or changes.get("unfreezing") == "at_once"
        return changed | ({"stage_epochs": ()} if other else {})
    lengths = [int(part) for part in parts if str(part).strip().isdecimal()]
    if len(lengths) == len(parts):
        own = {"epochs": sum(lengths), "stages": len(lengths) - 1}
        changed |= {name: value for name, value in own.items() if name not in changes}
    return changed
