"""All prefixes at once in log2(T) steps: the Hillis-Steele scan over ⊕ (paper, section 3.2, Algorithm 1).

Every step joins each token's window with the window that ends just before it, so windows double: 1, 2, 4, ... tokens.
Memory is O(T log T) under autograd; `chunked` is the form for long sequences.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from aaren.ops.scan_state import ScanState, age, combine, leaf, readout
from aaren.shapes import Scores, Values


def scan_parallel(scores: Scores, values: Values, decay: Scores | None, state: ScanState) -> tuple[Values, ScanState]:
    # The incoming state is element 0 of the scan, so that the prefixes of the tokens contain it.
    tokens = leaf(scores, values)
    prefix = ScanState(*(torch.cat([first[:, None], rest], dim=1) for first, rest in zip(state, tokens, strict=True)))
    ages = None if decay is None else pad(decay, (0, 0, 1, 0))  # what each window takes off everything before it

    offset = 1
    while offset < prefix.m.shape[1]:
        earlier = ScanState(_delay(prefix.m, offset, -math.inf), _delay(prefix.u, offset), _delay(prefix.w, offset))
        if ages is not None:
            earlier = age(earlier, ages)
            ages = ages + _delay(ages, offset)
        prefix = combine(earlier, prefix)
        offset *= 2

    final = ScanState(*(x[:, -1] for x in prefix))
    return readout(prefix)[:, 1:], final


def _delay(x: Tensor, offset: int, fill: float = 0.0) -> Tensor:
    """Move x later along time by `offset`, filling the start."""
    return pad(x[:, :-offset], (0, 0) * (x.ndim - 2) + (offset, 0), value=fill)
