import pytest
import torch

from aaren import state as states
from aaren.layers.attention import Attention
from aaren.layers.recurrent import LSTMState


def tree():
    return {"a": (torch.arange(3), LSTMState(torch.ones(3, 2), torch.zeros(3, 2))), "b": torch.rand(3, 4)}


def test_names_sizes_and_rows():
    state = tree()
    assert [name for name, _ in states.named_leaves(state)] == ["state.a.0", "state.a.1.h", "state.a.1.c", "state.b"]
    assert states.nbytes(state) == 3 * 8 + 2 * 3 * 2 * 4 + 3 * 4 * 4
    assert states.batch_size(state) == 3
    picked = states.select(state, torch.tensor([False, True, True]))
    assert picked["a"][0].tolist() == [1, 2]
    assert isinstance(picked["a"][1], LSTMState)
    assert states.concat([picked, state])["a"][0].tolist() == [1, 2, 0, 1, 2]
    assert states.replace_rows(state, [0, 2], picked)["a"][0].tolist() == [1, 1, 2]
    assert states.reset_rows(state, torch.tensor([True, False, True]), states.select(state, [1]))["a"][0].tolist() == [
        1,
        1,
        1,
    ]
    assert state["a"][0].tolist() == [0, 1, 2]


def test_to_changes_floating_leaves_only():
    moved = states.to(tree(), dtype=torch.float64)
    assert moved["b"].dtype == torch.float64
    assert moved["a"][0].dtype == torch.int64


def test_caches_of_different_lengths_join():
    layer = Attention(4)
    _, short = layer(torch.randn(1, 2, 4))
    _, long = layer(torch.randn(1, 5, 4))
    joined = states.concat([short, long])
    assert joined.live.tolist() == [[False, False, False, True, True], [True] * 5]
    token = torch.randn(1, 1, 4)
    both, _ = layer(token.expand(2, -1, -1), joined)
    torch.testing.assert_close(both[:1], layer(token, short)[0])
    torch.testing.assert_close(both[1:], layer(token, long)[0])


def test_what_is_no_state_is_named():
    with pytest.raises(TypeError, match="state must be a pytree of tensors, tuples and dicts, got list"):
        states.nbytes([torch.zeros(1)])
    with pytest.raises(TypeError, match="got NoneType"):
        states.detach({"a": None})


def test_load_refuses_the_state_of_another_model(tmp_path):
    states.save(tmp_path / "s", tree())
    loaded = states.load(tmp_path / "s", tree())
    assert torch.equal(loaded["a"][0], tree()["a"][0])
    with pytest.raises(ValueError, match="state must have the leaves"):
        states.load(tmp_path / "s", {"a": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"state.b must be like float32 \(rows, 5\), got float32 \(rows, 4\)"):
        states.load(tmp_path / "s", tree() | {"b": torch.zeros(1, 5)})
    with pytest.raises(ValueError, match=r"state.b must be like int64"):
        states.load(tmp_path / "s", tree() | {"b": torch.zeros(1, 4, dtype=torch.long)})
    states.save(tmp_path / "ragged", {"a": torch.zeros(2, 1), "b": torch.zeros(3, 1)})
    with pytest.raises(ValueError, match="one number of rows"):
        states.load(tmp_path / "ragged", {"a": torch.zeros(1, 1), "b": torch.zeros(1, 1)})
