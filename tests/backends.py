"""Backends as parameters of tests, and an interpreter of GPU kernels that scans as a GPU does."""

import importlib.util
import os
from collections.abc import Iterable

import numpy as np
import pytest

INTERPRETS = importlib.util.find_spec("triton") is not None and os.environ.get("TRITON_INTERPRET") == "1"
"""Whether the backend "triton" takes CPU tensors here; `conftest.py` sees to it where there is no GPU."""

interpreted = pytest.mark.skipif(not INTERPRETS, reason="needs triton and TRITON_INTERPRET=1")


def every(table: Iterable[str]) -> list:
    """The names of a table of backends, for `parametrize`; "triton" is skipped visibly where it cannot run."""
    return [pytest.param(name, marks=interpreted if name == "triton" else ()) for name in sorted(table)]


def runnable(table: Iterable[str]) -> list[str]:
    """The names of those that can run on CPU tensors here."""
    return [name for name in sorted(table) if name != "triton" or INTERPRETS]


def _scan(self, input):  # noqa: A002
    """Prefixes by doubling, on whole arrays: joined in pairs as on a GPU, and much faster than one after the other."""
    arrays = [np.moveaxis(x.handle.data, self.axis, 0) for x in input]
    distance = 1
    while distance < len(arrays[0]):
        older = [np.concatenate([x[:distance], x[:-distance]]) for x in arrays]  # the first have none: left as they are
        pair = (self.to_tensor(x, of.dtype) for x, of in zip(older + arrays, input + input, strict=True))
        joined = [x.handle.data for x in self.combine_fn.fn(*pair)]
        arrays = [np.concatenate([x[:distance], y[distance:]]) for x, y in zip(arrays, joined, strict=True)]
        distance *= 2
    return [self.to_tensor(np.moveaxis(x, 0, self.axis), of.dtype) for x, of in zip(arrays, input, strict=True)]


if INTERPRETS:
    from triton.runtime import interpreter

    interpreter.ScanOps.generic_scan = _scan
