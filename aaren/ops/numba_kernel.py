"""How kernels are compiled: on first use, once a machine (cached on disk), without the GIL."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
import torch
from numba.core.compiler import Compiler
from torch import Tensor

_NOTHING = {dtype: torch.empty((0, 0, 0), dtype=dtype).numpy() for dtype in (torch.bool, torch.float32, torch.float64)}


class _DistinctArrays(Compiler):
    """Tells the compiler what holds for every kernel here: no two arguments overlap. Without it each inner loop over
    one head checks all pairs of its arrays, which costs as much as the loop."""

    def __init__(self, typing, target, library, arguments, return_type, flags, local_types):
        flags.noalias = True
        super().__init__(typing, target, library, arguments, return_type, flags, local_types)


def kernel(function: Callable[..., Any]) -> Any:
    """Compiles a function of arrays that do not overlap: IEEE arithmetic in the order written."""
    return _compile(function, pipeline_class=_DistinctArrays)


def reduction(function: Callable[..., Any]) -> Any:
    """Compiles a sum that may run in lanes. Of "fast" arithmetic this is the order alone, which is fixed when compiled:
    equal calls give equal bits, and infinities, NaN and signed zeros mean what they mean."""
    return _compile(function, fastmath={"reassoc"})


def empty(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Memory to write a result to. NumPy asks Linux for huge pages, so that the first touch of a large result costs a
    tenth of what it costs in `torch.empty`, where it takes longer than the kernel."""
    return np.empty(shape, dtype)


def _compile(function: Callable[..., Any], **options: Any) -> Any:
    function = inspect.unwrap(function)  # the tests check shapes at run time by wrapping every function of the package
    options |= {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that may be written: compile in every process
        return numba.njit(**options)(function)


def array(x: Tensor) -> np.ndarray:
    """The memory of x, or of a contiguous copy."""
    return x.detach().contiguous().numpy()


def or_none(x: Tensor | None, dtype: torch.dtype = torch.bool) -> np.ndarray:
    """None as an array without elements: kernels have one type of each argument."""
    return _NOTHING[dtype] if x is None else array(x)
