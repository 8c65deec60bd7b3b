"""One patient added to a prepared cohort: ``python -m benchmarks.prepared_again --clips 4000``.

A cohort of small clips of different content is prepared; then one patient of four clips is added, the ids are
changed, and text is asked for. Printed for each step: seconds, and how many clips were decoded. It ends with
status 1 when a step decodes more than its new clips.

The clips are uncompressed DICOM of 128×96 pixels and 24 frames, each with a pattern of its own in the sector,
so that no two are the same clip.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cardio_mlflow.data.cohort.clip import Clip
from cardio_mlflow.data.prepare import prepare_cohort
from cardio_mlflow.parameters import VIEW_CODES
from tests.data.small_clips import fan, write_clip

_SIDE = 96


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=4000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "dicom").mkdir()
        clips = _cohort(work / "dicom", options.clips + len(VIEW_CODES))
        old, renamed = clips[: options.clips], [replace(c, patient_id=f"S{c.patient_id}") for c in clips]
        steps = (
            ("the cohort", old, False, len(old)),
            ("the same again", old, False, 0),
            ("one patient added", clips, False, len(VIEW_CODES)),
            ("other pseudonyms", renamed, False, 0),
            ("check_text", clips, True, 0),
        )
        return max(_step(work / "cache", options.jobs, *step) for step in steps)


def _step(cache: Path, jobs: int, name: str, clips: Sequence[Clip], check_text: bool, new: int) -> int:
    store = cache / "prepared" / "clips"
    before = _entries(store)
    start = time.perf_counter()
    prepared = prepare_cohort(clips, cache, jobs, check_text=check_text, synthetic=True)
    seconds = time.perf_counter() - start
    decoded = len(_entries(store) - before)
    print(f"{name:<20}{len(clips):>6} clips, {prepared.refused} refused, {decoded} decoded, {seconds:.1f} s")
    return int(decoded > new)


def _entries(store: Path) -> set[tuple[str, int]]:
    """The store's files; one that is written again is another."""
    return {(path.name, path.stat().st_ino) for path in store.glob("*.safetensors")}


def _cohort(folder: Path, count: int) -> list[Clip]:
    clips = []
    loop = fan(frames=24, rows=_SIDE, columns=_SIDE * 4 // 3)
    for number in range(count):
        path = folder / f"{number:05d}.dcm"
        frames = loop.copy()
        patch = frames[:, _SIDE // 2 : _SIDE // 2 + 8, _SIDE // 2 : _SIDE // 2 + 16]
        bits = np.unpackbits(np.array([number], ">u2").view(np.uint8))
        patch[:, :, :] = np.where(patch > 0, np.kron(bits.reshape(2, 8), np.full((4, 2), 90)) + 60, 0)
        clips.append(Clip(f"P{number // 4:04d}", VIEW_CODES[number % 4], write_clip(path, frames)))
    return clips


if __name__ == "__main__":
    sys.exit(main())
