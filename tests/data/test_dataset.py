import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.data.batch.clip_store import ClipStore, Entry
from cardio_mlflow.data.batch.sandbox import Limits
from cardio_mlflow.data.dataset import ClipTensor, frame_positions, load_clips, open_clips
from cardio_mlflow.data.picture.physical_scale import FIELD_MM, PhysicalScale, at_physical_scale, median_scale
from cardio_mlflow.data.quality import Quality
from cardio_mlflow.parameters import VIEW_CODES


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


def test_a_missing_view_is_masked_and_black_and_the_order_is_the_one_asked_for(prepared_cohort):
    paths, patients = prepared_cohort
    data = load_clips(paths, patients, 2)
    assert data.present.tolist() == [[True] * 4, [True, True, True, False], [True] * 4]
    assert not data.clips[1, 3].any()
    data = load_clips(paths, ["C", "A"], 1)
    assert (data.patient_ids, len(data)) == (("C", "A"), 2)
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


@pytest.fixture
def facts(tmp_path):
    """Files of one patient's three views: of known scale and phase; of a period only; of an older tensor."""
    store = ClipStore(tmp_path / "store", 1e9)
    noise = np.random.default_rng(3).integers(1, 256, (3, 32, 224, 224)).astype(np.uint8)
    qualities = [
        Quality(prepared_mm_per_pixel=0.6, prepared_apex_x=112.0, prepared_apex_y=-2.0, gating="trace",
                phase_verified=True, rr_ms=812.5),
        Quality(prepared_apex_x=111.0, prepared_apex_y=-3.0, gating="periodicity", phase_verified=False,
                rr_ms=700.0),
        Quality(gating="tensor", phase_verified=False),
    ]  # fmt: skip
    for key, quality, frames in zip("abc", qualities, noise, strict=True):
        store.write(key, Entry(quality, pixels=key), frames)
    return {view: store.path(key) for view, key in zip(("FC", "SA", "LA"), "abc", strict=True)}


SCALE = PhysicalScale((0.7, 0.7, 0.8, 0.9))


@pytest.mark.parametrize("opened", [open_clips, load_clips])
def test_what_is_known_of_a_clip_comes_along(facts, opened):
    data = opened(lambda _: facts, ["A", "B"], 4)
    assert data.placement.dtype == data.rr_ms.dtype == torch.float64
    assert data.phased.dtype == torch.bool
    views = ["FC", "SA", "LA", "TC"]
    at = [VIEW_CODES.index(view) for view in views]
    expected = [[0.6, 112, -2], [math.nan, 111, -3], [math.nan] * 3, [math.nan] * 3]
    np.testing.assert_equal(data.placement[1, at].numpy(), expected)
    assert data.phased[1, at].tolist() == [True, False, False, False]
    np.testing.assert_equal(data.rr_ms[1, at].numpy(), [812.5, 700.0, math.nan, math.nan])


@pytest.mark.parametrize(
    ("gating", "verified", "known"),
    [
        ("tags", True, True), ("waveform", True, True), ("trace", True, True), ("trace", False, False),
        ("periodicity", False, True), ("periodicity", True, True), ("heart_rate", True, False),
        ("heart_rate", False, False), ("clip", False, False), ("tensor", False, False), ("", None, False),
    ],
)  # fmt: skip
def test_a_heartbeat_is_one_only_where_something_shows_it(gating, verified, known):
    quality = Quality(gating=gating, phase_verified=verified, rr_ms=800.0)
    assert math.isnan(quality.heartbeat_ms) != known
    assert math.isnan(replace(quality, rr_ms=None).heartbeat_ms)


def test_nothing_is_known_of_files_without_an_entry_and_of_bare_tensors(prepared_cohort):
    files, patients = prepared_cohort
    loaded = load_clips(files, patients, 1)
    for data in (loaded, ClipTensor(patients, loaded.clips, loaded.present)):
        assert data.placement.shape == (3, 4, 3)
        assert data.phased.shape == data.rr_ms.shape == (3, 4)
        assert data.placement.isnan().all()
        assert data.rr_ms.isnan().all()
        assert not data.phased.any()


def test_clips_are_shown_at_one_physical_scale(facts):
    plain = load_clips(lambda _: facts, ["A"], 4)
    there, here = (opened(lambda _: facts, ["A"], 4, scale=SCALE) for opened in (open_clips, load_clips))
    expected = at_physical_scale(plain.clips[0].numpy(), plain.placement[0].numpy(), SCALE.fallback_mm)
    assert torch.equal(there.clips_of(0), torch.from_numpy(expected))
    assert torch.equal(here.clips[0], there.clips_of(0))
    assert torch.equal(here.present, plain.present)
    assert not here.clips[0, VIEW_CODES.index("TC")].any()
    widths = {view: int((expected[VIEW_CODES.index(view), 0, 40] > 0).sum()) for view in facts}
    assert widths["FC"] == pytest.approx(0.6 * 224**2 / FIELD_MM, abs=3)  # its own scale
    assert widths["LA"] == 224  # the fallback, at which the frame is wider than the field
    assert median_scale(plain.placement, plain.present).fallback_mm == (0.6,) * 4


@pytest.mark.parametrize("opened", [open_clips, load_clips])
def test_content_goes_by_the_scale_that_clips_are_shown_at(facts, opened):
    def content(scale, files=facts):
        return opened(lambda _: files, ["A"], 4, scale=scale).content_of(0)

    assert content(SCALE) == content(replace(SCALE))
    assert content(SCALE) != content(None)
    others = {view: replace(SCALE, fallback_mm=tuple(0.5 if code == view else mm for code, mm in
              zip(VIEW_CODES, SCALE.fallback_mm, strict=True))) for view in VIEW_CODES}  # fmt: skip
    same = {view: content(other) == content(SCALE) for view, other in others.items()}
    assert same == {"FC": True, "TC": True, "SA": False, "LA": False}  # known; missing; twice unknown


def test_the_entry_read_with_the_frames_is_the_store_s(facts):
    store = ClipStore(facts["FC"].parent.parent, 1e9)
    assert store.read("a", Limits()).quality.placement == (0.6, 112.0, -2.0)
