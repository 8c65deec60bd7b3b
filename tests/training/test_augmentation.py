from __future__ import annotations

import numpy as np
import pytest
import torch

from cardio_mlflow.training.augmentation import Augmentation

NOTHING = {"rotation": 0.0, "shift": 0.0, "zoom": 0.0, "gain": 0.0, "speckle": 0.0, "seed": 0}
SIDE = 64


def augmentation(**changes):
    return Augmentation(**(NOTHING | changes))


def smooth(views=4, frames=2):
    """Low-frequency pictures that differ from view to view."""
    grid = torch.linspace(0, 3, SIDE)
    view = torch.arange(views).view(-1, 1, 1, 1)
    picture = 0.5 + 0.4 * torch.sin(grid.view(-1, 1) + view) * torch.cos(grid + 0.3 * view)
    return picture.expand(views, frames, SIDE, SIDE).clone()


def spot(row, column, views=4, frames=1):
    clips = torch.zeros(views, frames, SIDE, SIDE)
    clips[:, :, row - 1 : row + 2, column - 1 : column + 2] = 1
    return clips


def centre(image):
    """Row and column of the centre of mass, from the image's top-left corner, in pixels."""
    weights = image.numpy() / image.sum().item()
    steps = np.arange(SIDE) + 0.5
    return float((weights.sum(1) * steps).sum()), float((weights.sum(0) * steps).sum())


def test_copy_0_is_the_original():
    clips = smooth()
    everything = augmentation(rotation=20, shift=0.2, zoom=0.3, gain=0.5, speckle=0.3)
    assert torch.equal(everything.copy_of(clips, "a", 0), clips)


def test_zero_ranges_change_nothing_but_by_interpolation():
    clips = smooth()
    assert torch.allclose(augmentation().copy_of(clips, "a", 1), clips, atol=1e-4)


@pytest.mark.parametrize("copy", [1, 2, 3])
def test_values_stay_in_range(copy):
    clips = torch.rand(4, 2, SIDE, SIDE)
    moved = augmentation(rotation=20, shift=0.2, zoom=0.3, gain=0.9, speckle=1).copy_of(clips, "a", copy)
    assert moved.shape == clips.shape
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1


def test_copies_depend_on_seed_patient_and_copy_alone():
    clips, maker = smooth(), augmentation(rotation=10, gain=0.2, speckle=0.1, seed=3)
    one = maker.copy_of(clips, "a", 1)
    torch.manual_seed(99)
    maker.copy_of(clips, "b", 1)
    assert torch.equal(maker.copy_of(clips, "a", 1), one)
    others = [
        maker.copy_of(clips, "a", 2),
        maker.copy_of(clips, "b", 1),
        augmentation(rotation=10, gain=0.2, speckle=0.1, seed=4).copy_of(clips, "a", 1),
    ]
    assert not any(torch.equal(one, other) for other in others)


def test_copies_leave_the_global_random_stream_alone():
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    augmentation(speckle=0.5).copy_of(smooth(), "a", 1)
    assert torch.equal(torch.rand(3), expected)


def test_a_view_does_not_depend_on_what_another_shows():
    clips, maker = smooth(), augmentation(rotation=10, shift=0.1, zoom=0.1, gain=0.2, speckle=0.1)
    black = clips.clone()
    black[1] = 0
    assert torch.equal(maker.copy_of(black, "a", 1)[[0, 2, 3]], maker.copy_of(clips, "a", 1)[[0, 2, 3]])


def test_frames_of_a_clip_move_alike_and_views_share_the_zoom_alone():
    moved = augmentation(rotation=20, shift=0.1, gain=0.3).copy_of(spot(40, 30, frames=3), "a", 1)
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(moved[:, 0], moved[:, 2])
    zoomed = augmentation(zoom=0.3).copy_of(spot(40, 32), "a", 1)
    rows = [centre(zoomed[view, 0])[0] for view in range(4)]
    assert rows == pytest.approx([rows[0]] * 4, abs=1e-3)
    assert abs(rows[0] - 40.5) > 1
    turned = augmentation(rotation=20).copy_of(spot(40, 32), "a", 1)
    columns = [centre(turned[view, 0])[1] for view in range(4)]
    assert len({round(c, 1) for c in columns}) == 4


def test_zoom_is_about_the_top_centre_and_within_its_range():
    for copy in range(1, 8):
        row, column = centre(augmentation(zoom=0.2).copy_of(spot(30, 20), "a", copy)[0, 0])
        factor = row / 30.5
        assert 0.8 <= factor <= 1.2
        assert (column - 32) / (20.5 - 32) == pytest.approx(factor, abs=0.02)


def test_rotation_pivots_at_the_top_centre_and_is_within_its_range():
    angles = []
    for copy in range(1, 20):
        row, column = centre(augmentation(rotation=15).copy_of(spot(40, 32), "a", copy)[0, 0])
        assert np.hypot(row, column - 32) == pytest.approx(np.hypot(40.5, 0.5), abs=0.3)
        angles.append(np.degrees(np.arctan2(column - 32.5, row)))
    assert max(map(abs, angles)) <= 16
    assert max(angles) > 4
    assert min(angles) < -4


def test_a_shift_moves_the_picture_by_at_most_its_share():
    shifts = []
    for copy in range(1, 30):
        row, column = centre(augmentation(shift=0.1).copy_of(spot(32, 32), "a", copy)[0, 0])
        shifts += [row - 32.5, column - 32.5]
    largest = 0.1 * SIDE
    assert max(map(abs, shifts)) <= largest + 0.05
    assert max(shifts) > 0.8 * largest
    assert min(shifts) < -0.8 * largest


def test_a_whole_pixel_shift_is_exact(monkeypatch):
    """With every draw at its largest the picture moves by exactly the stated share, 8 of 64 pixels."""
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(*shape))
    moved = augmentation(shift=0.125).copy_of(smooth(), "a", 1)
    assert torch.allclose(moved[..., 8:, 8:], smooth()[..., :-8, :-8], atol=1e-4)
    assert not moved[..., :7, :].any()


@pytest.mark.parametrize(("drawn", "factor"), [(1.0, 1.3), (0.0, 0.7)])
def test_gain_scales_the_brightness(monkeypatch, drawn, factor):
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, drawn))
    clips = smooth() * 0.5
    assert torch.allclose(augmentation(gain=0.3).copy_of(clips, "a", 1), clips * factor, atol=1e-4)


def test_speckle_is_multiplicative_noise_of_its_sd():
    clips = torch.full((4, 4, SIDE, SIDE), 0.5)
    clips[..., :10, :] = 0
    noisy = augmentation(speckle=0.1).copy_of(clips, "a", 1)
    assert not noisy[..., :9, :].any()
    ratio = noisy[..., 12:-1, 1:-1] / 0.5
    assert float(ratio.std()) == pytest.approx(0.1, rel=0.03)
    assert float(ratio.mean()) == pytest.approx(1, abs=0.005)
    assert not torch.equal(noisy[0, 0], noisy[0, 1])


def test_settings_are_taken_over(tiny_settings):
    given = {"rotation": 3.0, "shift": 0.02, "zoom": 0.04, "gain": 0.5, "speckle": 0.6, "seed": 7}
    assert Augmentation.from_settings(tiny_settings(**given)) == Augmentation(**given)
