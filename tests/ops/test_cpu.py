"""What is particular to the fused kernels: threads, forks, scratch memory, registration. Exactness is tested with all
backends in test_scan.py and test_linear_scan.py."""

import functools
import math
import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from oracle import gradients, make_case
from torch.testing import assert_close
from torch.utils.data import DataLoader

from aaren.ops import cpu, linear_cpu, process, threads
from aaren.ops.linear_scan import linear_scan
from aaren.ops.scan import attention_scan
from aaren.ops.scan_state import ScanState


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def long_case(batch: int, time: int = 2000):
    """Enough work for several threads."""
    return make_case(0, batch=batch, time=time, heads=3, head_dim=180, decay_scale=0.05, p_mask=0.1, p_reset=0.002)


def results(case, backend):
    y, state = attention_scan(
        case.scores, case.values, case.state, decay=case.decay, padding_mask=case.padding_mask, reset=case.reset,
        backend=backend,
    )  # fmt: skip
    return [y, *state, *gradients(case, y, state)]


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
@pytest.mark.parametrize("with_resets", [True, False])
def test_threads_share_rows_and_chunks_of_time(four_threads, batch, with_resets):
    time = 4000 // batch
    jobs = threads.split(batch, time, 3 * (180 + 32), 4)
    assert len(jobs) == {1: 5, 2: 3, 3: 1, 8: 1}[batch]
    assert sum(len(units) for job in jobs for units in job) == batch * len(jobs)
    case = long_case(batch, time)
    if not with_resets:  # so that every chunk matters to the last
        case = case._replace(reset=torch.zeros_like(case.reset))
        case.reset[:, time // 2 + 7] = case.padding_mask[:, time // 2 + 7] = True  # the mask wins
    for got, expected in zip(results(case, "cpu"), results(case, "chunked"), strict=True):
        assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("batch", [1, 2])
def test_threads_share_chunks_of_a_linear_scan(four_threads, batch):
    a = (1 - 0.02 * torch.rand(batch, 2000, 200, dtype=torch.float64)).requires_grad_()
    b, h = torch.randn(batch, 2000, 200, dtype=torch.float64, requires_grad=True), torch.randn(batch, 200).double()
    mask, reset = torch.rand(batch, 2000) < 0.1, torch.zeros(batch, 2000, dtype=torch.bool)
    reset[:, 3] = reset[:, 1001] = mask[:, 1001] = True  # in the second case the mask wins
    h.requires_grad_()

    def run(backend):
        y, state = linear_scan(a, b, h, padding_mask=mask, reset=reset, backend=backend)
        return [y, state, *torch.autograd.grad((y.cos().sum(), state.sin().sum()), (a, b, h))]

    assert len(threads.split(batch, 2000, 600, 4)) > 1
    for got, expected in zip(run("cpu"), run("chunked"), strict=True):
        assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_eight_python_threads_at_once(four_threads):
    expected = results(long_case(2), "cpu")
    got: list[list[torch.Tensor] | None] = [None] * 8

    def work(i):
        got[i] = results(long_case(2), "cpu")

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    for mine in got:
        assert mine is not None
        for x, y in zip(mine, expected, strict=True):
            assert torch.equal(x, y)


def scan_in_worker(batch, parts):
    cpu.thread_count = lambda: 2  # PyTorch itself may use one only: its OpenMP hangs in a forked child
    y, _ = attention_scan(parts[0].expand(1, 2000, 4), parts[1].expand(1, 2000, 4, 180), backend="cpu")
    return y.sum() + sum(batch)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_data_loader(four_threads):
    cases = [long_case(2) for _ in range(2)]
    results(cases[0], "cpu")  # the pool of this process has threads, which a child does not inherit
    parts = (torch.randn(1, 2000, 1), torch.randn(1, 2000, 1, 180))
    loader = DataLoader(
        list(range(4)),  # pyright: ignore[reportArgumentType]
        num_workers=2,
        multiprocessing_context="fork",
        collate_fn=functools.partial(scan_in_worker, parts=parts),
        timeout=60,
    )
    found = sorted(float(x) for x in loader)
    assert_close(found[3] - found[0], 3.0, rtol=0, atol=1e-2)
    results(cases[1], "cpu")  # and this process still has them


@pytest.mark.parametrize("time", [150, 2000])  # the latter in chunks
def test_scratch_memory_is_never_read_before_it_is_written(four_threads, monkeypatch, time):
    case = long_case(1, time) if time > 150 else make_case(7, batch=3, time=150)
    a, b = torch.rand(2, time, 90), torch.randn(2, time, 90)

    def everything():
        a.requires_grad_()
        y, h = linear_scan(a, b, backend="cpu")
        return [*results(case, "cpu"), y, h, *torch.autograd.grad((y.sum(), h.sum()), a)]

    clean = everything()

    def poisoned(shape, dtype):
        return np.full(shape, math.nan, dtype)

    monkeypatch.setattr(cpu, "empty", poisoned)
    monkeypatch.setattr(linear_cpu, "empty", poisoned)
    for x, y in zip(everything(), clean, strict=True):
        assert torch.equal(x, y)


def test_what_fails_in_a_thread_is_raised(four_threads, monkeypatch):
    def work(number):
        done.append(number)
        if number == 3:
            raise KeyboardInterrupt

    for team in (threads._team, None):
        monkeypatch.setattr(threads, "_team", team)
        done: list[int] = []
        with pytest.raises(KeyboardInterrupt):
            threads.run_together(work, [(number,) for number in range(8)])
        assert sorted(done) == list(range(8))


def test_a_signal_before_a_team_begins_loses_no_work(monkeypatch):
    class Team:  # what is left of a team when a signal's exception is raised before its member's `try`
        @staticmethod
        def GOMP_parallel(*_):
            pass

    monkeypatch.setattr(threads, "_team", Team)
    done = []
    threads.run_together(done.append, [(1,), (2,)])
    assert done == [1, 2]


def test_forked_children_leave_openmp_alone():
    def child(answers):
        answers.put((process.forked, sum(threads_used())))

    def threads_used():
        done = []
        threads.run_together(done.append, [(1,), (2,)])
        return done

    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    worker = context.Process(target=child, args=(answers,))
    worker.start()
    assert answers.get(timeout=60) == (True, 3)
    worker.join()
    assert not process.forked


def test_gradients_passed_in_are_not_changed(four_threads):
    case = long_case(1)
    y, state = attention_scan(case.scores, case.values, case.state, backend="cpu")
    a, b = torch.rand(1, 2000, 400, requires_grad=True), torch.randn(1, 2000, 400, requires_grad=True)
    for batch in (slice(None), slice(0, 1)):
        h, last = linear_scan(a[batch], b[batch], backend="cpu")
        for outputs in ([y, state.u, state.w], [h, last], [h[:, :5], last]):
            weights = [torch.randn_like(x) for x in outputs]
            before = [weight.clone() for weight in weights]
            inputs = [case.scores] if outputs[0] is y else [a]
            torch.autograd.grad(outputs, inputs, weights, retain_graph=True)
            assert all(torch.equal(x, y) for x, y in zip(weights, before, strict=True))
    a, b = torch.rand(2, 5, 3, requires_grad=True), torch.randn(2, 5, 3)
    _, last = linear_scan(a, b, backend="cpu")
    weight = torch.ones_like(last)
    torch.autograd.grad(last, a, weight)
    assert torch.equal(weight, torch.ones_like(last))


def test_what_a_maximum_loses_when_rounded_goes_into_the_sums():
    scores, values = 1e4 + torch.randn(1, 300, 2), torch.randn(1, 300, 2, 3)
    decay = torch.full((1, 300, 2), 0.0123)
    _, state = attention_scan(scores, values, decay=decay, backend="cpu")
    _, exact = attention_scan(scores.double(), values.double(), decay=decay.double(), backend="reference")
    assert_close(state.u.double() * torch.exp(state.m.double() - exact.m), exact.u, rtol=1e-5, atol=0)


def test_no_folder_for_compiled_code(tmp_path):
    code = (
        "import torch; from aaren.ops import numba_kernel; from numba.core import caching;"
        "caching._CacheLocator.from_function = classmethod(lambda cls, *a: None);"
        "caching.CacheImpl._locator_classes = [];"
        "from aaren.ops.scan import attention_scan;"
        "print(attention_scan(torch.zeros(1, 2, 1), torch.ones(1, 2, 1, 1), backend='cpu')[0].sum())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "tensor(2.)\n", done.stderr


def test_transforms_of_torch_func_use_plain_operations():
    s, v = torch.randn(3, 7, 2), torch.randn(3, 7, 2, 4)

    def total(s, v):
        return attention_scan(s[None], v[None])[0].sum() + linear_scan(s[None].sigmoid(), s[None])[0].sum()

    each = torch.func.vmap(torch.func.grad(total))(s, v)
    s.requires_grad_()
    together = torch.autograd.grad(attention_scan(s, v)[0].sum() + linear_scan(s.sigmoid(), s)[0].sum(), s)[0]
    assert_close(each, together, rtol=1e-4, atol=1e-5)


def test_strides_of_any_kind():
    case = make_case(5, time=40)
    turned = case._replace(
        scores=case.scores.detach().permute(2, 0, 1).contiguous().permute(1, 2, 0).requires_grad_(),
        values=case.values.detach().permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0).requires_grad_(),
        state=ScanState(*(x.detach().mT.contiguous().mT.requires_grad_() for x in case.state)),
    )
    assert not turned.values.is_contiguous()
    for x, y in zip(results(turned, "cpu"), results(case, "cpu"), strict=True):
        assert_close(x, y, rtol=0, atol=0)


def test_unused_results_need_no_gradient():
    s, v = torch.randn(1, 5, 2, requires_grad=True), torch.randn(1, 5, 2, 3, requires_grad=True)
    for backend in ("cpu", "chunked"):
        y, state = attention_scan(s, v, backend=backend)
        from_state = torch.autograd.grad(state.w.sum(), (s, v), retain_graph=True)
        from_outputs = torch.autograd.grad(y.sum(), (s, v))
        if backend == "cpu":
            first = from_state, from_outputs
    assert_close((from_state, from_outputs), first)
    assert not state.m.requires_grad


def test_a_second_derivative_is_refused():
    s, v = torch.randn(1, 5, 2, requires_grad=True), torch.randn(1, 5, 2, 3, requires_grad=True)
    a, b = torch.rand(1, 5, 2, requires_grad=True), torch.randn(1, 5, 2, requires_grad=True)
    for y, x in (
        (attention_scan(s, v, backend="cpu")[0], s),
        (linear_scan(a, b, backend="cpu")[0], a),
        (torch.ops.aaren.linear_scan_cpu(a, b, None, None, torch.zeros(1, 2))[0], a),
    ):
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            (first.sum() + x.sum()).backward()


@pytest.mark.unchecked
@pytest.mark.parametrize("with_decay", [True, False])
def test_operators_are_registered_as_pytorch_wants_them(with_decay):
    case = make_case(1, time=9)
    arguments = (
        case.scores, case.values, case.decay if with_decay else None, case.padding_mask, case.reset, *case.state
    )  # fmt: skip
    torch.library.opcheck(torch.ops.aaren.attention_scan_cpu, arguments)
    a, b = torch.rand(2, 9, 3, requires_grad=True), torch.randn(2, 9, 3, requires_grad=True)
    arguments = (a, b, None, torch.rand(2, 9) < 0.2, torch.randn(2, 3, requires_grad=True))
    torch.library.opcheck(torch.ops.aaren.linear_scan_cpu, arguments)


@pytest.mark.unchecked
def test_operators_in_chunks_of_time_keep_their_promises(monkeypatch):
    def three(batch, time, work, number):
        return [[np.array([(r, 3 * n, 3 * n + 3, 3 * r + n) for r in range(batch)], np.uintp)] for n in range(3)]

    monkeypatch.setattr(cpu, "split", three)
    monkeypatch.setattr(linear_cpu, "split", three)
    case = make_case(1, time=9)
    arguments = (case.scores, case.values, case.decay, case.padding_mask, case.reset, *case.state)
    torch.library.opcheck(torch.ops.aaren.attention_scan_cpu, arguments)
    a, b, h = (torch.rand(2, 9, 3), torch.randn(2, 9, 3), torch.randn(2, 3))
    arguments = (a.requires_grad_(), b.requires_grad_(), None, torch.rand(2, 9) < 0.2, h.requires_grad_())
    torch.library.opcheck(torch.ops.aaren.linear_scan_cpu, arguments)


def test_means_of_many_tokens_do_not_drift():
    scores, values = torch.randn(1, 2**16, 2), 1 + torch.randn(1, 2**16, 2, 4)

    def run(dtype, size):
        inputs, state, outputs = [x.to(dtype).requires_grad_() for x in (scores, values)], None, []
        for chunk in zip(*(x.split(size, dim=1) for x in inputs), strict=True):
            y, state = attention_scan(*chunk, state=state, backend="cpu")
            outputs.append(y)
        y = torch.cat(outputs, dim=1)
        return y.double(), [x.double() for x in torch.autograd.grad(y[:, -1].sum(), inputs)]

    for size in (2**16, 2**10):
        (y, gradients), (exact, expected) = run(torch.float32, size), run(torch.float64, size)
        assert (y - exact).abs().max() < 5e-5
        for gradient, wanted in zip(gradients, expected, strict=True):
            assert (gradient - wanted).abs().max() < 5e-5 * wanted.abs().max()
