from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardio_mlflow.parameters import KEYS, VIEW_CODES
from cardio_mlflow.synthetic.acquisition import draw_acquisition, draw_timing
from cardio_mlflow.synthetic.clip import patient_rows, plan_clip

SEED = 7
PATIENTS = 250


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def drawn() -> pd.DataFrame:
    """One row per clip of a cohort: how it is taken, and its patient's references."""
    references = patient_rows(SEED, PATIENTS)[0]
    rows = []
    for patient in range(PATIENTS):
        for view in VIEW_CODES:
            clip = plan_clip(SEED, patient, view, references.iloc[patient])
            acquisition, turn = clip.acquisition, clip.acquisition.turn
            rows.append(
                {"view": view, "depth": acquisition.depth, "half_angle": np.rad2deg(acquisition.half_angle),
                 "turn": np.rad2deg(np.arctan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])),
                 "size": np.sqrt(np.linalg.det(turn)), "aside": acquisition.shift[0],
                 "stretch": np.divide(*np.linalg.svd(turn, compute_uv=False)),
                 "layout": clip.layout.name, "regions": clip.layout.regions,
                 **references.iloc[patient][list(KEYS)]}
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_depths_are_those_of_real_life(drawn: pd.DataFrame) -> None:
    assert drawn["depth"].between(10, 24).all()
    assert (drawn["depth"] * 2 % 1 == 0).all()
    assert drawn["depth"].min() < 11.5
    assert drawn["depth"].max() > 21
    assert 0.6 < drawn["depth"].between(13, 20).mean() < 0.9
    depths = drawn.groupby("view")["depth"].mean()
    assert depths[["FC", "TC"]].min() > depths[["SA", "LA"]].max() + 1
    assert drawn.groupby("view")["depth"].std().min() > 1.8


def test_sectors_and_planes_vary(drawn: pd.DataFrame) -> None:
    assert drawn["size"].notna().all(), "no heart is mirrored"
    assert drawn["half_angle"].between(30, 48).all()
    assert drawn["half_angle"].min() < 33
    assert drawn["half_angle"].max() > 45
    assert 5.5 < drawn["turn"].std() < 8.5
    assert drawn["stretch"].max() < np.exp(0.1) + 1e-9
    assert (drawn["stretch"] > 1.04).mean() > 0.3
    assert 0.02 < drawn["size"].std() < 0.05


def test_nothing_of_a_clip_knows_the_references(drawn: pd.DataFrame) -> None:
    """Of the mean over a patient's four views, 54 correlations of 250 patients: P < 0.01 together."""
    taken = ["depth", "half_angle", "turn", "size", "aside", "stretch"]
    patients = drawn.groupby(np.arange(len(drawn)) // len(VIEW_CODES))[[*taken, *KEYS]].mean()
    assert patients.corr(method="spearman").loc[taken, list(KEYS)].abs().to_numpy().max() < 0.24


def test_some_files_of_every_scanner_lack_their_regions(drawn: pd.DataFrame) -> None:
    lost = (drawn["regions"] == "absent").groupby(drawn["layout"]).mean()
    assert lost["cirrus"] == 1
    assert lost.drop("cirrus").between(0.06, 0.26).all()
    assert "stale" in set(drawn["regions"])


@given(st.integers(0, 10_000), st.sampled_from(VIEW_CODES))
def test_a_point_is_seen_where_it_came_from(seed: int, view: str) -> None:
    rng = generator(seed)
    acquisition = draw_acquisition(view, 70.0, rng)
    points = rng.normal(0, 8, (5, 3, 2))
    np.testing.assert_allclose(acquisition.unplace(acquisition.place(points)), points, atol=1e-9)


@given(st.integers(0, 10_000), st.floats(48, 120))
def test_every_clip_holds_a_whole_beat_at_any_rate(seed: int, rate: float) -> None:
    times, beats = draw_timing(rate, generator(seed))
    inside = beats[(beats >= 0) & (beats <= times[-1])]
    assert len(inside) >= 2
    assert times[0] == 0
    assert 20 <= 1 / np.diff(times).max() <= 51
    assert np.diff(inside) == pytest.approx(60 / rate, rel=0.06)
    assert beats[0] < 0
    assert beats[-1] > times[-1]
