"""Overlays as files of their own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from cardio_mlflow.errors import InputError
from cardio_mlflow.explain.integrated_gradients import Attribution
from cardio_mlflow.parameters import KEYS
from cardio_mlflow.pipelines import explained_figures
from cardio_mlflow.pipelines.visualize import count_of_loose
from cardio_mlflow.settings import load_settings


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
    )  # fmt: skip
    settings = load_settings({"figure_formats": "png"}, {})
    explained_figures._write_loose(tmp_path / "overlays", settings, found, 2)
    assert {path.name for path in (tmp_path / "overlays").iterdir()} == {
        f"{key}_A2C_{rank}.png" for key in found.keys for rank in (1, 2)
    }
    assert drawn[:2] == ["RAP, A2C, frame 3", "RAP, A2C, frame 1"], "the largest share first"
    with Image.open(tmp_path / "overlays" / "PVR_A2C_1.png") as picture:
        assert min(picture.size) > 300


@pytest.mark.parametrize("loose", ["yes", "33", "-1", "0000099", "9" * 5000, "³", ""])
def test_another_number_of_files_is_refused(loose: str) -> None:
    with pytest.raises(InputError, match="Allowed: false, true"):
        count_of_loose(loose)
