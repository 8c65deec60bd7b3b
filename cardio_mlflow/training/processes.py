"""The processes that train one fold together, through Hugging Face accelerate; by default one alone.

Each process takes its share of a batch's patients through the backbone. The frame features are then
gathered, and every process runs the small rest of the network on the whole batch, with the same random
numbers; so a step is that of one process, to rounding, whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cardio_mlflow.errors import InputError
from cardio_mlflow.settings_reading import launched_processes
from cardio_mlflow.training.devices import choose_device

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: 0-based; only 0 logs and writes.
        count: how many there are.
        device: where this one computes.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=choose_device)
    _accelerator: Accelerator | None = None

    @property
    def is_main(self) -> bool:
        """Whether this one logs and writes."""
        return self.rank == 0

    def shares(self, items: int) -> list[range]:
        """The share that each process has of so many items: adjoining ones, all as many to one.

        >>> Processes(0, 2).shares(5)
        [range(0, 2), range(2, 5)]
        """
        bounds = [items * rank // self.count for rank in range(self.count + 1)]
        return [range(start, stop) for start, stop in pairwise(bounds)]

    def share(self, items: int) -> range:
        """This process's own share."""
        return self.shares(items)[self.rank]

    def gather(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """The rows of all processes in order of rank; gradients flow to this one's own.

        Args:
            rows: (counts[rank], D).
            counts: how many rows each process has.

        Returns:
            (sum(counts), D).
        """
        if self._accelerator is None:
            return rows
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows.detach()
        parts = list(self._accelerator.gather(padded).split(max(counts)))
        parts = [part[:count] for part, count in zip(parts, counts, strict=True)]
        parts[self.rank] = rows
        return torch.cat(parts)

    def sum_gradients(self, modules: Iterable[nn.Module]) -> None:
        """Add up the gradients that the processes have for these modules, in place, in one message."""
        self._reduce_gradients(modules, "sum")

    def average_gradients(self, modules: Iterable[nn.Module]) -> None:
        """Average gradients that all processes have computed alike, so that unlike devices stay in step."""
        self._reduce_gradients(modules, "mean")

    def check_same(self, value: int, what: str) -> None:
        """Check that all processes have the same value.

        Raises:
            InputError: they differ; the message names ``what``.
        """
        if self._accelerator is None:
            return
        values = self._accelerator.gather(torch.tensor([value], device=self.device)).tolist()
        if len(set(values)) > 1:
            raise InputError(
                f"The processes differ in the {what}: {values}. They must share one cache folder: -P cache=…"
            )

    def _reduce_gradients(self, modules: Iterable[nn.Module], how: str) -> None:
        if self._accelerator is None:
            return
        parameters = [p for module in modules for p in module.parameters()]
        if not parameters:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        summed = self._accelerator.reduce(flat, reduction=how)
        for parameter, part in zip(parameters, summed.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def wait(self) -> None:
        """Wait for the others."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()


@contextmanager
def join_processes() -> Iterator[Processes]:
    """The processes that ``torch.distributed.run`` has started, or this one alone.

    On leaving, the group is ended. A group that outlives Python's own shutdown is torn down by threads that
    Python no longer serves, and now and then aborts a process whose work was done.
    """
    if launched_processes() == 1:
        yield Processes(device=choose_device())
        return
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    try:
        yield Processes(accelerator.process_index, accelerator.num_processes, accelerator.device, accelerator)
    finally:
        accelerator.end_training()
