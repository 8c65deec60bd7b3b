from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from PIL import Image

from cardio_mlflow.figures.overlay import (
    GRADIENT_ROLLOUT,
    LOWERS,
    RAISES,
    ROLLOUT,
    apex_mask,
    blend,
    coloured,
    lowest_row,
    sector_mask,
    sector_outline,
    smooth,
    to_frame_size,
    top_frames,
    visible_heat,
)
from cardio_mlflow.figures.overlay_animation import write_animation
from cardio_mlflow.figures.overlay_page import overlay_page, overlay_pair
from cardio_mlflow.figures.style import SYNTHETIC_MARK, save_figure
from cardio_mlflow.parameters import KEYS

# Whatever an earlier test left unclosed is collected at any time, also in these.
pytestmark = pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")

SIDE, MAP = 64, 24
VALUES = st.floats(-1e6, 1e6, width=32)


def fan(side: int = SIDE) -> np.ndarray:
    """A sector of 80 degrees with its apex at the top centre, bool."""
    down, across = np.mgrid[:side, :side] + 0.5
    radius, angle = np.hypot(down, across - side / 2), np.arctan2(across - side / 2, down)
    return (radius < 0.75 * side) & (np.abs(angle) < np.radians(40))


def clips(count: int = 5) -> np.ndarray:
    speckle = np.random.default_rng(0).integers(1, 200, (4, count, SIDE, SIDE), np.uint8)
    return speckle * fan().astype(np.uint8)


def maps(count: int = 5) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 1e-4, (9, 4, count, MAP, MAP)).astype(np.float32)


ALL, NO_PSAX = np.ones(4, np.bool_), np.array([True, True, False, True])


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text")))


def first_frame(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), np.int16)


@given(arrays.arrays(np.float64, (3, 7), elements=VALUES), st.integers(1, 7))
def test_top_frames_are_the_strongest_and_of_equal_ones_the_earlier(values: np.ndarray, count: int) -> None:
    found = top_frames(values, count)
    for row, places in zip(np.abs(values), found, strict=True):
        assert places.tolist() == sorted(range(7), key=lambda place: (-row[place], place))[:count]


def test_top_frames_of_a_network_and_of_too_many() -> None:
    importance = np.zeros((9, 4, 5))
    importance[2, 3, 4], importance[2, 3, 1] = -3, 2
    found = top_frames(importance, 2)
    assert found.shape == (9, 4, 2)
    assert found[2, 3].tolist() == [4, 1]
    assert found[0, 0].tolist() == [0, 1]
    assert top_frames(np.array([np.nan, 0.0]), 1).tolist() == [1]
    for count in (0, 6):
        with pytest.raises(ValueError, match="5 frames"):
            top_frames(importance, count)


@settings(deadline=None)
@given(arrays.arrays(np.float64, (2, 9, 13), elements=st.floats(-100, 100)), st.floats(0, 20))
def test_smoothing_keeps_each_maps_sum(values: np.ndarray, sigma: float) -> None:
    found = smooth(values, sigma)
    np.testing.assert_allclose(found.sum((1, 2)), values.sum((1, 2)), atol=1e-8)
    slack = 1e-9
    assert found.max() <= values.max() + slack
    assert found.min() >= values.min() - slack


def test_smoothing_spreads_within_a_map_only() -> None:
    values = np.zeros((2, 3, 21, 21))
    values[0, 1, 10, 10] = 1
    found = smooth(values, 1.5)
    assert found[0, 1].argmax() == 10 * 21 + 10
    assert found[0, 1, 10, 12] > 0
    assert np.count_nonzero(np.delete(found.reshape(6, -1), 1, 0)) == 0
    assert smooth(values, 0) is values


@pytest.mark.parametrize("side", [1, 32, 96, 224, 448])
def test_maps_come_to_the_frames_size_in_place(side: int) -> None:
    values = np.zeros((side, side), np.float32)
    values[side // 2 :, : side // 2] = 1
    found = to_frame_size(values)
    assert found.shape == (224, 224)
    if side > 1:
        middle = [found[56, 56], found[56, 168], found[168, 168], found[168, 56]]
        np.testing.assert_allclose(middle, [0, 0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(to_frame_size(np.full((side, side), 0.25)), 0.25)


def test_the_apex_mask_is_a_half_disc_at_the_top_centre() -> None:
    mask = apex_mask(224)
    assert not mask[0, 111]
    assert not mask[16, 112]
    assert mask[18, 112]
    assert mask[0, 90]
    assert (mask == mask[:, ::-1]).all()
    assert (~mask).sum() == pytest.approx(np.pi * (0.08 * 224) ** 2 / 2, rel=0.02)
    assert apex_mask(10, 0.0).all()


def test_the_sector_is_found_though_its_edge_and_inside_are_dark() -> None:
    inside = fan()
    frames = clips()[0]
    frames[:, 20:30, 30:36] = 0
    frames[0] = 0
    np.testing.assert_array_equal(sector_mask(frames), inside)
    np.testing.assert_array_equal(sector_mask(inside), inside)
    outline = sector_outline(frames)
    assert (outline[0] == outline[-1]).all()
    columns, rows = outline.T.astype(int)
    assert inside[rows, columns].all()
    assert (outline.min(0).tolist(), outline.max(0).tolist()) == (
        np.argwhere(inside)[:, ::-1].min(0).tolist(), np.argwhere(inside)[:, ::-1].max(0).tolist()
    )  # fmt: skip
    assert lowest_row(inside) == np.flatnonzero(inside.any(1))[-1] + 1


def test_the_sector_of_black_frames_is_empty() -> None:
    black = np.zeros((3, 8, 8), np.uint8)
    assert not sector_mask(black).any()
    assert sector_outline(black).shape == (0, 2)
    assert lowest_row(np.zeros((2, 8, 8), np.bool_)) == 8
    line = np.eye(8, dtype=np.uint8)
    np.testing.assert_array_equal(sector_mask(line), line > 0)
    dot = np.pad(np.ones((1, 1), np.uint8), 3)
    assert sector_mask(dot).sum() == 1
    assert len(sector_outline(dot)) == 2


@settings(deadline=None)
@given(
    arrays.arrays(np.uint8, (12, 12)), arrays.arrays(np.float64, (12, 12), elements=VALUES),
    arrays.arrays(np.bool_, (12, 12)), st.floats(1e-3, 1e6), st.floats(0, 1),
)  # fmt: skip
def test_blending_colours_only_where_there_is_heat_in_the_sector(
    frame: np.ndarray, heat: np.ndarray, sector: np.ndarray, scale: float, opacity: float
) -> None:
    found = blend(frame, heat, scale, opacity, sector).astype(int)
    plain = np.repeat(frame[..., None], 3, 2).astype(int)
    silent = ~sector | ~apex_mask(12) | (heat == 0)
    np.testing.assert_array_equal(found[silent], plain[silent])
    for colour, where in ((RAISES, heat > 0), (LOWERS, heat < 0)):
        moved, towards = (found - plain)[where], np.array(colour) - plain[where]
        assert (np.abs(moved) <= np.abs(towards)).all()
        assert (moved * towards >= 0).all()


@given(st.integers(0, 255), st.floats(-1, 1), st.floats(-1, 1))
def test_stronger_heat_is_more_opaque(gray: int, one: float, other: float) -> None:
    weak, strong = sorted((abs(one), abs(other)))
    for sign, colour in ((1, RAISES), (-1, LOWERS)):
        pair = coloured(np.full(2, gray, np.uint8), sign * np.array([weak, strong])).astype(int)
        left = np.abs(pair - np.array(colour)).sum(1)
        assert left[0] >= left[1]


def test_blending_of_nothing_of_everything_and_of_wrong_shapes() -> None:
    frame, heat = clips()[0, 0], np.ones((SIDE, SIDE))
    plain = np.repeat(frame[..., None], 3, 2)
    for found in (blend(frame, heat, 0), blend(frame, 0 * heat, 1), blend(frame, heat * np.nan, 1)):
        np.testing.assert_array_equal(found, plain)
    full = blend(frame, heat, 0.5, 1)
    assert full[40, 32].tolist() == list(RAISES)
    assert blend(frame, -heat, 1, 1)[40, 32].tolist() == list(LOWERS)
    np.testing.assert_array_equal(full[~fan()], plain[~fan()])
    assert full[0, SIDE // 2].tolist() == plain[0, SIDE // 2].tolist()
    with pytest.raises(ValueError, match="squares of one size"):
        blend(frame, heat[:10], 1)
    with pytest.raises(ValueError, match="opacity"):
        blend(frame, heat, 1, 1.5)


def test_visible_heat_is_none_outside_the_sector_and_at_the_apex() -> None:
    heat = visible_heat(np.ones((MAP, MAP)), fan())
    assert heat.shape == (SIDE, SIDE)
    np.testing.assert_allclose(heat, fan() & apex_mask(SIDE))
    broken = np.ones((MAP, MAP))
    broken[4, 5], broken[5, 4] = np.nan, np.inf
    assert np.isfinite(visible_heat(broken, fan())).all()


@pytest.mark.parametrize("present", [ALL, NO_PSAX], ids=["all", "no_psax"])
@pytest.mark.parametrize("keys", [KEYS, ("RAP", "PVR"), ("CO",)], ids=len)
def test_the_page_shows_the_top_frames_under_their_heat(present: np.ndarray, keys: tuple[str, ...]) -> None:
    frames, attribution, phases = (
        clips() * present[:, None, None, None].astype(np.uint8),
        maps(),
        np.arange(5) / 5,
    )
    importance = attribution.sum((3, 4)).astype(np.float64)
    figure = overlay_page(
        frames, attribution, importance, present, keys, synthetic=True, title="P1", phases=phases,
        phase_known=np.array([True, False, True, True]),
    )  # fmt: skip
    figure.canvas.draw()
    *cells, bar = figure.axes
    panels = np.array(cells).reshape(4, len(keys) + 1)
    assert [axes.get_title() for axes in panels[0]] == ["plain", *keys]
    rows = lowest_row(np.stack([sector_mask(clip) for clip in frames])[present])
    best = top_frames(importance, 1)[..., 0]
    heats = {
        (k, v): visible_heat(attribution[KEYS.index(k), v, best[KEYS.index(k), v]], sector_mask(frames[v]))
        for k in keys for v in np.flatnonzero(present)
    }  # fmt: skip
    scale = max(np.abs(heat).max() for heat in heats.values())
    for view in np.flatnonzero(present):
        plain, *others = (axes.images[0].get_array() for axes in panels[view])
        np.testing.assert_array_equal(plain[..., 0], frames[view, 2][:rows])
        for key, picture, axes in zip(keys, others, panels[view, 1:], strict=True):
            t = best[KEYS.index(key), view]
            expected = blend(frames[view, t], heats[key, view], scale, sector=sector_mask(frames[view]))
            np.testing.assert_array_equal(picture, expected[:rows])
            phase = "" if view == 1 else f" · {phases[t]:.2f}"
            assert axes.get_xlabel() == f"{t + 1}{phase}"
    assert ("no PSAX" in words(figure)) is not present[2]
    assert "page's largest" in bar.get_xlabel()
    assert "SD per pixel" in bar.get_xlabel()
    assert SYNTHETIC_MARK in words(figure)


def test_rollout_is_not_called_an_attribution() -> None:
    frames, relevance = clips(1), np.abs(maps(1))
    importance = relevance.sum((3, 4)).astype(np.float64)
    page = overlay_page(frames, relevance, importance, ALL, synthetic=False, meaning=GRADIENT_ROLLOUT)
    page.canvas.draw()
    bar = page.axes[-1]
    assert bar.get_xlim() == (0, 1)
    assert [label.get_text() for label in bar.get_xticklabels()] == ["0", "0.5", "1"]
    assert bar.get_xlabel().startswith("gradient-weighted rollout (no unit)")
    assert f"{MAP} patches across" in words(page)
    pair = overlay_pair(frames[0, 0], maps(1)[0, 0, 0], synthetic=False, meaning=ROLLOUT)
    assert "−1, below" in words(pair)
    assert "SD per pixel" not in words(page) + words(pair)


def test_pages_that_have_nothing_to_show_say_so() -> None:
    frames, attribution = clips(1), maps(1)
    importance = attribution.sum((3, 4)).astype(np.float64)
    none = np.zeros(4, np.bool_)
    assert "no view" in words(overlay_page(frames, attribution, importance, none, synthetic=False))
    assert "no parameter" in words(overlay_page(frames, attribution, importance, ALL, (), synthetic=False))
    still = overlay_page(frames, 0 * attribution, 0 * importance, ALL, synthetic=False)
    assert "attribution is 0" in words(still)
    assert SYNTHETIC_MARK not in words(still)
    pair = overlay_pair(frames[0, 0], 0 * attribution[0, 0, 0], synthetic=False)
    assert "attribution is 0" in words(pair)
    black = overlay_pair(0 * frames[0, 0], attribution[0, 0, 0], synthetic=False)
    assert "the frame is black" in words(black)
    for figure in (still, pair, black):
        figure.canvas.draw()


def test_a_pair_is_the_plain_frame_beside_its_overlay() -> None:
    frame, heat = clips()[0, 0], maps()[0, 0, 0]
    figure = overlay_pair(frame, heat, synthetic=True, title="RAP, A4C", scale=2e-5, sigma=0)
    left, right, bar = figure.axes
    rows = lowest_row(sector_mask(frame))
    np.testing.assert_array_equal(left.images[0].get_array()[..., 1], frame[:rows])
    expected = blend(frame, visible_heat(heat, sector_mask(frame), 0), 2e-5)[:rows]
    np.testing.assert_array_equal(right.images[0].get_array(), expected)
    assert same_color(right.lines[0].get_color(), "#8C8C8C")
    assert "relative to the scale, 2.0·10⁻⁵" in bar.get_xlabel()


@pytest.mark.parametrize("titled", [True, False])
def test_overlays_are_saved_whole(titled: bool, tmp_path: Path) -> None:
    frames, attribution = clips(), maps()
    importance = attribution.sum((3, 4)).astype(np.float64)
    title = "Patient P0001" if titled else ""
    page = overlay_page(frames, attribution, importance, NO_PSAX, synthetic=True, title=title)
    pair = overlay_pair(frames[0, 0], attribution[0, 0, 0], synthetic=True, title=title)
    for name, figure in (("page", page), ("pair", pair)):
        png, eps = save_figure(figure, tmp_path / name, ("png", "eps"))
        pixels = first_frame(png)
        assert all(edge.min() > 250 for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
        assert eps.read_bytes().startswith(b"%!PS-Adobe-3.0 EPSF")


@pytest.mark.parametrize("suffix", ["webp", "gif"])
@pytest.mark.parametrize("count", [1, 5])
def test_animations_open_and_have_every_frame_though_all_are_alike(
    suffix: str, count: int, tmp_path: Path
) -> None:
    frames = np.repeat(clips(1), count, axis=1)
    path = write_animation(
        tmp_path / "new" / f"RAP.{suffix}", frames, 0 * maps(count)[0], NO_PSAX, key="RAP", synthetic=True,
        milliseconds=80,
    )  # fmt: skip
    assert [file.name for file in path.parent.iterdir()] == [f"RAP.{suffix}"]
    with Image.open(path) as picture:
        assert getattr(picture, "n_frames", 1) == count
        if count > 1:
            assert picture.info["loop"] == 0
            picture.seek(count - 1)
        picture.load()
        assert suffix == "webp" or count == 1 or picture.info["duration"] == 80


def test_an_animation_shows_the_overlay_and_marks_the_synthetic(tmp_path: Path) -> None:
    frames, attribution = clips(), maps()[0]
    files = [tmp_path / name for name in ("synthetic.webp", "real.webp", "still.gif")]
    for path, heat in zip(files, (attribution, attribution, 0 * attribution), strict=True):
        write_animation(path, frames, heat, ALL, key="RAP", synthetic=path is files[0], sigma=0)
    marked, real, still = map(first_frame, files)
    assert np.abs(marked - real)[:24].max() > 100
    views = slice(24, 24 + lowest_row(fan()))

    def tint(picture: np.ndarray) -> float:
        return float(np.ptp(picture[views], axis=2).mean())

    assert tint(real) > 10 * tint(still)
    with pytest.raises(ValueError, match=r"webp or a \.gif"):
        write_animation(tmp_path / "RAP.mp4", frames, attribution, ALL, key="RAP", synthetic=True)
    nothing = write_animation(files[2], 0 * frames, attribution, ~ALL, key="CO", synthetic=False)
    with Image.open(nothing) as picture:
        assert picture.n_frames == 5
