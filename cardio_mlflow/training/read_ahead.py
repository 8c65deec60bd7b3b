"""Reading the next batches in threads while one is being computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(read: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """What ``read`` gives for each item, in order, whatever the number of threads.

    Args:
        read: called with an item; it must draw no random numbers.
        items: what to read.
        workers: threads, each of which reads one item ahead; 0 reads when the result is asked for.

    >>> list(read_ahead(str, [1, 2, 3], workers=2))
    ['1', '2', '3']
    """
    if not workers:
        yield from map(read, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting = iter(items)
        running = deque(pool.submit(read, item) for item in islice(waiting, workers))
        try:
            while running:
                result = running.popleft().result()
                running.extend(pool.submit(read, item) for item in islice(waiting, 1))
                yield result
        finally:
            for future in running:
                future.cancel()
