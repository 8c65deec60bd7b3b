"""Digests of UIDs, by which two files of one clip or one study are known; the UIDs themselves go nowhere."""

from __future__ import annotations

import hashlib
from typing import Final

from pydicom.uid import UID

PLACEHOLDER: Final = "0" * 16
"""How the digest of a UID starts that is none; see `uid_digest`."""


def uid_digest(uid: str) -> str:
    """Digest of a SOP Instance UID, 32 hexadecimal digits; empty for no UID.

    It starts with `PLACEHOLDER` for one that no archive gives, such as 1.2.3.4.5: no valid UID, shorter than
    16 characters, or without a number of three digits, as every organisation's root has.
    """
    if not uid:
        return ""
    digest = hashlib.blake2b(uid.encode("utf-8", "replace"), digest_size=16).hexdigest()
    real = len(uid) >= 16 and any(len(part) > 2 for part in uid.split(".")) and UID(uid).is_valid
    return digest if real else PLACEHOLDER + digest[len(PLACEHOLDER) :]
