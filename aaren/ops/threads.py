"""Kernels that release the GIL on several threads: safe from many Python threads at once and after a fork.

(Numba's own threading layers are not: `workqueue` aborts when two Python threads call it, `omp` breaks forked
children.) The threads are PyTorch's own where they are GNU OpenMP's, as on Linux: after each operation these wait
actively for the next, some milliseconds long, and leave no processor to others (a second thread then gains nothing).
Elsewhere, and in forked children, where OpenMP hangs, they are a pool of the standard library.

Threads share the batch. Where it has fewer rows than there are threads they share chunks of time too: first every chunk
but the last is run, all but the first from nothing; then the carries are passed on; then every chunk but the first is
run again from its carry.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from aaren.ops import process

TILE = 64
"""Tokens that a kernel handles at a time: what it computes first is then still in the nearest cache; also the shortest
chunk of time. (Compiled kernels on disk do not notice a change of it: remove `__pycache__`.)"""

ENOUGH = 1 << 18
"""Work, in numbers read, from which a second thread saves more than it takes to call it."""

_pools: dict[int, ThreadPoolExecutor] = {}
"""That of this process, by its number: a forked child has none of its parent's threads."""

_team: ctypes.CDLL | None = None
with suppress(AttributeError, OSError):  # no such flag, no such library in use
    _team = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD)

_Member = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def thread_count() -> int:
    """Threads a kernel may use: what PyTorch may use, `torch.set_num_threads`."""
    return torch.get_num_threads()


def run_together(function: Callable[..., None], calls: Sequence[tuple[Any, ...]]) -> None:
    """`function(*arguments)` for each of `calls`, on as many threads as PyTorch may use, and waits for all."""
    waiting, errors, helpers = iter(calls), [], []

    def member(_: Any = None) -> None:
        try:
            for arguments in waiting:  # each call to whom comes first: the GIL lets one thread at a time ask
                function(*arguments)
        except BaseException as error:  # OpenMP knows of no exceptions
            errors.append(error)

    if len(calls) > 1 and _team is not None and not process.forked:
        _team.GOMP_parallel(_Member(member), None, thread_count(), 0)
    elif len(calls) > 1:
        if os.getpid() not in _pools:
            _pools[os.getpid()] = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="aaren")
        helpers = [_pools[os.getpid()].submit(member) for _ in calls[1:]]
    member()  # what is left: a single call, the caller's share, what a signal kept the team from beginning
    for helper in helpers:
        helper.result()
    if errors:
        raise errors[0]


@lru_cache(maxsize=256)
def split(batch: int, time: int, work: int, threads: int) -> list[list[np.ndarray]]:
    """For each chunk of time the units (row, first and end token, row · chunks + chunk) of each call of a kernel.

    A unit has all channels: two threads in one row of memory would fetch ahead what the other is writing.

    Args:
        work: of one token, in numbers read.
    """
    if batch * time * work < ENOUGH:
        threads = 1
    spare = threads // max(batch, 1)
    chunks = spare + 1 if spare >= 2 and time >= TILE * (spare + 1) else 1
    jobs = []
    for n in range(chunks):
        units = [(row, time * n // chunks, time * (n + 1) // chunks, row * chunks + n) for row in range(batch)]
        jobs.append(np.array_split(np.array(units, np.uintp).reshape(-1, 4), max(min(threads, batch), 1)))
    return jobs


def run(
    kernel: Callable[..., None],
    arguments: Callable[[np.ndarray], tuple[Any, ...]],
    jobs: Sequence[list[np.ndarray]],
    pass_on: Callable[[], None],
) -> None:
    """Calls the kernel with `arguments(units)` for all units, chunk by chunk in the order of `jobs`: with several, all
    but the last; `pass_on()`, which gives each what the earlier ones carry; and all but the first."""
    if len(jobs) == 1:
        run_together(kernel, [arguments(units) for units in jobs[0]])
        return
    run_together(kernel, [arguments(units) for job in jobs[:-1] for units in job])
    pass_on()
    run_together(kernel, [arguments(units) for job in jobs[1:] for units in job])


def chunked(x: np.ndarray, n: int, chunks: int, others: float = 0.0) -> np.ndarray:
    """x (B, ...) as chunk n of (B, chunks, ...), with `others` elsewhere."""
    if chunks == 1:
        return x
    out = np.full((x.shape[0], chunks, *x.shape[1:]), others, x.dtype)
    out[:, n] = x
    return out
