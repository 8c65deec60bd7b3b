"""Settings files of other people: plain values are read, anything else is refused by a short message."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.errors import InputError
from cardio_mlflow.settings import load_settings
from cardio_mlflow.settings_yaml import read_settings_yaml

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
def test_what_is_no_plain_settings_is_refused(text: str, said: str) -> None:
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


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(InputError) as refused:
        load_settings({"epochs": "9" * 5000})
    assert len(str(refused.value)) < 400
    with pytest.raises(InputError) as unknown:
        load_settings({"x" * 5000: "1"})
    assert len(str(unknown.value)) < 3000
