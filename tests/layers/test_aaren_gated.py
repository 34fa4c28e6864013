"""What is particular to `AarenGated`; the laws are in test_laws.py."""

import pytest
import torch
from torch.testing import assert_close

from aaren.layers.aaren import AarenDecay
from aaren.layers.aaren_gated import AarenGated


def test_without_its_parts_it_is_aaren_decay():
    gated = AarenGated(12, 3, kernel=1, gate=False, input_decay=False).double()
    decay = AarenDecay(12, 3).double()
    weight, bias = decay.attention.score_map()
    gated.score_proj.load_state_dict({"weight": weight, "bias": bias})
    gated.v_proj.load_state_dict(decay.attention.v_proj.state_dict())
    gated.out_proj.load_state_dict(decay.attention.out_proj.state_dict())
    x, elapsed = torch.randn(2, 30, 12, dtype=torch.float64), torch.rand(2, 30, dtype=torch.float64)
    assert_close(gated(x, elapsed=elapsed)[0], decay(x, elapsed=elapsed)[0])


def test_every_part_counts():
    x = torch.randn(2, 30, 12)
    whole = AarenGated(12, 3)
    torch.nn.init.normal_(whole.taps)
    for part in ("taps", "gate_proj.weight", "decay_proj.weight", "score_proj.weight", "rate"):
        changed = AarenGated(12, 3)
        changed.load_state_dict(whole.state_dict())
        with torch.no_grad():
            changed.get_parameter(part).add_(torch.randn_like(changed.get_parameter(part)))
        assert not torch.allclose(changed(x)[0], whole(x)[0], atol=1e-3), part


def test_a_token_can_wipe_the_past():
    layer = AarenGated(4, 1, kernel=1, gate=False)
    with torch.no_grad():
        layer.get_parameter("decay_proj.weight")[:] = torch.tensor([[100.0, 0, 0, 0]])
        layer.score_proj.weight.zero_()
    x = torch.randn(1, 20, 4)
    x[:, :, 0] = -1.0
    x[:, 10, 0] = 10.0
    whole, _ = layer(x)
    assert_close(whole[:, 10:], layer(x[:, 10:])[0])
    assert not torch.allclose(whole[:, 9:10], layer(x[:, 9:10])[0], atol=1e-3)


def test_queries_of_a_head_read_the_same_values():
    layer = AarenGated(6, 2, kernel=1, gate=False, queries=3, input_decay=False)
    with torch.no_grad():  # one query that sees the latest token only, two that see all alike
        layer.score_proj.weight.zero_()
        layer.rate[:] = torch.tensor([100.0, -100.0, -100.0] * 2)
        layer.out_proj.weight[:] = torch.tensor([[1.0 if i // 3 % 3 == 0 else 0.0] * 6 for i in range(18)]).T
    x = torch.randn(1, 5, 6)
    expected = layer.v_proj(x).sum(dim=-1, keepdim=True).expand(1, 5, 6)
    assert_close(layer(x)[0], expected)
    assert layer.initial_state(2).average.m.shape == (2, 6)


@pytest.mark.unchecked
@pytest.mark.parametrize("arguments", [{"kernel": 0}, {"queries": 0}])
def test_wrong_numbers(arguments):
    with pytest.raises(ValueError, match="kernel and queries must be at least 1, got"):
        AarenGated(6, 2, **arguments)
    with pytest.raises(ValueError, match="multiple of nhead"):
        AarenGated(6, 4)
