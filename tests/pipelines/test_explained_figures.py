"""Overlays as files of their own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from cardio_mlflow.errors import InputError
from cardio_mlflow.explain.integrated_gradients import Attribution
from cardio_mlflow.explain.patient import own_heads
from cardio_mlflow.figures import explanation_checks
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.pipelines import explained_figures
from cardio_mlflow.pipelines.visualize import count_of_loose
from cardio_mlflow.settings_reading import load_settings


def test_the_most_important_frames_of_the_views_that_are_there_become_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    real = explained_figures.overlay_pair

    def pair(*arguments, title: str, **options):
        drawn.append(title)
        return real(*arguments, title=title, **options)

    monkeypatch.setattr(explained_figures, "overlay_pair", pair)
    generator = np.random.default_rng(0)
    maps = torch.zeros(9, 4, 3, 16, 16)
    maps[:, 1, 2], maps[:, 1, 0] = 2.0, 1.0
    attribution = Attribution(maps, torch.zeros(9), torch.zeros(9), torch.float32, 8)
    found = SimpleNamespace(
        frames=generator.integers(1, 255, (4, 3, 224, 224), np.uint8),
        present=np.array([False, True, False, False]), attribution=attribution,
        keys=tuple(key for key in KEYS if key != "CO"),  # which the network has not learned
        own_heads="CI: what its own head predicts",
    )  # fmt: skip
    settings = load_settings({"figure_formats": "png"}, {})
    explained_figures._write_loose(tmp_path / "overlays", settings, found, 2)
    assert {path.name for path in (tmp_path / "overlays").iterdir()} == {
        f"{key}_A2C_{rank}.png" for key in found.keys for rank in (1, 2)
    }
    assert [title for title in drawn if "own head" in title] == [
        f"{key}, by its own head, A2C, frame {at}" for key in ("CI", "SVRI") for at in (3, 1)
    ]
    assert drawn[:2] == ["RAP, A2C, frame 3", "RAP, A2C, frame 1"], "the largest share first"
    with Image.open(tmp_path / "overlays" / "PVR_A2C_1.png") as picture:
        assert min(picture.size) > 300


def test_a_network_of_stroke_volumes_is_explained_by_its_direct_heads() -> None:
    scalers = {
        stroke: SimpleNamespace(scaler=SimpleNamespace(stroke=stroke)) for stroke in ((), ("SV", "SVI"))
    }
    without, told = (own_heads(bundle) for bundle in scalers.values())
    assert without == ""
    assert told.startswith("CO, CI, SVRI: by their own heads, not")
    found = SimpleNamespace(
        frames=np.full((4, 3, 224, 224), 90, np.uint8), present=np.ones(4, np.bool_), keys=("RAP", "CO"),
        output=SimpleNamespace(frame_weights=torch.ones(1, 4, 3) / 3, view_weights=torch.ones(1, 4) / 4),
        attribution=Attribution(torch.ones(9, 4, 3, 16, 16), *[torch.zeros(9)] * 2, torch.float32, 8),
        gradient_rollout=np.ones((9, 4, 3, 4, 4)), rollout=np.ones((4, 3, 4, 4)),
        alphas={"temporal": 0.5, "fusion": 0.5}, own_heads=told,
    )  # fmt: skip
    quality = pd.DataFrame({"patient_id": ["P1"], "view": ["FC"], "phase_verified": [True]})
    inputs = SimpleNamespace(prepared=SimpleNamespace(quality=quality))
    patient = explained_figures.Patient(1, "P1", "median", 2)
    figures = explained_figures.patient_figures(load_settings({}, {}), inputs, found, patient)
    for name in ("overlays", "gradient_rollout", "frame_importance"):
        shown = " ".join(text.get_text() for text in figures[name].findobj(Text))
        assert told in shown, name
    for draw in (explanation_checks.deletion_insertion, explanation_checks.sanity_bars):
        row = {"parameter": ["CO"], "check": "small noise", "correlation": 0.5,
               "order": "random", "kind": "deletion", "share": 0.5, "value": 0.5}  # fmt: skip
        for note in ("", told):
            shown = draw(pd.DataFrame(row), synthetic=False, note=note).findobj(Text)
            assert any(told in text.get_text() for text in shown) == bool(note)


@pytest.mark.parametrize("loose", ["yes", "33", "-1", "0000099", "9" * 5000, "³", ""])
def test_another_number_of_files_is_refused(loose: str) -> None:
    with pytest.raises(InputError, match="Allowed: false, true"):
        count_of_loose(loose)
