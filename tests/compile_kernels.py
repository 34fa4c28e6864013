"""Compiles every GPU kernel, as the scans call it, for a GPU that need not be here: a script of `test_triton.py`."""

import sys

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from aaren.ops import linear_triton, triton_gpu, triton_kernel

POINTERS = {torch.bool: "*i1", torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.float64: "*fp64"}


def compile_only(self, kernel, chunks, like, *arguments):
    """In the place of `Layout.run`."""
    values = (*arguments, self.length, chunks, self.tokens, self.channels)
    signature, constants, aligned = {}, {}, {}
    for i, (name, x) in enumerate(zip(kernel.arg_names, values, strict=True)):
        if x is None or name in "LD" or (isinstance(x, int) and x == 1):  # what a launch makes a constant of
            signature[name], constants[(i,)] = "constexpr", x
        elif isinstance(x, torch.Tensor):
            signature[name], aligned[(i,)] = POINTERS[x.dtype], [["tt.divisibility", 16]]
        else:
            signature[name] = "i32"
    source = ASTSource(kernel, signature, constants, aligned)
    triton.compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32), options={"num_warps": 1})
    print(kernel.__name__)


triton_kernel.Layout.run = compile_only
triton_kernel.processors = lambda device: 132
for batch, dtype, sums, flagged in (
    (2, torch.float32, torch.float32, True),
    (2, torch.bfloat16, torch.float32, False),
    (1000, torch.float64, torch.float64, True),  # enough programs without chunks
):
    scores, values = torch.zeros(batch, 200, 2, dtype=dtype), torch.zeros(batch, 200, 2, 64, dtype=dtype)
    m, u, w = (torch.zeros(shape, dtype=sums) for shape in ((batch, 2), (batch, 2), (batch, 2, 64)))
    flags = torch.zeros(batch, 200, dtype=torch.bool) if flagged else None
    results = triton_gpu.scan_forward(scores, values, scores if flagged else None, flags, flags, m, u, w)
    outputs, _, u, _, gain, keep = results
    triton_gpu.scan_backward(values, outputs, gain, keep, flags, u, w, u, outputs, None, None, flagged, True)
    a, h = values[:, :, 0], w[:, 0]
    linear_triton.scan_forward(a, a, flags, flags, h)
    linear_triton.scan_backward(a, a, flags, flags, h, a, None)
