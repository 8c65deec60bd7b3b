from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.dataset import frame_positions, load_clips, open_clips


@pytest.mark.parametrize("frames", [1, 4, 5, 32])
def test_loads_only_the_frames_asked_for(prepared_cohort, frames):
    paths, patients = prepared_cohort
    data = load_clips(paths, patients, frames)
    assert data.clips.shape == (3, 4, frames, 224, 224)
    assert data.clips.dtype == torch.uint8
    positions = torch.tensor(frame_positions(32, frames))
    expected = 60 * torch.arange(4)[None, :, None] + 2 * positions + torch.arange(3)[:, None, None]
    pixels = data.clips[..., 100, 7].long()
    assert torch.equal(pixels[data.present], expected[data.present])


def test_a_missing_view_is_masked_and_black(prepared_cohort):
    paths, patients = prepared_cohort
    data = load_clips(paths, patients, 2)
    assert data.present.tolist() == [[True] * 4, [True, True, True, False], [True] * 4]
    assert data.present.dtype == torch.bool
    assert not data.clips[1, 3].any()


def test_keeps_the_order_asked_for(prepared_cohort):
    paths, _ = prepared_cohort
    data = load_clips(paths, ["C", "A"], 1)
    assert data.patient_ids == ("C", "A")
    assert len(data) == 2
    assert data.clips[:, 0, 0, 0, 0].tolist() == [2, 0]


def test_clips_on_disk_are_those_in_memory(prepared_cohort):
    files, patients = prepared_cohort
    there, here = open_clips(files, patients, 4), load_clips(files, patients, 4)
    assert torch.equal(there.present, here.present)
    assert all(torch.equal(there.clips_of(i), here.clips_of(i)) for i in range(3))


@pytest.mark.parametrize("opened", [open_clips, load_clips])
def test_content_goes_by_pixels_and_views_and_not_by_ids(prepared_cohort, opened):
    files, patients = prepared_cohort

    def content(changed, frames=4):
        data = opened(lambda patient: changed.get(patient) or files(patient), [*changed, "A"], frames)
        return data.content_of(0)

    same = content({"other id": files("A")})
    assert same == content({"A": files("A")}) == content({"A": dict(reversed(files("A").items()))})
    fewer = {view: path for view, path in files("A").items() if view != "TC"}
    turned = {**files("A"), "TC": files("A")["FC"]}
    others = [content({"A": changed}) for changed in (files("C"), fewer, turned)]
    others.append(content({"A": files("A")}, 2))
    assert len({same, *others}) == 5
    data = opened(files, patients, 4)
    masked = replace(data, present=data.present & torch.tensor([True, False, True, True]))
    assert masked.content_of(0) != data.content_of(0)


@given(st.integers(1, 64), st.data())
def test_frame_positions_are_evenly_spaced_over_the_cycle(available, data):
    frames = data.draw(st.integers(1, available))
    positions = frame_positions(available, frames)
    gaps = [b - a for a, b in zip(positions, [*positions[1:], positions[0] + available], strict=True)]
    assert positions[0] == 0
    assert len(positions) == frames
    assert max(positions) < available
    assert sum(gaps) == available
    assert max(gaps) - min(gaps) <= 1


def test_all_frames_are_all_positions():
    assert frame_positions(32, 32) == list(range(32))
