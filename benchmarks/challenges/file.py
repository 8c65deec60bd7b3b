"""The DICOM file of a hard clip: times, R waves and regions as its plan asks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag

from benchmarks.challenges.plan import DEPTH_CM, Plan
from benchmarks.challenges.rhythm import waveform_sequence
from cardio_mlflow.synthetic.dicom_file import Header, make_dataset, save_dataset

Image = NDArray[np.uint8]

_STRIP_FORMATS = {"m_mode_with_2d": 2, "m_mode": 2, "spectral_with_2d": 3}
"""RegionSpatialFormat (0018,6012) of the strip: 2 is M-mode, 3 spectral."""


def write_challenge_file(path: Path, plan: Plan, frames: Sequence[Image], identity: tuple[str, ...]) -> None:
    """Write the frames, (rows, columns) or (rows, columns, 3) RGB, with the tags of the plan."""
    number = f"{abs(hash_of(identity)) % 9000 + 1000}"
    header = Header(
        f"C{number}", "TESTPATIENT^HARD", "19510101", "F", "20230401", "NOWHERE CLINIC", identity,
        False, False, plan.heart_rate, None,
    )  # fmt: skip
    data = make_dataset(frames, plan.encoding, header, plan.layout, plan.quality)
    _describe_time(data, plan)
    _describe_regions(data, plan)
    if plan.waveform:
        data.WaveformSequence = waveform_sequence(plan.rhythm, plan.duration)
    save_dataset(path, data)


def hash_of(words: tuple[str, ...]) -> int:
    """A number of the words that is the same in every process."""
    return sum((i + 1) * byte for i, byte in enumerate("/".join(words).encode()))


def _describe_time(data: Dataset, plan: Plan) -> None:
    times = plan.frame_times * 1000
    steps = [round(float(step), 3) for step in np.diff(times)]
    data.HeartRate = plan.heart_rate
    if plan.timing == "cine_rate":
        data.CineRate = round(1000 / steps[0])
    elif plan.timing == "interval" and steps:
        data.FrameTime = steps[0]
        data.FrameIncrementPointer = Tag("FrameTime")
    elif steps:
        data.FrameTimeVector = [0.0, *steps]
        data.FrameIncrementPointer = Tag("FrameTimeVector")
    r_waves = plan.rhythm.within(plan.duration)
    if plan.r_wave_tag == "vector":
        data.RWaveTimeVector = [round(float(t) * 1000, 3) for t in r_waves]
    elif plan.r_wave_tag == "pointer":
        nearest = np.abs(plan.frame_times[:, None] - r_waves[None]).argmin(axis=0)
        data.RWavePointer = [int(i) + 1 for i in nearest]


def _describe_regions(data: Dataset, plan: Plan) -> None:
    if not plan.region and plan.fan.aspect == 1.0:
        return
    rows, columns = plan.layout.shape
    if plan.content in ("m_mode_with_2d", "spectral_with_2d"):
        boxes = [(1, (columns // 4, 4, 3 * columns // 4, round(rows * 0.42)))]
    elif plan.content in ("biplane", "frozen_beside_live"):
        boxes = [(1, (2, 4, columns // 2 - 1, rows - 20)), (1, (columns // 2, 4, columns - 3, rows - 20))]
    else:
        boxes = [] if plan.content in ("m_mode", "report") else [(1, plan.fan.box())]
    if plan.content in _STRIP_FORMATS:
        boxes.append((_STRIP_FORMATS[plan.content], (10, round(rows * 0.46), columns - 11, rows - 30)))
    if boxes:
        data.SequenceOfUltrasoundRegions = DicomSequence([_region(plan, *box) for box in boxes])


def _region(plan: Plan, spatial_format: int, box: tuple[int, int, int, int]) -> Dataset:
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType = spatial_format, 1 if spatial_format < 3 else 4
    region.RegionFlags = 2
    region.RegionLocationMinX0, region.RegionLocationMinY0 = box[0], box[1]
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = box[2], box[3]
    across = 3 if spatial_format == 1 else 4  # centimetres, or seconds along a strip
    region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection = across, 3
    delta = DEPTH_CM / plan.fan.outer
    region.PhysicalDeltaX, region.PhysicalDeltaY = round(delta * plan.fan.aspect, 9), round(delta, 9)
    return region
