from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cardio_mlflow.errors import InputError
from cardio_mlflow.settings import (
    Settings,
    check_names,
    load_settings,
    settings_from_yaml,
)
from cardio_mlflow.settings_sources import PRESETS
from cardio_mlflow.settings_variants import VARIANTS, parse_variants

STUDY = {
    "backbone": "google/vit-base-patch16-224", "training_frames": 32, "num_folds": 5, "epochs": 100,
    "batch_size": 16, "stages": 12, "task_lr": 1e-4, "vit_lr": 3e-5, "weight_decay": 1e-4, "dropout": 0.15,
    "gradient_clip": 5.0, "cohort1_size": 235, "augmented_copies": 0, "rotation": 0.0, "shift": 0.0,
    "zoom": 0.0, "gain": 0.0, "speckle": 0.0, "ablation_folds": (), "variants": (),
    "stage_epochs": (), "scale": "sector", "motion": False, "identities": False, "keep": "best",
}  # fmt: skip


def load(**given: str) -> Settings:
    return load_settings(given, {})


def refusal(**given: str) -> str:
    with pytest.raises(InputError) as caught:
        load(**given)
    return str(caught.value)


def test_given_wins_over_environment_over_preset():
    environment = {"CARDIOAI_EPOCHS": "9", "CARDIOAI_BATCH_SIZE": "3", "EPOCHS": "77"}
    settings = load_settings({"epochs": "4"}, environment)
    assert (settings.epochs, settings.batch_size) == (4, 3)
    assert settings.training_frames == load().training_frames


def test_the_environment_is_read_by_default(monkeypatch):
    monkeypatch.setenv("CARDIOAI_EPOCHS", "6")
    assert load_settings({}).epochs == 6


def test_preset_from_the_environment():
    assert load_settings({}, {"CARDIOAI_PRESET": "study"}).epochs == 100
    assert load_settings({"preset": "demo"}, {"CARDIOAI_PRESET": "study"}).preset == "demo"


@pytest.mark.parametrize("value", ["auto", ""])
def test_a_parameter_left_alone_counts_as_not_given(value):
    assert load_settings({"data": value}, {"CARDIOAI_DATA": "cohort"}).data == "cohort"
    assert load(preset=value) == load()


def test_auto_is_a_value_where_it_is_not_a_mark():
    assert load_settings({"precision": "auto"}, {"CARDIOAI_PRECISION": "bf16"}).precision == "auto"


def test_demo_is_the_default_preset():
    assert load().preset == "demo"
    assert load().data == "synthetic"
    assert load().backbone == "demo"


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_load(preset):
    settings = load(preset=preset)
    assert settings.preset == preset
    assert set(VARIANTS) - set(settings.all_variants) == (set() if settings.motion else {"no_motion"})


def test_the_study_preset_is_the_designs():
    settings = load(preset="study")
    assert {name: getattr(settings, name) for name in STUDY} == STUDY


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [("vit_rl", "vit_lr"), ("epoch", "epochs"), ("ablation_fold", "ablation_folds"), ("tasklr", "task_lr")],
)
def test_an_unknown_name_gets_the_nearest(typed, nearest):
    message = refusal(**{typed: "1"})
    assert repr(typed) in message
    assert f"Did you mean {nearest}?" in message


def test_an_unknown_name_without_a_near_one_gets_the_list():
    message = refusal(qqqq="1")
    assert "Known:" in message
    assert "task_lr" in message


def test_an_unknown_environment_variable_is_refused():
    with pytest.raises(InputError, match="Did you mean epochs"):
        load_settings({}, {"CARDIOAI_EPOCS": "3"})


def test_check_names_accepts_known_names():
    check_names(["fold"], ["fold", "epochs"], "setting")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("epochs", "-3", "a whole number at least 1 and at most 10000"),
        ("epochs", "two", "a whole number at least 1 and at most 10000"),
        ("epochs", "3.5", "a whole number at least 1 and at most 10000"),
        ("task_lr", "nan", "a number more than 0 and at most 1"),
        ("task_lr", "0", "a number more than 0 and at most 1"),
        ("vit_lr", "1e400", "a number more than 0 and at most 1"),
        ("dropout", "1", "a number at least 0 and less than 1"),
        ("gradient_clip", "nan", "a number more than 0"),
        ("precision", "fp8", "auto, bf16, fp32"),
        ("variants", "full,foo", ", ".join(VARIANTS)),
        ("variant", "foo", ", ".join(VARIANTS)),
        ("ablation_folds", "0", "a whole number at least 1"),
        ("skip_train", "maybe", "true or false"),
        ("training_frames", "33", "a whole number at least 1 and at most 32"),
        ("champion", "median", "mean, best_fold"),
    ],
)
def test_a_bad_value_gets_the_allowed_range(name, value, allowed):
    message = refusal(**{name: value})
    assert message.startswith(f"{name}=")
    assert "is not allowed" in message
    assert f"Allowed: {allowed}." in message


def test_every_bad_value_is_told_at_once():
    message = refusal(epochs="-3", dropout="2")
    assert "epochs=-3" in message
    assert "dropout=2" in message


def test_an_unknown_preset_names_the_known_ones():
    assert "Known: demo, study, recommended." in refusal(preset="big")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ablation_folds": "1,6"}, "fold 6, but num_folds is 5"),
        ({"num_folds": "3", "ablation_folds": "4"}, "fold 4, but num_folds is 3"),
        ({"epochs": "10", "stages": "2", "stage_epochs": "5"}, "more than 10"),
        ({"cohort1_size": "500"}, "synthetic_patients"),
    ],
)
def test_values_that_do_not_fit_together(given, said):
    message = refusal(**given)
    assert "do not fit together" in message
    assert said in message


def test_cohort_sizes_of_the_synthetic_cohort_do_not_bind_a_real_one():
    assert load(data="/somewhere/ours", cohort1_size="500").cohort1_size == 500


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("false", False), ("0", False)])
def test_booleans_arrive_as_text(text, value):
    assert load(skip_train=text).skip_train is value


def test_lists_arrive_as_text():
    settings = load(variants="full, no_fusion", ablation_folds="2,1")
    assert settings.variants == ("full", "no_fusion")
    assert settings.ablation_folds == (2, 1)


def test_all_takes_back_what_a_preset_narrows():
    assert load().ablation_folds == (1,)
    assert load(ablation_folds="all").ablation_folds == ()
    assert load(variants="all").variants == ()


@pytest.mark.parametrize("name", ["a'b", 'a"b', "a/b", "a\\b", "a`b", "a\nb"])
def test_a_study_name_is_plain(name):
    assert "study" in refusal(study=name)


def test_study_name_is_made_from_preset_and_cohort():
    assert load().study_name == "demo-synthetic"
    assert load(data="/somewhere/ours").study_name == "demo-ours"
    assert load(study="mine").study_name == "mine"


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        load().epochs = 3


def test_workers_are_the_jobs_or_the_cores():
    assert load(prepare_jobs="3").workers == 3
    assert load().workers >= 1


CHANGED = {
    "epochs": "3", "stages": "1", "seed": "9", "task_lr": "0.1", "view_dropout": "0.5", "speckle": "0.7",
    "precision": "bf16", "num_folds": "4", "cohort1_size": "90", "synthetic_seed": "8", "backbone": "x",
    "lr_schedule": "cosine", "warmup_epochs": "1", "views": "A4C", "unfreezing": "at_once",
    "train_indices": "0-9", "training_frames": "3", "layer_decay": "0.4", "augmented_copies": "1",
}  # fmt: skip
SAME = {
    "jobs": "7", "cache": "/elsewhere", "study": "other", "variant": "no_fusion", "variants": "full",
    "ablation_folds": "2", "champion": "best_fold", "bootstrap": "100", "skip_train": "true",
    "training_only": "true", "skip_ablation": "true", "skip_visualize": "true", "skip_test": "true",
    "feature_disk": "0", "resume": "true", "backend": "ray", "cluster": "tcp://x",
    "more_variants": "x: stages=0", "repeats": "2", "n_trials": "3", "timeout": "9",
    "tune_folds": "3", "task_lr_range": "0.1,0.2", "pruner": "none", "storage": "sqlite:///x",
    "nested": "true", "challenger": "true", "step_memory": "1", "data_workers": "3",
    "prepare_jobs": "3", "data": "/elsewhere/ours", "explained_patients": "ph", "cache_disk": "1",
    "studies": "newest",
}  # fmt: skip


def test_digest_is_stable():
    assert load().digest() == load().digest()
    assert len(load().digest()) == 12
    assert load().digest() != load(preset="study").digest()


@pytest.mark.parametrize("name", CHANGED)
def test_digest_changes_with_what_training_depends_on(name):
    assert load(**{name: CHANGED[name]}).digest() != load().digest()


@pytest.mark.parametrize("name", SAME)
def test_digest_ignores_names_places_and_what_comes_later(name):
    assert load(**{name: SAME[name]}).digest() == load().digest()


@pytest.mark.parametrize("preset", PRESETS)
def test_yaml_round_trip(preset):
    settings = load(preset=preset, study="ö", ablation_folds="1,2", cache="/x y", gradient_clip="inf")
    text = settings.to_yaml()
    assert settings_from_yaml(text) == settings
    assert list(yaml.safe_load(text)) == list(Settings.model_fields)


@pytest.mark.parametrize("text", ["", "3", "[1", "epochs: 3", "a: 1"])
def test_a_yaml_of_something_else_is_refused(text):
    with pytest.raises(InputError, match="not written by this version"):
        settings_from_yaml(text)


def test_a_yaml_with_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="momentum"):
        settings_from_yaml(load().to_yaml() + "momentum: 0.9\n")


numbers = {
    "epochs": st.integers(3, 10000), "batch_size": st.integers(1, 4096), "seed": st.integers(0, 2**31 - 1),
    "task_lr": st.floats(1e-12, 1), "dropout": st.floats(0, 1, exclude_max=True),
    "weight_decay": st.floats(0, 1), "rotation": st.floats(0, 45),
}  # fmt: skip


@given(st.fixed_dictionaries({}, optional=numbers))
def test_a_number_in_range_arrives_as_it_was_typed(values):
    settings = load(**{name: repr(value) for name, value in values.items()})
    assert {name: getattr(settings, name) for name in values} == values
    assert settings_from_yaml(settings.to_yaml()) == settings


@given(st.sampled_from(sorted(Settings.model_fields)), st.text())
def test_any_text_is_taken_or_refused_by_name(name, text):
    try:
        settings = load(**{name: text})
    except InputError as error:
        said = str(error)
    else:
        said = name
        assert settings_from_yaml(settings.to_yaml()) == settings
    assert name in said


def test_a_variant_of_ones_own_changes_what_it_says_and_nothing_else():
    settings = load(more_variants="frozen: stages=0; apical: views=TC,A4C training_frames=2", seed="5")
    assert settings.all_variants == (*load().all_variants, "frozen", "apical")
    own = settings.for_variant("apical")
    assert own.views == ("FC", "TC")
    assert own.training_frames == 2
    assert own.variant == "full"
    back = {"views": settings.views, "training_frames": settings.training_frames}
    assert own.model_copy(update=back | {"more_variants": settings.more_variants}) == settings
    assert settings.for_variant("full").digest() == settings.digest()
    assert settings.for_variant("no_fusion").digest() == settings.digest()
    digests = {settings.for_variant(v, r).digest() for v in ("full", "frozen", "apical") for r in (1, 2, 3)}
    assert len(digests) == 9
    assert settings.for_variant("frozen", 3).seed == 2005
    assert load(seed=str(2**31 - 1)).for_variant("full", 2).seed == 999


@given(st.text(max_size=40))
def test_any_text_is_variants_or_is_refused(text):
    try:
        found = parse_variants(text)
    except ValueError:
        return
    for name, changes in found.items():
        assert name.isidentifier()
        assert name not in VARIANTS
        assert changes


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"more_variants": "x: seed=3"}, "cannot change seed"),
        ({"more_variants": "x: num_folds=3"}, "cannot change num_folds"),
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
    ],
)
def test_new_settings_are_checked(given, said):
    with pytest.raises(InputError, match=said) as caught:
        load(**given)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["30,4,4", "30, 4 ,4"])
def test_a_list_of_stages_says_how_many_epochs_and_stages_there_are(text):
    settings = load(preset="study", stage_epochs=text)
    assert (settings.stage_epochs, settings.epochs, settings.stages) == ((30, 4, 4), 38, 2)
    assert settings_from_yaml(settings.to_yaml()) == settings
    stored = settings.configuration()
    assert load_settings({"preset": "study"}, {}, stored).digest() == settings.digest()


@pytest.mark.parametrize("given", [{"epochs": "9"}, {"stages": "1"}, {"epochs": "9", "stages": "1"}])
def test_epochs_or_stages_alone_set_a_list_from_below_aside(given):
    below = {"CARDIOAI_STAGE_EPOCHS": "30,4,4"}
    settings = load_settings({"preset": "study"} | given, below)
    assert settings.stage_epochs == ()
    assert settings.epochs == int(given.get("epochs", 38))
    assert settings.stages == int(given.get("stages", 2))


def test_a_variant_with_other_stages_sets_the_list_aside():
    settings = load(preset="study", stage_epochs="30,4,4", more_variants="frozen: stages=0")
    frozen = settings.for_variant("frozen")
    assert (frozen.stage_epochs, frozen.epochs, frozen.stages) == ((), 38, 0)
    assert settings.for_variant("no_fusion").stage_epochs == (30, 4, 4)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stage_epochs": "30,4,4", "epochs": "40"}, "38 epochs in 2 stages"),
        ({"stage_epochs": "30,4,4", "stages": "3"}, "leave those out"),
        ({"stage_epochs": "30,0,4"}, "at least 1"),
        ({"stage_epochs": "30,x"}, "stage_epochs"),
        ({"stage_epochs": "3,3", "unfreezing": "at_once"}, "at_once"),
        ({"variant": "no_motion", "motion": "false"}, "motion=true"),
        ({"variants": "full,no_motion", "motion": "false"}, "motion=true"),
    ],
)
def test_what_of_stages_and_motion_does_not_fit_together_is_refused(given, said):
    assert said in refusal(preset="study", **given)


def test_settings_from_before_gates_and_lists_still_load():
    old = load(preset="study").model_dump(mode="json") | {"stage_epochs": 0}
    new = ("gate_lr", "motion", "identities", "scale", "keep")
    text = yaml.safe_dump({name: value for name, value in old.items() if name not in new})
    settings = settings_from_yaml(text)
    assert settings.stage_epochs == ()
    assert (settings.scale, settings.motion, settings.identities, settings.keep) == (
        "sector", False, False, "best",
    )  # fmt: skip
