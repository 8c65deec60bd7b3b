"""Speed and memory of the header walk over an export: ``python -m benchmarks.header_walk [files]``.

An export of 20,000 files, if no other number is given: a few hundred different headers of echo clips, with
regions, private elements and a view code as scanners write them, hard-linked under hashed names, a tenth of
them in a zip file, and the clips, stills and reports that pydicom carries among them. It is listed, and read
by child processes, one a core, as `sort` does it.

The baseline is a plain loop of pydicom's ``dcmread(path, stop_before_pixels=True)`` over the same files on
one core, which converts no value and finds no reason to refuse a file; members of the zip file are left out
of it. Expect at least 300 files/s, and memory as at the start: resident MiB of the parent and of the children
are given after the first tenth and at the end. About two minutes on two cores.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil
import pydicom
from joblib import cpu_count
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

from cardio_mlflow.data.cohort.export_files import Listing, list_export
from cardio_mlflow.data.outcomes import Outcome
from cardio_mlflow.data.sorting.header_reading import read_all_facts

DIFFERENT: Final = 300
PER_FOLDER: Final = 50
ZIPPED: Final = 10


@dataclass(frozen=True)
class Walked:
    """A walk over an export: seconds, outcomes, and MiB of the parent and of a child twice."""

    seconds: float
    outcomes: Counter[Outcome]
    early: tuple[float, float]
    end: tuple[float, float]


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        export = write_export(Path(folder), number)
        start = time.perf_counter()
        listing = list_export(export)
        print(f"{len(listing.files)} files listed in {time.perf_counter() - start:.1f} s")
        walked = walk(listing)
        rate = len(listing.files) / walked.seconds
        print(f"{rate:.0f} files/s with {cpu_count()} child processes, their start included; target 300")
        for who, early, end in zip(("parent", "a child"), walked.early, walked.end, strict=True):
            print(f"{who}: {early:.0f} MiB after a tenth, {end:.0f} MiB at the end")
        plain = plain_rate(listing)
        print(f"plain pydicom loop, one process: {plain:.0f} files/s; ratio {rate / plain:.2f}")
        print(", ".join(f"{count} {outcome}" for outcome, count in walked.outcomes.most_common()))


def walk(listing: Listing) -> Walked:
    """Read all headers, and keep none."""
    outcomes: Counter[Outcome] = Counter()
    early = end = (0.0, 0.0)
    tenth, last = len(listing.files) // 10, len(listing.files) - 200  # while the children still work
    start = time.perf_counter()
    for number, (_, facts) in enumerate(read_all_facts(listing.files, -1)):
        outcomes[facts.outcome] += 1
        early = memory() if number == tenth else early
        end = memory() if number == last else end
    return Walked(time.perf_counter() - start, outcomes, early, end)


def memory() -> tuple[float, float]:
    """Resident MiB of this process, and of the largest of its children."""
    here = psutil.Process()
    children = [child.memory_info().rss for child in here.children(recursive=True)]
    return here.memory_info().rss / 2**20, max(children, default=0) / 2**20


def plain_rate(listing: Listing) -> float:
    """Files per second of the plain loop."""
    paths = [file.path for file in listing.files if ".zip" not in file.place]
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            with suppress(Exception):
                pydicom.dcmread(path, stop_before_pixels=True, force=True)
    return len(paths) / (time.perf_counter() - start)


def write_export(folder: Path, number: int) -> Path:
    """Write an export of so many files."""
    export = folder / "export"
    sources = [*headers(folder / "headers"), *real_files()]
    with zipfile.ZipFile(folder / "part.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for i in range(number):
            source, name = (
                sources[i % len(sources)],
                hashlib.blake2b(str(i).encode(), digest_size=8).hexdigest(),
            )
            place = f"DICOM/ST{i // PER_FOLDER:06}/IM_{name}"
            if i % ZIPPED == 0:
                zipped.write(source, place)
                continue
            (export / place).parent.mkdir(parents=True, exist_ok=True)
            link(source, export / place)
    (folder / "part.zip").rename(export / "part.zip")
    return export


def link(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except OSError:  # another file system, or too many links to one file
        place.write_bytes(source.read_bytes())


def real_files() -> list[Path]:
    """Files that pydicom carries: clips, stills, reports, of many kinds and faults; not the largest."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    return sorted(path for path in folder.rglob("*.dcm") if path.stat().st_size < 2**21)


def headers(folder: Path) -> Iterator[Path]:
    """Clips of different patients, small but for their headers."""
    folder.mkdir()
    for number in range(DIFFERENT):
        yield write_header(folder / f"{number}.dcm", number)


def write_header(path: Path, number: int) -> Path:
    """A clip of four frames, with a header as long as a scanner's."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.SpecificCharacterSet, data.Modality, data.Manufacturer = "ISO_IR 100", "US", "Synthetic"
    data.PatientName, data.PatientID, data.AccessionNumber = f"Doe^J{number}", f"{number:08}", f"A{number}"
    data.PatientBirthDate, data.PatientSex, data.StudyDate, data.StudyTime = (
        "19500101",
        "F",
        "20240102",
        "101010",
    )
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.SeriesDescription, data.ProtocolName, data.StageName = "Echo", "Adult Echo", "Rest"
    data.ViewCodeSequence = [code("399214001", "apical four chamber")]
    data.SequenceOfUltrasoundRegions = [region(kind) for kind in (1, 1, 3)]
    data.Rows, data.Columns, data.NumberOfFrames, data.FrameTime = 96, 96, 4, "33.3"
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    block = data.private_block(0x0029, "SYNTHETIC PRIVATE", create=True)
    for element in range(60):
        block.add_new(element, "LO", f"private value {element}")
    block.add_new(0xF0, "OB", bytes(20_000))
    data.PixelData = np.full((4, 96, 96), number % 256, np.uint8).tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def region(kind: int) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = kind, 1, 2
    item.RegionLocationMinX0, item.RegionLocationMinY0 = 0, 0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = 90, 90
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = 0.02
    return item


if __name__ == "__main__":
    main()
