import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from aaren.ops.scan_state import ScanState, age, combine, empty, leaf, readout

number = st.floats(-1e4, 1e4)


def token(score: float, value: float) -> ScanState:
    return leaf(torch.tensor([score], dtype=torch.float64), torch.tensor([[value]], dtype=torch.float64))


@given(st.lists(st.tuples(number, st.floats(-10, 10)), min_size=3, max_size=3))
def test_associative(tokens):
    a, b, c = (token(*x) for x in tokens)
    assert_close(combine(combine(a, b), c), combine(a, combine(b, c)), rtol=1e-12, atol=1e-12)


@given(number, st.floats(-10, 10))
def test_empty_is_the_identity(score, value):
    a, nothing = token(score, value), empty((1,), 1, dtype=torch.float64)
    assert_close(combine(a, nothing), a, rtol=0, atol=0)
    assert_close(combine(nothing, a), a, rtol=0, atol=0)


def test_nothing_and_nothing_is_nothing():
    nothing = empty((2,), 3)
    both = combine(nothing, nothing)
    assert_close(both, nothing, rtol=0, atol=0)
    assert torch.equal(readout(both), torch.zeros(2, 3))


@given(number, number, st.floats(-10, 10), st.floats(-10, 10), st.floats(0, 50))
def test_two_tokens_by_hand(s1, s2, v1, v2, decay):
    state = combine(age(token(s1, v1), torch.tensor([decay], dtype=torch.float64)), token(s2, v2))
    weight = 1 / (1 + math.exp(min(700.0, s2 - (s1 - decay))))
    assert_close(readout(state).item(), weight * v1 + (1 - weight) * v2, rtol=1e-9, atol=1e-9)


def test_infinite_decay_forgets():
    state = age(token(5.0, 3.0), torch.tensor([math.inf], dtype=torch.float64))
    assert readout(combine(state, token(-100.0, 7.0))).item() == 7.0
