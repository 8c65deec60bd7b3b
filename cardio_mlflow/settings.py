"""Typed, frozen settings: a preset, then the environment, then what was given on the command line."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from joblib import cpu_count
from pydantic import ValidationError, model_validator

from cardio_mlflow.errors import InputError
from cardio_mlflow.machine import free_memory
from cardio_mlflow.settings_errors import check_names, explain
from cardio_mlflow.settings_fields import RANGES, SettingsFields
from cardio_mlflow.settings_sources import ENVIRONMENT_PREFIX, from_environment, preset_values
from cardio_mlflow.settings_variants import VARIANTS, WITH_MOTION, parse_variants
from cardio_mlflow.settings_yaml import read_settings_yaml

DECLARED: Final = {"preset": "auto", "data": "auto", "study": "auto"}
"""The ``-P`` parameters that MLproject declares for every entry point, and their value when left alone."""

PREPARING_MEMORY: Final = 2**29
"""Bytes of a process that prepares clips or draws figures."""

SEED_STEP: Final = 1000
"""From the seed of one repeat of the ablation to that of the next; a fold adds its number."""

_NOT_PART_OF_THE_CONFIGURATION: Final = {
    "preset", "data", "study", "cache", "prepare_jobs", "jobs", "folds", "variants", "ablation_folds",
    "champion", "bootstrap", "figure_formats", "skip_train", "training_only", "skip_ablation",
    "skip_visualize", "skip_test", "pseudonymize", "pseudonym_key",
    "check_text", "strict", "clip_seconds", "clip_memory", "cache_disk", "studies",
    "backend", "cluster", "resume", "feature_disk", "step_memory", "data_workers", "more_variants", "repeats",
    "n_trials", "timeout", "tune_folds", "pruner", "storage", "nested", "challenger", *RANGES,
    "ig_steps", "ig_tolerance", "ig_baseline", "rollout_heads",
    "explained_patients",
}  # fmt: skip
_OF_THE_COHORT: Final = {
    "num_folds", "cohort1_size", "synthetic_patients", "synthetic_seed", "train_indices", "seed",
}  # fmt: skip
"""What all variants share, so that they are compared on the same patients, folds and seeds."""


class Settings(SettingsFields):
    """Every setting of a run, resolved."""

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
        allowed = self.configuration().keys() - _OF_THE_COHORT | {"variant"}
        for setting in changes:
            if setting not in allowed:
                raise ValueError(
                    f"more_variants: {name} cannot change {setting}; variants may change "
                    f"{', '.join(sorted(allowed))}"
                )
        try:
            self.for_variant(name)
        except ValidationError as error:
            reason = explain(error, Settings.model_json_schema()).rstrip(".")
            raise ValueError(f"more_variants: {name} cannot be trained: {reason}") from None

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


def load_settings(
    given: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
    stored: Mapping[str, object] | None = None,
) -> Settings:
    """Resolve settings: ``given``, then ``stored``, then ``CARDIOAI_*`` variables, then the preset.

    Args:
        given: names and values as typed after ``-P``. An empty value, and ``auto`` for a declared
            parameter, stand for not given.
        environment: the environment to read; the process's own by default.
        stored: settings of a file or of another run.

    Raises:
        InputError: an unknown name (with the nearest known one) or a value that is not allowed
            (with what is).

    >>> load_settings({"epochs": "4"}, {"CARDIOAI_EPOCHS": "9", "CARDIOAI_SEED": "3"}).epochs
    4
    """
    own = {name: value for name, value in given.items() if value not in (DECLARED.get(name), "")}
    layers: dict[str, Mapping[str, object]] = {
        f"setting (from a {ENVIRONMENT_PREFIX}* variable)": from_environment(environment),
        "setting (in the stored settings)": stored or {},
        "setting": own,
    }
    presets = [str(layer["preset"]) for layer in layers.values() if "preset" in layer]
    for what, layer in layers.items():
        check_names(layer, Settings.model_fields, what)
    values: dict[str, object] = preset_values(presets[-1] if presets else "demo")
    for layer in layers.values():
        values = overlaid(values, layer)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise InputError(explain(error, Settings.model_json_schema())) from None


def settings_from_yaml(text: str) -> Settings:
    """Read settings written by ``Settings.to_yaml``.

    Raises:
        InputError: the text is not a settings file of this version.
    """
    values = read_settings_yaml(text, "These settings were not written by this version: the text")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        detail = explain(error, Settings.model_json_schema())
        raise InputError(f"These settings were not written by this version: {detail}") from None
