"""The chambers' table on attributions whose answer is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import known_chambers
from benchmarks.chambers import CARRIERS, chamber_masks
from benchmarks.demo_backbone import small_vit
from benchmarks.frames import view_frames
from benchmarks.known_chambers import SEED, _shares, _summed, main
from cardio_mlflow.data.picture.physical_scale import PhysicalScale
from cardio_mlflow.explain.case import Case
from cardio_mlflow.parameters import KEYS, VIEW_CODES
from cardio_mlflow.settings_reading import load_settings
from cardio_mlflow.synthetic.anatomy import draw_anatomy
from cardio_mlflow.synthetic.hemodynamics import draw_hemodynamics
from cardio_mlflow.training.bundle import Bundle, network_of

PATIENTS = 3
PHASES = np.array([0.0, 0.5])


@pytest.fixture(scope="module")
def patient() -> tuple[Case, list[dict[str, np.ndarray]]]:
    anatomy = draw_anatomy(draw_hemodynamics(1, SEED), SEED).iloc[0]
    clips = np.stack([view_frames(anatomy, code, PHASES, SEED)[0] for code in VIEW_CODES])
    images = torch.from_numpy(clips).float() / 255
    masks = [chamber_masks(anatomy, code, PHASES, SEED, 224) for code in VIEW_CODES]
    return Case(None, images, torch.ones(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)), masks


def table_of(rows: list[dict[str, object]]) -> pd.DataFrame:
    """The table of patients who are all the same."""
    many = [row | {"network": n, "patient": p}
            for p in range(PATIENTS) for n in ("trained", "randomised") for row in rows]  # fmt: skip
    return _summed(pd.DataFrame(many), load_settings({"bootstrap": "100"}, {})).set_index("parameter")


def test_what_falls_on_the_carriers_alone_has_the_largest_ratio(patient) -> None:
    case, masks = patient
    for key in KEYS:
        maps = np.zeros((9, 4, 2, 224, 224))
        for view, parts in enumerate(masks):
            for part in CARRIERS[key]:
                if part in parts:
                    maps[:, view] += parts[part]
        table = table_of(_shares(maps, case, masks))
        row = table.loc[key]
        assert row["share"] == 1
        assert row["ratio"] == pytest.approx(1 / row["area"])
        assert row["chamber"] == " and ".join(CARRIERS[key])
        others = table.loc[[k for k in KEYS if set(CARRIERS[k]).isdisjoint(CARRIERS[key])], "share"]
        assert (others < 0.35).all(), "chambers have their borders in common alone"


def test_noise_is_at_chance(patient) -> None:
    case, masks = patient
    sector = (case.images > 0).any(1, keepdim=True).numpy()
    noise = np.random.default_rng(0).normal(size=(9, 4, 2, 224, 224)) * sector
    table = table_of(_shares(noise, case, masks))
    # four standard errors of the mean of 2,000 absolute normal values, the pixels of the right atrium
    np.testing.assert_allclose(table[["ratio", "ratio_randomised"]], 1, atol=0.07)
    assert table["ratio_strongest"].median() == pytest.approx(1, abs=0.1)


def bundle_of(scale: PhysicalScale | None) -> Bundle:
    """A small network that has learned nothing."""
    torch.manual_seed(0)
    settings = load_settings({"training_frames": "1"}, {})
    network = network_of(small_vit(16, 2, 2, 32, 8).vit, settings)
    return Bundle(network, settings, SimpleNamespace(stroke=()), scale)


def test_clips_and_chambers_are_at_the_scale_that_the_network_sees() -> None:
    anatomy = draw_anatomy(draw_hemodynamics(1, SEED), SEED).iloc[0]
    found = [known_chambers._patient(bundle_of(s), anatomy, 0) for s in (None, PhysicalScale((0.9,) * 4))]
    place = VIEW_CODES.index("SA")  # seen from so deep that it is less than half as large at physical scale
    sectors = [float((case.images[place] > 0).float().mean()) for case, _ in found]
    chambers = [regions[place]["LV"].mean() for _, regions in found]
    assert sectors[1] < 0.5 * sectors[0]
    assert chambers[1] < 0.5 * chambers[0]


def test_the_command_prints_the_table_and_draws_it(monkeypatch: pytest.MonkeyPatch, tmp_path, capsys) -> None:
    asked = []

    def find(settings, model, folder):
        asked.append((settings.study, model))
        return SimpleNamespace(run_ids={2: "b", 1: "a"}, of_fold=lambda _: bundle_of(None))

    monkeypatch.setattr(known_chambers, "find_networks", find)
    monkeypatch.setattr(known_chambers, "prepare_store", lambda: None)
    own = ["--patients", "2", "--figures", str(tmp_path), "--study", "mine", "--ig_tolerance=0.5"]
    main([*own, "--bootstrap", "100", "--figure_formats", "png"])
    assert asked == [("mine", "study")]
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("network of fold 1, 2 synthetic patients")
    assert [line.split()[0] for line in shown[1:10]] == list(KEYS)
    assert all("of the sector; strongest tenth" in line for line in shown[1:10])
    assert (tmp_path / "chambers.png").is_file()
