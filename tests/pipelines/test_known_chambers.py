"""The chambers' table on attributions whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from cardio_mlflow.explain.subject import Subject
from cardio_mlflow.parameters import KEYS, VIEW_CODES
from cardio_mlflow.pipelines.known_chambers import PATIENTS, SEED, _shares, _summed
from cardio_mlflow.settings import load_settings
from cardio_mlflow.synthetic.anatomy import draw_anatomy
from cardio_mlflow.synthetic.chambers import CARRIERS, chamber_masks
from cardio_mlflow.synthetic.frames import view_frames
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics

PHASES = np.array([0.0, 0.5])


@pytest.fixture(scope="module")
def patient() -> tuple[Subject, list[dict[str, np.ndarray]]]:
    anatomy = draw_anatomy(draw_hemodynamics(1, SEED), SEED).iloc[0]
    clips = np.stack([view_frames(anatomy, code, PHASES, SEED)[0] for code in VIEW_CODES])
    images = torch.from_numpy(clips).float() / 255
    masks = [chamber_masks(anatomy, code, PHASES, SEED, 224) for code in VIEW_CODES]
    return Subject(None, images, torch.ones(4, dtype=torch.bool)), masks


def table_of(rows: list[dict[str, object]]) -> pd.DataFrame:
    """The table of patients who are all the same."""
    many = [row | {"network": n, "patient": p}
            for p in range(PATIENTS) for n in ("trained", "randomised") for row in rows]  # fmt: skip
    return _summed(pd.DataFrame(many), load_settings({"bootstrap": "100"}, {})).set_index("parameter")


def test_what_falls_on_the_carriers_alone_has_the_largest_ratio(patient) -> None:
    subject, masks = patient
    for key in KEYS:
        maps = np.zeros((9, 4, 2, 224, 224))
        for view, parts in enumerate(masks):
            for part in CARRIERS[key]:
                if part in parts:
                    maps[:, view] += parts[part]
        table = table_of(_shares(maps, subject, masks))
        row = table.loc[key]
        assert row["share"] == 1
        assert row["ratio"] == pytest.approx(1 / row["area"])
        assert row["chamber"] == " and ".join(CARRIERS[key])
        others = table.loc[[k for k in KEYS if set(CARRIERS[k]).isdisjoint(CARRIERS[key])], "share"]
        assert (others < 0.35).all(), "chambers have their borders in common alone"


def test_noise_is_at_chance(patient) -> None:
    subject, masks = patient
    sector = (subject.images > 0).any(1, keepdim=True).numpy()
    noise = np.random.default_rng(0).normal(size=(9, 4, 2, 224, 224)) * sector
    table = table_of(_shares(noise, subject, masks))
    np.testing.assert_allclose(table[["ratio", "ratio_randomised"]], 1, atol=0.03)
    assert table["ratio_strongest"].median() == pytest.approx(1, abs=0.1)
