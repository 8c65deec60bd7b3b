"""Speed and memory of preparation: `python -m benchmarks.preparation_speed [repeats]`.

Three clips: 120 frames of 480x640 in JPEG (the SonoSite clip of pydicom-data where that is installed), 30
frames of 600x800 in plain RGB, 300 frames of 1080x1920 in JPEG. Speed is measured as ``prepare`` works, with
sandboxes, at one worker and at one a core; memory in a process of its own, over what it uses once everything
is imported. The baseline is the plain way: pydicom's ``pixel_array``, then maximum, minimum, mean and mean
difference over all frames at once. Medians, all in one run; about two minutes on two cores.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pydicom
from joblib import cpu_count
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, UltrasoundMultiFrameImageStorage

from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.sandbox.sandbox import Limits, Sandbox
from cardio_mlflow.data.sector import Sector

TARGETS = {"jpeg": 150, "rgb": 150, "large": 256}
"""Most MB over the process's start; speed is asked for the first only: 3 clips/s on one thread."""


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            "jpeg": get_testdata_file("color3d_jpeg_baseline.dcm", download=False)
            or make_clip(Path(folder) / "jpeg.dcm", 120, 480, 640, jpeg=True),
            "rgb": make_clip(Path(folder) / "rgb.dcm", 30, 600, 800, jpeg=False),
            "large": make_clip(Path(folder) / "large.dcm", 300, 1080, 1920, jpeg=True),
        }
        print(f"start of a sandbox: {median_start(Path(paths['rgb']), 3):.2f} s")
        print(f"{'':<6}{'clips/s, 1':>12}{f'clips/s, {cpu_count()}':>12}{'plain way':>12}{'ratio':>8}"
              f"{'MB':>8}{'target':>8}{'plain MB':>10}")  # fmt: skip
        for name, path in paths.items():
            report(name, Path(path), repeats if name != "large" else 1)
    print("target: at least 3 clips/s for the first clip at one worker")


def report(name: str, path: Path, repeats: int) -> None:
    """Print one clip's row; the plain way is not tried on the large clip, which would take 4 GB."""
    one, all_cores = clips_a_second(path, repeats, 1), clips_a_second(path, repeats, cpu_count())
    ours = in_new_process("ours", path, repeats)
    plain = in_new_process("plain", path, repeats) if name != "large" else None
    told = f"{name:<6}{one:>12.2f}{all_cores:>12.2f}"
    told += f"{plain[0]:>12.2f}{one / plain[0]:>8.2f}" if plain else f"{'':>20}"
    told += f"{ours[1]:>8.0f}{TARGETS[name]:>8}"
    print(told + (f"{plain[1]:>10.0f}" if plain else ""), flush=True)


def clips_a_second(path: Path, repeats: int, workers: int) -> float:
    """Median rate at which this many sandboxes prepare a clip over and over."""
    times = 3 if repeats > 1 else 1

    def prepare(sandbox: Sandbox) -> None:
        for _ in range(times):
            sandbox.prepare(path)

    sandboxes = [Sandbox(Limits(seconds=600)) for _ in range(workers)]
    rates = []
    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(lambda sandbox: sandbox.instance(path), sandboxes))  # so that all have started
        for _ in range(repeats):
            start = time.perf_counter()
            list(threads.map(prepare, sandboxes))
            rates.append(workers * times / (time.perf_counter() - start))
    for sandbox in sandboxes:
        sandbox.close()
    return statistics.median(rates)


def median_start(path: Path, repeats: int) -> float:
    """Seconds from nothing to the answer to the first question."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        with Sandbox() as sandbox:
            sandbox.instance(path)
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


def plain_way(path: Path) -> list[np.ndarray]:
    """All frames in memory at once, and the statistics that a sector can be fitted from."""
    frames = pydicom.dcmread(path).pixel_array
    gray = frames[..., :3].mean(axis=-1).astype(np.float32) if frames.ndim == 4 else frames.astype(np.float32)
    return [gray.max(0), gray.min(0), gray.mean(0), np.abs(np.diff(gray, axis=0)).mean(0)]


def resident(field: str) -> float:
    """A field of /proc/self/status in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(field)).split()[1])


def make_clip(path: Path, frames: int, rows: int, columns: int, jpeg: bool) -> Path:
    """Write a colour clip of speckle that swings in a sector, 25 frames a second."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UltrasoundMultiFrameImageStorage, "1.2.3"
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = UltrasoundMultiFrameImageStorage, "1.2.3"
    data.Modality, data.FrameTime, data.HeartRate = "US", "40", "60"
    data.Rows, data.Columns, data.NumberOfFrames = rows, columns, frames
    data.SamplesPerPixel, data.PlanarConfiguration, data.PixelRepresentation = 3, 0, 0
    data.PhotometricInterpretation = "YBR_FULL_422" if jpeg else "RGB"
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    cycle = [swinging(i / 25, rows, columns) for i in range(25)]
    images = [cycle[i % 25] for i in range(frames)]
    if jpeg:
        coded = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes() for image in cycle]
        data.PixelData = encapsulate([coded[i % 25] for i in range(frames)])
    else:
        data.PixelData = b"".join(image.tobytes() for image in images)
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
