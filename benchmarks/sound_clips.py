"""Small sound clips of every kind that preparation reads, to be damaged by `fuzz_preparation`."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended

from tests.data.small_clips import JPEG, NATIVE, SYNTAXES, fan, fragments, jpeg, write_clip

Frames = NDArray[np.uint8]

RLE, JPEG_2000, JPEG_LS = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80"
DEFLATED = "1.2.840.10008.1.2.1.99"
VIDEOS = (("a.avi", "MJPG"), ("b.avi", "XVID"), ("c.mp4", "mp4v"), ("d.mov", "mp4v"), ("e.mkv", "mp4v"),
          ("f.wmv", "WMV2"))  # fmt: skip
ROWS, COLUMNS, FRAMES = 120, 160, 24


def sound_clips() -> dict[str, bytes]:
    """Clips by the name that their files must have."""
    gray = fan(FRAMES, ROWS, COLUMNS)
    colour = np.stack([gray, gray, gray // 2 + gray // 4], axis=-1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for syntax in SYNTAXES:
            for frames, kind in ((gray, "gray"), (colour, "colour")):
                write_clip(folder / f"{syntax[14:]}-{kind}.dcm", frames, syntax)
        _write_formats(folder, gray, colour)
        _write_fragments(folder, colour)
        _write_headers(folder, gray)
        for video, codec in VIDEOS:
            _write_video(folder / video, gray, codec)
        torch.save(torch.from_numpy(gray / np.float32(255)), folder / "tensor.pt")
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _write_formats(folder: Path, gray: Frames, colour: Frames) -> None:
    """Other depths and photometric interpretations, uncompressed and compressed."""
    deep = gray.astype(np.uint16) * 16
    for syntax in (NATIVE[1], NATIVE[2], RLE, JPEG_2000, JPEG_LS):
        write_clip(folder / f"deep-{syntax[14:]}.dcm", deep, syntax, BitsStored=12, HighBit=11)
    table = np.arange(256, dtype=np.uint16)
    for syntax in (NATIVE[1], RLE):
        palette: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
        for name, entries in (("Red", table), ("Green", table), ("Blue", table // 2)):
            palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
            palette[f"{name}PaletteColorLookupTableData"] = (entries * 257).astype("<u2").tobytes()
        write_clip(folder / f"palette-{syntax[14:]}.dcm", gray, syntax, **palette)
    planes = np.ascontiguousarray(colour.transpose(0, 3, 1, 2)).tobytes()
    write_clip(folder / "planar.dcm", colour, PlanarConfiguration=1, PixelData=planes)
    pairs = np.stack(
        [gray[..., ::2], gray[..., 1::2], gray[..., ::2] * 0 + 128, gray[..., ::2] * 0 + 128], -1
    )
    write_clip(folder / "halved.dcm", colour, PhotometricInterpretation="YBR_FULL_422",
               PixelData=pairs.tobytes())  # fmt: skip
    write_clip(folder / "inverted.dcm", 255 - gray, PhotometricInterpretation="MONOCHROME1")
    write_clip(folder / "deflated.dcm", gray, DEFLATED)


def _write_fragments(folder: Path, colour: Frames) -> None:
    """Frames in several fragments with an offset table, an extended one, and progressive JPEG."""
    streams = [jpeg(frame) for frame in colour]
    write_clip(folder / "progressive.dcm", colour, JPEG[0],
               PixelData=encapsulate([jpeg(frame, progressive=True) for frame in colour]))  # fmt: skip
    pieces = [piece for stream in streams for piece in (stream[:100], stream[100:])]
    sizes = [16 + len(stream) + len(stream) % 2 for stream in streams]
    table = struct.pack(f"<{len(sizes)}I", *np.cumsum([0, *sizes[:-1]]))
    write_clip(folder / "fragments.dcm", colour, JPEG[0],
               PixelData=fragments(pieces, table) + b"\xfe\xff\xdd\xe0\0\0\0\0")  # fmt: skip
    data, offsets, lengths = encapsulate_extended(streams)
    write_clip(folder / "extended.dcm", colour, JPEG[0], PixelData=data, ExtendedOffsetTable=offsets,
               ExtendedOffsetTableLengths=lengths)  # fmt: skip


def _write_headers(folder: Path, gray: Frames) -> None:
    """Headers with all that is read: an ECG, regions, R waves, times; and a picture with a drawn ECG."""
    tags: dict[str, object] = {
        "FrameTimeVector": [0.0] + [40.0] * (FRAMES - 1), "RWaveTimeVector": [80, 880], "HeartRate": 75,
        "CineRate": 25, "Manufacturer": "SonoSite", "SequenceOfUltrasoundRegions": [_region()],
        "WaveformSequence": [_waveform()],
    }  # fmt: skip
    for syntax in (NATIVE[0], NATIVE[1], JPEG[0]):
        write_clip(folder / f"tags-{syntax[14:]}.dcm", gray, syntax, **tags)
    drawn = np.stack(list(_with_trace(np.pad(fan(60, 180, 240), ((0, 0), (0, 20), (0, 60))))))
    write_clip(folder / "drawn.dcm", drawn)
    write_clip(folder / "drawn-jpeg.dcm", drawn, JPEG[0])


def _region() -> Dataset:
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 2, 2
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = COLUMNS - 3, ROWS - 3
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.05
    return region


def _waveform() -> Dataset:
    source, channel, group = Dataset(), Dataset(), Dataset()
    source.CodeValue, source.CodingSchemeDesignator, source.CodeMeaning = "2:2", "MDC", "Lead II"
    channel.ChannelSourceSequence, channel.ChannelSensitivity, channel.ChannelBaseline = [source], 1.0, 0.0
    seconds = np.arange(500) / 250
    voltage = 1000 * np.exp(-(((seconds % 0.8) - 0.1) ** 2) / 2e-4)
    group.MultiplexGroupTimeOffset, group.WaveformOriginality = 0.0, "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples, group.SamplingFrequency = 1, 500, 250
    group.ChannelDefinitionSequence, group.WaveformBitsAllocated = [channel], 16
    group.WaveformSampleInterpretation, group.WaveformData = "SS", voltage.astype("<i2").tobytes()
    group["WaveformData"].VR = "OW"
    return group


def _with_trace(frames: Frames) -> Iterator[Frames]:
    """A sweeping ECG below the sector, a word beside it, and ticks inside."""
    rows, columns = frames.shape[1:]
    x = np.arange(columns)
    y = rows - 10 - 26 * np.exp(-(((x % 100) - 40) ** 2) / 4)
    line = np.stack([x, y], axis=1).round().astype(np.int32)
    for number, frame in enumerate(frames):
        head = number * 5 % columns
        picture = np.ascontiguousarray(frame)
        for part in (line[: head + 1], line[head + 12 :]):
            cv2.polylines(picture, [part], False, 220, 1)
        cv2.putText(picture, "NOBODY", (columns - 70, 20), cv2.FONT_HERSHEY_PLAIN, 1.0, 230)
        for row in (60, 90, 120):
            cv2.line(picture, (117, row), (123, row), 255, 2)
        yield picture


def _write_video(path: Path, frames: Frames, codec: str) -> None:
    size = (frames.shape[2], frames.shape[1])
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), 25.0, size)
    for frame in frames:
        writer.write(cv2.cvtColor(cv2.GaussianBlur(frame, (0, 0), 1), cv2.COLOR_GRAY2BGR))
    writer.release()
