"""Work that goes on while its results are looked at: one call ahead, or several at once in threads."""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(results: Iterable[Result]) -> Iterator[Result]:
    """The results in order, each handed out when the next has been asked for: what JAX launches runs meanwhile."""
    under_way: list[Result] = []
    for result in results:
        yield from under_way
        under_way = [result]
    yield from under_way


def threaded_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """function of every item, in order, `workers` of them at once; at most one more has been finished and not taken.

    On a CPU JAX runs what one thread launches one after the other, and what several launch at once.
    """
    with ThreadPoolExecutor(workers) as pool:
        under_way: collections.deque = collections.deque()
        for item in items:
            under_way.append(pool.submit(lambda item: jax.block_until_ready(function(item)), item))
            if len(under_way) > workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
