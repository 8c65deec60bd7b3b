"""Which clips of a cohort are one and the same image instance."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from cardio_mlflow.data.dicom import read_header
from cardio_mlflow.data.outcomes import ClipRefused


def instance_digest(path: Path) -> str:
    """Digest of a DICOM file's SOP Instance UID, 32 hexadecimal digits; empty where there is none.

    The UID itself goes nowhere: with it a clip could be traced to its patient in an archive.
    """
    try:
        uid = read_header(path).sop_uid
    except ClipRefused:
        return ""
    return hashlib.blake2b(uid.encode("utf-8", "replace"), digest_size=16).hexdigest() if uid else ""


def conflicting(instances: Sequence[str], contents: Sequence[str]) -> set[int]:
    """Positions of clips that carry one instance's UID and differ in content.

    Args:
        instances: digest of each clip's UID, empty where it has none.
        contents: digest of each clip's file.

    >>> sorted(conflicting(["u", "u", "v", "v", "", ""], ["a", "b", "c", "c", "d", "e"]))
    [0, 1]
    """
    found: dict[str, set[str]] = defaultdict(set)
    for instance, content in zip(instances, contents, strict=True):
        found[instance].add(content)
    return {i for i, instance in enumerate(instances) if instance and len(found[instance]) > 1}


def repeated(contents: Sequence[str]) -> set[int]:
    """Positions of clips whose file is the same, byte for byte, as another's.

    >>> sorted(repeated(["a", "b", "a"]))
    [0, 2]
    """
    counts = Counter(contents)
    return {i for i, content in enumerate(contents) if counts[content] > 1}
