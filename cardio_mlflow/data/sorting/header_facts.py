"""The header of one file of an export, read in a child process up to its pixel data."""

from __future__ import annotations

import datetime
import errno
import hashlib
import re
from pathlib import Path
from typing import Final

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from cardio_mlflow.data.files.header import check_claims, locate_frames, timing_of
from cardio_mlflow.data.files.header_elements import ClipFile, HeaderElements, take_elements
from cardio_mlflow.data.files.header_values import (
    Codec,
    check_caps,
    codec_of,
    integer_of,
    numbers_of,
    tag_of,
    text_of,
)
from cardio_mlflow.data.files.non_dicom import is_video
from cardio_mlflow.data.files.regions import ClaimedRegion, RegionKind, claimed_regions
from cardio_mlflow.data.files.sequence_items import items_of
from cardio_mlflow.data.files.timing import TIMING
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.parsing import PARSING_FAULTS, pydicom_silenced
from cardio_mlflow.data.sorting.facts import HeaderFacts, Identity, Kind, ViewTags

MAX_TEXT: Final = 256
"""Characters of a text that are kept."""
MAX_CODES: Final = 16
"""View codes, modifiers among them, that are kept."""

_CHARACTERS: Final = "SpecificCharacterSet"
_SYNTHETIC = "SyntheticData"
_VIEW_CODES, _MODIFIERS = "ViewCodeSequence", "ViewModifierCodeSequence"
_WANTED: Final = (
    _CHARACTERS, _VIEW_CODES, "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber",
    "StudyInstanceUID", "StudyDate", "StudyTime", "ViewName", "StageName", "ProtocolName",
    "SeriesDescription", "ImageComments", _SYNTHETIC,
)  # fmt: skip
_TAGS: Final = frozenset(tag for keyword in _WANTED if (tag := tag_for_keyword(keyword)) is not None)
_DELIMITERS: Final = set(b"\\^=\r\n\t\f")  # behind which a text is in its first character set again
_MOST_BYTES: Final = 8 * MAX_TEXT
_DATE: Final = re.compile(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})", re.ASCII)
_TIME: Final = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?", re.ASCII)
_SOUND: Final = (None, errno.EINVAL)  # what a broken header gives, and no broken disk
_PICTURES: Final = {RegionKind.M_MODE: "M-mode", RegionKind.SPECTRAL: "spectral"}


def read_facts(path: Path) -> HeaderFacts:
    """Read what the header of a file says: whose it is, what it shows, and why `prepare` would refuse it.

    Whose it is and what it shows is read also of files that are refused, where they are DICOM. A video is
    not looked into. MemoryError is not caught.
    """
    try:
        with ClipFile(path) as file, pydicom_silenced():
            return HeaderFacts(kind="cine") if is_video(path) else _read(file)
    except ClipRefused as refusal:
        return HeaderFacts(refusal.outcome, refusal.message)
    except MemoryError:
        raise
    except PARSING_FAULTS as fault:
        if isinstance(fault, OSError) and fault.errno not in _SOUND:
            return HeaderFacts(Outcome.UNREADABLE, unreadable(fault.strerror or "an error of the system"))
        return HeaderFacts(Outcome.NOT_DICOM, f"not a readable DICOM file ({type(fault).__name__})")


def unreadable(fault: str) -> str:
    """The message of a file that cannot be read."""
    return f"the file cannot be read ({fault})"


def _read(file: ClipFile) -> HeaderFacts:
    taken = take_elements(file, _TAGS, any_syntax=True)
    dataset = taken.dataset
    texts = _Texts(dataset)
    outcome, message, frames = _judged(file, taken)
    rows, columns = (integer_of(dataset, side, 0) or 0 for side in ("Rows", "Columns"))
    regions = claimed_regions(dataset, rows, columns, sizes=False)
    return HeaderFacts(
        outcome, message, _kind(frames), frames, _pictures(regions),
        _identity(texts), _view_tags(texts), texts.of(_SYNTHETIC) == "YES",
    )  # fmt: skip


def _judged(file: ClipFile, taken: HeaderElements) -> tuple[Outcome, str, int | None]:
    """The outcome as far as the header tells it, the reason in words, and the number of frames."""
    try:
        return Outcome.OK, "", _checked_frames(file, taken)
    except ClipRefused as refusal:
        claimed = min(max(integer_of(taken.dataset, "NumberOfFrames", 1) or 1, 1), 2**31 - 1)
        return refusal.outcome, refusal.message, None if taken.pixels is None else claimed


def _checked_frames(file: ClipFile, taken: HeaderElements) -> int:
    """Number of frames, of a header that `prepare` would not refuse but for being a still's."""
    codec_of(taken.syntax)
    form, (rows, columns, declared) = check_claims(taken)
    if taken.pixels is None:
        raise ClipRefused(Outcome.NO_PIXELS, "no pixel data")
    frames = declared or 0
    if form.codec is Codec.NATIVE or declared is None:  # else only a walk through the file would tell
        form, spans, _ = locate_frames(file, taken, form, (rows, columns, declared))
        frames = len(spans)
    check_caps(rows, columns, frames, form.samples * form.allocated // 8)
    if frames > 1:
        numbers = {keyword: numbers_of(taken.dataset, keyword) for keyword in TIMING}
        timing = timing_of(taken.dataset, numbers, frames)
        if timing.times_s is None:
            raise ClipRefused(Outcome.NO_TIMING, timing.fault)
    return frames


def _kind(frames: int | None) -> Kind:
    return "no picture" if frames is None else "cine" if frames > 1 else "still"


def _pictures(regions: tuple[ClaimedRegion, ...]) -> tuple[str, ...]:
    """What the claimed regions show; drawn traces and tables are no pictures."""
    shown = []
    for region in regions:
        if region.kind is RegionKind.TWO_D:
            shown += ["2-D"] * region.tissue + ["colour"] * region.flow
        elif region.kind in _PICTURES:
            shown.append(_PICTURES[region.kind])
    return tuple(shown)


class _Texts:
    """The texts of a dataset in the character set that it names."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        named = _bytes(dataset, _CHARACTERS).decode("ascii", "replace")
        try:
            self._encodings = convert_encodings([part.strip() for part in named.split("\\")])
        except PARSING_FAULTS:
            self._encodings = ["iso8859"]

    def of(self, keyword: str, dataset: Dataset | None = None) -> str:
        """A text of the dataset, or of an item in it, on one line and not too long; empty when absent."""
        raw = _bytes(self.dataset if dataset is None else dataset, keyword)[:_MOST_BYTES]
        try:
            return shown(decode_bytes(raw, self._encodings, _DELIMITERS)) if raw else ""
        except PARSING_FAULTS:
            return shown(raw.decode("latin-1"))


def shown(text: str) -> str:
    r"""A text as one line of at most 256 characters that can be seen.

    >>> shown(" DOE^JOHN\0\x1b  Jr\n ")
    'DOE^JOHN Jr'
    """
    seen = text if text.isprintable() else "".join(c * c.isprintable() or " " * c.isspace() for c in text)
    return " ".join(seen.split())[:MAX_TEXT].strip()


def _bytes(dataset: Dataset, keyword: str) -> bytes:
    """A value as it stands in the file, whatever its VR; empty where it is absent or no bytes."""
    element = dataset.get_item(tag_of(keyword))
    value = element.value if isinstance(element, RawDataElement) else None
    return value.strip(b"\0 ") if isinstance(value, bytes) else b""


def _identity(texts: _Texts) -> Identity:
    study = text_of(texts.dataset, "StudyInstanceUID")
    return Identity(
        patient_id=texts.of("PatientID"), name=texts.of("PatientName"), sex=texts.of("PatientSex"),
        birth_date=texts.of("PatientBirthDate"), accession=texts.of("AccessionNumber"),
        study=hashlib.blake2b(study.encode("utf-8", "replace"), digest_size=16).hexdigest() if study else "",
        moment=_moment(texts.of("StudyDate"), texts.of("StudyTime")),
    )  # fmt: skip


def _moment(date: str, time: str) -> str:
    """Date and time as 14 digits; empty without a date that there is, zeros for a time that there is not.

    >>> _moment("20240229", "0915"), _moment("2024.02.30", "10"), _moment("2024.02.28", "25")
    ('20240229091500', '', '20240228000000')
    """
    found = _DATE.fullmatch(date)
    day = "".join(found.groups()) if found else ""
    begun = _TIME.match(time)
    clock = "".join(part or "00" for part in begun.groups()) if begun else ""
    for moment in (day + clock, day + "000000"):
        try:
            datetime.datetime.strptime(moment, "%Y%m%d%H%M%S")
        except ValueError:
            continue
        if len(moment) == 14:
            return moment
    return ""


def _view_tags(texts: _Texts) -> ViewTags:
    return ViewTags(
        codes=tuple(_codes(texts))[:MAX_CODES], view_name=texts.of("ViewName"),
        stage_name=texts.of("StageName"), protocol_name=texts.of("ProtocolName"),
        series_description=texts.of("SeriesDescription"), image_comments=texts.of("ImageComments"),
    )  # fmt: skip


def _codes(texts: _Texts) -> list[tuple[str, str, str]]:
    """Codes of the view, each with its modifiers behind it."""
    found = []
    for view in items_of(texts.dataset, _VIEW_CODES, MAX_CODES):
        for item in (view, *items_of(view, _MODIFIERS, MAX_CODES)):
            words = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
            value, scheme, meaning = (texts.of(word, item) for word in words)
            if value or meaning:
                found.append((value, scheme, meaning))
    return found
