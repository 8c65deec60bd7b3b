"""What is made of a template: pages, one file each with its style sheets and no script; and plain text."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from cardio_mlflow.files import write_whole


def write_page(path: Path, template: str, styles: Sequence[str], **values: object) -> None:
    """Write a page, whole or not at all; the same values make the same bytes.

    Args:
        path: the .html file; its folder is made when it is missing.
        template: Jinja template of this package, escaped; it places ``css``.
        styles: style sheets of this package, in order.
        values: what else the template places.
    """
    folder = files("cardio_mlflow.report")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=False, keep_trailing_newline=True
    )
    css = "\n".join((folder / name).read_text("utf-8").strip() for name in styles)
    page = environment.from_string((folder / template).read_text("utf-8"))
    text = page.render(css=Markup(css), **values)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode(errors="replace"))


def rendered(template: str, **values: object) -> str:
    """Text that is no page, made of a template of this package; nothing in it is escaped."""
    environment = Environment(
        autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    source = (files("cardio_mlflow.report") / template).read_text("utf-8")
    return environment.from_string(source).render(values)
