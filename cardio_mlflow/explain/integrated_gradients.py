"""Integrated Gradients of all nine parameters over all views together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from captum.attr import IntegratedGradients
from torch import Tensor
from torch.nn import functional

from cardio_mlflow.errors import InputError
from cardio_mlflow.explain.case import Case
from cardio_mlflow.explain.gradients import frames_at_once, shared_gradients
from cardio_mlflow.parameters import KEYS

BaselineName = Literal["black", "blurred", "cohort_mean"]
BLUR: Final = 0.1
"""SD of the blurred baseline as a share of the image's side: chambers are gone, the brightness stays."""
MOST_STEPS: Final = 8
"""How many times the steps that were asked for may be spent."""
COPIES: Final = 4
"""Images of a version that captum keeps for each parameter, besides the backbone's activations."""
STRETCH: Final = 10
"""Steps of the quadrature in one stretch of the line."""
SMALLEST_DIFFERENCE: Final = 0.1
"""SD of the scaled prediction. A smaller difference to the baseline counts as this one: where there is
nothing to attribute, a share of it means nothing."""


@dataclass(frozen=True)
class Attribution:
    """Integrated Gradients of one patient.

    Attributes:
        maps: (9, V, T, h, w), in scaled target space (SDs of the parameter) per pixel; 0 for missing views.
        outputs: (9,) scaled predictions of the images.
        baseline: (9,) scaled predictions of the baseline.
        dtype: of the backbone's arithmetic.
        steps: of the quadrature.
    """

    maps: Tensor
    outputs: Tensor
    baseline: Tensor
    dtype: torch.dtype
    steps: int

    @property
    def by_frame(self) -> Tensor:
        """(9, V, T), summed over the pixels of each frame."""
        return self.maps.sum((-2, -1))

    @property
    def delta(self) -> Tensor:
        """(9,) how far the sum of the attributions misses the difference that it should be."""
        return self.maps.double().sum((1, 2, 3, 4)) - (self.outputs - self.baseline).double()

    @property
    def relative_delta(self) -> Tensor:
        """(9,) absolute delta as a share of that difference, or of `SMALLEST_DIFFERENCE`."""
        difference = (self.outputs - self.baseline).abs().clamp(min=SMALLEST_DIFFERENCE)
        return self.delta.abs() / difference.double()


def integrate(
    case: Case, baseline: Tensor, steps: int, tolerance: float, memory: float, dtype: torch.dtype
) -> Attribution:
    """Integrated Gradients along the straight line from a baseline, by adaptive Gauss-Legendre quadrature.

    Sundararajan M, Taly A, Yan Q. Axiomatic attribution for deep networks. ICML 2017. The line is cut into
    stretches of `STRETCH` steps each, which captum integrates. The attributions of a stretch should sum to
    the change of the prediction over it: one that misses that is halved, so that steps go where the
    prediction changes abruptly. A lower precision than float32 is tried once, without halving.

    Args:
        case: network and patient.
        baseline: (V, T, h, w) images.
        steps: of the quadrature, at first.
        tolerance: largest relative delta of a parameter.
        memory: bytes that activations may take.
        dtype: of the backbone's arithmetic.

    Raises:
        InputError: the attributions are not finite, or miss the tolerance in float32 with `MOST_STEPS` times
            the steps.
    """
    if dtype != torch.float32:
        found = _Path(case, baseline, memory, dtype).integrate(steps, float("inf"), steps)
        if _is_complete(found, tolerance):
            return found
    found = _Path(case, baseline, memory, torch.float32).integrate(steps, tolerance, MOST_STEPS * steps)
    if not found.maps.isfinite().all():
        raise InputError("The attributions are not finite: this network cannot be explained.")
    if not _is_complete(found, tolerance):
        worst = int(found.relative_delta.argmax())
        raise InputError(
            f"Integrated Gradients of {KEYS[worst]} miss the difference in prediction by "
            f"{found.relative_delta[worst]:.1%} (allowed: {tolerance:.1%}) in {found.steps} steps, so they "
            "are not drawn. More steps (-P ig_steps=…), or -P ig_baseline=blurred, usually help."
        )
    return found


def _is_complete(found: Attribution, tolerance: float) -> bool:
    return bool((found.relative_delta <= tolerance).all())


@dataclass(frozen=True)
class _Stretch:
    """A piece of the line: its ends, 0 to 1 from the baseline to the images, and the predictions there."""

    start: float
    end: float
    first: Tensor
    last: Tensor

    @property
    def length(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class _Path:
    """The straight line from a baseline to a patient's images."""

    case: Case
    baseline: Tensor
    memory: float
    dtype: torch.dtype

    def at(self, share: float) -> Tensor:
        """(V, T, h, w), the images at a share of the way."""
        return torch.lerp(self.baseline, self.case.images, share)

    def integrate(self, steps: int, tolerance: float, most: int) -> Attribution:
        """Integrate over the stretches, halving those that are not exact enough, in `most` steps at most."""
        count = max(1, round(steps / STRETCH))
        nodes = math.ceil(steps / count)
        cuts = [k / count for k in range(count + 1)]
        ends = [self.case.outputs(self.at(cut)[None])[0] for cut in cuts]
        todo = [_Stretch(cuts[k], cuts[k + 1], ends[k], ends[k + 1]) for k in reversed(range(count))]
        difference = (ends[-1] - ends[0]).abs().clamp(min=SMALLEST_DIFFERENCE)
        maps = self.baseline.new_zeros(len(KEYS), *self.baseline.shape)
        spent, used = 0, 0
        while todo:
            stretch = todo.pop()
            part = self._integrate(stretch, nodes)
            spent += nodes
            missed = (part.double().sum((1, 2, 3, 4)) - (stretch.last - stretch.first).double()).abs()
            allowed = 0.5 * tolerance * math.sqrt(stretch.length) * difference
            room = spent + nodes * (len(todo) + 2) <= most
            if (missed <= allowed).all() or not missed.isfinite().all() or not room:
                maps += part
                used += nodes
            else:
                todo += reversed(self._halves(stretch))
        return Attribution(maps, ends[-1], ends[0], self.dtype, used)

    def _halves(self, stretch: _Stretch) -> tuple[_Stretch, _Stretch]:
        middle = (stretch.start + stretch.end) / 2
        there = self.case.outputs(self.at(middle)[None])[0]
        return (
            _Stretch(stretch.start, middle, stretch.first, there),
            _Stretch(middle, stretch.end, there, stretch.last),
        )

    def _integrate(self, stretch: _Stretch, nodes: int) -> Tensor:
        """(9, V, T, h, w), what a stretch adds to the attributions."""
        case = self.case
        start, end = (case.with_images(self.at(at)).shown for at in (stretch.start, stretch.end))
        at_once = frames_at_once(case, self.memory, self.dtype)
        expanded = COPIES * len(KEYS) * start.numel() * start.element_size()
        versions = max(1, min(nodes, at_once // len(start), int(self.memory // expanded)))

        def gradients(inputs: tuple[Tensor], **_: Any) -> tuple[Tensor]:
            """Gradients of all nine: captum's images have an axis for them, along which all are equal."""
            images = inputs[0][:, 0]
            found = shared_gradients(case, images.flatten(0, 1), len(images), self.dtype, max(1, at_once))
            return (found.view(len(KEYS), *images.shape).transpose(0, 1),)

        method = IntegratedGradients(lambda images: images)
        method.gradient_func = gradients
        nine = (1, len(KEYS), *start.shape)
        values = method.attribute(
            end.expand(nine), start.expand(nine), n_steps=nodes, internal_batch_size=versions
        )  # fmt: skip
        return case.by_view(values[0].detach())


def baseline_images(images: Tensor, name: BaselineName, cohort_mean: Tensor | None = None) -> Tensor:
    """The baseline of a patient's images.

    ``black``: a black sector. ``blurred``: each frame blurred within its sector. ``cohort_mean``: the mean
    image of each view over the training patients, within the patient's own sector.

    Args:
        images: (V, T, h, w), 0-1; 0 outside the sector.
        name: which one.
        cohort_mean: (V, h, w), for ``cohort_mean``.

    Raises:
        ValueError: ``cohort_mean`` without the mean.
    """
    if name == "black":
        return torch.zeros_like(images)
    sector = (images > 0).any(1, keepdim=True)
    if name == "blurred":
        return blurred_within(images, sector, BLUR * images.shape[-1])
    if cohort_mean is None:
        raise ValueError("the mean of the cohort is needed")
    return cohort_mean[:, None].expand_as(images).to(images) * sector


def blurred_within(images: Tensor, sector: Tensor, sd: float) -> Tensor:
    """Blur of (…, h, w) images that takes nothing from outside the sector: its border stays as bright.

    Normalised convolution: Knutsson H, Westin CF. CVPR 1993.

    Args:
        images: 0 outside the sector.
        sector: bool, broadcastable to the images.
        sd: of the Gaussian in pixels.
    """
    inside = sector.to(images.dtype)
    return blurred(images, sd) / blurred(inside, sd).clamp(min=1e-6) * inside


def blurred(images: Tensor, sd: float) -> Tensor:
    """Gaussian blur of (…, h, w) images by an SD in pixels, cut off at three SDs; borders are mirrored."""
    reach = min(int(3 * sd), min(images.shape[-2:]) - 1)
    at = torch.arange(-reach, reach + 1, dtype=torch.float32, device=images.device)
    kernel = torch.exp(-0.5 * (at / sd) ** 2)
    kernel = (kernel / kernel.sum()).to(images.dtype)
    flat = images.reshape(-1, 1, *images.shape[-2:])
    flat = functional.pad(flat, (reach, reach, reach, reach), mode="reflect")
    flat = functional.conv2d(flat, kernel.view(1, 1, 1, -1))
    return functional.conv2d(flat, kernel.view(1, 1, -1, 1)).view(images.shape)
