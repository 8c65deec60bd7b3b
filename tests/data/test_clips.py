"""One clip made into a prepared clip."""

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from pydicom import examples
from pydicom.dataset import Dataset

from cardio_mlflow.data.clips import PREPARED_FRAMES, PREPARED_SIZE, prepare_clip
from cardio_mlflow.data.files.frames import LumaFrames
from cardio_mlflow.data.files.header import read_header
from cardio_mlflow.data.outcomes import ClipRefused, Outcome
from cardio_mlflow.data.picture.fit import fit_sector
from cardio_mlflow.data.picture.physical_scale import FIELD_MM, at_physical_scale
from cardio_mlflow.data.picture.sector import Sector, collect, crop_to, overlap, square
from cardio_mlflow.synthetic.clip import clip_truth, plan_clip
from cardio_mlflow.synthetic.cohort import make_cohort
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics
from tests.data.small_clips import fan, region, write_clip

SHAPE = (PREPARED_FRAMES, PREPARED_SIZE, PREPARED_SIZE)
SEED, PATIENTS = 7, 2


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    folder = make_cohort(tmp_path_factory.mktemp("synthetic"), PATIENTS, PATIENTS - 1, SEED, jobs=1)
    return sorted((folder / "dicom").glob("*.dcm"))


@pytest.fixture(scope="module")
def prepared(synthetic):
    return {path: prepare_clip(path) for path in synthetic}


def test_the_synthetic_clips_against_their_truth(prepared):
    rows = []
    for path, clip in prepared.items():
        truth = clip_truth(SEED, *path.stem.split("_"))
        reference = np.where(truth.sector_mask, np.uint8(255), np.uint8(0))
        header = read_header(path)
        found = fit_sector(collect(LumaFrames(header)), header.aspect, header.bound).mask(
            *reference.shape, header.aspect
        )
        quality = clip.quality
        intervals = 1000 * np.diff(truth.r_wave_times)
        overlays = truth.overlay_mask.any(axis=0) & ~cv2.dilate(reference, np.ones((5, 5), np.uint8)).astype(
            bool
        )
        rows.append({
            "iou": overlap(found, reference), "kept": (found & reference).sum() / reference.sum(),
            "spill": (found & ~reference).sum() / found.sum(), "overlay": int((found[overlays] > 0).sum()),
            "rr": float(np.min(np.abs(quality.rr_ms - intervals) / intervals)), "gating": quality.gating,
        })  # fmt: skip
    table = pd.DataFrame(rows)
    assert table["iou"].mean() >= 0.98
    assert table["iou"].min() >= 0.95
    assert table["kept"].min() >= 0.99
    assert table["spill"].max() <= 0.01
    assert table["overlay"].sum() == 0
    assert table.loc[table["gating"] == "tags", "rr"].max() <= 0.002
    assert table["rr"].max() <= 0.06


def test_the_true_scale_of_the_synthetic_clips(prepared):
    sources = []
    for path, clip in prepared.items():
        patient, view = int(path.stem[1:5]) - 1, path.stem.split("_")[1]
        plan = plan_clip(SEED, patient, view, draw_hemodynamics(PATIENTS, SEED).iloc[patient])
        quality, depth, radius = clip.quality, plan.acquisition.depth, plan.layout.radius
        sources.append(quality.scale_source)
        if plan.layout.regions in ("sector", "screen"):
            assert quality.scale_source == "regions"
        if not quality.scale_source:
            assert quality.mm_per_pixel is quality.depth_cm is quality.prepared_mm_per_pixel is None
            continue
        assert quality.mm_per_pixel == pytest.approx(10 * depth / radius, rel=0.01)
        whole = quality.depth_cm + plan.layout.inner / radius * depth  # from the apex
        assert whole == pytest.approx(depth, rel=0.03)  # a fan's dark bottom is hardly seen
        height = 10 * whole / quality.prepared_mm_per_pixel
        assert quality.prepared_apex_y + height <= PREPARED_SIZE + 1
        assert quality.prepared_apex_x == pytest.approx(PREPARED_SIZE / 2, abs=1)
    assert set(sources) >= {"regions", "ticks"}
    assert sources.count("") <= 0.1 * len(sources)


def test_at_one_physical_scale_a_clip_is_as_deep_as_it_was(prepared):
    for clip in prepared.values():
        quality = clip.quality
        if not quality.scale_source:
            continue
        shown = at_physical_scale(clip.frames[None], np.array([quality.placement]), [np.nan])[0]
        middle = np.flatnonzero(shown[:, :, 110:114].any(axis=(0, 2)))
        inner = 10 * quality.depth_cm * quality.inner / (quality.outer - quality.inner)
        depth = min(FIELD_MM, 10 * quality.depth_cm + inner)
        assert (middle[-1] + 1) * FIELD_MM / PREPARED_SIZE == pytest.approx(depth, abs=1.5)
        assert middle[0] * FIELD_MM / PREPARED_SIZE <= inner + 3


@pytest.mark.parametrize(
    ("drawn", "told", "source", "note"),
    [
        (None, 0.08, "regions", ""), (12.5, None, "ticks", ""), (12.5, 0.08, "regions", ""),
        (12.5, 0.05, "", "0.0833 mm a pixel by the region tags, 0.13"), (None, None, "", ""),
        (None, 0.004, "", ""),
    ],
)  # fmt: skip
def test_tags_and_drawn_scale_check_one_another(tmp_path, drawn, told, source, note):
    """The fan of 192 pixels is 15.4 cm deep at 0.8 mm a pixel, which is 12.5 pixels a centimetre.

    With both sources it is six times as large, so that its frames are made smaller before anything is sought.
    """
    zoom = 6 if drawn and told else 1
    frames = np.repeat(np.repeat(fan(), zoom, axis=1), zoom, axis=2)
    for centimetre in range(1, 16) if drawn else ():
        row = round(zoom * (18 + centimetre * drawn))
        length = 8 if centimetre % 5 == 0 else 4
        frames[:, row : row + zoom, zoom * 304 : zoom * (304 + length)] = 200
    delta = (told or 0.0) / zoom
    whole = region((0, 0, frames.shape[2] - 1, frames.shape[1] - 1), delta, delta)
    path = write_clip(tmp_path / "a.dcm", frames, SequenceOfUltrasoundRegions=[whole])
    quality = prepare_clip(path).quality
    assert quality.scale_source == source
    assert quality.notes.startswith(note)
    assert bool(quality.notes) == bool(note)
    if source:
        assert quality.mm_per_pixel * zoom == pytest.approx(0.8, rel=0.01)
        assert quality.depth_cm == pytest.approx(15.4, abs=0.3)


def test_the_real_clip_is_one_picture_without_its_words():
    prepared = prepare_clip(examples.get_path("ybr_color"))
    assert prepared.frames.shape == SHAPE
    assert prepared.quality.outcome is Outcome.OK
    seen = prepared.frames.max(axis=0) > 0
    assert seen[:, 100:124].any(axis=1).argmax() <= 4  # the fan starts at the top, in the middle
    assert not seen[:70, :30].any()  # the marks at the upper left and the words beside the fan are gone
    assert not seen[:70, -30:].any()
    assert not seen[170:].any()  # and so is the menu under it
    assert 0.3 < seen.mean() < 0.6


def test_frames_are_zero_outside_and_untouched_inside(tmp_path):
    path = write_clip(tmp_path / "a.dcm", fan(words="NOBODY KNOWN"))
    prepared = prepare_clip(path)
    crop = crop_to(fit_sector(collect(LumaFrames(read_header(path)))), 240, 320, 1.0)
    assert prepared.frames[:, crop.small_mask == 0].max() == 0
    assert prepared.frames[:, crop.small_mask > 0].mean() > 50


def test_the_aspect_is_kept_on_the_patient_and_the_apex_at_the_top_centre():
    sector = Sector(192.0, 10.0, -40.0, 40.0, 5.0, 200.0)
    isotropic = crop_to(sector, 240, 384, 1.0).small_mask
    stretched = crop_to(sector, 240, 320, 1.2).small_mask
    assert overlap(isotropic, stretched) > 0.98
    mask = crop_to(Sector(120.0, 10.0, -40.0, 30.0, 0.0, 180.0), 240, 320, 1.0).small_mask
    first = np.flatnonzero(mask[:3].any(axis=0))
    assert abs(first.mean() - 111.5) <= 2


def test_a_fan_that_the_picture_cuts_fills_the_frame():
    mask = crop_to(Sector(61.0, 6.0, -45.0, 45.0, 0.0, 200.0), 112, 112, 1.0).small_mask
    assert mask[150].all()
    assert np.flatnonzero(mask.any(axis=1)).size >= 224 * 104 // 112


def test_one_cycle_is_taken(tmp_path):
    clip = write_clip(tmp_path / "a.dcm", fan(frames=40, period=20), RWaveTimeVector=[160.0, 960.0])
    quality = prepare_clip(clip).quality
    assert (quality.gating, quality.phase_verified, quality.rr_ms) == ("tags", True, 800.0)
    assert (quality.first_frame, quality.last_frame, quality.frames_used) == (5, 24, 20)


def test_a_cycle_around_an_r_wave_in_the_middle_is_put_together(tmp_path):
    clip = write_clip(tmp_path / "a.dcm", fan(frames=30, period=20), RWaveTimeVector=[600.0])
    prepared = prepare_clip(clip)
    quality, review = prepared.quality, prepared.review
    assert (quality.gating, quality.phase_verified, quality.beats) == ("periodicity", True, 1)
    assert quality.rr_ms == pytest.approx(800, rel=0.02)
    assert (quality.first_frame, quality.last_frame, quality.frames_used) == (16, 15, 20)
    assert quality.notes == "the cycle's last part is taken from before its R wave"
    assert review.cycle_s == pytest.approx((0.6, 1.4), rel=0.02)
    assert review.cycle_s[1] > review.duration_s
    whole = write_clip(tmp_path / "b.dcm", fan(frames=40, period=20), RWaveTimeVector=[600.0, 1400.0])
    apart = np.abs(prepare_clip(whole).frames.astype(np.int64) - prepared.frames)
    assert apart.mean() <= 2  # a beat is like the one before it


@pytest.mark.parametrize(
    ("tags", "gating", "words"),
    [
        ({}, "periodicity", ""),
        ({"HeartRate": "50"}, "periodicity", "Heart Rate 50/min does not fit the picture's period of"),
        (
            {"RWaveTimeVector": [160.0, 1310.0, 2460.0]},
            "periodicity",
            "R-R 1150 ms of the R-wave tags does not",
        ),
    ],
)
def test_what_does_not_fit_the_pictures_period_is_noted(tmp_path, tags, gating, words):
    clip = write_clip(tmp_path / "a.dcm", fan(frames=70, period=20), **tags)
    quality = prepare_clip(clip).quality
    assert (quality.gating, quality.phase_verified) == (gating, False)
    assert quality.rr_ms == pytest.approx(800, rel=0.03)
    assert quality.notes.startswith(words)
    assert bool(quality.notes) == bool(words)


@pytest.mark.parametrize(
    ("bright", "tags", "outcome"),
    [(1, {"FrameTime": None}, "NO_TIMING"), (1, {"FrameTime": "5"}, "NO_FULL_CYCLE"), (0, {}, "NO_SECTOR")],
)
def test_refusals_without_times_a_cycle_or_a_picture(tmp_path, bright, tags, outcome):
    with pytest.raises(ClipRefused, match=outcome):
        prepare_clip(write_clip(tmp_path / "a.dcm", fan() * np.uint8(bright), **tags))


@pytest.mark.parametrize("trained_on", [False, True])
def test_a_tensor_is_resampled(tmp_path, trained_on):
    clip = torch.rand(40, 112, 112)
    torch.save(clip.clone().requires_grad_(trained_on), tmp_path / "a.pt")
    prepared = prepare_clip(tmp_path / "a.pt")
    assert (prepared.frames.shape, prepared.quality.gating) == (SHAPE, "tensor")
    np.testing.assert_array_equal(prepared.frames[0], square(np.rint(clip[0].numpy() * 255).astype(np.uint8)))


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (torch.zeros(4, 4), Outcome.BAD_TENSOR),
        (torch.zeros(4, 32, 32).to_sparse(), Outcome.BAD_TENSOR),
        (torch.zeros(1).expand(2000, 4096, 2048), Outcome.TOO_LARGE),
        (torch.zeros(1).expand(4, 4096, 4096), Outcome.TOO_LARGE),
        (torch.full((4, 32, 32), 2.0), Outcome.BAD_TENSOR),
        (torch.full((4, 32, 32), float("nan")), Outcome.BAD_TENSOR),
        (torch.zeros(4, 32, 32, dtype=torch.uint8), Outcome.BAD_TENSOR),
        ({"clip": torch.zeros(4, 32, 32)}, Outcome.BAD_TENSOR),
        (Dataset(), Outcome.BAD_TENSOR),
        (torch.zeros(1, 32, 32), Outcome.SINGLE_FRAME),
    ],
)
def test_a_bad_tensor_is_refused(tmp_path, content, outcome):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ClipRefused) as refused:
        prepare_clip(tmp_path / "a.pt")
    assert refused.value.outcome is outcome
    (tmp_path / "a.pt").write_text("Nobody^Known")
    with pytest.raises(ClipRefused, match="BAD_TENSOR"):
        prepare_clip(tmp_path / "a.pt")
