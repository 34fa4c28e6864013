"""Attention as an RNN in one file: a layer that trains in parallel and runs one token at a time, in constant memory.

Softmax attention with a fixed query gives each token a score s and a value v, and averages the values with weights
exp(s). Such an average is a fold: it can be kept up token by token, or computed for all prefixes at once.
Method: Feng et al. 2024, "Attention as an RNN" (arXiv:2405.13956). Needs torch only; the library is faster and checked.
"""

import math
import time
from typing import NamedTuple

import torch
from torch import Tensor, nn


class State(NamedTuple):
    """All that is remembered of the tokens so far; their average is w / u."""

    m: Tensor  # (..., heads)            the largest score: the unit in which the sums are kept, so that none overflows
    u: Tensor  # (..., heads)            Σ exp(s - m)
    w: Tensor  # (..., heads, head_dim)  Σ exp(s - m) v


def combine(a: State, b: State) -> State:
    """The state of a's tokens followed by b's: associative, and `empty` changes nothing."""
    m = torch.maximum(a.m, b.m).detach()  # only a unit: u and w carry the gradient
    shift = torch.where(m == -math.inf, 0.0, m)  # two empty sides: -inf - -inf would be NaN
    scale_a, scale_b = torch.exp(a.m - shift), torch.exp(b.m - shift)
    return State(m, a.u * scale_a + b.u * scale_b, a.w * scale_a[..., None] + b.w * scale_b[..., None])


def empty(batch: int, heads: int, head_dim: int, like: Tensor) -> State:
    """Nothing seen yet. Starting from m = 0 instead would give 0 / 0 once every score is very negative."""
    return State(
        like.new_full((batch, heads), -math.inf), like.new_zeros(batch, heads), like.new_zeros(batch, heads, head_dim)
    )


def step(state: State, scores: Tensor, values: Tensor) -> State:
    """The recurrent form: consume one token, scores (batch, heads) and values (batch, heads, head_dim)."""
    return combine(state, State(scores, torch.ones_like(scores), values))


def scan(scores: Tensor, values: Tensor) -> State:
    """The parallel form: the states after every token, time on axis 1, in log2(time) rounds.

    Each round joins every window with the one that ends just before it, so windows double: 1, 2, 4, ... tokens.
    """
    windows = State(scores, torch.ones_like(scores), values)
    width = 1
    while width < scores.shape[1]:
        joined = combine(State(*(x[:, :-width] for x in windows)), State(*(x[:, width:] for x in windows)))
        # The first windows already reach back to the start.
        windows = State(*(torch.cat([x[:, :width], y], dim=1) for x, y in zip(windows, joined, strict=True)))
        width *= 2
    return windows


class Aaren(nn.Module):
    """`y, state = layer(x, state)` for x (batch, time, d_model): a sequence, a chunk of one, or one token."""

    def __init__(self, d_model: int, nhead: int):
        super().__init__()
        self.heads = (nhead, d_model // nhead)
        self.query = nn.Parameter(torch.randn(d_model))  # the one query, learned; a Transformer has one per token
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)

    def scores(self, x: Tensor) -> Tensor:
        """query · key / √head_dim. The query is the same for all tokens, so this is one small linear map of x."""
        q = self.q_proj(self.query).unflatten(-1, self.heads) / math.sqrt(self.heads[1])
        weight = torch.einsum("hd,hdm->hm", q, self.k_proj.weight.unflatten(0, self.heads))
        bias = torch.einsum("hd,hd->h", q, self.k_proj.bias.unflatten(0, self.heads))
        return nn.functional.linear(x, weight, bias)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        scores, values = self.scores(x), self.v_proj(x).unflatten(-1, self.heads)
        if state is None:
            state = empty(x.shape[0], *self.heads, like=x)
        if x.shape[1] == 1:
            state = step(state, scores[:, 0], values[:, 0])
            states = State(*(leaf[:, None] for leaf in state))
        else:
            states = combine(State(*(leaf[:, None] for leaf in state)), scan(scores, values))
            state = State(*(leaf[:, -1] for leaf in states))
        averages = states.w / states.u[..., None]
        return self.out_proj(averages.flatten(-2)), state


@torch.no_grad()
def main() -> None:
    torch.manual_seed(0)
    layer, x = Aaren(d_model=64, nhead=4), torch.randn(1, 10_000, 64)

    start = time.perf_counter()
    parallel, _ = layer(x)
    print(f"10,000 tokens at once        {time.perf_counter() - start:.2f} s")

    start = time.perf_counter()
    outputs, sizes, state = [], [], None
    for token in x.split(1, dim=1):
        y, state = layer(token, state)
        outputs.append(y)
        sizes.append(sum(leaf.nbytes for leaf in state))
    print(f"the same, token by token     {time.perf_counter() - start:.2f} s")
    print(f"largest difference           {(torch.cat(outputs, dim=1) - parallel).abs().max():.1e}")
    print(f"state after 1 token          {sizes[0]:,} bytes")
    print(f"state after 10,000 tokens    {sizes[-1]:,} bytes")


if __name__ == "__main__":
    main()
