"""Integrated Gradients of all nine parameters over all views together."""

from __future__ import annotations

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
"""How many times the steps that were asked for are tried, by doubling."""
SMALLEST_DIFFERENCE: Final = 0.1
"""SD of the scaled prediction. A smaller difference to the baseline counts as this one: where there is
nothing to attribute, a share of it says nothing."""


@dataclass(frozen=True)
class Attribution:
    """Integrated Gradients of one patient.

    Attributes:
        maps: (9, V, T, h, w), in scaled target space (SDs of the parameter) a pixel; 0 for missing views.
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
    """Integrated Gradients along the straight line from a baseline, by Gauss-Legendre quadrature (captum).

    Sundararajan M, Taly A, Yan Q. Axiomatic attribution for deep networks. ICML 2017. Where the sum of the
    attributions misses the tolerance, it is done again with twice the steps, up to `MOST_STEPS` times as
    many: along some paths the prediction changes abruptly. A lower precision than float32 is tried once.

    Args:
        subject: network and patient.
        baseline: (V, T, h, w) images.
        steps: of the quadrature, at first.
        tolerance: largest relative delta of a parameter.
        memory: bytes that activations may take.
        dtype: of the backbone's arithmetic.

    Raises:
        InputError: the attributions are not finite, or miss the tolerance with the most steps in float32.
    """
    ends = subject.outputs(torch.stack([subject.images, baseline]))
    found = _integrate(subject, baseline, ends, steps, memory, dtype)
    tries = [(steps, torch.float32)] if dtype != torch.float32 else []
    tries += [(steps * 2**k, torch.float32) for k in range(1, MOST_STEPS.bit_length())]
    for more, exact in tries:
        if _is_complete(found, tolerance) or not found.maps.isfinite().all():
            break
        found = _integrate(subject, baseline, ends, more, memory, exact)
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


def _integrate(
    subject: Subject, baseline: Tensor, ends: Tensor, steps: int, memory: float, dtype: torch.dtype
) -> Attribution:
    shown, start = subject.shown, subject.with_images(baseline).shown
    at_once = frames_at_once(subject, memory, dtype)
    versions = max(1, min(steps, at_once // len(shown)))

    def gradients(inputs: tuple[Tensor], **_: Any) -> tuple[Tensor]:
        """Gradients of the nine at once: captum's images have an axis for them, along which all are equal."""
        images = inputs[0][:, 0]
        found = shared_gradients(subject, images.flatten(0, 1), len(images), dtype, max(1, at_once))
        return (found.view(len(KEYS), *images.shape).transpose(0, 1),)

    method = IntegratedGradients(lambda images: images)
    method.gradient_func = gradients
    nine = (1, len(KEYS), *shown.shape)
    values = method.attribute(
        shown.expand(nine), start.expand(nine), n_steps=steps, internal_batch_size=versions
    )  # fmt: skip
    by_view = subject.by_view(values[0].detach())
    return Attribution(by_view, ends[0], ends[1], dtype, steps)
