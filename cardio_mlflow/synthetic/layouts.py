"""Screen layouts of made-up scanners: where the sector, the trace, the bar and the words stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Colour = tuple[int, int, int]
TraceStyle = Literal["sweep", "scroll", "cursor", "none"]
Encoding = Literal["jpeg_422", "jpeg_444", "jpeg_420", "jpeg_gray", "rle_gray", "rle_rgb", "raw_gray"]
RegionStyle = Literal["sector", "screen", "stale", "absent"]


@dataclass(frozen=True)
class Layout:
    """One scanner's screen; pixels, positions (x, y), boxes (left, top, right, bottom), RGB.

    Attributes:
        shape: (rows, columns).
        apex: of the sector, as is `radius`.
        inner: radius of the probe's face, cut out of the sector.
        words: the first line of the patient's data.
        numbers: the first line of the scanner's settings.
        bar: the gray or colour bar; `bar_tint` is its top.
        tint: of full white in the picture.
        ticks: side of the sector with depth marks, -1 left, 1 right, 0 an upright scale at the screen's edge.
        regions: what the ultrasound regions tag says.
        encodings: transfer syntaxes in use, with weights.
    """

    name: str
    manufacturer: str
    model: str
    shape: tuple[int, int]
    apex: tuple[float, float]
    radius: float
    inner: float
    trace: TraceStyle
    trace_box: tuple[int, int, int, int]
    trace_colour: Colour
    text_colour: Colour
    font: float
    words: tuple[int, int]
    numbers: tuple[int, int]
    bar: tuple[int, int, int, int]
    bar_tint: Colour
    tint: Colour
    ticks: int
    regions: RegionStyle
    encodings: tuple[tuple[Encoding, float], ...]

    @property
    def gray(self) -> bool:
        """Whether the screen has one channel."""
        return all(name.endswith("gray") for name, _ in self.encodings)


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "aurora", "Aurora Medical", "AU-7", (600, 800), (402, 34), 500, 5, "sweep", (30, 544, 770, 592),
        (40, 230, 90), (230, 230, 230), 0.42, (14, 20), (14, 120), (772, 60, 784, 240), (255, 255, 255),
        (255, 255, 255), 1, "sector", (("jpeg_422", 1.0),),
    ),
    Layout(
        "borealis", "Borealis Imaging", "Vivara E", (434, 636), (322, 14), 392, 3, "cursor",
        (20, 372, 616, 426), (120, 255, 60), (200, 220, 255), 0.36, (8, 14), (560, 80),
        (614, 30, 622, 160), (255, 210, 150),
        (255, 238, 210), -1, "screen", (("jpeg_444", 0.93), ("rle_rgb", 0.07)),
    ),
    Layout(
        "cirrus", "Cirrus Ultrasound", "CX-50s", (480, 640), (330, 30), 402, 8, "scroll", (10, 436, 630, 474),
        (60, 220, 255), (255, 220, 90), 0.38, (8, 16), (8, 90), (8, 200, 18, 330), (255, 255, 255),
        (255, 255, 255), 0, "absent", (("jpeg_422", 1.0),),
    ),
    Layout(
        "delta", "Delta Echo", "D3000", (422, 636), (314, 22), 368, 4, "sweep", (16, 378, 620, 418),
        (255, 255, 255), (210, 210, 210), 0.36, (6, 14), (552, 40), (620, 60, 628, 190), (255, 255, 255),
        (255, 255, 255), 1, "stale", (("jpeg_gray", 0.85), ("rle_gray", 0.15)),
    ),
    Layout(
        "ember", "Ember Handheld", "One", (360, 480), (240, 26), 312, 2, "none", (0, 0, 0, 0),
        (255, 255, 255), (180, 180, 180), 0.34, (6, 12), (400, 60), (466, 60, 472, 180), (255, 255, 255),
        (255, 255, 255), 0, "sector", (("jpeg_gray", 0.62), ("rle_gray", 0.2), ("raw_gray", 0.18)),
    ),
    Layout(
        "fjord", "Fjord Systems", "F-Line 9", (484, 640), (338, 44), 394, 14, "sweep", (30, 442, 620, 480),
        (255, 225, 60), (170, 235, 170), 0.38, (6, 16), (6, 150), (10, 270, 20, 420), (140, 190, 255),
        (228, 240, 255), 1, "screen", (("jpeg_444", 1.0),),
    ),
)  # fmt: skip
"""The layouts a cohort uses."""
