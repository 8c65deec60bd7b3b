"""A near field that is dark is kept, but not where words are drawn on it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cardio_mlflow.data.clips import prepare_clip
from cardio_mlflow.data.picture.fit import fit_sector
from cardio_mlflow.data.picture.sector import Sector, collect

WHOLE = Sector(160.0, 10.0, -40.0, 40.0, 3.0, 215.0)


def _dark_near_the_probe(brightest, words, cut):
    """Speckle that begins 55 pixels from the apex, few moving pixels before that, and words over these."""
    y, x = np.indices((240, 320))
    beyond = np.hypot(x - WHOLE.apex_x, y - WHOLE.apex_y) - 55
    level = brightest * np.clip(beyond / 100, 0, 1) ** 2
    rng, mask, frames = np.random.default_rng(0), WHOLE.mask(240, 320), []
    for _ in range(24):
        flashes = np.where(rng.random(mask.shape) < 0.003, 3, 0)
        frame = np.rint(np.maximum(rng.random(mask.shape) * level, flashes)).astype(np.uint8) & mask
        cv2.putText(frame, "DOE", (144, 42), cv2.FONT_HERSHEY_SIMPLEX, 0.4, words, 1, cv2.LINE_AA)
        frames.append(frame[:, 85:] if cut else frame)
    return np.stack(frames)


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize("luma", [40, 70, 105])
def test_words_in_a_dark_near_field_are_in_no_prepared_frame(tmp_path, write_dicom, luma, cut):
    """Brighter words are painted over anyway; these are too dim for that, and all tissue is dimmer."""
    clean, frames = (_dark_near_the_probe(0.6 * luma, words, cut) for words in (0, luma))
    kept = fit_sector(collect(list(clean)))
    assert kept.apex_y + kept.inner < 20  # without words the near field is kept
    assert prepare_clip(write_dicom(tmp_path / "a.dcm", frames)).frames.max() < 0.75 * luma
