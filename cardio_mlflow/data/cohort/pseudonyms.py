"""Keyed pseudonyms of patient ids, and the table that leads back, kept beside the key."""

from __future__ import annotations

import csv
import hmac
import io
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd
from filelock import FileLock

from cardio_mlflow.errors import InputError
from cardio_mlflow.files import write_whole
from cardio_mlflow.sheets.cells import canonical_id

_ALPHABET: Final = "23456789BCDFGHJKMNPQRSTVWXYZ"
"""No vowel, so that no word comes out, and nothing that looks like something else (0 O, 1 I L)."""
_LENGTH: Final = 12
"""28 ** 12 pseudonyms: among 100 000 patients two share one with a chance of 1 in 46 million."""
_KEY_BYTES: Final = 32  # as long as SHA-256's output: NIST SP 800-107r1, 5.3.4
_HEADER: Final = ("patient_id", "pseudonym")
_ARTIFACTS: Final = ("mlruns", "mlartifacts")
_PRIVATE: Final = 0o600  # for its owner alone


def pseudonym(key: bytes, patient_id: str) -> str:
    """The pseudonym of a patient: S and 12 characters of HMAC-SHA256 (RFC 2104) of the id under the key.

    Without the key it can neither be computed nor turned back, also not by trying all ids. The same
    key and id give the same pseudonym in every cohort; composed and decomposed letters count as the same.

    >>> pseudonym(bytes(32), "P001"), pseudonym(bytes(32), "P002")
    ('S936S26Y7MM9D', 'S9NPYY6TFJZ74')
    """
    normal = unicodedata.normalize("NFC", canonical_id(patient_id.strip()))
    digest = hmac.digest(key, normal.encode(), "sha256")
    number, text = int.from_bytes(digest, "big"), ""
    for _ in range(_LENGTH):
        number, letter = divmod(number, len(_ALPHABET))
        text += _ALPHABET[letter]
    return f"S{text}"


def key_name(key: bytes) -> str:
    """Eight hex digits that distinguish a key from others and reveal nothing of it."""
    return hmac.digest(key, b"name of this pseudonym key", "sha256").hex()[:8]


def read_key(path: Path, outputs: Sequence[Path]) -> bytes:
    """Read the key file; where there is none, make one of 32 random bytes, as hex, for the user alone.

    It may not lie in one of ``outputs``, folders whose content is handed on.

    Raises:
        InputError: the file lies in such a folder, can be read by others, or holds no key; says what to do.
    """
    _check_place(path, outputs)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _lock(path):
            if not path.exists():
                if mapping_file(path).exists():  # the key was lost: a new one would give all new names
                    raise InputError(
                        f"The pseudonym key {path} is gone, but the table made with it lies beside it. Put "
                        f"the key back, or move {mapping_file(path)} away if its pseudonyms are no longer "
                        "needed."
                    )
                write_whole(path, f"{secrets.token_hex(_KEY_BYTES)}\n", mode=_PRIVATE)
            return _parse(path)
    except OSError as fault:
        raise InputError(
            f"The pseudonym key {path} cannot be read or made ({fault.strerror}). Check that you may write "
            "there, or give another place with -P pseudonym_key=<file>."
        ) from None


def pseudonyms(key: bytes, patient_ids: Sequence[str]) -> dict[str, str]:
    """The pseudonym of each id.

    Raises:
        InputError: two ids have one pseudonym.
    """
    names = {patient: pseudonym(key, patient) for patient in patient_ids}
    if len(set(names.values())) < len(names):
        raise InputError(
            "Two patient ids of this cohort get the same pseudonym: they differ only in how an accented "
            "letter is stored. Give each patient an id of its own, or use another key."
        )
    return names


def mapping_file(key_file: Path) -> Path:
    """Where the table of ids and pseudonyms lies: beside the key.

    >>> mapping_file(Path("private/pseudonym.key")).as_posix()
    'private/pseudonym-mapping.csv'
    """
    return key_file.with_name(f"{key_file.stem}-mapping.csv")


def keep_mapping(key_file: Path, names: Mapping[str, str]) -> None:
    """Add ids and pseudonyms to the table beside the key, which only the user can read.

    Rows that are there stay; the file is written whole or not at all.

    Raises:
        InputError: the table was made with another key, is no such table, or cannot be written.
    """
    path = mapping_file(key_file)
    try:
        with _lock(key_file):
            before = _read_mapping(path) if path.exists() else {}
            merged = {**before, **names}
            if any(before.get(patient, name) != name for patient, name in names.items()):
                raise InputError(
                    f"{path} was made with another key. Put that key back to {key_file}, "
                    "or move the table away if its pseudonyms are no longer needed."
                )
            if len(set(merged.values())) < len(merged):
                raise InputError(f"{path} gives one pseudonym to two patients: use another key.")
            if merged != before or _open_to_others(path.stat()):
                table = pd.DataFrame(sorted(merged.items()), columns=list(_HEADER))
                write_whole(path, table.to_csv(index=False, lineterminator="\n"), mode=_PRIVATE)
    except OSError as fault:
        raise InputError(f"The table of pseudonyms {path} cannot be kept ({fault.strerror}).") from None


def _check_place(path: Path, outputs: Sequence[Path]) -> None:
    place = path.absolute().parent.resolve()
    handed_on = any(place.is_relative_to(folder.resolve()) for folder in outputs)
    if handed_on or any(part in _ARTIFACTS for part in place.parts):
        raise InputError(
            f"The pseudonym key {path} would lie in a folder whose content is handed on (the cohort, the "
            "cache, the code or MLflow's artifacts), where others find it. Keep it elsewhere: "
            "-P pseudonym_key=<file>, or leave pseudonym_key empty."
        )


def _parse(path: Path) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"The pseudonym key {path} is not a file.")
    if _open_to_others(status):
        raise InputError(
            f"The pseudonym key {path} can be read or changed by others. If nobody has, close it with "
            f"chmod 600; else make a new one."
        )
    text = path.read_bytes()[:4096].strip()
    if not re.fullmatch(rb"([0-9a-fA-F]{2})+", text) or len(text) < 2 * _KEY_BYTES:
        raise InputError(
            f"The file {path} holds no pseudonym key: at least {2 * _KEY_BYTES} hexadecimal digits are "
            "expected. Give a path where there is no file yet, and a key is made."
        )
    return bytes.fromhex(text.decode("ascii"))


def _open_to_others(status: os.stat_result) -> bool:
    return os.name == "posix" and bool(status.st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _lock(key_file: Path) -> FileLock:
    return FileLock(key_file.with_name(f".{key_file.name}.lock"), mode=0o600)


def _read_mapping(path: Path) -> dict[str, str]:
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    except (ValueError, csv.Error):
        rows = []
    if not rows or tuple(rows[0]) != _HEADER or any(len(row) != 2 for row in rows):
        raise InputError(f"{path} is no table of patient_id and pseudonym: move it away.")
    return {row[0]: row[1] for row in rows[1:]}
