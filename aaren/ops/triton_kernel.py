"""How kernels for GPUs are compiled and laid out: a program takes blocks of tokens, one after the other.

Where batch and heads are too few programs for the GPU, they share chunks of time too: a first kernel sums up each chunk
from nothing; in the second every chunk folds the sums of the chunks before it, as if each of them were one token, and
goes on from there. The values are then read twice.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

TOKENS = 64
"""Tokens of a block, at most: a scan of twice as many is one step longer, a loop over half as many twice as long."""

TILE = 4096
"""Bytes of a block of tokens × channels in the dtype of the sums: 32 registers a thread, and a kernel holds four such.

One warp a program: its scans then stay within the warp, which halves the instructions of four warps and needs no
barriers."""

PROGRAMS = 8
"""Programs that share a multiprocessor, as many as its registers hold: some compute while others wait for memory."""


def jit(function: Callable[..., Any]) -> Any:
    """Compiles a kernel, or a function of kernels."""
    # `unwrap`: the tests check shapes at run time by wrapping every function of the package.
    return triton.jit(inspect.unwrap(function))


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Memory for kernels to write to, of the dtype and device of `like`."""
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device)


def contiguous(x: Tensor | None) -> Tensor | None:
    """x in memory as kernels read it; None stays None, which a kernel sees when it is compiled."""
    return None if x is None else x.contiguous()


def cdiv(whole: int, size: int) -> int:
    """Parts of `size` that make up `whole`, the last one perhaps smaller."""
    return -(-whole // size)


def power_of_two(x: int) -> int:
    """The next one, x itself included."""
    return 1 << (x - 1).bit_length()


def processors(device: torch.device) -> int:
    """Multiprocessors of the GPU; the interpreter runs one program after the other."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def chunk_length(rows: int, time: int, tokens: int, multiprocessors: int) -> int:
    """Tokens of a chunk of time, in whole blocks of `tokens`: all of them where there is no work for three chunks.

    Args:
        rows: programs that there are without chunks.
    """
    chunks = PROGRAMS * multiprocessors // max(rows, 1)
    # Each folds half of the others, on average: this many chunks make it an eighth of the work.
    chunks = min(chunks, math.isqrt(time // 2))
    return cdiv(cdiv(time, tokens), chunks if chunks >= 3 else 1) * tokens


class Layout(NamedTuple):
    """How a scan is spread over the GPU: `rows` programs for each of `chunks` chunks of `length` tokens, in blocks of
    `tokens` × `channels`."""

    rows: int
    chunks: int
    length: int
    tokens: int
    channels: int

    def run(self, kernel: Any, chunks: int, like: Tensor, *arguments: Any) -> None:
        """Runs a kernel of (*arguments, length, chunks, tokens, channels) for `chunks` chunks where `like` is."""
        if self.rows * chunks > 0:
            with torch.cuda.device_of(like):
                kernel[(self.rows * chunks,)](*arguments, self.length, chunks, self.tokens, self.channels, num_warps=1)


def layout(rows: int, time: int, channels: int, sums: Tensor) -> Layout:
    """The layout for blocks of `channels`, of which the sums have the dtype and device of `sums`.

    Tokens and channels of a block are powers of two.
    """
    width = power_of_two(channels)
    tokens = max(2, min(TOKENS, TILE // (width * sums.itemsize)))
    length = chunk_length(rows, time, tokens, processors(sums.device))
    return Layout(rows, cdiv(time, length), length, tokens, width)


@jit
def place(inner, chunks):
    """Where this program is, as (one of `inner`, chunk, row), neighbours differing in the first."""
    program = tl.program_id(0).to(tl.int64)  # offsets of large tensors need 64 bits
    return program % inner, program // inner % chunks, program // inner // chunks
