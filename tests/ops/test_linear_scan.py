import math

import pytest
import torch
from backends import every, runnable
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from aaren.ops.linear_scan import BACKENDS, linear_scan

NAMES = every(BACKENDS)
EXACT = 1e-9


def make_case(seed, batch=3, time=17, width=5, p_mask=0.3, p_reset=0.1):
    """a, b, state, padding_mask, reset in float64; a of both signs; the last row masked throughout."""
    g = torch.Generator().manual_seed(seed)
    a = 2 * torch.rand(batch, time, width, generator=g, dtype=torch.float64) - 0.9
    b = torch.randn(batch, time, width, generator=g, dtype=torch.float64)
    h = torch.randn(batch, width, generator=g, dtype=torch.float64)
    mask = torch.rand(batch, time, generator=g) < p_mask
    if p_mask:
        mask[-1] = True
    return [
        a.requires_grad_(),
        b.requires_grad_(),
        h.requires_grad_(),
        mask,
        torch.rand(batch, time, generator=g) < p_reset,
    ]


def written_out(a, b, h, mask, reset):
    """Every h as the sum of what came in, each times the product of all a since: no line in common with the library."""
    a = torch.where(reset[..., None], 0.0, a)
    a, b = torch.where(mask[..., None], 1.0, a), torch.where(mask[..., None], 0.0, b)
    outputs = []
    for t in range(a.shape[1]):
        terms = [h * a[:, : t + 1].prod(dim=1)]
        terms += [b[:, i] * a[:, i + 1 : t + 1].prod(dim=1) for i in range(t + 1)]
        outputs.append(torch.stack(terms).sum(0))
    return torch.stack(outputs, dim=1), outputs[-1]


def run(case, backend):
    a, b, h, mask, reset = case
    return linear_scan(a, b, h, padding_mask=mask, reset=reset, backend=backend)


def gradients(case, results):
    g = torch.Generator().manual_seed(1)
    weights = [torch.randn(x.shape, generator=g, dtype=x.dtype) for x in results]
    return torch.autograd.grad(results, case[:3], weights)


def check(case, results):
    expected = written_out(*case)
    assert_close(results, expected, rtol=EXACT, atol=EXACT)
    assert_close(gradients(case, results), gradients(case, expected), rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("time", [1, 2, 7, 63, 64, 65, 130])
def test_equals_the_sums_written_out(backend, time):
    case = make_case(time, time=time)
    check(case, run(case, backend))


@given(
    seed=st.integers(0, 10**6),
    time=st.integers(2, 90),
    cut=st.integers(1, 89),
    backend=st.sampled_from(runnable(BACKENDS)),
    p_mask=st.sampled_from([0.0, 0.3, 1.0]),
    p_reset=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_any_split_is_the_whole(seed, time, cut, backend, p_mask, p_reset):
    case = make_case(seed, time=time, p_mask=p_mask, p_reset=p_reset)
    a, b, h, mask, reset = case
    cut = min(cut, time - 1)
    first, state = run([a[:, :cut], b[:, :cut], h, mask[:, :cut], reset[:, :cut]], backend)
    second, state = run([a[:, cut:], b[:, cut:], state, mask[:, cut:], reset[:, cut:]], backend)
    check(case, (torch.cat([first, second], dim=1), state))


@pytest.mark.parametrize("backend", NAMES)
def test_gradcheck(backend):
    a, b, h, mask, reset = make_case(1, batch=1, time=6, width=2)
    assert torch.autograd.gradcheck(lambda a, b, h: run([a, b, h, mask, reset], backend), (a, b, h))


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("rubbish", [math.nan, math.inf, 1e30])
def test_what_stands_under_the_mask_does_not_matter(backend, rubbish):
    case = make_case(2, time=70)
    a, b, h, mask, reset = case
    dirty = [x.detach().masked_fill(mask[..., None], rubbish).requires_grad_() for x in (a, b)]
    dirty = [*dirty, h, mask, reset | mask]
    results, dirty_results = run(case, backend), run(dirty, backend)
    for x, y in zip(
        (*results, *gradients(case, results)), (*dirty_results, *gradients(dirty, dirty_results)), strict=True
    ):
        assert torch.equal(x, y)


@pytest.mark.parametrize("backend", NAMES)
def test_dtypes(backend):
    a, b, h, mask, reset = (x.detach() for x in make_case(3, time=70))
    exact, exact_state = run([a.float().double(), b.float().double(), h, mask, reset], backend)
    y, state = run([a.float(), b.float(), h, mask, reset], backend)  # the dtype of the state decides
    assert (y.dtype, state.dtype) == (torch.float32, torch.float64)
    assert torch.equal(state, exact_state)
    assert torch.equal(y, exact.float())
    y, state = linear_scan(a.bfloat16(), b.bfloat16(), backend=backend)
    assert (y.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    exact, _ = linear_scan(a.bfloat16().double(), b.bfloat16().double(), backend="reference")
    assert_close(y.double(), exact, rtol=1e-2, atol=1e-2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(linear_scan(a, b, h, backend=backend)[0], linear_scan(a, b, h, backend=backend)[0])


@pytest.mark.parametrize("backend", NAMES)
def test_the_state_is_not_changed_and_an_empty_batch_works(backend):
    case = make_case(4)
    before = case[2].detach().clone()
    run(case, backend)
    assert torch.equal(before, case[2])
    assert run([x[:0] for x in case], backend)[0].shape == (0, 17, 5)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": torch.zeros(2, 5, 4)}, "a and b must have one shape"),
        ({"a": torch.zeros(2, 5, 3, dtype=torch.long)}, "a and b must be floating point, got torch.int64"),
        (
            {"state": torch.zeros(2, 4)},
            r"state must be float32 or float64 of shape \(2, 3\), got torch.float32 \(2, 4\)",
        ),
        ({"state": torch.zeros(2, 3).bfloat16()}, "state must be float32 or float64"),
        ({"backend": "gpu"}, "backend must be one of auto, reference, step, chunked, cpu, triton"),
        ({"reset": torch.zeros(2, 5)}, "reset must have dtype torch.bool"),
    ],
)
def test_bad_input_names_the_argument(change, message):
    with pytest.raises(ValueError, match=message):
        linear_scan(**({"a": torch.zeros(2, 5, 3), "b": torch.zeros(2, 5, 3)} | change))
