"""Kernels that release the GIL on a small pool of threads: safe from many Python threads at once and after a fork.

(Numba's own threading layers are not: `workqueue` aborts when two Python threads call it, `omp` breaks forked
children.)
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_pool: ThreadPoolExecutor | None = None


def _forget_pool() -> None:
    """A forked child has none of its parent's threads."""
    global _pool
    _pool = None


os.register_at_fork(after_in_child=_forget_pool)


def thread_count() -> int:
    """Threads a kernel may use: what PyTorch may use, `torch.set_num_threads`."""
    return torch.get_num_threads()


def run_together(function: Callable[..., None], calls: Sequence[tuple[Any, ...]]) -> None:
    """`function(*arguments)` for each of `calls`, the first of them on the calling thread, and waits for all."""
    global _pool
    own, *others = calls
    if not others:
        function(*own)
        return
    if _pool is None:
        # Two threads may both get here: one pool is then dropped once its work is done.
        _pool = ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="aaren")
    pending = [_pool.submit(function, *arguments) for arguments in others]
    function(*own)
    for future in pending:
        future.result()
