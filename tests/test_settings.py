from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from cardio_mlflow.errors import InputError
from cardio_mlflow.settings import RUN, TRAINING, TUNED, Settings, Use, setting, settings_for, uses_of
from cardio_mlflow.settings_reading import PRESETS, load_settings, read_settings_yaml, settings_from_yaml
from cardio_mlflow.variants import VARIANTS, parse_variants

STUDY = {
    "backbone": "google/vit-base-patch16-224", "training_frames": 32, "num_folds": 5, "epochs": 100,
    "batch_size": 16, "stages": 12, "task_lr": 1e-4, "vit_lr": 3e-5, "weight_decay": 1e-4, "dropout": 0.15,
    "gradient_clip": 5.0, "cohort1_size": 235, "augmented_copies": 0, "rotation": 0.0, "shift": 0.0,
    "zoom": 0.0, "gain": 0.0, "speckle": 0.0, "ablation_folds": (), "variants": (),
    "stage_epochs": (), "scale": "sector", "motion": False, "identities": False, "keep": "best",
}  # fmt: skip
CONFIGURATION = (
    "synthetic_patients", "synthetic_seed", "cohort1_size", "num_folds", "train_indices", "backbone", "views",
    "scale", "motion", "identities", "attention_heads", "dropout", "view_dropout", "epochs", "stages",
    "stage_epochs", "unfreezing", "batch_size", "training_frames", "task_lr", "gate_lr", "vit_lr",
    "layer_decay", "weight_decay", "lr_schedule", "warmup_epochs", "keep", "gradient_clip", "precision",
    "seed", "augmented_copies", "rotation", "shift", "zoom", "gain", "speckle",
)  # fmt: skip


def load(**given: str) -> Settings:
    return load_settings(given, {})


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ({}, {}, {"preset": "demo", "data": "synthetic", "backbone": "demo"}),
        ({"epochs": "4"}, {"CARDIOAI_EPOCHS": "9", "EPOCHS": "77"}, {"epochs": 4}),
        ({}, {"CARDIOAI_BATCH_SIZE": "3"}, {"batch_size": 3}),
        ({}, {"CARDIOAI_PRESET": "study"}, {"epochs": 100}),
        ({"preset": "demo"}, {"CARDIOAI_PRESET": "study"}, {"preset": "demo"}),
        ({"preset": "auto", "data": ""}, {"CARDIOAI_DATA": "x"}, {"preset": "demo", "data": "x"}),
        ({"precision": "auto"}, {"CARDIOAI_PRECISION": "bf16"}, {"precision": "auto"}),
        ({"data": "/a/ours", "cohort1_size": "500"}, {}, {"cohort1_size": 500, "study_name": "demo-ours"}),
        ({}, {}, {"study_name": "demo-synthetic"}),
        ({"study": "mine"}, {}, {"study_name": "mine"}),
        ({"skip_train": "True", "nested": "0"}, {}, {"skip_train": True, "nested": False}),
        ({"variants": "full, no_fusion", "ablation_folds": "2,1"}, {},
         {"variants": ("full", "no_fusion"), "ablation_folds": (2, 1)}),
        ({"ablation_folds": "all", "variants": "all"}, {}, {"ablation_folds": (), "variants": ()}),
        ({"prepare_jobs": "3"}, {}, {"workers": 3}),
        ({"preset": "study"}, {}, STUDY),
    ],
)  # fmt: skip
def test_what_is_given_wins_over_the_environment_over_the_preset(given, environment, expected) -> None:
    settings = load_settings(given, environment)
    assert {name: getattr(settings, name) for name in expected} == expected


def test_the_environment_is_read_by_default_and_settings_are_frozen(monkeypatch) -> None:
    monkeypatch.setenv("CARDIOAI_EPOCHS", "6")
    settings = load_settings({})
    assert settings.epochs == 6
    assert settings.workers >= 1
    with pytest.raises(ValidationError):
        settings.epochs = 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"vit_rl": "1"}, "called 'vit_rl'. Did you mean vit_lr?"),
        ({"ablation_fold": "1"}, "Did you mean ablation_folds?"),
        ({"tasklr": "1"}, "Did you mean task_lr?"),
        ({"qqqq": "1"}, "Known: preset, data"),
        ({"preset": "big"}, "Known: demo, study, recommended."),
        ({"epochs": "-3", "dropout": "2"}, "dropout=2 is not allowed"),
        *(({"study": name}, "study=") for name in ("a'b", 'a"b', "a/b", "a\\b", "a`b", "a\nb")),
        ({"ablation_folds": "1,6"}, "fit together: ablation_folds names fold 6, but num_folds is 5"),
        ({"num_folds": "3", "ablation_folds": "4"}, "fold 4, but num_folds is 3"),
        ({"epochs": "10", "stages": "2", "stage_epochs": "5"}, "more than 10"),
        ({"cohort1_size": "500"}, "synthetic_patients"),
        ({"more_variants": "x: seed=3"}, "cannot change seed"),
        ({"more_variants": "x: num_folds=3"}, "cannot change num_folds"),
        ({"more_variants": "x: jobs=3"}, "cannot change jobs"),
        ({"more_variants": "x: dropout=2"}, "x cannot be trained: dropout=2: Input should be less than 1"),
        ({"more_variants": "x: stages=0; x: stages=1"}, "a variant x already"),
        ({"more_variants": "mean: stages=0"}, "cannot name a variant"),
        ({"more_variants": "x: stages"}, "write setting=value"),
        ({"task_lr_range": "1e-2,1e-4"}, "lowest value comes first"),
        ({"task_lr_range": "0,1e-4"}, "more than 0, as its scale is logarithmic"),
        ({"dropout_range": "0,1"}, "at least 0 and less than 1"),
        ({"vit_lr_range": "1e-4"}, "two numbers"),
        ({"storage": "postgresql://me:secret@host/db"}, "may hold no password"),
        ({"storage": "postgresql://me:a/secret@host/db"}, "may hold no password"),
        ({"storage": "postgresql://me:secret@b@host/db"}, "may hold no password"),
        ({"storage": "postgresql://host/db?user=me&password=secret"}, "may hold no password"),
        ({"views": "A4C,RVOT"}, "known: A4C, A2C, PSAX, PLAX"),
        ({"tune_folds": "6"}, "names fold 6"),
        ({"stage_epochs": "30,4,4", "epochs": "40"}, "38 epochs in 2 stages"),
        ({"stage_epochs": "30,4,4", "stages": "3"}, "leave those out"),
        ({"stage_epochs": "30,0,4"}, "at least 1"),
        ({"stage_epochs": "30,x"}, "stage_epochs"),
        ({"stage_epochs": "3,3", "unfreezing": "at_once"}, "at_once"),
        ({"variant": "no_motion", "motion": "false"}, "motion=true"),
        ({"variants": "full,no_motion", "motion": "false"}, "motion=true"),
    ],
)
def test_what_is_not_known_or_does_not_fit_is_refused(given, said) -> None:
    with pytest.raises(InputError) as refused:
        load(**given)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("epochs", "-3", "a whole number at least 1 and at most 10000"),
        ("epochs", "two", "a whole number at least 1 and at most 10000"),
        ("epochs", "3.5", "a whole number at least 1 and at most 10000"),
        ("task_lr", "nan", "a number more than 0 and at most 1"),
        ("vit_lr", "1e400", "a number more than 0 and at most 1"),
        ("dropout", "1", "a number at least 0 and less than 1"),
        ("gradient_clip", "nan", "a number more than 0"),
        ("precision", "fp8", "auto, bf16, fp32"),
        ("variants", "foo", ", ".join(VARIANTS)),
        ("ablation_folds", "0", "a whole number at least 1"),
        ("skip_train", "maybe", "true or false"),
    ],
)
def test_a_bad_value_gets_the_allowed_range(name, value, allowed) -> None:
    with pytest.raises(InputError) as refused:
        load(**{name: value})
    assert str(refused.value).startswith(f"{name}={value} is not allowed")
    assert f"Allowed: {allowed}." in str(refused.value)


def test_unknown_variables_and_long_values_are_refused_in_few_words() -> None:
    with pytest.raises(InputError, match="Did you mean epochs"):
        load_settings({}, {"CARDIOAI_EPOCS": "3"})
    with pytest.raises(InputError) as refused:
        load(epochs="9" * 5000)
    assert len(str(refused.value)) < 400
    with pytest.raises(InputError) as unknown:
        load(**{"x" * 5000: "1"})
    assert len(str(unknown.value)) < 3000


def test_the_configuration_is_that_of_every_run_so_far() -> None:
    """Another digest parts new runs from all that are stored."""
    assert list(load().configuration()) == list(settings_for(TRAINING)) == list(CONFIGURATION)
    digests = {preset: load(preset=preset).digest() for preset in PRESETS}
    assert digests == {"demo": "fa92aae29e13", "study": "b7f3ac8aa02c", "recommended": "514bcda0dbda"}
    changed = {"speckle": "0.7", "views": "A4C", "train_indices": "0-9", "stages": "1"}
    assert len({load(**{name: value}).digest() for name, value in changed.items()} | {digests["demo"]}) == 5
    elsewhere = load(jobs="7", cache="/elsewhere", study="other", variant="no_fusion", data="/a/ours")
    assert elsewhere.digest() == digests["demo"]


def test_every_setting_says_what_it_is_for() -> None:
    class Unmarked(BaseModel):
        momentum: float = Field(0.9)

    class Both(BaseModel):
        momentum: float = setting(RUN | TRAINING, "of SGD", 0.9)

    for model in (Unmarked, Both):
        with pytest.raises(TypeError, match="momentum has to be declared"):
            uses_of(model.model_fields)
    assert set(TUNED) <= set(settings_for(TRAINING))
    assert {"cache", "feature_disk", "gain", "scale"} <= set(settings_for(Use.FEATURES))
    paths = {"data", "export", "cache", "folds", "pseudonym_key", "cluster", "storage"}
    assert paths <= set(settings_for(Use.PRIVATE))


@pytest.mark.parametrize("preset", PRESETS)
def test_yaml_round_trip(preset) -> None:
    settings = load(preset=preset, study="ö", ablation_folds="1,2", cache="/x y", gradient_clip="inf")
    assert set(VARIANTS) - set(settings.all_variants) == (set() if settings.motion else {"no_motion"})
    text = settings.to_yaml()
    assert settings_from_yaml(text) == settings
    assert list(yaml.safe_load(text)) == list(Settings.model_fields)


@pytest.mark.parametrize("text", ["", "3", "[1", "epochs: 3", load_settings({}, {}).to_yaml() + "a: 1"])
def test_a_yaml_of_something_else_is_refused(text) -> None:
    with pytest.raises(InputError, match="not written by this version"):
        settings_from_yaml(text)


def test_settings_from_before_gates_and_lists_still_load() -> None:
    old = load(preset="study").model_dump(mode="json") | {"stage_epochs": 0}
    new = ("gate_lr", "motion", "identities", "scale", "keep")
    text = yaml.safe_dump({name: value for name, value in old.items() if name not in new})
    assert settings_from_yaml(text) == load(preset="study")


numbers = {
    "epochs": st.integers(3, 10000), "batch_size": st.integers(1, 4096), "seed": st.integers(0, 2**31 - 1),
    "task_lr": st.floats(1e-12, 1), "dropout": st.floats(0, 1, exclude_max=True),
    "weight_decay": st.floats(0, 1), "rotation": st.floats(0, 45),
}  # fmt: skip


@given(st.fixed_dictionaries({}, optional=numbers))
def test_a_number_in_range_arrives_as_it_was_typed(values) -> None:
    settings = load(**{name: repr(value) for name, value in values.items()})
    assert {name: getattr(settings, name) for name in values} == values
    assert settings_from_yaml(settings.to_yaml()) == settings


@given(st.sampled_from(sorted(Settings.model_fields)), st.text())
def test_any_text_is_taken_or_refused_by_name(name, text) -> None:
    try:
        settings = load(**{name: text})
    except InputError as error:
        said = str(error)
    else:
        said = name
        assert settings_from_yaml(settings.to_yaml()) == settings
    assert name in said


def test_a_variant_of_ones_own_changes_what_it_says_and_nothing_else() -> None:
    settings = load(more_variants="frozen: stages=0; apical: views=TC,A4C training_frames=2", seed="5")
    assert settings.all_variants == (*load().all_variants, "frozen", "apical")
    own = settings.for_variant("apical")
    assert (own.views, own.training_frames, own.variant) == (("FC", "TC"), 2, "full")
    back = {"views": settings.views, "training_frames": settings.training_frames}
    assert own.model_copy(update=back | {"more_variants": settings.more_variants}) == settings
    assert settings.for_variant("full").digest() == settings.for_variant("no_fusion").digest()
    assert settings.for_variant("full").digest() == settings.digest()
    digests = {settings.for_variant(v, r).digest() for v in ("full", "frozen", "apical") for r in (1, 2, 3)}
    assert len(digests) == 9
    assert settings.for_variant("frozen", 3).seed == 2005
    assert load(seed=str(2**31 - 1)).for_variant("full", 2).seed == 999


@given(st.text(max_size=40))
def test_any_text_is_variants_or_is_refused(text) -> None:
    try:
        found = parse_variants(text)
    except ValueError:
        return
    for name, changes in found.items():
        assert name.isidentifier()
        assert name not in VARIANTS
        assert changes


@pytest.mark.parametrize("text", ["30,4,4", "30, 4 ,4"])
def test_a_list_of_stages_says_how_many_epochs_and_stages_there_are(text) -> None:
    settings = load(preset="study", stage_epochs=text)
    assert (settings.stage_epochs, settings.epochs, settings.stages) == ((30, 4, 4), 38, 2)
    assert settings_from_yaml(settings.to_yaml()) == settings
    stored = settings.configuration()
    assert load_settings({"preset": "study"}, {}, stored).digest() == settings.digest()


@pytest.mark.parametrize("given", [{"epochs": "9"}, {"stages": "1"}, {"epochs": "9", "stages": "1"}])
def test_epochs_or_stages_alone_set_a_list_from_below_aside(given) -> None:
    below = {"CARDIOAI_STAGE_EPOCHS": "30,4,4"}
    settings = load_settings({"preset": "study"} | given, below)
    assert settings.stage_epochs == ()
    assert settings.epochs == int(given.get("epochs", 38))
    assert settings.stages == int(given.get("stages", 2))


def test_a_variant_with_other_stages_sets_the_list_aside() -> None:
    settings = load(preset="study", stage_epochs="30,4,4", more_variants="frozen: stages=0")
    frozen = settings.for_variant("frozen")
    assert (frozen.stage_epochs, frozen.epochs, frozen.stages) == ((), 38, 0)
    assert settings.for_variant("no_fusion").stage_epochs == (30, 4, 4)


BOMB = "a: &a [x, x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs: 3\nepochs: 4\n", "it gives epochs twice"),
        ("views: {a: 1, a: 2}\n", "it gives a twice"),
        (BOMB, "an alias"),
        ("study: 2024-13-45\n", "is not YAML of settings"),
        ("epochs: !!int abc\n", "is not YAML of settings"),
        ("nested: !!bool maybe\n", "is not YAML of settings"),
        ("study: !!timestamp x\n", "is not YAML of settings"),
        ("task_lr: " + "[" * 3000, "is not YAML of settings"),
        ("? [a]\n: 1\n", "is not YAML of settings"),
        ("1: 2\n", "holds no settings"),
        ("", "holds no settings"),
    ],
)
def test_a_file_of_no_plain_settings_is_refused_in_few_words(text: str, said: str) -> None:
    with pytest.raises(InputError, match=r"my\.yaml") as refused:
        read_settings_yaml(text, "my.yaml")
    assert said in str(refused.value)
    assert len(str(refused.value)) < 300


@given(st.text(st.sampled_from("abc: -[]{}&*!?|>'\"#\n\t0123456789.,%@`"), max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        values = read_settings_yaml(text, "it")
    except InputError:
        return
    assert all(isinstance(name, str) for name in values)
    assert values == yaml.safe_load(text)


@given(
    st.sampled_from(["epochs", "task_lr", "study", "views", "tune_folds", "nested", "cache"]),
    st.one_of(st.booleans(), st.lists(st.booleans(), min_size=1), st.none(), st.integers(), st.floats(),
              st.dictionaries(st.text(max_size=3), st.integers()), st.dates(), st.binary(max_size=3)),
)  # fmt: skip
def test_a_value_of_another_kind_is_refused_or_used(name: str, value: object) -> None:
    """Whatever kind of value YAML gives, there are settings or a message; true is not 1."""
    try:
        found = getattr(load_settings({}, {}, {name: value}), name)
    except InputError:
        return
    truths = value if isinstance(value, list) else [value]
    assert name == "nested" or not any(isinstance(truth, bool) for truth in truths)
    assert found is not None
