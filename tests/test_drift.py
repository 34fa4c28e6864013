"""A float64 state does not drift: a million tokens stay within 1e-6 of float64 arithmetic, and float32 does worse.

benchmarks/drift.py measures the same with a million one-token calls, in more regimes.
"""

import torch

from aaren.ops.scan import attention_scan
from aaren.ops.scan_state import empty, readout

SPREAD, OFFSET, MEAN = torch.tensor([[1.0, 0.0, 3.0], [4.0, 100.0, 0.0]]).T  # a row for each of two regimes
HEAD_DIM = 4
DTYPES = (torch.float64, torch.float32)


def draw(tokens):
    """Scores (regimes, tokens, 1) and values in float32, as a layer gives them."""
    scores = OFFSET[:, None, None] + SPREAD[:, None, None] * torch.randn(2, tokens, 1)
    return scores, MEAN[:, None, None, None] + torch.randn(2, tokens, 1, HEAD_DIM)


def exact(scores, values):
    """Σ p·v and Σ p·|v| of all tokens by plain float64 sums, without a running maximum."""
    weights = torch.exp(scores.double() - OFFSET[:, None, None])
    p, v = (weights / weights.sum(1, keepdim=True))[..., None], values.double()
    return (p * v).sum(1), (p * v.abs()).sum(1)


@torch.inference_mode()
def drift(scores, values, chunk):
    """Errors relative to Σ p·|v| after all tokens, by dtype: of the average in the state, and of the last output."""
    average, scale = exact(scores, values)

    def error(x):
        return ((x - average).abs() / scale).max().item()

    errors = {}
    for dtype in DTYPES:
        state, y = empty((2, 1), HEAD_DIM, dtype=dtype), values
        for s, v in zip(scores.split(chunk, dim=1), values.split(chunk, dim=1), strict=True):
            y, state = attention_scan(s, v, state)
        errors[dtype] = error(readout(state)), error(y[:, -1])
    print(f"{scores.shape[1]:,} tokens, {chunk} a call, error / Σ p|v|:", {str(d): e[0] for d, e in errors.items()})
    return errors


def test_a_million_tokens():
    errors = drift(*draw(1_000_000), chunk=1000)
    assert max(errors[torch.float64]) <= 1e-6  # the output is float32: most of its error is one rounding
    assert errors[torch.float64][0] <= 1e-12
    assert errors[torch.float32][0] > 100 * errors[torch.float64][0]


def test_true_one_token_calls():
    errors = drift(*draw(3000), chunk=1)
    assert max(errors[torch.float64]) <= 1e-6
    assert errors[torch.float64][0] <= 1e-12
    assert errors[torch.float32][0] > 100 * errors[torch.float64][0]
