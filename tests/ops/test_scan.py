import itertools
import math

import pytest
import torch
from backends import every, runnable
from hypothesis import given
from hypothesis import strategies as st
from oracle import Case, gradients, make_case, softmax_of_every_prefix
from torch.testing import assert_close

from aaren.ops import scan_state
from aaren.ops.scan import BACKENDS, attention_scan, choose_backend
from aaren.ops.scan_state import ScanState

EXACT = 1e-9  # float64: rounding only


def run(case: Case, backend: str):
    return attention_scan(
        case.scores,
        case.values,
        case.state,
        decay=case.decay,
        padding_mask=case.padding_mask,
        reset=case.reset,
        backend=backend,
    )


def slices(case: Case, cuts: list[int]) -> list[slice]:
    edges = [0, *sorted(cuts), case.scores.shape[1]]
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


def run_in_pieces(case: Case, backend: str, cuts: list[int]):
    state, outputs = case.state, []
    for piece in slices(case, cuts):
        part = Case(
            case.scores[:, piece],
            case.values[:, piece],
            state,
            case.decay[:, piece],
            case.padding_mask[:, piece],
            case.reset[:, piece],
        )
        y, state = run(part, backend)
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


def check_against_oracle(case: Case, outputs, state, tolerance=EXACT):
    expected, expected_state = softmax_of_every_prefix(case)
    assert_close(outputs, expected, rtol=tolerance, atol=tolerance)
    assert_close(state, expected_state, rtol=tolerance, atol=tolerance)
    got = gradients(case, outputs, state)
    want = gradients(case, expected, expected_state)
    for name, g, w in zip(("scores", "values", "decay", "m", "u", "w"), got, want, strict=True):
        scale = max(1.0, w.abs().max().item())
        assert_close(g / scale, w / scale, rtol=tolerance, atol=tolerance, msg=lambda text, n=name: f"into {n}: {text}")


@pytest.mark.parametrize("backend", every(BACKENDS))
@pytest.mark.parametrize("time", [1, 2, 7, 63, 64, 65, 200])
def test_equals_softmax_of_every_prefix(backend, time):
    case = make_case(time, batch=3, time=time)
    check_against_oracle(case, *run(case, backend))


@pytest.mark.parametrize("backend", every(BACKENDS))
def test_a_thousand_tokens(backend):
    case = make_case(1, batch=1, time=1000, heads=1, head_dim=2, decay_scale=0.01, p_reset=0.002)
    check_against_oracle(case, *run(case, backend))


@pytest.mark.parametrize("backend", every(BACKENDS))
@pytest.mark.parametrize(("scale", "offset"), [(1e4, 0.0), (1.0, 1e4), (1.0, -1e4), (100.0, 0.0)])
def test_extreme_scores(backend, scale, offset):
    case = make_case(2, time=70, scale=scale, offset=offset)
    check_against_oracle(case, *run(case, backend))


@pytest.mark.parametrize("backend", every(BACKENDS))
def test_very_negative_scores_in_float32(backend):
    # The paper's initial state m = 0 gives 0/0 here: exp(-1e4) is 0 in float32.
    scores = -1e4 + torch.randn(2, 70, 3)
    values = torch.randn(2, 70, 3, 4)
    outputs, state = attention_scan(scores, values, backend=backend)
    exact, _ = attention_scan(scores.double(), values.double(), backend="reference")
    assert torch.isfinite(outputs).all()
    assert torch.isfinite(state.w).all()
    assert_close(outputs.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", every(BACKENDS))
@pytest.mark.parametrize("decay_scale", [0.0, 1e-3, 1e3, 1e6])
def test_decay_of_any_size(backend, decay_scale):
    # Differences of running totals would lose the small decays after one large one.
    case = make_case(3, time=80, decay_scale=1.0)
    decay = torch.where(torch.rand(case.decay.shape) < 0.1, decay_scale * case.decay, case.decay).detach()
    case = case._replace(decay=decay.requires_grad_())
    check_against_oracle(case, *run(case, backend))


@given(
    seed=st.integers(0, 10**6),
    time=st.integers(1, 90),
    backend=st.sampled_from(runnable(BACKENDS)),
    scale=st.sampled_from([0.0, 1.0, 30.0, 1e4]),
    p_mask=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    p_reset=st.sampled_from([0.0, 0.1, 1.0]),
    seen=st.booleans(),
    cuts=st.lists(st.integers(0, 90), max_size=4),
)
def test_any_split_is_the_whole(seed, time, backend, scale, p_mask, p_reset, seen, cuts):
    case = make_case(seed, batch=3, time=time, scale=scale, p_mask=p_mask, p_reset=p_reset, seen=seen)
    cuts = [cut for cut in cuts if cut < time]
    check_against_oracle(case, *run_in_pieces(case, backend, cuts))


@pytest.mark.parametrize("backend", every(BACKENDS))
def test_token_by_token(backend):
    case = make_case(4, time=40)
    check_against_oracle(case, *run_in_pieces(case, backend, list(range(40))))


@pytest.mark.parametrize("backend", every(BACKENDS))
def test_backend_matches_reference_in_float32(backend):
    case = make_case(5, time=130)
    single = case._replace(
        scores=case.scores.float(),
        values=case.values.float(),
        decay=case.decay.float(),
        state=ScanState(*(x.float() for x in case.state)),
    )
    outputs, state = run(single, backend)
    expected, expected_state = run(case, "reference")
    assert outputs.dtype == torch.float32
    assert_close(outputs.double(), expected, rtol=1e-4, atol=1e-4)
    assert_close(state.w.double(), expected_state.w, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", every(BACKENDS))
def test_gradcheck(backend):
    case = make_case(6, batch=1, time=5, heads=1, head_dim=2)

    def averages(scores, values, decay, m, u, w):
        y, state = run(case._replace(scores=scores, values=values, decay=decay, state=ScanState(m, u, w)), backend)
        return y, state.w / state.u[..., None]

    assert torch.autograd.gradcheck(averages, case.inputs())


@pytest.mark.parametrize("backend", every(BACKENDS))
@pytest.mark.parametrize("rubbish", [math.nan, math.inf, -math.inf, 1e30])
def test_what_stands_under_the_mask_does_not_matter(backend, rubbish):
    case = make_case(7, batch=3, time=66)
    dead = case.padding_mask
    dirty = case._replace(
        scores=case.scores.detach().masked_fill(dead[..., None], rubbish).requires_grad_(),
        values=case.values.detach().masked_fill(dead[..., None, None], rubbish).requires_grad_(),
        decay=case.decay.detach().masked_fill(dead[..., None], rubbish).requires_grad_(),
        reset=case.reset | dead,
    )
    outputs, state = run(case, backend)
    dirty_outputs, dirty_state = run(dirty, backend)
    assert torch.equal(outputs, dirty_outputs)
    for a, b in zip(state, dirty_state, strict=True):
        assert torch.equal(a, b)
    for a, b in zip(gradients(case, outputs, state), gradients(dirty, dirty_outputs, dirty_state), strict=True):
        assert torch.equal(a, b)
    assert torch.isfinite(dirty_outputs).all()


@pytest.mark.parametrize("backend", every(BACKENDS))
def test_half_precision_accumulates_in_float32(backend):
    case = make_case(8, time=70)
    scores, values = case.scores.detach().bfloat16(), case.values.detach().bfloat16()
    outputs, state = attention_scan(scores, values, backend=backend)
    exact, _ = attention_scan(scores.double(), values.double(), backend="reference")
    assert outputs.dtype == torch.bfloat16
    assert {x.dtype for x in state} == {torch.float32}
    assert_close(outputs.double(), exact, rtol=1e-2, atol=1e-2)  # the rounding of the outputs alone


@pytest.mark.parametrize("backend", every(BACKENDS))
def test_dtype_of_the_state_decides(backend):
    case = make_case(9, time=70)
    scores, values = case.scores.detach().float(), case.values.detach().float()
    outputs, state = attention_scan(scores, values, scan_state.empty((2, 2), 3, dtype=torch.float64), backend=backend)
    exact, exact_state = attention_scan(scores.double(), values.double(), backend=backend)
    assert outputs.dtype == torch.float32
    for a, b in zip(state, exact_state, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(outputs, exact.float())


@pytest.mark.parametrize("backend", every(BACKENDS))
@pytest.mark.parametrize("offset", [0.0, 100.0, 1000.0, 1e4])
def test_slow_decay_is_not_lost_beside_large_scores(backend, offset):
    # ln 2 / 1024 is below the last digit of a float32 maximum of 10,000, and taken off once a token.
    scores = offset + torch.randn(1, 2000, 2)
    values, decay = torch.randn(1, 2000, 2, 3), torch.full((1, 2000, 2), math.log(2) / 1024)
    outputs, _ = attention_scan(scores, values, decay=decay, backend=backend)
    exact, _ = attention_scan(scores.double(), values.double(), decay=decay.double(), backend="parallel")
    assert_close(outputs.double(), exact, rtol=0, atol=1e-4)


@pytest.mark.parametrize("backend", every(BACKENDS))
def test_autocast_does_not_reach_the_sums(backend):
    case = make_case(12, time=70)
    scores, values = case.scores.detach().float(), case.values.detach().float()
    expected, _ = attention_scan(scores, values, backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = attention_scan(scores, values, backend=backend)
    assert torch.equal(outputs, expected)


@pytest.mark.parametrize("backend", every(BACKENDS))
def test_tokens_without_weight_have_finite_gradients(backend):
    # Where nothing has been seen an output is 0 whatever the sums: no large number may come of it.
    scores = torch.tensor([[[-math.inf], [-math.inf], [0.0], [1.0]]], requires_grad=True)
    values = torch.randn(1, 4, 1, 3, requires_grad=True)
    outputs, _ = attention_scan(scores, values, backend=backend)
    gradients = torch.autograd.grad(1e4 * outputs.sum(), (scores, values))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert torch.equal(outputs[:, :2], torch.zeros(1, 2, 1, 3))


@pytest.mark.parametrize("backend", every(BACKENDS))
def test_the_dtype_of_a_decay_is_kept(backend):
    case = make_case(9, time=50)
    scores, values = case.scores.detach().float(), case.values.detach().float()
    state = ScanState(*(x.detach() for x in case.state))
    _, got = attention_scan(scores, values, state, decay=case.decay.detach(), backend=backend)
    _, exact = attention_scan(scores.double(), values.double(), state, decay=case.decay.detach(), backend="reference")
    assert_close(got, exact, rtol=EXACT, atol=EXACT)


def test_incoming_state_is_not_changed():
    case = make_case(10)
    before = [x.detach().clone() for x in case.state]
    for backend in runnable(BACKENDS):
        run(case, backend)
    for a, b in zip(before, case.state, strict=True):
        assert torch.equal(a, b)


def test_auto_is_a_backend():
    settings = itertools.product((1, 2), (1, 10**6), ("cpu", "cuda", "mps"), (False, True))
    assert {choose_backend(*setting) for setting in settings} <= set(BACKENDS)
    assert choose_backend(1, 64, "cpu", False) == choose_backend(1, 10**6, "cpu", True) == "step"
    assert choose_backend(2, 64, "cpu", True) == "chunked"
    assert choose_backend(1, 10**6, "cpu", False) == choose_backend(2, 64, "cpu", False) == "cpu"
    case = make_case(11, time=20)
    outputs, _ = attention_scan(case.scores, case.values)
    expected, _ = attention_scan(case.scores, case.values, backend="reference")
    assert_close(outputs, expected, rtol=EXACT, atol=EXACT)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"backend": "cuda"},
            "backend must be one of auto, reference, step, parallel, chunked, cpu, triton, got 'cuda'",
        ),
        ({"values": torch.zeros(2, 4, 2, 3)}, "values must have shape"),
        ({"scores": torch.zeros(2, 5)}, "scores must have shape"),
        ({"decay": torch.zeros(2, 5, 1)}, "decay must have the shape of scores"),
        ({"values": torch.zeros(2, 5, 2, 3, dtype=torch.long)}, "scores and values must be floating point"),
        ({"padding_mask": torch.zeros(2, 5)}, "padding_mask must have dtype torch.bool, got torch.float32"),
        ({"reset": torch.zeros(2, 4, dtype=torch.bool)}, "reset must have shape"),
        ({"state": scan_state.empty((2, 1), 3)}, "state must have m, u, w of shapes"),
        (
            {"state": scan_state.empty((2, 2), 3, dtype=torch.bfloat16)},
            "state must be all float32 or all float64",
        ),
    ],
)
def test_bad_input_names_the_argument(change, message):
    inputs = {"scores": torch.zeros(2, 5, 2), "values": torch.zeros(2, 5, 2, 3)} | change
    with pytest.raises(ValueError, match="must") as error:
        attention_scan(**inputs)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
