"""One HTML file that needs no network and no server, and runs nothing but the script that stands in it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment

from cardio_mlflow.data.batch.clip_store import write_bytes


def write_standalone_page(
    path: Path, package: str, frame: str, style: str, scripts: Sequence[str], **values: object
) -> None:
    """Write the file, whole or not at all; its policy allows this style and this script by their digests.

    Args:
        path: the file.
        package: whose data files the next three name.
        frame: Jinja template in HTML, escaped; it places ``style``, ``script`` and ``digests`` (of both).
        style: put after ``base.css``, which all pages share.
        scripts: put after ``base.js``, in this order.
        values: what else the frame places.

    Raises:
        InputError: the file cannot be written.
    """
    own, shared = files(package), files("cardio_mlflow.data.review")
    css = "\n".join(folder.joinpath(name).read_text("utf-8") for folder, name in
                    ((shared, "base.css"), (own, style)))  # fmt: skip
    code = "\n".join([shared.joinpath("base.js").read_text("utf-8"),
                      *(own.joinpath(name).read_text("utf-8") for name in scripts)])  # fmt: skip
    environment = Environment(autoescape=True)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    text = environment.from_string(own.joinpath(frame).read_text("utf-8")).render(
        style=css, script=code, digests=[_digest(css), _digest(code)], **values
    )
    write_bytes(path, text.encode())


def _digest(text: str) -> str:
    """What a content security policy allows an inline style or script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
