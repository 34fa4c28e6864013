"""The tests of the scan can fail: every factor of `combine`, changed, is noticed."""

import inspect

import pytest
import torch
from oracle import make_case, softmax_of_every_prefix

from aaren.ops import reference, scan_state
from aaren.ops.scan import attention_scan

MUTATIONS = [
    ("a.u * scale_a", "a.u"),
    ("b.u * scale_b", "b.u"),
    ("a.w * scale_a[..., None]", "a.w"),
    ("b.w * scale_b[..., None]", "b.w"),
    ("a.u * scale_a", "b.u * scale_a"),
    ("+ b.w", "- b.w"),
    ("torch.maximum(a.m, b.m)", "a.m"),
    ("torch.maximum(a.m, b.m)", "torch.minimum(a.m, b.m)"),
    ("a.m - shift", "a.m"),
    ("b.m - shift", "b.m"),
    ("m.clamp(min=torch.finfo(m.dtype).min)", "m"),
]


@pytest.mark.unchecked
@pytest.mark.parametrize(("old", "new"), MUTATIONS)
def test_mutation_of_combine_is_noticed(monkeypatch, old, new):
    source = inspect.getsource(scan_state.combine)
    assert old in source
    namespace = dict(vars(scan_state))
    exec(source.replace(old, new), namespace)
    monkeypatch.setattr(reference, "combine", namespace["combine"])
    assert not all(equals_oracle(make_case(0, batch=3, seen=seen)) for seen in (True, False)), "went unnoticed"


def equals_oracle(case) -> bool:
    outputs, state = attention_scan(
        case.scores,
        case.values,
        case.state,
        decay=case.decay,
        padding_mask=case.padding_mask,
        reset=case.reset,
        backend="reference",
    )
    expected, expected_state = softmax_of_every_prefix(case)
    return all(torch.allclose(a, b) for a, b in zip((outputs, *state), (expected, *expected_state), strict=True))


def test_without_a_mutation_nothing_is_noticed():
    assert equals_oracle(make_case(0, batch=3))
    assert equals_oracle(make_case(0, batch=3, seen=False))
