"""The kernels for GPUs beyond what all backends are tested for: chunks of time, dtypes, scratch memory, compilation."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from backends import interpreted
from oracle import Case, gradients, make_case, softmax_of_every_prefix
from torch.testing import assert_close

from aaren.ops import scan
from aaren.ops.linear_scan import linear_scan
from aaren.ops.scan import attention_scan, check_device, choose_backend
from aaren.ops.scan_state import ScanState

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
EXACT = 1e-9


def run(case: Case, backend: str = "triton"):
    flags = {"padding_mask": case.padding_mask, "reset": case.reset}
    return attention_scan(case.scores, case.values, case.state, decay=case.decay, **flags, backend=backend)


def run_linear(case: Case, backend: str = "triton"):
    """A linear scan of as many channels as the case has values a token, and its gradients."""
    a, b = torch.sigmoid(case.scores[..., None] - case.values).flatten(2), case.values.flatten(2)
    flags = {"padding_mask": case.padding_mask, "reset": case.reset}
    h, state = linear_scan(a, b, case.state.w.flatten(1), **flags, backend=backend)
    inputs = [case.scores, case.values, case.state.w]
    return [h, state, *torch.autograd.grad([h.square().sum(), state.square().sum()], inputs)]


def in_chunks(monkeypatch, tokens: int, blocks: int):
    """Blocks of so many tokens, and chunks of so many blocks."""
    from aaren.ops import triton_kernel

    monkeypatch.setattr(triton_kernel, "TOKENS", tokens)
    monkeypatch.setattr(triton_kernel, "chunk_length", lambda rows, time, size, processors: blocks * size)


@interpreted
@pytest.mark.parametrize(("tokens", "blocks"), [(64, 1), (16, 1), (16, 3)])
@pytest.mark.parametrize(("time", "head_dim"), [(100, 3), (64, 1), (65, 33)])
def test_chunks_are_the_whole(monkeypatch, tokens, blocks, time, head_dim):
    in_chunks(monkeypatch, tokens, blocks)
    case = make_case(time, batch=2, time=time, heads=1, head_dim=head_dim)
    results, expected = run(case), softmax_of_every_prefix(case)
    assert_close(results, expected, rtol=EXACT, atol=EXACT)
    assert_close(gradients(case, *results), gradients(case, *expected), rtol=EXACT, atol=EXACT)
    assert_close(run_linear(case), run_linear(case, "reference"), rtol=EXACT, atol=EXACT)


@interpreted
def test_more_channels_than_a_block_has():
    case = make_case(0, time=20, heads=2, head_dim=70)
    assert_close(run_linear(case), run_linear(case, "reference"), rtol=EXACT, atol=EXACT)


@interpreted
def test_scratch_memory_is_not_read_before_it_is_written(monkeypatch):
    from aaren.ops import linear_triton, triton_gpu

    in_chunks(monkeypatch, 16, 1)
    case = make_case(1, time=40)
    outputs, state = run(case)
    clean = [outputs, *state, *gradients(case, outputs, state), *run_linear(case)]
    for module in (triton_gpu, linear_triton):
        monkeypatch.setattr(
            module, "empty", lambda shape, like: torch.full(shape, torch.nan, dtype=like.dtype, device=like.device)
        )
    outputs, state = run(case)
    poisoned = [outputs, *state, *gradients(case, outputs, state), *run_linear(case)]
    for a, b in zip(clean, poisoned, strict=True):
        assert torch.equal(a, b)


@interpreted
def test_every_input_has_its_own_dtype():
    case = make_case(2, time=70)
    mixed = case._replace(
        scores=case.scores.detach().float().requires_grad_(),
        values=case.values.detach().bfloat16().requires_grad_(),
        decay=case.decay.detach().half().requires_grad_(),
        state=ScanState(*(x.detach().float().requires_grad_() for x in case.state)),
    )
    wide = mixed._replace(
        scores=mixed.scores.double(),
        values=mixed.values.double(),
        decay=mixed.decay.double(),
        state=ScanState(*(x.double() for x in mixed.state)),
    )
    (outputs, state), expected = run(mixed), run(wide, "reference")
    assert (outputs.dtype, state.u.dtype) == (torch.bfloat16, torch.float32)
    assert_close(outputs.double(), expected[0], rtol=1e-2, atol=1e-2)
    assert_close(ScanState(*(x.double() for x in state)), expected[1], rtol=1e-5, atol=1e-5)
    got, want = (torch.autograd.grad(y.double().square().sum(), mixed.inputs()) for y in (outputs, expected[0]))
    scale = max(w.abs().max().item() for w in want)  # where the sums over rounded outputs cancel, less is not to be had
    for g, w, x in zip(got, want, mixed.inputs(), strict=True):
        assert g.dtype == x.dtype
        assert_close(g.double(), w.double(), rtol=1e-2, atol=1e-2 * scale)


@interpreted
def test_a_score_that_is_nan_is_seen():
    scores, values = torch.zeros(1, 6, 1), torch.ones(1, 6, 1, 2)
    scores[0, 3] = torch.nan
    outputs, _ = attention_scan(scores, values, backend="triton")
    assert torch.isfinite(outputs[:, :3]).all()
    assert torch.isnan(outputs[:, 3:]).all()


@interpreted
@pytest.mark.unchecked
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_operators_keep_their_promises(dtype):
    from aaren.ops import linear_triton, triton_gpu  # noqa: F401

    case = make_case(3, time=20)
    scores, values, decay = (x.detach().to(dtype).requires_grad_() for x in (case.scores, case.values, case.decay))
    state = [x.detach().float().requires_grad_() for x in case.state]
    arguments = (scores, values, decay, case.padding_mask, case.reset, *state)
    torch.library.opcheck(torch.ops.aaren.attention_scan_triton, arguments)
    a, b, h = (x.detach().flatten(2).requires_grad_() for x in (values, values, state[2][:, None]))
    torch.library.opcheck(torch.ops.aaren.linear_scan_triton, (a, b, None, case.reset, h[:, 0].detach()))


@interpreted
def test_chunks_fill_the_gpu_and_no_more():
    from aaren.ops.triton_kernel import PROGRAMS, chunk_length

    assert chunk_length(rows=10**6, time=1000, tokens=64, multiprocessors=100) == 1024
    assert chunk_length(rows=1, time=10, tokens=64, multiprocessors=100) == 64
    for rows in (1, 8, 100):
        for time in (1, 63, 1000, 10**6):
            length = chunk_length(rows, time, 16, 100)
            chunks = -(-time // length)
            assert length % 16 == 0
            assert chunks == 1 or (chunks * rows <= 100 * PROGRAMS and 2 * chunks**2 <= time)
    assert chunk_length(rows=8, time=10**6, tokens=16, multiprocessors=100) == 10**4


@pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")
def test_kernels_compile_without_a_gpu(tmp_path):
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command, root = [sys.executable, "-m", "tests.compile_kernels", "80"], Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 24


@pytest.mark.unchecked
def test_a_kernel_for_another_device_is_refused(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    message = "backend 'triton' needs a CUDA tensor, got device 'cpu'; use backend='auto'"
    with pytest.raises(ValueError, match=message):
        attention_scan(torch.zeros(1, 2, 1), torch.zeros(1, 2, 1, 1), backend="triton")
    with pytest.raises(ValueError, match=message):
        linear_scan(torch.zeros(1, 2, 1), torch.zeros(1, 2, 1), backend="triton")
    with pytest.raises(ValueError, match="backend 'cpu' needs a CPU tensor, got device 'cuda'; use backend='auto'"):
        check_device("cpu", "cuda")


@pytest.mark.parametrize(("installed", "backend"), [(True, "triton"), (False, "chunked")])
def test_auto_takes_triton_where_it_is_installed(monkeypatch, installed, backend):
    monkeypatch.setattr(scan, "_HAS_TRITON", installed)
    assert choose_backend(2, 64, "cuda", False) == backend
    assert choose_backend(2, 64, "cuda", True) == "chunked"
    assert choose_backend(1, 64, "cuda", False) == "step"


@needs_gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("batch", [1, 4, 64])
def test_equals_the_reference_on_a_gpu(dtype, tolerance, batch):
    case = make_case(4, batch=batch, time=2048, heads=8, head_dim=64, decay_scale=0.01, p_reset=0.002)
    rounded = [x.detach().to("cuda", dtype).requires_grad_() for x in (case.scores, case.values, case.decay)]
    state = ScanState(*(x.detach().to("cuda", torch.float32).requires_grad_() for x in case.state))
    flags = case.padding_mask.cuda(), case.reset.cuda()
    case = Case(rounded[0], rounded[1], state, rounded[2], *flags)
    wide = [x.double() for x in rounded]
    exact = Case(wide[0], wide[1], ScanState(*(x.double() for x in state)), wide[2], *flags)
    (outputs, _), (expected, _) = run(case, "auto"), run(exact, "reference")
    assert_close(outputs.double(), expected, rtol=tolerance, atol=tolerance)
    weights = torch.randn(expected.shape, device="cuda", dtype=torch.float64)
    got, want = (torch.autograd.grad((y * weights).sum(), case.inputs()) for y in (outputs.double(), expected))
    for g, w in zip(got, want, strict=True):
        assert_close(g.double(), w.double(), rtol=tolerance, atol=tolerance * w.abs().max().item())


@needs_gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)])
def test_linear_scan_equals_the_reference_on_a_gpu(dtype, tolerance):
    inputs = [torch.randn(4, 2048, 500, device="cuda").to(dtype).requires_grad_() for _ in range(2)]
    results = []
    for cast, backend in ((torch.Tensor.clone, "auto"), (torch.Tensor.double, "reference")):
        a, b = (cast(x) for x in inputs)
        h, _ = linear_scan(torch.sigmoid(a.double()).to(a.dtype), b, backend=backend)
        results.append([h, *torch.autograd.grad(h.double().square().sum(), inputs)])
    for g, w in zip(*results, strict=True):
        assert_close(g.double(), w.double(), rtol=tolerance, atol=tolerance * w.abs().max().item())
