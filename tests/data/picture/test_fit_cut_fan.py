"""Square crops whose fan the picture's edges cut, small and blurred as public sets have them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.fit import fit_sector
from cardio_mlflow.data.picture.sector import Sector, collect, overlap

LARGE, SMALL = 448, 112
PLAIN = Sector(244.0, 26.0, -44.0, 44.0, 8.0, 450.0)


def _tissue(mask, seed=0):
    """Frames of speckle with bright walls and dark chambers."""
    rng = np.random.default_rng(seed)
    slow = cv2.resize(rng.uniform(-60, 60, (7, 7)), mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        speckle = cv2.GaussianBlur(rng.normal(70, 160, mask.shape), (0, 0), 2.0)
        yield np.clip(speckle + slow, 4, 255).astype(np.uint8) & mask


def _public(sector, words=(), loss=None, seed=0):
    """A clip of 112 × 112, and where fan and drawn things are: uint8, 0 or 255."""
    mask = sector.mask(LARGE, LARGE)
    drawn = np.zeros_like(mask)
    for text, at in words:
        cv2.putText(drawn, text, at, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 2)
    slope = np.tan(np.deg2rad(sector.right))
    for y in range(120, 240, 16):  # a ruler beside the right edge
        cv2.circle(drawn, (round(sector.apex_x + 44 + slope * (y - sector.apex_y)), y), 3, 255, cv2.FILLED)
    frames = []
    for frame in _tissue(mask, seed):
        tissue = frame if loss is None else np.clip(frame - loss, 0, None).astype(np.uint8)
        small = cv2.resize(
            cv2.GaussianBlur(tissue | drawn, (0, 0), 1.5), (SMALL, SMALL), None, 0, 0, cv2.INTER_AREA
        )
        frames.append(cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 75])[1], 0))
    shrunk = (cv2.resize(m, (SMALL, SMALL), interpolation=cv2.INTER_AREA) for m in (mask, drawn))
    return frames, *(np.where(m >= 128, 255, 0).astype(np.uint8) for m in shrunk)


def _fitted(frames):
    """The mask of the fit, None where there is none."""
    try:
        return fit_sector(collect(frames)).mask(*frames[0].shape)
    except ClipRefused:
        return None


crops = st.builds(
    lambda x, y, half, lean, outer, inner: Sector(x, y, lean - half, lean + half, inner, outer),
    st.floats(190, 260), st.floats(12, 40), st.floats(36, 47), st.floats(-1, 1), st.floats(400, 520),
    st.floats(0, 30),
)  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(crops, st.integers(0, 5))
@example(PLAIN, 0)
def test_a_cut_fan_is_found_and_what_stands_beside_it_stays_out(sector, seed):
    frames, mask, drawn = _public(sector, [("DOE", (4, 40)), ("1970", (360, 60))], seed=seed)
    found = fit_sector(collect(frames)).mask(SMALL, SMALL)
    assert overlap(found, mask) >= 0.95
    assert not (cv2.erode(drawn, np.ones((3, 3))) & found & ~cv2.dilate(mask, np.ones((3, 3)))).any()


def _dark_right(sector):
    """Gray levels that are lost towards the right edge, all of them near it."""
    y, x = np.indices((LARGE, LARGE))
    beyond = np.rad2deg(np.arctan2(x - sector.apex_x, y - sector.apex_y)) - sector.right
    return np.clip((beyond + 22) / 12, 0, 1) * 260


def test_a_dark_edge_of_a_cut_fan_leans_as_the_other_one_does():
    frames, mask, _ = _public(PLAIN, loss=_dark_right(PLAIN))
    assert overlap(fit_sector(collect(frames)).mask(SMALL, SMALL), mask) >= 0.93


def test_words_in_the_dark_of_a_cut_fan_are_not_taken_for_tissue():
    words = [("DOE JOHN", (330, 190))]
    frames, mask, drawn = _public(PLAIN, words, _dark_right(PLAIN))
    assert (mask & drawn).any()
    found = _fitted(frames)
    assert found is None or not (found & cv2.erode(drawn, np.ones((3, 3)))).any()


@pytest.mark.parametrize("turned", ["upside down", "sideways", "filled"])
def test_what_is_no_upright_fan_is_refused(turned):
    whole = replace(PLAIN, left=-36.0, right=36.0, outer=330.0)
    frames = np.stack(_public(whole)[0])
    if turned == "upside down":
        frames = frames[:, ::-1]
    elif turned == "sideways":
        frames = np.ascontiguousarray(frames.swapaxes(1, 2))
    else:
        frames = np.stack(list(_tissue(np.full((SMALL, SMALL), 255, np.uint8))))
    with pytest.raises(ClipRefused) as refused:
        fit_sector(collect(list(frames)))
    assert refused.value.outcome is Outcome.NO_SECTOR


def test_an_apex_at_the_bottom_is_named():
    mask = Sector(160.0, 10.0, -38.0, 38.0, 5.0, 210.0).mask(240, 320)[::-1].copy()
    with pytest.raises(ClipRefused, match="upside down"):
        fit_sector(collect(list(_tissue(mask))))


@pytest.mark.parametrize("shape", [(420, 150), (120, 400), (40, 60)])
def test_odd_shapes_are_fitted_or_refused(shape):
    rows, columns = shape
    mask = Sector(columns / 2, 4.0, -40.0, 40.0, 2.0, 0.9 * rows).mask(rows, columns)
    found = _fitted(list(_tissue(mask)))
    assert found is None or overlap(found, mask) >= 0.95
