from __future__ import annotations

import pytest
import torch
from captum.attr import IntegratedGradients

from cardio_mlflow.errors import InputError
from cardio_mlflow.explain import gradients, integrated_gradients
from cardio_mlflow.explain.case import case_of
from cardio_mlflow.explain.gradients import frames_at_once
from cardio_mlflow.explain.integrated_gradients import Attribution, baseline_images, blurred, integrate
from cardio_mlflow.parameters import KEYS

FLOAT = torch.float32


def attribute(case, steps: int = 30, memory: float = 1e12, tolerance: float = 0.01, baseline=None):
    zero = torch.zeros_like(case.images) if baseline is None else baseline
    return integrate(case, zero, steps, tolerance, memory, FLOAT)


def test_it_is_what_captum_gives_one_parameter_at_a_time(tiny_case) -> None:
    case = tiny_case()
    shown = case.shown[None]

    def forward(images):
        features = case.network.encoder(images.flatten(0, 1))
        return case.from_features(features, len(images)).predictions

    found = attribute(case, steps=12, tolerance=9)
    for k in range(len(KEYS)):
        alone = IntegratedGradients(forward).attribute(shown, torch.zeros_like(shown), target=k, n_steps=12)
        torch.testing.assert_close(found.maps[k][case.present].flatten(0, 1), alone[0], rtol=1e-4, atol=1e-7)


def test_it_is_complete_and_leaves_missing_views_alone(tiny_case) -> None:
    case = tiny_case()
    found = attribute(case)
    assert found.maps.shape == (9, 4, 3, 32, 32)
    assert (found.maps[:, 2] == 0).all()
    assert (found.maps[:, [0, 1, 3]] != 0).any((1, 2, 3, 4)).all()
    torch.testing.assert_close(
        found.maps.sum((1, 2, 3, 4)), found.outputs - found.baseline, rtol=0, atol=1e-3
    )
    assert (found.relative_delta < 0.01).all()
    torch.testing.assert_close(found.by_frame.sum((1, 2)), found.outputs - found.baseline, rtol=0, atol=1e-3)
    assert (found.outputs - case.outputs(case.images[None])[0]).abs().max() == 0


@pytest.mark.parametrize("frames_in_memory", [1, 4, 9, 18, 1000])
def test_memory_changes_nothing_but_the_batches(tiny_case, frames_in_memory: int) -> None:
    case = tiny_case()
    one_frame = 17 * 16 * 3 * gradients.GRAPH_FLOATS * 4
    assert frames_at_once(case, frames_in_memory * one_frame, FLOAT) == frames_in_memory
    whole, batched = attribute(case), attribute(case, memory=frames_in_memory * one_frame)
    torch.testing.assert_close(batched.maps, whole.maps, rtol=1e-3, atol=1e-7)


def test_the_backbone_is_passed_once_for_all_nine(tiny_case, monkeypatch: pytest.MonkeyPatch) -> None:
    case, passed = tiny_case(), []
    forward = type(case.network.encoder).forward

    def counted(self, frames):
        passed.append(len(frames))
        return forward(self, frames)

    monkeypatch.setattr(type(case.network.encoder), "forward", counted)
    attribute(case, steps=10, tolerance=9)
    assert sum(passed) == (10 + 2) * 9, "ten steps and the two ends, of three views of three frames"


def test_steps_go_where_the_prediction_changes_until_the_sum_is_right(tiny_case) -> None:
    case = tiny_case()
    rough = attribute(case, steps=2, tolerance=9)
    assert rough.steps == 2
    tolerance = float(rough.relative_delta.max()) / 4
    better = attribute(case, steps=2, tolerance=tolerance)
    assert 4 <= better.steps <= 16
    assert (better.relative_delta <= tolerance).all()
    exact = attribute(case, steps=200, tolerance=9)
    assert apart(better, exact) < apart(rough, exact)


def apart(one: Attribution, other: Attribution) -> float:
    return float((one.maps - other.maps).abs().sum())


def test_stretches_add_up_to_the_whole_line(tiny_case) -> None:
    case = tiny_case()
    whole, cut = attribute(case, steps=14, tolerance=9), attribute(case, steps=60, tolerance=9)
    alike = torch.nn.functional.cosine_similarity(cut.maps.flatten(1), whole.maps.flatten(1))
    assert (alike > 0.999).all()


def test_what_misses_the_tolerance_is_refused_and_says_what_to_do(tiny_case) -> None:
    with pytest.raises(InputError, match=r"in [2-8] steps, so they are not drawn.*ig_steps"):
        attribute(tiny_case(), steps=1, tolerance=1e-9)


def test_what_is_not_finite_raises(tiny_case) -> None:
    case = tiny_case()
    case.network.heads.requires_grad_(False)
    for parameter in case.network.heads.parameters():
        parameter.fill_(float("nan"))
    with pytest.raises(InputError, match="not finite"):
        attribute(case)


def test_bfloat16_is_taken_where_it_is_exact_enough_only(tiny_case) -> None:
    case = tiny_case()
    zero = torch.zeros_like(case.images)
    loose = integrate(case, zero, 20, 9.0, 1e12, torch.bfloat16)
    assert loose.dtype == torch.bfloat16
    missed = float(loose.relative_delta.max())
    strict = integrate(case, zero, 20, missed / 2, 1e12, torch.bfloat16)
    assert strict.dtype == torch.float32
    assert (strict.relative_delta <= missed / 2).all()
    assert torch.nn.functional.cosine_similarity(loose.maps.flatten(), strict.maps.flatten(), 0) > 0.95


def test_nothing_to_explain_is_refused(tiny_case) -> None:
    network = tiny_case().network
    with pytest.raises(InputError, match="no view to explain"):
        case_of(network, torch.zeros(4, 2, 32, 32), *[torch.zeros(4, dtype=torch.bool)] * 2)


def test_the_gradients_are_those_of_finite_differences(tiny_case) -> None:
    case = tiny_case(missing=None, frames=2)
    frames = case.shown
    found = integrated_gradients.shared_gradients(case, frames, 1, FLOAT, 3)
    for place in ((0, 5, 7), (6, 20, 11)):
        step = torch.zeros_like(frames)
        step[place] = 0.05
        ends = [case.from_features(case.network.encoder(frames + s)).predictions[0] for s in (step, -step)]
        slope = (ends[0] - ends[1]) / 0.1
        torch.testing.assert_close(found[:, *place], slope, rtol=0.05, atol=2e-4)


def test_baselines_show_nothing_outside_the_sector() -> None:
    images = torch.rand(4, 3, 40, 40)
    images[..., :8, :] = 0
    for name in ("black", "blurred", "cohort_mean"):
        baseline = baseline_images(images, name, torch.full((4, 40, 40), 0.3))
        assert baseline.shape == images.shape
        assert (baseline[..., :8, :] == 0).all()
    assert (baseline_images(images, "cohort_mean", torch.full((4, 40, 40), 0.3))[..., 8:, :] == 0.3).all()
    with pytest.raises(ValueError, match="mean of the cohort"):
        baseline_images(images, "cohort_mean")


def test_blurring_takes_nothing_from_outside_the_sector() -> None:
    images = torch.zeros(4, 2, 40, 40)
    images[..., 10:, 5:30] = 0.5
    torch.testing.assert_close(baseline_images(images, "blurred"), images)


def test_blur_is_a_gaussian_that_keeps_the_mean() -> None:
    flat = torch.full((2, 30, 30), 0.4)
    torch.testing.assert_close(blurred(flat, 3.0), flat)
    dot = torch.zeros(1, 41, 41)
    dot[0, 20, 20] = 1
    spread = blurred(dot, 2.0)[0]
    assert spread.sum() == pytest.approx(1, abs=1e-4)
    at = torch.arange(41) - 20
    assert float((spread.sum(0) * at**2).sum()) == pytest.approx(4, rel=0.05)
