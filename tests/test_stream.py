from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from aaren import state as states
from aaren.layers.table import LAYERS
from aaren.models.classifier import SequenceClassifier
from aaren.models.encoder import Encoder
from aaren.stream import KeyedStream, Stream
from aaren.tensor_files import read_tensors, write_tensors


def make(layer="aaren", seed=0):
    torch.manual_seed(seed)
    return Encoder(2, 8, 2, 16, layer=layer).eval()


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_pushing_is_the_whole(layer):
    model, x = make(layer), torch.randn(3, 20, 8)
    stream = Stream(model, 3)
    pushed = torch.stack([stream.push(x[:, t]) for t in range(20)], dim=1)
    assert_close(pushed, model(x)[0], rtol=1e-4, atol=1e-5)
    assert stream.steps == 20


def test_a_single_stream_takes_and_gives_vectors():
    model, x = make(), torch.randn(20, 8)
    stream = Stream(model, readout=torch.exp)
    pushed = torch.stack([stream.push(token.tolist()) for token in x])
    assert_close(pushed, model(x[None])[0][0].exp(), rtol=1e-4, atol=1e-5)


def test_elapsed_reaches_the_model():
    model, x, elapsed = make("aaren_decay"), torch.randn(2, 9, 8), 5 * torch.rand(2, 9)
    stream = Stream(model, 2)
    pushed = torch.stack([stream.push(x[:, t], elapsed=elapsed[:, t]) for t in range(9)], dim=1)
    assert_close(pushed, model(x, elapsed=elapsed)[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="elapsed must be finite, >= 0"):
        stream.push(x[:, 0], elapsed=-1.0)
    with pytest.raises(ValueError, match="elapsed must be numbers, got 'x'"):
        stream.push(x[:, 0], elapsed="x")
    with pytest.raises(ValueError, match="elapsed must have a time for every key pushed, got none for 'b'"):
        KeyedStream(model).push({"a": x[0, 0], "b": x[0, 0]}, elapsed={"a": 1.0})
    with pytest.raises(ValueError, match="elapsed must be None for a model whose layers do not age"):
        Stream(make()).push(x[0, 0], elapsed=1.0)


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_two_streams_on_one_model_do_not_mix(layer):
    model, x = make(layer), torch.randn(2, 15, 8)
    a, b = Stream(model), Stream(model)
    for t in range(15):
        ya, yb = a.push(x[0, t]), b.push(x[1, t])
    assert_close(torch.stack([ya, yb]), model(x)[0][:, -1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_reset_and_select_rows(layer):
    model, x = make(layer), torch.randn(3, 12, 8)
    stream = Stream(model, 3)
    for t in range(6):
        stream.push(x[:, t])
    stream.reset([1])
    for t in range(6, 12):
        y = stream.push(x[:, t])
    assert_close(y[[0, 2]], model(x)[0][[0, 2], -1], rtol=1e-4, atol=1e-5)
    assert_close(y[1], model(x[1:2, 6:])[0][0, -1], rtol=1e-4, atol=1e-5)
    stream.select([2, 2, 0])
    twins = stream.push(x[[2, 2, 0], 0])
    assert torch.equal(twins[0], twins[1])
    stream.reset()
    assert stream.steps == 0
    assert_close(stream.push(x[:, 0]), model(x[:, :1])[0][:, 0], rtol=1e-4, atol=1e-5)


def test_state_of_a_stream_is_float64_and_constant():
    stream = Stream(make(), 2)
    before = stream.nbytes
    for _ in range(50):
        stream.push(torch.randn(2, 8))
    assert stream.nbytes == before
    assert {leaf.dtype for _, leaf in states.named_leaves(stream.state)} == {torch.float64}


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_snapshot_and_restore(layer, tmp_path):
    model, x = make(layer), torch.randn(2, 12, 8)
    stream = Stream(model, 2)
    for t in range(6):
        stream.push(x[:, t])
    stream.snapshot(tmp_path / "s")
    other = Stream(make(layer), 5)
    other.restore(tmp_path / "s")
    assert (other.steps, other.batch_size) == (6, 2)
    for (_, a), (_, b) in zip(states.named_leaves(other.state), states.named_leaves(stream.state), strict=True):
        assert torch.equal(a, b)
    for t in range(6, 12):
        assert_close(other.push(x[:, t]), stream.push(x[:, t]))


def test_what_cannot_be_restored_leaves_the_stream_as_it_was(tmp_path):
    model, x = make(), torch.randn(2, 3, 8)
    stream = Stream(model, 2)
    stream.push(x[:, 0])
    stream.snapshot(tmp_path / "good")
    content = (tmp_path / "good").read_bytes()
    stream.push(x[:, 1])
    before = [leaf.clone() for _, leaf in states.named_leaves(stream.state)]

    (tmp_path / "truncated").write_bytes(content[:-7])
    (tmp_path / "flipped").write_bytes(content[:-7] + bytes([content[-7] ^ 1]) + content[-6:])
    (tmp_path / "foreign").write_bytes(b"\x80\x04\x95pickle" * 20)
    (tmp_path / "empty").write_bytes(b"")
    Stream(make(seed=1), 2).snapshot(tmp_path / "other weights")
    Stream(make("gru"), 2).snapshot(tmp_path / "other layer")
    KeyedStream(model).snapshot(tmp_path / "keyed")
    tensors, metadata = read_tensors(tmp_path / "good", "aaren stream")
    del metadata["kind"], metadata["version"]
    write_tensors(tmp_path / "leafless", "aaren stream", dict(list(tensors.items())[1:]), metadata)
    write_tensors(tmp_path / "shapeless", "aaren stream", {n: t[..., :1] for n, t in tensors.items()}, metadata)
    for name, message in {
        "truncated": "must be a whole safetensors file",
        "flipped": "contents that do not match their checksum",
        "foreign": "must be a whole safetensors file",
        "empty": "must be a whole safetensors file",
        "other weights": "must be a snapshot of this model, got one of another model",
        "other layer": "must be a snapshot of this model, got one of another model",
        "keyed": "must be a file of kind 'aaren stream'",
        "leafless": "state must have the leaves",
        "shapeless": r"must be like float64 \(rows, ",
    }.items():
        with pytest.raises(ValueError, match=message) as error:
            stream.restore(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="must exist"):
        stream.restore(tmp_path / "nowhere")
    for old, (_, leaf) in zip(before, states.named_leaves(stream.state), strict=True):
        assert torch.equal(old, leaf)


def test_an_older_snapshot_survives_a_failed_write(tmp_path, monkeypatch):
    stream = Stream(make())
    stream.snapshot(tmp_path / "s")
    content = (tmp_path / "s").read_bytes()
    stream.push(torch.randn(8))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        stream.snapshot(tmp_path / "s")
    assert (tmp_path / "s").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 8), r"x must have shape \(batch, width\) with batch 2, got \(3, 8\)"),
        (torch.zeros(8), "with batch 2, got"),
        (torch.zeros(2, 7), r"x must have shape \(batch, time >= 1, 8\)"),
        ("abc", "x must be numbers, got 'abc'"),
        (torch.tensor([[torch.nan] * 8] * 2), "x must be finite, got NaN or infinity"),
    ],
)
@pytest.mark.unchecked
def test_bad_tokens_leave_the_stream_as_it_was(x, message):
    stream = Stream(make(), 2)
    stream.push(torch.randn(2, 8))
    before = stream.state
    with pytest.raises(ValueError, match=message):
        stream.push(x)
    assert stream.state is before
    assert stream.steps == 1


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_keyed_streams_are_streams_of_their_own(layer, tmp_path):
    model, keyed = make(layer), KeyedStream(make(layer))
    singles, random = {}, torch.Generator().manual_seed(0)
    for step in range(30):
        keys = [f"user {k}" for k in torch.randperm(7, generator=random)[: 1 + step % 5].tolist()]
        tokens = {key: torch.randn(8, generator=random) for key in keys}
        outputs = keyed.push(tokens)
        assert list(outputs) == keys
        for key, token in tokens.items():
            single = singles.setdefault(key, Stream(model))
            assert_close(outputs[key], single.push(token), rtol=1e-4, atol=1e-5)
        if step == 20:
            keyed.drop(["user 0", "user 3"])
            singles.pop("user 0")
            singles.pop("user 3")
            assert "user 3" not in keyed
            assert len(keyed) == 5
            keyed.snapshot(tmp_path / "s")
            keyed = KeyedStream(make(layer))
            keyed.restore(tmp_path / "s")
    assert set(keyed.keys) == set(singles)


def test_keyed_stream_with_elapsed_and_readout():
    model, x = make("aaren_decay"), torch.randn(1, 4, 8)
    keyed = KeyedStream(model, readout=torch.exp)
    for t in range(4):
        y = keyed.push({"a": x[0, t], "b": x[0, t]}, elapsed={"a": 2.0, "b": 7.0})
    assert_close(y["b"], model(x, elapsed=torch.full((1, 4), 7.0))[0][0, -1].exp(), rtol=1e-4, atol=1e-5)
    assert keyed.push({}) == {}


@pytest.mark.unchecked
def test_a_bad_token_advances_no_stream():
    keyed = KeyedStream(make())
    keyed.push({"a": torch.zeros(8)})
    before = states.tree_map(torch.clone, keyed._state)
    for tokens, message in [
        ({"a": torch.zeros(8), "b": torch.full((8,), torch.inf)}, "token of 'b' must be finite"),
        ({"a": torch.zeros(8), "b": torch.zeros(7)}, r"tokens must all have one shape \(width,\)"),
        ({"a": torch.zeros(7)}, "x must have shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            keyed.push(tokens)
    assert keyed.keys == ["a"]
    for (_, a), (_, b) in zip(states.named_leaves(before), states.named_leaves(keyed._state), strict=True):
        assert torch.equal(a, b)
    keyed.push({("a", "tuple"): torch.zeros(8)})
    with pytest.raises(ValueError, match="keys must be strings or numbers to be saved"):
        keyed.snapshot("never written")


def test_dropped_rows_are_used_once():
    keyed = KeyedStream(make())
    keyed.push({"a": torch.randn(8), "b": torch.randn(8)})
    with pytest.raises(KeyError):
        keyed.drop(["a", "c"])
    assert len(keyed) == 2
    keyed.drop(key for key in ["a", "a"])
    keyed.push({"long name": torch.randn(8)})
    keyed.drop("long name")
    keyed.drop("b")
    keyed.push({key: torch.randn(8) for key in "xyz"})
    assert len(set(keyed._row.values())) == len(keyed) == 3


def test_a_cache_is_as_long_as_its_longest_stream():
    keyed = KeyedStream(make("attention"))
    for key in range(50):
        keyed.push({key: torch.randn(8)})
    assert keyed._state[0].live.shape[1] == 1
    stream = Stream(make("attention"), 2)
    for _ in range(9):
        stream.push(torch.randn(2, 8))
    stream.reset([0, 1])
    stream.push(torch.randn(2, 8))
    assert stream.state[0].live.shape[1] == 1


def test_a_stream_keeps_its_precision_over_a_restore(tmp_path):
    narrow, wide = Stream(make(), dtype=torch.float32), Stream(make())
    narrow.push(torch.randn(8))
    narrow.snapshot(tmp_path / "s")
    wide.restore(tmp_path / "s")
    assert {leaf.dtype for _, leaf in states.named_leaves(wide.state)} == {torch.float64}


def test_the_same_weights_built_otherwise_are_another_model(tmp_path):
    model = make()
    Stream(model).snapshot(tmp_path / "s")
    other = Encoder(2, 8, 2, 16, norm_first=True)
    other.load_state_dict(model.state_dict())
    with pytest.raises(ValueError, match="got one of another model"):
        Stream(other).restore(tmp_path / "s")


@pytest.mark.parametrize("kind", [Stream, KeyedStream])
def test_a_stream_has_the_model_as_it_was(kind, tmp_path):
    model, x = make(), torch.randn(8)
    model.train()
    stream = kind(model)
    assert model.training
    one: Any = {"k": x} if kind is KeyedStream else x
    before = stream.push(one)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    again = kind(stream.model)
    again.push(one)
    stream.snapshot(tmp_path / "s")
    torch.testing.assert_close(stream.push(one), again.push(one))  # what became of the model does not matter ...
    with pytest.raises(ValueError, match="got one of another model"):
        kind(model).restore(tmp_path / "s")  # ... but it is another one now
    assert before is not None


def test_rows_that_there_are_not():
    stream = Stream(make(), 2)
    with pytest.raises(ValueError, match=r"rows must be below 2, got \[7\]"):
        stream.reset([7])
    with pytest.raises(ValueError, match=r"rows must be a mask of shape \(2,\)"):
        stream.select(torch.tensor([True]))
    stream.reset([-1])
    stream.select([])
    assert stream.batch_size == 0


def test_idle_streams_cost_nothing():
    # A push touches the rows it names: the other rows are the same memory before and after.
    keyed = KeyedStream(make())
    keyed.push({key: torch.randn(8) for key in range(64)})
    leaves = [leaf.data_ptr() for _, leaf in states.named_leaves(keyed._state)]
    keyed.push({3: torch.randn(8)})
    assert leaves == [leaf.data_ptr() for _, leaf in states.named_leaves(keyed._state)]


def test_task_models_stream_too():
    model = SequenceClassifier(3, 4, d_model=8, nhead=2, dim_feedforward=16).eval()
    x = torch.randn(2, 11, 3)
    stream = Stream(model, 2)
    pushed = torch.stack([stream.push(x[:, t]) for t in range(11)], dim=1)
    assert_close(pushed, model(x)[0], rtol=1e-4, atol=1e-5)


def test_a_model_without_parameters():
    class Echo(nn.Module):
        d_model, constant_state, compilable, uses_elapsed = 2, True, True, False

        def initial_state(self, batch_size, device=None, dtype=None):
            return torch.zeros(batch_size, 1)

        def forward(self, x, state=None, *, padding_mask=None, reset=None):
            return x, torch.zeros(x.shape[0], 1)

    stream = Stream(Echo())
    assert stream.push([1, 2]).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_a_stream_moves_among_those_with_keys_and_back(layer):
    model, x = make(layer), torch.randn(14, 8)
    whole, keyed = Stream(model), KeyedStream(model)
    keyed.push({"another": x[0], "other": x[0]})
    keyed.drop("another")
    for token in x[:9]:
        whole.push(token)
    keyed.put("moved", whole.state)
    expected = whole.push(x[9])
    assert_close(keyed.push({"moved": x[9], "other": x[1]})["moved"], expected, rtol=1e-5, atol=1e-6)
    back = Stream(model)
    back.state = keyed.get("moved")
    keyed.push({"moved": x[0]})  # what was got is a copy
    assert_close(back.push(x[10]), whole.push(x[10]), rtol=1e-5, atol=1e-6)
    keyed.put("moved", model.initial_state(1, dtype=torch.float64))
    assert_close(keyed.push({"moved": x[0]})["moved"], Stream(model).push(x[0]), rtol=1e-5, atol=1e-6)
    assert keyed.keys == ["other", "moved"]
    with pytest.raises(ValueError, match="state must be of one row, got 2"):
        keyed.put("moved", model.initial_state(2))
    with pytest.raises(KeyError):
        keyed.get("unknown")


def test_keys_do_not_write_into_what_a_model_begins_with():
    class Learned(nn.Module):
        """A running sum from a start that is a parameter, twice the same tensor."""

        d_model, constant_state, compilable, uses_elapsed = 3, True, True, False

        def __init__(self):
            super().__init__()
            self.h0 = nn.Parameter(torch.ones(3))

        def initial_state(self, batch_size, device=None, dtype=None):
            start = self.h0.expand(batch_size, 3)
            return start, start

        def forward(self, x, state=None, *, padding_mask=None, reset=None):
            a, b = self.initial_state(len(x)) if state is None else state
            return (a + 2 * b)[:, None], (a + x[:, 0], b + 2 * x[:, 0])

    model: Any = Learned().eval()
    stream, keyed = Stream(model, dtype=torch.float32), KeyedStream(model, dtype=torch.float32)
    for token in torch.randn(4, 3):
        assert_close(keyed.push({"a": token})["a"], stream.push(token))
    copy: Any = keyed.model
    assert copy.h0.tolist() == [1.0, 1.0, 1.0]


def test_a_state_of_another_model_is_not_put_among_those_with_keys():
    keyed = KeyedStream(make("gru"))
    for other, message in (
        (torch.zeros(1, 2), "state must have the leaves"),
        (Encoder(2, 6, 2, 16, layer="gru").eval(), "must be like"),
    ):
        with pytest.raises(ValueError, match=message):
            keyed.put("a", other if isinstance(other, torch.Tensor) else other.initial_state(1))
    assert keyed.keys == []
