"""Draw the picture of the review page: a small synthetic cohort, hard and refused clips included.

    python -m benchmarks.review_page_picture docs/images/review_page.png chromium

The second argument is a Chromium browser, on the path or as a file.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from PIL import Image

from benchmarks.challenges import write_challenge
from cardio_mlflow.data.cohort.cohort import Clip, read_cohort
from cardio_mlflow.data.prepare import prepare_cohort
from cardio_mlflow.parameters import VIEW_CODES
from cardio_mlflow.synthetic.cohort import make_cohort

_HARD: Final = {
    "P0000": ("ecg_gray_sweep", "words_inside", "no_ecg", "color_doppler"),
    "P0010": ("m_mode", "convex", "atrial_fibrillation", "biplane"),
}
"""Kinds of hard clips by the patient they stand for, in the order of the views."""
_PATIENTS: Final = 8
_SEED: Final = 3
_WINDOW: Final = (1400, 1130)


def main(target: Path, browser: str) -> None:
    with TemporaryDirectory() as name:
        work = Path(name)
        cohort = read_cohort(make_cohort(work / "cohort", _PATIENTS, _PATIENTS - 2, _SEED, 1), _PATIENTS - 2)
        clips = sorted([*cohort.clips, *_hard_clips(work)], key=lambda clip: clip.patient_id)
        page = prepare_cohort(clips, work / "cache", 1, check_text=True, synthetic=True).page
        width, height = _WINDOW
        options = (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--virtual-time-budget=2000",
        )
        subprocess.run(
            [browser, *options, f"--user-data-dir={work / 'browser'}", f"--window-size={width},{height}",
             f"--screenshot={work / 'page.png'}", page.as_uri()],
            check=True, timeout=120,
        )  # fmt: skip
        with Image.open(work / "page.png") as shot:
            # A palette keeps the picture under 300 kB; chosen this way, it keeps rare colors such as the red.
            small = shot.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            small.save(target, optimize=True)


def _hard_clips(work: Path) -> Iterator[Clip]:
    for patient, kinds in _HARD.items():
        for view, kind in zip(VIEW_CODES, kinds, strict=True):
            path = work / f"{kind}.dcm"
            write_challenge(path, kind, _SEED)
            yield Clip(patient, view, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
