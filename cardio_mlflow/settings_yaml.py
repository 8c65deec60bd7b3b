"""YAML that holds settings: names and plain values, each name once."""

from __future__ import annotations

from typing import Any, Final

import yaml

from cardio_mlflow.errors import InputError

FAULTS: Final = (
    yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError,
)  # fmt: skip
"""What PyYAML raises of a hostile text, beside its own errors."""


class _PlainLoader(yaml.SafeLoader):
    """Builds plain values only, none of them twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds an alias, which may make a small file huge")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if again := [name for number, name in enumerate(names) if name in names[:number]]:
            raise yaml.YAMLError(f"it gives {again[0][:40]} twice")
        values: dict[Any, Any] = super().construct_mapping(node, deep)
        return values


def read_settings_yaml(text: str, source: str) -> dict[str, object]:
    r"""Read names and values from YAML.

    Args:
        text: the file's.
        source: what it is called in an error.

    Raises:
        InputError: it is not YAML, gives a name twice, holds an alias, or is no mapping of names.

    >>> read_settings_yaml("epochs: 4\nviews: [A4C, A2C]", "my.yaml")
    {'epochs': 4, 'views': ['A4C', 'A2C']}
    """
    try:
        values = yaml.load(text, _PlainLoader)
    except FAULTS as error:
        plain = type(error) is yaml.YAMLError
        raise InputError(f"{source} is not YAML of settings{f': {error}' if plain else ''}.") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise InputError(f"{source} holds no settings: each line has to be `name: value`.")
    return values
