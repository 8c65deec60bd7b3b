"""Frames of a clip as luma: what is decoded again, and what is kept."""

from __future__ import annotations

import numpy as np
import pytest

from cardio_mlflow.data.files import frames as luma
from cardio_mlflow.data.files.frames import LumaFrames
from cardio_mlflow.data.files.header import read_header
from tests.data.small_clips import fan, write_clip

FRAMES = fan(12, 60, 80)


@pytest.fixture
def header(tmp_path):
    return read_header(write_clip(tmp_path / "clip.dcm", FRAMES))


@pytest.fixture
def decoded(monkeypatch):
    """The frames that were decoded, in order."""
    numbers: list[int] = []

    def counted(header, indices, *rest, decode=luma._each_frame):
        for index, frame in zip(indices, decode(header, indices, *rest), strict=True):
            numbers.append(index)
            yield frame

    monkeypatch.setattr(luma, "_each_frame", counted)
    return numbers


def _budget(monkeypatch, frames):
    monkeypatch.setattr(luma, "_KEPT_BYTES", frames * FRAMES[0].size)


def test_a_short_clip_is_decoded_once(header, decoded):
    frames = LumaFrames(header)
    for _ in range(2):
        np.testing.assert_array_equal(np.stack(list(frames)), FRAMES)
    np.testing.assert_array_equal(np.stack(list(frames.pick([2, 5]))), FRAMES[[2, 5]])
    assert decoded == list(range(12))


def test_of_a_long_clip_what_was_picked_is_kept_within_the_budget(header, decoded, monkeypatch):
    _budget(monkeypatch, 3)
    frames = LumaFrames(header)
    list(frames)
    decoded.clear()
    for indices in ([1, 4, 6, 8], [0, 1, 4, 7, 8]):
        np.testing.assert_array_equal(np.stack(list(frames.pick(indices))), FRAMES[indices])
    assert decoded == [1, 4, 6, 8, 0, 7, 8]
    assert len(frames._kept) == 3


def test_two_passes_at_once_do_not_mix_their_frames(header, monkeypatch):
    _budget(monkeypatch, 5)
    frames = LumaFrames(header)
    first = frames.pick([2, 3, 3, 4])
    got = [next(first)]
    list(frames.pick([3, 4]))
    np.testing.assert_array_equal(np.stack(got + list(first)), FRAMES[[2, 3, 3, 4]])
