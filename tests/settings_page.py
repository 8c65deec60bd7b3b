"""The page of all settings, from the code: ``python -m tests.settings_page > docs/reference/settings.md``."""

from __future__ import annotations

import sys

from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.settings import Settings
from cardio_mlflow.settings_reading import PRESETS, load_settings

HEAD = """# Settings

Every setting is `-P name=value` or an environment variable (`CARDIOAI_EPOCHS=4`); `-P` wins over the
environment, which wins over the preset. An unknown name or a value out of range is refused.
`-P settings=<file or run>` takes settings from a YAML file or from another run; they win over the environment
and the preset.
"""


def settings_page() -> str:
    """A table with one row per setting: its value in each preset, and what it is."""
    presets = {name: load_settings({"preset": name}, {}) for name in PRESETS}
    rows = [f"| setting | {' | '.join(presets)} | what it is |", "|---" * (len(presets) + 2) + "|"]
    for name, field in Settings.model_fields.items():
        values = " | ".join(_shown(name, getattr(settings, name)) for settings in presets.values())
        rows.append(f"| `{name}` | {values} | {(field.description or '').replace('|', '¦')} |")
    return f"{HEAD}\n" + "\n".join(rows) + "\n"


def _shown(name: str, value: object) -> str:
    if name == "cache":
        return "user cache folder"
    if value == VIEW_CODES:
        return "all four"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(_shown("", part) for part in value) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    sys.stdout.write(settings_page())
