from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cardio_mlflow.parameters import KEYS, VIEW_CODES
from cardio_mlflow.synthetic.acquisition import draw_acquisition
from cardio_mlflow.synthetic.cine import render_cine
from cardio_mlflow.synthetic.clip import patient_rows, plan_clip
from cardio_mlflow.synthetic.heart import view_scene
from cardio_mlflow.synthetic.seeding import Stream, generator

PATIENTS = 150


def mean_brightness(seed: int, patient: int, number: int, rows) -> float:
    """Mean gray of the fan, weighted by area on the screen, over a cycle of four frames."""
    hemodynamics, anatomy = rows
    view = VIEW_CODES[number]
    acquisition = plan_clip(seed, patient, view, hemodynamics.iloc[patient]).acquisition
    acquisition = replace(acquisition, phases=np.arange(4) / 4)
    scene = view_scene(anatomy.iloc[patient], view, acquisition.phases)
    polar = render_cine(scene, acquisition, generator(seed, Stream.SPECKLE, patient, number))
    weight = np.arange(polar.shape[1])[None, :, None] * np.ones(polar.shape)
    return float(np.average(polar, weights=weight))


def test_brightness_alone_predicts_nothing() -> None:
    rows = patient_rows(11, PATIENTS)
    bright = np.array([[mean_brightness(11, i, v, rows) for v in range(4)] for i in range(PATIENTS)])
    labels = rows[0][list(KEYS)].to_numpy()
    design = np.column_stack([np.ones(PATIENTS), bright])
    fitted = design @ np.linalg.lstsq(design, labels, rcond=None)[0]
    together = fitted.var(axis=0) / labels.var(axis=0)  # R² of four inputs; chance: 4/150
    single = np.corrcoef(bright.T, labels.T)[:4, 4:]
    assert np.abs(single).max() < 0.26  # 36 correlations, P < 0.05 together
    assert together.max() < 0.11
    assert together.mean() < 0.06


def test_gain_reaches_the_brightness_asked_for() -> None:
    rows = patient_rows(4, 1)
    acquisition = plan_clip(4, 0, "FC", rows[0].iloc[0]).acquisition
    assert mean_brightness(4, 0, 0, rows) == pytest.approx(acquisition.brightness, abs=3)


def test_speckle_moves_slowly() -> None:
    """Neighbouring frames at rest correlate, far more than electronic noise alone would."""
    anatomy = patient_rows(4, 1)[1].iloc[0]
    rng = np.random.default_rng(0)
    acquisition = replace(draw_acquisition("SA", 70.0, rng), phases=np.array([0.0, 0.0, 0.35]))
    polar = render_cine(view_scene(anatomy, "SA", acquisition.phases), acquisition, rng).astype(float)
    deep = polar[:, 210:270, 20:120].reshape(3, -1)
    still, beating = np.corrcoef(deep)[0, 1], np.corrcoef(deep)[0, 2]
    assert 0.3 < still < 0.9995
    assert beating < still
