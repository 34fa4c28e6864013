import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from aaren.ops.lags import LagState, each_lag, lags, no_lags, tokens_since

BATCH, WIDTH = 4, 3


def make_case(seed, time=17, size=5, p_mask=0.3, p_reset=0.1):
    """x, state, padding_mask, reset in float64; states of 0, 1, ... tokens; the last row masked throughout."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(BATCH, time, WIDTH, generator=g, dtype=torch.float64)
    tokens = torch.randn(BATCH, size - 1, WIDTH, generator=g, dtype=torch.float64)
    length = torch.arange(BATCH).clamp(max=size - 1)
    tokens[torch.arange(size - 1, 0, -1) > length[:, None]] = 0.0
    mask = torch.rand(BATCH, time, generator=g) < p_mask
    if p_mask:
        mask[-1] = True
    reset = torch.rand(BATCH, time, generator=g) < p_reset
    return x.requires_grad_(), LagState(tokens.requires_grad_(), length), mask, reset


def written_out(x, state, mask, reset) -> Any:
    """A Python list of live tokens for each row: no line in common with the library."""
    size = state.tokens.shape[1] + 1
    zero = torch.zeros(x.shape[2], dtype=x.dtype)
    windows, there, since, tails, lengths = [], [], [], [], []
    for row in range(x.shape[0]):
        length = int(state.length[row])
        past = list(state.tokens[row, size - 1 - length :])
        for t in range(x.shape[1]):
            if not mask[row, t]:
                past = [] if reset[row, t] else past
                past.append(x[row, t])
            some = past[-size:]
            windows.append(torch.stack([zero] * (size - len(some)) + some, dim=-1))
            there.append(len(some))
            since.append(len(past))
        some = past[-(size - 1) :]
        tails.append(torch.stack([zero] * (size - 1 - len(some)) + some))
        lengths.append(len(some))
    counts = (torch.tensor(numbers).reshape(x.shape[:2]) for numbers in (there, since))
    windows = torch.stack(windows).unflatten(0, x.shape[:2])
    windows = torch.where(mask[..., None, None], 0.0, windows)  # these mean nothing
    return windows, *counts, LagState(torch.stack(tails), torch.tensor(lengths))


def gradients(case, windows, state):
    g = torch.Generator().manual_seed(1)
    weights = [torch.randn(part.shape, generator=g, dtype=part.dtype) for part in (windows, state.tokens)]
    x, start = case[:2]
    into_x, into_start = torch.autograd.grad(
        [windows, state.tokens], [x, start.tokens], weights, allow_unused=True, materialize_grads=True
    )
    before = start.tokens.shape[1]
    held = torch.arange(before, 0, -1) <= start.length[:, None]  # the others hold no token: nothing is said of them
    return into_x, into_start[held]


def check(case, got):
    windows, there, state = got
    mask = case[2]
    assert windows.isfinite().all()
    windows = torch.where(mask[..., None, None], 0.0, windows)
    expected, expected_there, _, expected_state = written_out(*case)
    assert torch.equal(windows, expected)
    assert torch.equal(there[~mask], expected_there[~mask])
    assert torch.equal(state.tokens, expected_state.tokens)
    assert torch.equal(state.length, expected_state.length)
    # In float64 sums of a handful of numbers: only their order differs.
    expected = gradients(case, expected, expected_state)
    assert_close(gradients(case, windows, state), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [None, 1, 2, 4])
def test_at_and_size_pick_from_the_windows(size):
    x, state, mask, reset = make_case(5)
    rows, at = torch.arange(BATCH)[:, None], torch.tensor([[0, 16, 3], [3, 3, 3], [16, 1, 0], [5, 6, 7]])
    for padding_mask, some_reset in ((None, None), (mask, None), (None, reset), (mask, reset)):
        flags: Any = {"padding_mask": padding_mask, "reset": some_reset}
        whole, there, after = lags(x, state, **flags)
        whole, there = (whole, there) if size is None else (whole[..., -size:], there.clamp(max=size))
        for places, picked in ((None, (slice(None), slice(None))), (at, (rows, at))):
            windows, count, same = lags(x, state, **flags, size=size, at=places)
            live = torch.ones_like(mask) if padding_mask is None else ~mask
            assert torch.equal(windows[live[picked]], whole[picked][live[picked]])
            assert torch.equal(count[live[picked]], there[picked][live[picked]])
            assert torch.equal(same.tokens, after.tokens)
            assert torch.equal(same.length, after.length)


@pytest.mark.parametrize("flagged", [False, True])
@pytest.mark.parametrize("time", [1, 17])
def test_each_lag_is_a_slice_of_the_windows(flagged, time):
    x, state, mask, reset = case = make_case(7, time)
    flags: Any = {"padding_mask": mask, "reset": reset} if flagged else {}
    windows, _, after = lags(x, state, **flags)
    parts, same = each_lag(x, state, **flags)
    assert torch.equal(torch.stack(list(parts), dim=-1), windows)
    assert torch.equal(same.tokens, after.tokens)
    assert torch.equal(same.length, after.length)
    expected = gradients(case, windows, after)
    assert_close(gradients(case, torch.stack(list(parts), dim=-1), same), expected, rtol=1e-12, atol=1e-12)


def run(x, state, mask, reset):
    return lags(x, state, padding_mask=mask, reset=reset)


@given(
    seed=st.integers(0, 10**6),
    time=st.integers(1, 20),
    size=st.integers(2, 9),
    p_mask=st.sampled_from([0.0, 0.3, 1.0]),
    p_reset=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_equals_a_list_of_live_tokens(seed, time, size, p_mask, p_reset):
    case = make_case(seed, time, size, p_mask, p_reset)
    check(case, run(*case))


@pytest.mark.parametrize("size", [2, 5, 30])
@pytest.mark.parametrize("time", [1, 17])
def test_flags_that_are_not_given(time, size):
    x, state, mask, reset = make_case(1, time, size)
    none = torch.zeros_like(mask)
    check((x, state, none, none), run(x, state, None, None))
    check((x, state, mask, none), run(x, state, mask, None))
    check((x, state, none, reset), run(x, state, None, reset))


@given(seed=st.integers(0, 10**6), cuts=st.sets(st.integers(1, 16)), size=st.integers(2, 9))
def test_any_split_is_the_whole(seed, cuts, size):
    case = x, state, mask, reset = make_case(seed, size=size)
    windows, there = [], []
    edges = [0, *sorted(cuts), 17]
    for i, j in itertools.pairwise(edges):
        some, count, state = run(x[:, i:j], state, mask[:, i:j], reset[:, i:j])
        windows.append(some)
        there.append(count)
    check(case, (torch.cat(windows, dim=1), torch.cat(there, dim=1), state))


@pytest.mark.parametrize("rubbish", [math.nan, math.inf, 1e30])
def test_what_stands_under_the_mask_does_not_matter(rubbish):
    case = x, state, mask, reset = make_case(2)
    dirty = x.detach().masked_fill(mask[..., None], rubbish).requires_grad_(), state, mask, reset | mask
    windows, there, after = run(*case)
    dirty_windows, dirty_there, dirty_after = run(*dirty)
    assert torch.equal(dirty_windows, windows)
    assert torch.equal(dirty_there, there)
    expected = gradients(case, windows, after)
    for a, b in zip(gradients(dirty, dirty_windows, dirty_after), expected, strict=True):
        assert torch.equal(a, b)


def test_causal():
    x, state, mask, reset = make_case(3)
    windows, there, _ = run(x, state, mask, reset)
    for t in range(1, x.shape[1]):
        later = torch.arange(x.shape[1]) >= t
        other = torch.where(later[:, None], math.nan, x), state, mask ^ later, reset ^ later
        got, count, _ = run(*other)
        assert torch.equal(got[:, :t], windows[:, :t])
        assert torch.equal(count[:, :t], there[:, :t])


@given(seed=st.integers(0, 10**6), p_mask=st.sampled_from([0.0, 0.3, 1.0]), p_reset=st.sampled_from([0.0, 0.2, 1.0]))
def test_tokens_since(seed, p_mask, p_reset):
    x, state, mask, reset = make_case(seed, size=30, p_mask=p_mask, p_reset=p_reset)
    expected = written_out(x, state, mask, reset)[2]
    got, total = tokens_since(state.length, x, mask, reset)
    assert torch.equal(got, expected)
    assert torch.equal(total, expected[:, -1])
    if not p_mask:
        assert torch.equal(tokens_since(state.length, x, None, reset)[0], expected)
    if not p_reset:
        assert torch.equal(tokens_since(state.length, x, mask, None)[0], expected)


def test_the_state_keeps_its_dtype_and_is_not_changed():
    x, state, mask, reset = make_case(4)
    narrow = LagState(state.tokens.detach().float(), state.length)
    before = narrow.tokens.clone(), narrow.length.clone()
    windows, _, after = run(x, narrow, mask, reset)
    assert (windows.dtype, after.tokens.dtype) == (torch.float64, torch.float32)
    assert torch.equal(narrow.tokens, before[0])
    assert torch.equal(narrow.length, before[1])


def test_without_flags_nothing_is_copied():
    # 2 GB if each window had memory of its own.
    x = torch.zeros(2, 5000, 50)
    windows, _, _ = lags(x, no_lags(2, 1000, 50, "cpu", torch.float32))
    assert windows.untyped_storage().nbytes() < 3 * x.untyped_storage().nbytes()


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"padding_mask": torch.zeros(2, 5)}, "padding_mask must have dtype torch.bool"),
        ({"reset": torch.zeros(2, 4, dtype=torch.bool)}, r"reset must have shape \(batch, time\) = \(2, 5\)"),
        ({"state": no_lags(3, 4, 3, "cpu", torch.float32)}, "state must have the rows of x, 2, got 3"),
    ],
)
def test_bad_input_names_the_argument(change, message):
    with pytest.raises(ValueError, match=message):
        lags(**({"x": torch.zeros(2, 5, 3), "state": no_lags(2, 4, 3, "cpu", torch.float32)} | change))
