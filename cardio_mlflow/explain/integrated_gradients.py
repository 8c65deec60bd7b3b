"""Integrated Gradients of all nine parameters over all views together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from cardio_mlflow.errors import InputError
from cardio_mlflow.explain.shared_gradients import frames_at_once, shared_gradients
from cardio_mlflow.explain.subject import Subject
from cardio_mlflow.parameters import KEYS

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
    subject: Subject, baseline: Tensor, steps: int, tolerance: float, memory: float, dtype: torch.dtype
) -> Attribution:
    """Integrated Gradients along the straight line from a baseline, by adaptive Gauss-Legendre quadrature.

    Sundararajan M, Taly A, Yan Q. Axiomatic attribution for deep networks. ICML 2017. The line is cut into
    stretches of `STRETCH` steps each, which captum integrates. The attributions of a stretch should sum to
    the change of the prediction over it: one that misses that is halved, so that steps go where the
    prediction changes abruptly. A lower precision than float32 is tried once, without halving.

    Args:
        subject: network and patient.
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
        found = _Path(subject, baseline, memory, dtype).integrate(steps, float("inf"), steps)
        if _is_complete(found, tolerance):
            return found
    found = _Path(subject, baseline, memory, torch.float32).integrate(steps, tolerance, MOST_STEPS * steps)
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

    subject: Subject
    baseline: Tensor
    memory: float
    dtype: torch.dtype

    def at(self, share: float) -> Tensor:
        """(V, T, h, w), the images at a share of the way."""
        return torch.lerp(self.baseline, self.subject.images, share)

    def integrate(self, steps: int, tolerance: float, most: int) -> Attribution:
        """Integrate over the stretches, halving those that are not exact enough, in `most` steps at most."""
        count = max(1, round(steps / STRETCH))
        nodes = math.ceil(steps / count)
        cuts = [k / count for k in range(count + 1)]
        ends = [self.subject.outputs(self.at(cut)[None])[0] for cut in cuts]
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
        there = self.subject.outputs(self.at(middle)[None])[0]
        return (
            _Stretch(stretch.start, middle, stretch.first, there),
            _Stretch(middle, stretch.end, there, stretch.last),
        )

    def _integrate(self, stretch: _Stretch, nodes: int) -> Tensor:
        """(9, V, T, h, w), what a stretch adds to the attributions."""
        subject = self.subject
        start, end = (subject.with_images(self.at(at)).shown for at in (stretch.start, stretch.end))
        at_once = frames_at_once(subject, self.memory, self.dtype)
        expanded = COPIES * len(KEYS) * start.numel() * start.element_size()
        versions = max(1, min(nodes, at_once // len(start), int(self.memory // expanded)))

        def gradients(inputs: tuple[Tensor], **_: Any) -> tuple[Tensor]:
            """Gradients of all nine: captum's images have an axis for them, along which all are equal."""
            images = inputs[0][:, 0]
            found = shared_gradients(subject, images.flatten(0, 1), len(images), self.dtype, max(1, at_once))
            return (found.view(len(KEYS), *images.shape).transpose(0, 1),)

        method = IntegratedGradients(lambda images: images)
        method.gradient_func = gradients
        nine = (1, len(KEYS), *start.shape)
        values = method.attribute(
            end.expand(nine), start.expand(nine), n_steps=nodes, internal_batch_size=versions
        )  # fmt: skip
        return subject.by_view(values[0].detach())
