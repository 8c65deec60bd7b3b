"""Speed and memory of preparation: ``python -m benchmarks.preparation_speed [repeats]``.

Clips of several sizes, the first two as in DESIGN 9: 120 frames of 480x640 in JPEG (the SonoSite clip of
pydicom-data where that is installed) and 30 frames of 600x800 in plain RGB; then large and long ones, once
each, for the memory. Speed is measured as ``prepare`` works, with sandboxes, at one worker and at one a core;
memory in a process of its own, over what it uses once everything is imported.

The baseline is the plain way: pydicom's ``pixel_array`` of the whole clip, a float copy, a mask for each
frame (what is brighter than black, closed, its largest part filled), each frame masked and resized. It reads
no ECG, and its mask is another in each frame. Medians; both ways take turns in one run. About three minutes
on two cores; ratios matter, since machines differ. Expect at least 3 clips/s for the first clip.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pydicom
from joblib import cpu_count
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, UltrasoundMultiFrameImageStorage

from cardio_mlflow.data.batch.sandbox import Limits, Sandbox
from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.outcomes import ClipRefused
from cardio_mlflow.data.picture.sector import Sector


@dataclass(frozen=True)
class Size:
    """A clip to be measured.

    Attributes:
        frames: number of frames.
        rows: height of a frame.
        columns: width of a frame.
        jpeg: whether it is JPEG; else plain RGB.
        target: most MB over the process's start.
        single: whether it is measured once and the plain way, which needs gigabytes, is not.
    """

    frames: int
    rows: int
    columns: int
    jpeg: bool
    target: int
    single: bool


SIZES = (
    Size(120, 480, 640, True, 150, False), Size(30, 600, 800, False, 150, False),
    Size(300, 1080, 1920, True, 256, True), Size(400, 768, 1024, True, 256, True),
    Size(2000, 600, 800, True, 256, True), Size(60, 1536, 2048, False, 256, True),
)  # fmt: skip


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.dcm"
        first = get_testdata_file("color3d_jpeg_baseline.dcm", download=False)
        path.write_bytes(b"no clip")
        print(f"start of a sandbox: {median_start(path, 3):.2f} s")
        print(f"{'':<23}{'clips/s, 1':>12}{f'clips/s, {cpu_count()}':>12}{'plain way':>11}{'ratio':>7}"
              f"{'MB':>6}{'most':>6}{'plain MB':>10}{'ratio':>7}")  # fmt: skip
        for size in SIZES:
            real = Path(first) if first and size is SIZES[0] else None
            report(size, real or make_clip(path, size), 1 if size.single else repeats)
    print("target: at least 3 clips/s for the first clip at one worker")


def report(size: Size, path: Path, repeats: int) -> None:
    """Print one clip's row."""
    one, all_cores = clips_a_second(path, repeats, 1), clips_a_second(path, repeats, cpu_count())
    kind = f"{size.frames} x {size.rows}x{size.columns} {'JPEG' if size.jpeg else 'RGB'}"
    line = f"{kind:<23}{one:>12.2f}{all_cores:>12.2f}"
    if size.single:
        ours = in_new_process("ours", path, 1)
        print(f"{line}{'':>18}{ours[1]:>6.0f}{size.target:>6}", flush=True)
        return
    turns = [(in_new_process("ours", path, 3), in_new_process("plain", path, 3)) for _ in range(repeats)]
    ours, plain = (
        [statistics.median(turn[way][value] for turn in turns) for value in (0, 1)] for way in (0, 1)
    )
    line += f"{plain[0]:>11.2f}{ours[0] / plain[0]:>7.1f}{ours[1]:>6.0f}{size.target:>6}"
    print(f"{line}{plain[1]:>10.0f}{plain[1] / ours[1]:>7.1f}", flush=True)


def clips_a_second(path: Path, repeats: int, workers: int) -> float:
    """Median rate at which this many sandboxes prepare a clip over and over."""
    times = 3 if repeats > 1 else 1

    def prepare(sandbox: Sandbox) -> None:
        for _ in range(times):
            sandbox.prepare(path)

    sandboxes = [Sandbox(Limits(seconds=600)) for _ in range(workers)]
    rates = []
    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(lambda sandbox: sandbox.prepare(path), sandboxes))  # so that all have started
        for _ in range(repeats):
            start = time.perf_counter()
            list(threads.map(prepare, sandboxes))
            rates.append(workers * times / (time.perf_counter() - start))
    for sandbox in sandboxes:
        sandbox.close()
    return statistics.median(rates)


def median_start(path: Path, repeats: int) -> float:
    """Seconds from nothing to the answer to the first question, about a file that is no clip."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        with Sandbox() as sandbox, suppress(ClipRefused):
            sandbox.prepare(path)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def in_new_process(way: str, path: Path, repeats: int) -> tuple[float, float]:
    """Clips per second (median) and peak MB over the start, measured by ``measure``."""
    command = [sys.executable, "-m", "benchmarks.preparation_speed", "measure", way, str(path), str(repeats)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rate, megabytes = json.loads(done.stdout)
    return float(rate), float(megabytes)


def measure(way: str, path: Path, repeats: int) -> None:
    """Print rate and peak memory of one way as JSON."""
    cv2.setNumThreads(1)
    before = resident("VmRSS")
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        prepare_clip(path) if way == "ours" else plain_way(path)
        seconds.append(time.perf_counter() - start)
    print(json.dumps([1 / statistics.median(seconds), (resident("VmHWM") - before) / 1000]))


def plain_way(path: Path) -> np.ndarray:
    """All frames in memory at once, as floats, each with a mask of its own."""
    frames = pydicom.dcmread(path).pixel_array
    gray = frames[..., :3].mean(axis=-1).astype(np.float32) if frames.ndim == 4 else frames.astype(np.float32)
    small = []
    for frame in gray:
        bright = cv2.morphologyEx((frame > 10).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
        borders, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        mask = np.zeros(frame.shape, np.uint8)
        if borders:
            cv2.drawContours(mask, [max(borders, key=cv2.contourArea)], 0, 1, cv2.FILLED)
        small.append(cv2.resize(frame * mask, (224, 224), interpolation=cv2.INTER_AREA))
    return np.stack(small) / 255


def resident(field: str) -> float:
    """A field of /proc/self/status in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(field)).split()[1])


def make_clip(path: Path, size: Size) -> Path:
    """Write a colour clip of speckle that swings in a sector, 25 frames a second."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = JPEGBaseline8Bit if size.jpeg else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UltrasoundMultiFrameImageStorage, "1.2.3"
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = UltrasoundMultiFrameImageStorage, "1.2.3"
    data.Modality, data.FrameTime, data.HeartRate = "US", "40", "60"
    data.Rows, data.Columns, data.NumberOfFrames = size.rows, size.columns, size.frames
    data.SamplesPerPixel, data.PlanarConfiguration, data.PixelRepresentation = 3, 0, 0
    data.PhotometricInterpretation = "YBR_FULL_422" if size.jpeg else "RGB"
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    cycle = [swinging(i / 25, size.rows, size.columns) for i in range(25)]
    if size.jpeg:
        coded = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes() for image in cycle]
        data.PixelData = encapsulate([coded[i % 25] for i in range(size.frames)])
    else:
        data.PixelData = b"".join(cycle[i % 25].tobytes() for i in range(size.frames))
    data.save_as(path)
    return path


def swinging(phase: float, rows: int, columns: int) -> np.ndarray:
    """One frame, rows x columns x 3."""
    noise = np.random.default_rng(5).integers(0, 220, (rows + 60, columns)).astype(np.uint8)
    noise = cv2.GaussianBlur(noise, (0, 0), 1.5)
    shift = round(30 + 25 * np.sin(2 * np.pi * phase))
    sector = Sector(columns / 2, rows * 0.05, -42.0, 42.0, rows * 0.03, rows * 0.9)
    return cv2.merge([noise[shift : shift + rows] & sector.mask(rows, columns)] * 3)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
