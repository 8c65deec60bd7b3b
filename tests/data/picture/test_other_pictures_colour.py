"""Velocity maps are refused; tints of any kind, and coloured lines and words, are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks.challenges import write_challenge
from cardio_mlflow.data.files.header import read_header
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.refused_pictures import doppler_shares, refuse_colour_doppler
from cardio_mlflow.data.picture.sector import Sector

ROWS, COLUMNS = 96, 128
SECTOR = Sector(64.0, 3.0, -42.0, 42.0, 2.0, 88.0).mask(ROWS, COLUMNS) > 0
REFUSED = 0.008  # share of the sector

TINTS = {
    "gray": (1.0, 1.0, 1.0), "sepia": (1.0, 0.89, 0.7), "strong sepia": (1.0, 0.8, 0.45),
    "blue": (0.75, 0.86, 1.0),
}  # fmt: skip
CURVES = {
    "candle": (0.5, 1.0, 2.5), "magenta": (0.7, 1.4, 0.7), "ice": (2.0, 1.0, 0.6),
}  # fmt: skip
"""Maps whose white is white and whose middle is coloured, as exponents of red, green and blue."""


def _gray(seed):
    """Tissue of all levels, bright here and dark there."""
    rng = np.random.default_rng(seed)
    wide = cv2.resize(rng.uniform(0, 1, (7, 9)), (COLUMNS, ROWS), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    return (rng.rayleigh(70, (ROWS, COLUMNS)) * wide**2 + 8).clip(0, 255) * SECTOR


def _frames(tint="sepia", frames=4):
    out = []
    for seed in range(frames):
        gray = _gray(seed)[..., None] / 255
        coloured = gray * np.array(TINTS[tint]) if tint in TINTS else gray ** np.array(CURVES[tint])
        out.append(cv2.GaussianBlur(np.rint(255 * coloured).astype(np.uint8), (3, 3), 0))
    return out


def _flow(frame, place, red, seed=0):
    """Lay a velocity map, towards the probe (red) or away from it (blue), over a place."""
    speed = np.random.default_rng(seed).uniform(0.4, 1.0, (ROWS, COLUMNS))
    dark, bright, middle = 20 + 0 * speed, 255 * speed, 170 * (speed - 0.5).clip(0, 1)
    colour = np.stack([bright, middle, dark] if red else [dark, middle, bright], axis=-1).astype(np.uint8)
    return np.where(place[..., None], colour, frame)


def _ellipse(x, y, across, down):
    return cv2.ellipse(np.zeros((ROWS, COLUMNS), np.uint8), (x, y), (across, down), 0, 0, 360, 1, -1) > 0


def test_a_map_from_black_over_red_and_yellow_to_white_is_a_tint():
    frames = [np.stack([3.0 * _gray(i) - 255 * k for k in range(3)], axis=-1) for i in range(4)]
    frames = [cv2.GaussianBlur(frame.clip(0, 255).astype(np.uint8), (3, 3), 0) for frame in frames]
    assert max(doppler_shares(frames, SECTOR)) == 0.0


@pytest.mark.parametrize("tint", [*TINTS, *CURVES])
def test_a_tinted_picture_has_no_velocity_map(tint):
    assert max(doppler_shares(_frames(tint), SECTOR)) == 0.0


@pytest.mark.parametrize(
    ("tint", "red"),
    [(tint, red) for tint in [*TINTS, *CURVES] for red in (True, False)
     if (tint, red) != ("candle", True)],  # a red jet in an orange picture is not seen
)  # fmt: skip
def test_a_jet_of_one_colour_in_any_tint(tint, red):
    jet = _ellipse(64, 45, 9, 14)
    shares = doppler_shares([_flow(frame, jet, red, i) for i, frame in enumerate(_frames(tint))], SECTOR)
    assert min(shares) >= 0.8 * np.count_nonzero(jet) / np.count_nonzero(SECTOR)


def test_a_small_jet_in_two_colours():
    near, far = _ellipse(60, 40, 4, 6), _ellipse(68, 48, 4, 6)
    frames = [_flow(_flow(frame, near, True), far, False) for frame in _frames("gray")]
    assert min(doppler_shares(frames, SECTOR)) > 2 * REFUSED


def test_tissue_doppler_over_the_whole_sector():
    """All walls are red in systole and blue in diastole: in no single frame is that more than a tint."""
    frames = [_flow(frame, _gray(9) > 14, i % 2 == 0, i) for i, frame in enumerate(_frames("gray"))]
    assert min(doppler_shares(frames, SECTOR)) > 0.2


def test_coloured_lines_and_words_are_no_map():
    frames = _frames("gray")
    for frame in frames:
        cv2.polylines(
            frame, [np.array([[20, 60], [50, 58], [60, 30], [66, 62], [110, 60]])], False, (40, 255, 90), 2
        )
        cv2.putText(frame, "LV 4.5", (45, 80), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 230, 60), 1)
        cv2.line(frame, (64, 4), (64, 90), (255, 60, 60), 1)
    assert max(doppler_shares(frames, SECTOR)) == 0.0


def test_colour_outside_of_the_sector_does_not_matter():
    bar = np.zeros((ROWS, COLUMNS), bool)
    bar[5:60, 118:127] = True
    assert max(doppler_shares([_flow(frame, bar, True) for frame in _frames("gray")], SECTOR)) == 0.0


def test_an_empty_sector_holds_nothing():
    assert doppler_shares(_frames("gray"), np.zeros_like(SECTOR)) == [0.0] * 4


def _clip(jet_in, frames=24):
    """RGB frames, four times as large as those that are looked at, with flow in some of them."""
    jet, gray = _ellipse(64, 45, 9, 14), _frames("gray", 1)[0]
    small = [_flow(gray, jet & (i in jet_in), True, i) for i in range(frames)]
    return np.stack([np.kron(frame, np.ones((4, 4, 1), np.uint8)) for frame in small])


@pytest.mark.parametrize(("jet_in", "refused"), [(range(8, 16), True), ((10,), False), ((), False)])
def test_flow_in_two_of_the_frames_that_are_looked_at(jet_in, refused, tmp_path, write_dicom):
    header = read_header(write_dicom(tmp_path / "a.dcm", _clip(jet_in)))
    mask = np.kron(SECTOR, np.ones((4, 4), bool)).astype(np.uint8) * 255
    if not refused:
        refuse_colour_doppler(header, mask)
        return
    with pytest.raises(ClipRefused, match="of 8 frames") as refusal:
        refuse_colour_doppler(header, mask)
    assert refusal.value.outcome is Outcome.COLOR_DOPPLER


@pytest.mark.parametrize(
    ("kind", "seed", "refused"), [("color_doppler", 3, True), ("sepia", 5, False), ("blue", 0, False)]
)
def test_rendered_clips(kind, seed, refused, tmp_path):
    truth = write_challenge(tmp_path / "a.dcm", kind, seed)
    mask = np.where(truth.sector_mask, np.uint8(255), np.uint8(0))
    header = read_header(tmp_path / "a.dcm")
    assert header.has_colour
    if refused:
        with pytest.raises(ClipRefused):
            refuse_colour_doppler(header, mask)
    else:
        refuse_colour_doppler(header, mask)
