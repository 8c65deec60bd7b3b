"""Clip files that are the same: by their content, their prepared pixels, or the identity that they claim."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import time
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from filelock import FileLock
from tqdm import tqdm

from cardio_mlflow.data.batch.clip_store import Entry, clip_key, write_bytes
from cardio_mlflow.data.cohort.clip import Clip
from cardio_mlflow.data.cohort.zip_members import MemberFile, member_of
from cardio_mlflow.data.files.uids import PLACEHOLDER
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.quality import DUPLICATE, Quality

_MEMO: Final = "contents.json"
_MAX_REMEMBERED: Final = 200_000
_DIGEST: Final = re.compile("[0-9a-f]{32}")
# A file written so short a time ago could be written again within one tick of the file system's clock.
_SETTLING_NS = 3 * 10**9


@dataclass(frozen=True)
class Content:
    """A clip file as it was found.

    Attributes:
        mark: changes whenever the file does.
        settled: whether it had been as it is for a while.
        digest: of its bytes, 32 hexadecimal digits; empty where it cannot be read, and ``fault`` says why.
    """

    path: Path
    mark: str = ""
    settled: bool = False
    digest: str = ""
    fault: str = ""

    @property
    def key(self) -> str:
        """Name of the clip's entry in the store; empty where the file cannot be read."""
        return self.digest and clip_key(self.digest, self.path)


def read_contents(paths: Sequence[Path], folder: Path, jobs: int) -> list[Content]:
    """The content of each clip file, in the order given; a file that cannot be read says so.

    A file whose place, size, inode and times of change are those of an earlier call is not read again.
    The time of the inode's change is among them: nobody can set it back. The memo of digests in ``folder``
    names no file. So many files as ``jobs`` are read at a time.
    """
    found, known = [marked(path) for path in paths], _read_memo(folder / _MEMO)
    new = {one.mark: one for one in found if one.mark and one.mark not in known}
    threads = ThreadPoolExecutor(jobs)
    try:
        bar = tqdm(threads.map(_digested, new.values()), total=len(new), desc="read", unit="clip", delay=1.0)
        read = {one.mark: one for one in bar}
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
    if settled := {one.mark: one.digest for one in read.values() if one.digest and one.settled}:
        with FileLock(folder / f"{_MEMO}.lock"):
            memo = list((_read_memo(folder / _MEMO) | settled).items())[-_MAX_REMEMBERED:]
            write_bytes(folder / _MEMO, json.dumps(dict(memo), indent=0).encode())
    digests = known | {mark: one.digest for mark, one in read.items()}
    return [
        replace(read.get(one.mark, one), path=one.path, digest=digests.get(one.mark, "")) for one in found
    ]


def marked(path: Path) -> Content:
    """A file as it is now, not read; of a member of a zip file, that file."""
    try:
        member = member_of(path)
        facts = (member[0] if member else path).stat()
        place = str(path.resolve())
    except OSError as fault:
        return Content(path, fault=fault.strerror or "it is not there")
    if not stat.S_ISREG(facts.st_mode):
        return Content(path, fault="it is no file")
    known = [place, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]
    age = time.time_ns() - max(facts.st_mtime_ns, facts.st_ctime_ns)
    mark = hashlib.blake2b(json.dumps(known).encode(), digest_size=16).hexdigest()
    return Content(path, mark, age > _SETTLING_NS)


def _digested(found: Content) -> Content:
    try:
        member = member_of(found.path)
        with MemberFile(*member) if member else found.path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    except OSError as fault:
        return replace(found, fault=fault.strerror or "it cannot be read")
    return replace(found, digest=str(digest.hexdigest()))


def _read_memo(path: Path) -> dict[str, str]:
    try:
        memo = json.loads(path.read_text("ascii"))
    except (OSError, ValueError):
        return {}
    known = memo.items() if isinstance(memo, dict) else ()
    return {mark: digest for mark, digest in known if isinstance(digest, str) and _DIGEST.fullmatch(digest)}


@dataclass(frozen=True)
class Compared:
    """What a cohort's clips are beside each other.

    Attributes:
        qualities: of each clip, in the order given.
        shared: patients who have one clip together, one group per clip.
        placeholders: number of clips with a placeholder for a SOP Instance UID that another clip has too.
    """

    qualities: list[Quality]
    shared: tuple[tuple[str, ...], ...]
    placeholders: int


def compare_clips(
    clips: Sequence[Clip], contents: Sequence[Content], entries: Sequence[Entry], rows: Mapping[str, int]
) -> Compared:
    """Compare a cohort's clips, given with their files' contents and their entries in the store.

    A clip that stands for two patients, in the same file or with the same prepared pixels, is refused for
    both, since nobody can say whose it is; so are two that claim one identity and differ in content. One
    clip for two views of a patient is kept and marked: one of the two views must be wrong. Messages name
    patients by their ``rows`` in the label sheet alone, where known.
    """
    fine = [i for i, entry in enumerate(entries) if entry.quality.outcome == Outcome.OK]
    qualities = [entry.quality for entry in entries]
    shared, placeholders = [], 0
    for group in _groups({i: entries[i].instance for i in fine if entries[i].instance}):
        if entries[group[0]].instance.startswith(PLACEHOLDER):
            placeholders += len(group)
        elif len({contents[i].digest for i in group}) > 1:
            for i in group:
                others = [clips[j] for j in group if contents[j].digest != contents[i].digest]
                message = f"the same SOP Instance UID and other content: {_named(others, rows)}"
                qualities[i] = Quality(outcome=Outcome.UID_CONFLICT, message=message)
    for group in _groups({i: entries[i].pixels for i in fine}):
        patients = tuple(dict.fromkeys(clips[i].patient_id for i in group))
        if len(patients) > 1:
            shared.append(patients)
        for i in group:
            if len(patients) > 1:
                others = [clips[j] for j in group if clips[j].patient_id != clips[i].patient_id]
                qualities[i] = Quality(
                    outcome=Outcome.SAME_CLIP, message=f"the same clip stands for {_named(others, rows)}"
                )
            elif qualities[i].outcome == Outcome.OK:
                qualities[i] = replace(qualities[i], review=f"{qualities[i].review} {DUPLICATE}".strip())
    return Compared(qualities, tuple(shared), placeholders)


def _groups(values: Mapping[int, Hashable]) -> list[list[int]]:
    """Positions that have one value together, two or more of them."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for i, value in values.items():
        found[value].append(i)
    return [group for group in found.values() if len(group) > 1]


def _named(others: Sequence[Clip], rows: Mapping[str, int]) -> str:
    names = [
        f"{f'row {rows[o.patient_id]}' if o.patient_id in rows else 'another patient'}, view {o.view}"
        for o in others[:3]
    ]
    return "; ".join(names) + (" and others" if len(others) > 3 else "")
