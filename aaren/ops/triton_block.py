"""What is computed in a block of tokens, all of them at once, by scans over axis 0.

The running (age, maximum, sum) of the weights are one associative scan; they give the gates, and
o_t = keep_t o_{t-1} + gain_t v_t is a second, over (keep, gain · v). The way back runs from the last token to the
first. For the maths see `cpu.py`.
"""

import triton.language as tl

from aaren.ops.triton_kernel import jit


@jit
def _follow(product, x, a, b):
    """One step of the recurrence `x ← a x + b` after another."""
    return product * a, a * x + b


@jit
def multiply(a, b):
    return a * b


@jit
def recur(a, b, product, x):
    """`x_t = a_t x_{t-1} + b_t` along axis 0, and the products of a, both on top of those of earlier blocks."""
    products, sums = tl.associative_scan((a, b), 0, _follow)
    return _follow(product, x, products, sums)


@jit
def last(x, i):
    """x along axis 0 where i = len(x) - 1."""
    return tl.sum(tl.where(i == x.shape[0] - 1, x, 0.0), 0)


@jit
def _join(age1, m1, u1, age2, m2, u2):
    """`combine(age(first, age2), second)` of the weights alone; ages add up."""
    m = tl.maximum(m1 - age2, m2)
    shift = tl.where(m == float("-inf"), 0.0, m)
    # The maximum is taken off before the age, which would lose its digits beside a large one.
    return age1 + age2, m, u1 * tl.exp((m1 - shift) - age2) + u2 * tl.exp(m2 - shift)


@jit
def advance(age, score, weight, values, before, m, u, mean):
    """Gain and keep (L) and the outputs (L, D) of a block; then age, m, u and mean (D) after it.

    `before` (an age), m, u and mean are those before the block.
    """
    i = tl.arange(0, score.shape[0])
    ages, tops, totals = tl.associative_scan((age, score, weight), 0, _join)
    ages, tops, totals = _join(before, m, u, ages, tops, totals)
    share = weight * tl.exp(score - tl.where(tops == float("-inf"), 0.0, tops))
    # Comparisons that NaN passes: a NaN score shall be seen in the outputs.
    gain = tl.where(share > totals, 1.0, share / tl.where(totals == 0.0, 1.0, totals))
    keep = tl.where(totals == 0.0, 0.0, 1.0 - gain)
    # A value without weight may be anything: 0 · NaN would be NaN.
    gained = gain[:, None] * tl.where(gain[:, None] == 0.0, 0.0, values)
    _, outputs = recur(tl.broadcast_to(keep[:, None], gained.shape), gained, 1.0, mean[None, :])
    return gain, keep, outputs, last(ages, i), last(tops, i), last(totals, i), last(outputs, i[:, None])


@jit
def retreat(keep, d_outputs, sums, G, C):
    """G (L, D) and C (L) of the tokens of a block, which run backwards, from those of the token after the block.

    `keep` (L) is that of the token after each, `sums` (L) what each adds to C.
    """
    i = tl.arange(0, keep.shape[0])
    _, G = recur(tl.broadcast_to(keep[:, None], d_outputs.shape), d_outputs, 1.0, G[None, :])
    _, C = recur(keep, sums, 1.0, C)
    return G, C, last(G, i[:, None]), last(C, i)
