"""The link from a cohort folder to the export that its clips lie in.

``export.json`` holds no path: where the export lies is kept in the cache folder of the machine that sorted
it, so that a cohort folder from elsewhere can point at nothing. A file whose place in the export would give
a patient away is named by a reference: a digest of its place, keyed by a salt in ``export.json``. With the
salt, names can be guessed and tried: the file is for its owner alone, and for nobody who may not see the
export.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Final

from pydantic import TypeAdapter, ValidationError

from cardio_mlflow.data.cohort.clip import is_inside, leads_nowhere
from cardio_mlflow.data.cohort.export_files import ExportFile, export_root, list_export
from cardio_mlflow.data.cohort.zip_members import is_member
from cardio_mlflow.errors import InputError
from cardio_mlflow.files import write_whole

LINK: Final = "export.json"
_PREFIX: Final = "export:"
_REFERENCE: Final = re.compile(rf"{_PREFIX}[0-9a-f]{{16}}")
_SALT: Final = re.compile("[0-9a-f]{64}")
_MOST_BYTES: Final = 2**16
_PRIVATE: Final = 0o600  # for its owner alone


def reference(salt: str, place: str) -> str:
    """The name of a file in tables: without the salt it gives nothing of the place away.

    >>> reference("00" * 32, "ROE_JANE/IM_0012")
    'export:4f19e427346dd2ab'
    """
    digest = hmac.digest(bytes.fromhex(salt), place.encode("utf-8", "surrogatepass"), "sha256")
    return f"{_PREFIX}{digest.hex()[:16]}"


@dataclass(frozen=True)
class ExportLink:
    """What ``export.json`` holds.

    Attributes:
        salt: 64 hexadecimal digits, the key of references.
        root: keyed digest of the path of the export's root, by which paths are known after it has moved.
        written: digests of each file that sort wrote, or was about to write, into the cohort folder.
    """

    salt: str = field(default_factory=lambda: secrets.token_hex(32))
    root: str = ""
    written: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_LINKS: Final = TypeAdapter(ExportLink)


def read_link(folder: Path) -> ExportLink | None:
    """The link of a cohort folder; None where there is none, or a file that sort has not written."""
    try:
        with (folder / LINK).open("rb") as file:
            link = _LINKS.validate_json(file.read(_MOST_BYTES))
    except (OSError, ValidationError):
        return None
    return link if _SALT.fullmatch(link.salt) else None


def write_link(folder: Path, link: ExportLink) -> None:
    """Write a link, whole; OSError where that fails. The folder of the export is told by `remember`."""
    written = {name: list(own) for name, own in link.written.items()}
    content = {"salt": link.salt, "root": link.root, "written": written}
    text = f"{json.dumps(content, indent=1)}\n"
    path = folder / LINK
    if not (path.is_file() and path.read_bytes() == text.encode()):
        write_whole(path, text, mode=_PRIVATE)


def remember(folder: Path, salt: str, places: Mapping[str, Path], cache: Path) -> None:
    """Keep in the cache folder, for its owner alone, what a cohort folder was made from.

    Args:
        folder: the cohort folder.
        salt: of its link.
        places: "root", the export's folder or zip file; "export", as it was given; "labels", the sheet.
        cache: the cache folder.

    Raises:
        InputError: the cache folder cannot be written.
    """
    path = _memory(folder, salt, cache)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({name: str(place.absolute()) for name, place in places.items()})
        write_whole(path, text, mode=_PRIVATE)
    except OSError as fault:
        raise InputError(
            f"The cache folder cannot be written ({fault.strerror}). Make room there or give another one: "
            "-P cache=<folder>."
        ) from None


def remembered(folder: Path, cache: Path) -> dict[str, Path]:
    """What a cohort folder was made from, as `remember` keeps it; empty where this machine does not know."""
    link = read_link(folder)
    try:
        found = json.loads(_memory(folder, link.salt, cache).read_text("ascii")) if link else {}
    except (OSError, ValueError):
        return {}
    known = found.items() if isinstance(found, dict) else ()
    return {name: Path(place) for name, place in known if isinstance(place, str)}


def _memory(folder: Path, salt: str, cache: Path) -> Path:
    known = json.dumps([str(folder.resolve()), salt])
    return cache / "exports" / f"{hashlib.blake2b(known.encode(), digest_size=16).hexdigest()}.json"


@dataclass(frozen=True)
class LinkedExport:
    """The export that a cohort folder's clips.csv may name files of.

    Attributes:
        root: its folder or zip file; None where there is none, or none that may be followed.
        salt: of its references; empty where the folder has no link.
        was: keyed digest of the root when the folder was sorted.
    """

    root: Path | None
    salt: str
    was: str = ""

    def find(self, name: str) -> Path | None:
        """The file of a reference or a place of the export; None where there is no such place.

        Raises:
            InputError: the export is not there, or nobody has said that it may be followed.
            ValueError: there is no such file that can be read, in words that do not repeat the name.
        """
        if self.root is not None and not self.root.exists():
            raise InputError(
                "The export that clips.csv names files of is not there. Mount or connect its drive, or say "
                "where it lies now: -P export=<folder>."
            )
        if _REFERENCE.fullmatch(name):
            return self._of_reference(name)
        path = None if self.root is None else self.root / self._within(name)
        return path if path and is_inside(self.root or path, path) and is_clip_file(path) else None

    def _within(self, name: str) -> str | PurePath:
        """An absolute path within the root of the time of sorting as a place; anything else as it is."""
        given = Path(name)
        parents = given.parents if self.was and given.is_absolute() else ()
        root = next((one for one in parents if reference(self.salt, str(one)) == self.was), None)
        return name if root is None else given.relative_to(root)

    def check_followed(self) -> None:
        """InputError where the folder was sorted from an export of which it is not known where it lies."""
        if self.salt and self.root is None:
            raise InputError(
                "clips.csv names files of an export, and this machine does not know of which: the cohort "
                "folder was sorted, or has lain, elsewhere, or the cache folder was emptied. Where you trust "
                "the folder, say where its export lies: -P export=<folder>."
            )

    def _of_reference(self, name: str) -> Path:
        self.check_followed()
        found = self._references.get(name, [])
        if len(found) != 1:
            raise ValueError("no file of the export has this reference: run sort again if it has changed")
        if found[0].fault:
            raise ValueError(f"the file in the export cannot be read: {found[0].fault}")
        return found[0].path

    @cached_property
    def _references(self) -> Mapping[str, list[ExportFile]]:
        found: dict[str, list[ExportFile]] = {}
        if self.root is not None and self.salt:
            for file in list_export(self.root).files:
                found.setdefault(reference(self.salt, file.place), []).append(file)
        return found


def linked_export(folder: Path, export: Path | None, cache: Path | None) -> LinkedExport:
    """The export of a cohort folder: the one given, else the one that it was sorted from on this machine.

    Raises:
        InputError: the one given is none.
    """
    link = read_link(folder)
    root = (
        export_root(export)
        if export is not None
        else remembered(folder, cache).get("root")
        if cache
        else None
    )
    return LinkedExport(root, link.salt, link.root) if link else LinkedExport(root, "")


def is_clip_file(path: Path) -> bool:
    """Whether a path is a file, a member of a zip file, or a link to nowhere, which is told of when read."""
    try:
        return path.is_file() or leads_nowhere(path) or is_member(path)
    except (OSError, ValueError):  # too long a name, or one that no file can have
        return False
