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
class Usage:
    """MiB of this process and of the largest of its children, and seconds of processor time of all."""

    parent: float
    child: float
    processor: float


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        export = write_export(Path(folder), number)
        start = time.perf_counter()
        listing = list_export(export)
        print(f"{len(listing.files)} files listed in {time.perf_counter() - start:.1f} s")
        rate = walk(listing)
        plain, each = plain_rate(listing)
        print(f"plain pydicom loop, one process: {plain:.0f} files/s, {each:.2f} ms of processor time each; "
              f"ratio of files/s {rate / plain:.2f}")  # fmt: skip


def walk(listing: Listing) -> float:
    """Read all headers, keep none, and print what that took; files per second."""
    outcomes: Counter[Outcome] = Counter()
    used = {}
    tenth, last = len(listing.files) // 10, len(listing.files) - 200  # while the children still work
    start = time.perf_counter()
    for number, (_, facts) in enumerate(read_all_facts(listing.files, -1)):
        outcomes[facts.outcome] += 1
        if number in (tenth, last):
            used[number] = usage()
    rate = len(listing.files) / (time.perf_counter() - start)
    early, end = used[tenth], used[last]
    each = 1000 * (end.processor - early.processor) / (last - tenth)
    print(f"{rate:.0f} files/s with {cpu_count()} child processes, their start included; target 300")
    print(f"{each:.2f} ms of processor time a file, of parent and children")
    print(f"parent: {early.parent:.0f} MiB after a tenth, {end.parent:.0f} MiB at the end; "
          f"a child: {early.child:.0f}, {end.child:.0f}")  # fmt: skip
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()))
    return rate


def usage() -> Usage:
    """What is in use now, and what was used."""
    here = psutil.Process()
    children = here.children(recursive=True)
    largest = max(child.memory_info().rss for child in children) / 2**20
    times = [process.cpu_times() for process in (here, *children)]
    return Usage(here.memory_info().rss / 2**20, largest, sum(t.user + t.system for t in times))


def plain_rate(listing: Listing) -> tuple[float, float]:
    """Files per second of the plain loop, and its ms of processor time a file."""
    paths = [file.path for file in listing.files if ".zip" not in file.place]
    start, used = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            with suppress(Exception):
                pydicom.dcmread(path, stop_before_pixels=True, force=True)
    used = time.process_time() - used
    return len(paths) / (time.perf_counter() - start), 1000 * used / len(paths)


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
