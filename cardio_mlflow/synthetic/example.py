"""A small synthetic patient: four clips of a cycle and a half on a bare screen, an example of a request."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from cardio_mlflow.parameters import VIEWS
from cardio_mlflow.synthetic.acquisition import Acquisition
from cardio_mlflow.synthetic.cine import render_cine
from cardio_mlflow.synthetic.clip import patient_rows, plan_clip
from cardio_mlflow.synthetic.dicom_file import write_dicom
from cardio_mlflow.synthetic.heart import view_scene
from cardio_mlflow.synthetic.layouts import LAYOUTS
from cardio_mlflow.synthetic.screen import Screen, Words
from cardio_mlflow.synthetic.seeding import Stream, generator

SEED: Final = 19
"""Of the patient: no demo cohort has it."""
FRAME_RATE: Final = 20.0
"""Frames a second, at most."""
CYCLES: Final = 1.5
JPEG_QUALITY: Final = 40

_BARE: Final = replace(
    LAYOUTS[3], name="example", manufacturer="SYNTHETIC", model="EXAMPLE", shape=(168, 224),
    apex=(112.0, 6.0), radius=152.0, inner=2.0, trace="none", bar=(216, 20, 219, 60), ticks=0,
    regions="sector", encodings=(("jpeg_gray", 1.0),),
)  # fmt: skip


def example_clips() -> dict[str, bytes]:
    """The DICOM files of the example patient by the name of the view, such as A4C; always the same bytes."""
    hemodynamics, anatomy = patient_rows(SEED, 1)
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, view in enumerate(VIEWS):
            planned = plan_clip(SEED, 0, view.code, hemodynamics.iloc[0])
            acquisition = _shortened(planned.acquisition)
            screen = Screen(_BARE, acquisition, Words((), ()), 0.0)
            scene = view_scene(anatomy.iloc[0], view.code, acquisition.phases)
            polar = render_cine(scene, acquisition, generator(SEED, Stream.SPECKLE, 0, number))
            header = replace(planned.header, patient_id="EXAMPLE", name="SYNTHETIC^EXAMPLE", r_wave_tag=True)
            path = Path(folder, view.code)
            frames = list(screen.frames(polar))
            write_dicom(path, frames, "jpeg_gray", header, acquisition, _BARE, JPEG_QUALITY)
            files[view.name] = path.read_bytes()
    return files


def example_facts() -> dict[str, float]:
    """Heart rate, body surface and mean arterial pressure of the example patient, by their names."""
    row = patient_rows(SEED, 1)[0].iloc[0]
    return {name: round(float(row[name]), 2) for name in ("HR", "BSA", "MAP")}


def _shortened(acquisition: Acquisition) -> Acquisition:
    """The first frames of a clip, every so many of them."""
    times = acquisition.frame_times
    step = max(1, int(np.ceil(1 / (float(times[1]) * FRAME_RATE) - 1e-6)))
    end = CYCLES * 60 / acquisition.rate
    kept = np.arange(0, int(np.searchsorted(times, end)), step)
    return replace(
        acquisition, frame_times=times[kept], phases=acquisition.phases[kept],
        r_waves=acquisition.r_waves[acquisition.r_waves <= times[kept[-1]]],
    )  # fmt: skip
