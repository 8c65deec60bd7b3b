from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.challenges import (
    CHALLENGES,
    KINDS,
    plan_challenge,
    render_challenge,
    write_challenge,
)
from benchmarks.challenges.file import write_challenge_file
from benchmarks.challenges.pictures import DIMMING, Pictures, make_pictures
from benchmarks.challenges.plan import Fan, Plan
from benchmarks.challenges.rhythm import (
    BIPHASIC,
    NORMAL,
    fibrillation,
    voltage,
    with_ectopic_beat,
)
from benchmarks.challenges.screen import MARKS
from benchmarks.challenges.strip import Pen, Strip, StripDrawer
from cardio_mlflow.data.outcomes import Outcome

SEEDS = range(5)
ACCEPTED = {challenge.kind for challenge in CHALLENGES if challenge.outcomes == ("OK",)}


def gray(frames) -> np.ndarray:
    return np.stack([frame.max(axis=-1) if frame.ndim == 3 else frame for frame in frames]).astype(np.int16)


@pytest.fixture(scope="module")
def tissue_ecg():
    """Frames of an ECG that crosses the tissue, the same without overlays, and the truth of both."""
    return render_challenge("tissue_green_sweep", 11), render_challenge(
        "tissue_green_sweep", 11, overlays=False
    )


def test_kinds_are_unique_and_their_outcomes_are_the_codes_of_quality() -> None:
    assert len(set(KINDS)) == len(KINDS) >= 60
    codes = {str(outcome) for outcome in Outcome}
    assert all(challenge.tests and set(challenge.outcomes) <= codes for challenge in CHALLENGES)
    refused = {challenge.outcomes[0] for challenge in CHALLENGES} - {"OK"}
    assert refused == {"MULTI_2D", "NOT_2D", "COLOR_DOPPLER", "NO_SECTOR", "SINGLE_FRAME"}
    with pytest.raises(KeyError):
        plan_challenge("no such kind", 1)


@pytest.mark.parametrize("kind", KINDS)
def test_plans_of_every_kind_fit_their_screens(kind: str) -> None:
    screens = set()
    for seed in SEEDS:
        plan = plan_challenge(kind, seed)
        rows, columns = plan.layout.shape
        screens.add(plan.layout.name)
        assert np.all(np.diff(plan.frame_times) > 0)
        assert len(plan.frame_times) <= 160
        assert set(plan.marks) <= set(MARKS)
        assert set(plan.dimming) <= set(DIMMING)
        left, top, right, bottom = plan.fan.box()
        assert left >= 1
        assert right <= columns - 2
        assert plan.fan.mask().mean() > 0.1
        if kind != "cut_bottom":
            assert bottom < rows - 1
        if kind != "apex_above":
            assert top > 0
        if plan.strip:
            assert 0 <= plan.strip.box[0] < plan.strip.box[2] < columns
            assert 0 <= plan.strip.box[1] < plan.strip.box[3] < rows
        if kind in ACCEPTED:
            assert 2 <= len(plan.rhythm.within(plan.duration)) <= 8
            assert 18 <= 1 / np.median(np.diff(plan.frame_times)) <= 61
            assert plan.rhythm.beats[0] < -6
            assert plan.rhythm.beats[-1] > plan.duration
    assert len(screens) >= 2


def test_atrial_fibrillation_and_ectopic_beats_are_irregular() -> None:
    intervals = np.diff(fibrillation(np.random.default_rng(1), 5.0).beats)
    assert 0.5 <= intervals.min() < 0.6
    assert 1.1 < intervals.max() <= 1.2
    for seed in SEEDS:
        rhythm = with_ectopic_beat(np.random.default_rng(seed), 4.0, 0.8)
        (early,) = np.flatnonzero(rhythm.ectopic)
        before, after = np.diff(rhythm.beats)[early - 1 : early + 1]
        assert 0 < rhythm.beats[early] < 4.0
        assert before < 0.6
        assert after > 0.95


@pytest.mark.parametrize("waves", [NORMAL, BIPHASIC])
def test_the_r_wave_peaks_at_its_time(waves) -> None:
    rhythm = plan_challenge("no_ecg", 3).rhythm
    times = np.arange(0, 2, 0.001)
    shown = voltage(times, rhythm, waves)
    for beat in rhythm.within(1.9):
        near = np.abs(times - beat) < 0.05
        assert abs(times[near][shown[near].argmax()] - beat) <= 0.004


def test_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in "abc")
    for path, seed in ((one, 10), (two, 10), (other, 11)):
        truth = write_challenge(path, "single_frame", seed)
        assert truth.frame_times.tolist() == [0.0]
        assert pydicom.dcmread(path).NumberOfFrames == 1
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()


def test_overlays_lie_where_the_truth_says_and_nothing_else_changes(tissue_ecg) -> None:
    (drawn, truth), (clean, again) = tissue_ecg
    assert gray(clean)[:, ~truth.sector_mask].max() == 0
    assert gray(clean)[:, truth.sector_mask].mean() > 20
    assert not again.overlay_mask.any()
    assert np.array_equal(again.sector_mask, truth.sector_mask)
    changed = np.abs(gray(drawn) - gray(clean))
    assert changed[~truth.overlay_mask].max() <= 0.1 * 255
    assert (changed[truth.overlay_mask] > 0).mean() > 0.95
    inside = truth.overlay_mask & truth.sector_mask
    assert inside.sum(axis=(1, 2)).min() > 100
    assert not np.array_equal(truth.overlay_mask[0], truth.overlay_mask[-1])


@pytest.mark.parametrize("seed", [1, 4])
@pytest.mark.parametrize("style", ["sweep", "scroll", "cursor", "marker"])
def test_the_strip_shows_the_beats_in_step_with_the_frames(style: str, seed: int) -> None:
    """The column that shows an R wave, by the rule of the style, holds the highest point nearby."""
    plan = plan_challenge(f"ecg_white_{style}", seed)
    assert plan.strip is not None
    left, top, right, bottom = plan.strip.box
    drawer = StripDrawer(plan.strip, plan.rhythm, plan.duration, np.random.default_rng(0))
    found = 0
    for beat in plan.rhythm.within(plan.duration - 0.3):
        pen = Pen(np.zeros((*plan.layout.shape, 3), np.uint8))
        time = beat + 0.25
        drawer.draw(pen, time)
        share = {
            "sweep": (plan.strip.start + beat / plan.strip.seconds) % 1,
            "scroll": 1 - (time - beat) / plan.strip.seconds,
        }.get(style, beat / plan.duration)
        column = round(left + share * (right - left))
        if left + 12 < column < right - 12:
            lit = pen.drawn[top : bottom - 8, column - 10 : column + 11]
            first = np.where(lit.any(axis=0), lit.argmax(axis=0), 999)
            assert abs(int(np.flatnonzero(first == first.min()).mean()) - 10) <= 2
            found += 1
    assert found


def test_a_sweep_erases_before_its_head_and_a_cursor_moves() -> None:
    plan = plan_challenge("ecg_white_sweep", 1)
    assert plan.strip is not None
    left, _, right, _ = plan.strip.box
    strip = replace(plan.strip, gap=0.08, start=0.0, seconds=2.0, head=False, baseline=None)
    lit = _columns(plan, strip, 1.0)
    gap = slice(left + round(0.52 * (right - left)), left + round(0.56 * (right - left)))
    assert lit[left + 5 : left + round(0.48 * (right - left))].all()
    assert not lit[gap].any()
    assert lit[left + round(0.6 * (right - left)) : right].all()
    still = replace(strip, style="cursor")
    moved = _columns(plan, still, 0.2) != _columns(plan, still, 1.0)
    assert not moved.any(), "the trace itself stands still"


def _columns(plan: Plan, strip: Strip, time: float) -> np.ndarray:
    pen = Pen(np.zeros((*plan.layout.shape, 3), np.uint8))
    StripDrawer(strip, plan.rhythm, plan.duration, np.random.default_rng(0)).draw(pen, time)
    return pen.drawn.any(axis=0)


def written(folder: Path, kind: str) -> tuple[pydicom.Dataset, Plan]:
    """The file of a kind's plan with black frames."""
    plan = plan_challenge(kind, 1)
    frames = [np.zeros((*plan.layout.shape, 3), np.uint8)] * len(plan.frame_times)
    plan = replace(plan, encoding="jpeg_422")
    write_challenge_file(folder / kind, plan, frames, ("test", kind))
    return pydicom.dcmread(folder / kind), plan


def test_times_and_r_waves_in_tags_are_the_truth(tmp_path: Path) -> None:
    data, plan = written(tmp_path, "r_wave_vector")
    assert data.HeartRate == 0
    assert "RWavePointer" not in data
    beats = plan.rhythm.within(plan.duration)
    assert np.allclose(np.array(data.RWaveTimeVector, float) / 1000, beats, atol=5e-4)
    data, plan = written(tmp_path, "r_wave_pointer")
    nearest = plan.frame_times[np.array(data.RWavePointer) - 1]
    assert np.abs(nearest - plan.rhythm.within(plan.duration)).max() <= 0.51 * plan.frame_times[1]
    data, plan = written(tmp_path, "uneven_times")
    assert np.allclose(np.cumsum(np.array(data.FrameTimeVector, float)) / 1000, plan.frame_times, atol=5e-4)
    assert np.ptp(np.diff(plan.frame_times)) > 0.005
    data, plan = written(tmp_path, "cine_rate_only")
    assert data.CineRate == round(1 / plan.frame_times[1])
    assert not {"RWaveTimeVector", "RWavePointer", "FrameTime", "FrameTimeVector"} & set(data.dir())


def test_the_waveform_of_a_file_peaks_at_the_r_waves(tmp_path: Path) -> None:
    data, plan = written(tmp_path, "ecg_waveform")
    (group,) = data.WaveformSequence
    samples = np.frombuffer(group.WaveformData, "<i2")
    times = group.MultiplexGroupTimeOffset / 1000 + np.arange(len(samples)) / group.SamplingFrequency
    assert times[0] < 0
    assert times[-1] > plan.duration
    for beat in plan.rhythm.within(plan.duration):
        near = np.abs(times - beat) < 0.2
        assert abs(times[near][samples[near].argmax()] - beat) <= 0.003


def test_regions_tell_the_shape_of_pixels_and_the_kinds_of_panel(tmp_path: Path) -> None:
    data, plan = written(tmp_path, "oblong_pixels")
    region = data.SequenceOfUltrasoundRegions[0]
    assert region.PhysicalDeltaX / region.PhysicalDeltaY == pytest.approx(plan.fan.aspect, rel=1e-4)
    assert plan.fan.aspect != 1
    boxes = (region.RegionLocationMinX0, region.RegionLocationMinY0, region.RegionLocationMaxX1)
    assert boxes == plan.fan.box()[:3]
    for kind, formats in (("m_mode_with_2d", [1, 2]), ("spectral_with_2d", [1, 3]), ("biplane", [1, 1])):
        plan = replace(plan_challenge(kind, 1), region=True, encoding="jpeg_422")
        frames = [np.zeros((*plan.layout.shape, 3), np.uint8)] * len(plan.frame_times)
        write_challenge_file(tmp_path / kind, plan, frames, ("test", kind))
        regions = pydicom.dcmread(tmp_path / kind).SequenceOfUltrasoundRegions
        assert [r.RegionSpatialFormat for r in regions] == formats


def pictures(kind: str) -> tuple[Pictures, Plan]:
    plan = plan_challenge(kind, 2)
    short = replace(plan, frame_times=np.arange(6) * 0.15)
    return make_pictures(short, np.random.default_rng(2)), short


def test_pictures_to_be_refused_are_what_they_are_called() -> None:
    flow = np.stack([pictures("color_doppler")[0].frame(i) for i in range(6)]).astype(int)
    assert (np.abs(flow[..., 0] - flow[..., 2]).max(axis=0) > 80).mean() > 0.01
    still, _ = pictures("frozen")
    assert np.array_equal(still.frame(0), still.frame(5))
    linear, plan = pictures("linear")
    assert not linear.sector.any()
    assert linear.frame(0)[linear.occupied].mean() > 15
    two, plan = pictures("biplane")
    middle = plan.layout.shape[1] // 2
    assert not two.sector[:, middle].any()
    assert two.sector[:, :middle].any()
    assert two.sector[:, middle:].any()
    strip, _ = pictures("m_mode_with_2d")
    assert (strip.occupied & ~strip.sector).mean() > 0.2
    assert not np.array_equal(strip.frame(0), strip.frame(5))
    pair, plan = pictures("frozen_beside_live")
    first, last = (pair.frame(i).astype(int) for i in (0, 5))
    middle = plan.layout.shape[1] // 2
    assert np.array_equal(first[:, :middle], last[:, :middle])
    assert np.abs(first[:, middle:] - last[:, middle:]).max() > 20


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(st.floats(80, 240), st.floats(-40, 40)), st.floats(-55, -15), st.floats(15, 55),
    st.floats(0, 60), st.floats(100, 200), st.floats(0.7, 1.4),
)  # fmt: skip
def test_a_fan_holds_its_own_points(apex, left, right, inner, outer, aspect) -> None:
    fan = Fan(apex, left, right, inner, outer, (260, 320), aspect)
    mask = fan.mask()
    for share, depth in itertools.product((0.1, 0.5, 0.9), (0.1, 0.5, 0.9)):
        x, y = fan.point(left + share * (right - left), fan.at_depth(depth))
        column, row = round(x), round(y)
        far_in = fan.at_depth(depth) * np.deg2rad(0.1 * (right - left)) > 2
        if 0 <= column < 320 and 0 <= row < 260 and far_in:
            assert mask[row, column]
    for angle, distance in ((left - 3, outer), (right + 3, outer), (0, outer + 3)):
        x, y = fan.point(angle, distance)
        if 0 <= round(x) < 320 and 0 <= round(y) < 260:
            assert not mask[round(y), round(x)]
