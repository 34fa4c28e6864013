"""Live streams: a model and its state in one object, one token in, one output out, in constant memory."""

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aaren import state as states
from aaren.layers.fold import fold
from aaren.layers.protocol import SequenceLayer
from aaren.tensor_files import fingerprint, read_tensors, write_tensors

KIND = "aaren stream"
KEYED_KIND = "aaren keyed stream"


class Stream:
    """A fixed number of parallel streams through one model.

    Args:
        model: anything that follows the contract (a layer, an encoder, a task's model). The stream runs a folded copy
            of it in evaluation mode (`aaren.layers.fold`), so what becomes of the model later does not matter. For very
            many streams of one model, `KeyedStream` holds one copy.
        batch_size: rows, streams that advance together.
        dtype: precision of accumulating sums; float64 keeps a stream of millions of tokens exact, float32 is for
            devices without it.
        readout: applied to every output, e.g. a softmax.

    One stream must not be pushed from several threads at once. Outputs are inference tensors: they take no gradient.

    Why float64: after 10⁶ tokens sums in float32 are off by up to 2e-4, in float64 by 1e-12 (`benchmarks/drift.py`).
    """

    def __init__(
        self,
        model: SequenceLayer,
        batch_size: int = 1,
        *,
        dtype: torch.dtype = torch.float64,
        readout: Callable[[Tensor], Tensor] | None = None,
    ):
        self.model, self._fingerprint = _deploy(model)
        self.dtype = dtype
        self.readout = readout
        self.steps = 0
        """Tokens pushed since the stream began or was restored to its beginning."""
        self.state = self.model.initial_state(batch_size, dtype=dtype)

    @property
    def batch_size(self) -> int:
        return states.batch_size(self.state)

    @property
    def nbytes(self) -> int:
        """Bytes of the state."""
        return states.nbytes(self.state)

    @torch.inference_mode()
    def push(self, x: Any, *, elapsed: Any = None) -> Tensor:
        """Consumes one token of every row.

        Args:
            x: tensor or array (batch, width), or (width,) for a single row.
            elapsed: time since each row's previous token (batch,) or one number, for models with `uses_elapsed`.

        Returns:
            The model's output with the leading axis of x.

        Raises:
            ValueError: x of another shape, or with NaN or infinity. The state stays as it was.
        """
        token = _token(x, self.model)
        rows = token[None] if token.ndim == 1 else token
        if rows.ndim != 2 or rows.shape[0] != self.batch_size:
            raise ValueError(f"x must have shape (batch, width) with batch {self.batch_size}, got {tuple(token.shape)}")
        y, self.state = self.model(rows[:, None], self.state, **_aging(self.model, elapsed, rows))
        self.steps += 1
        y = y[:, 0] if self.readout is None else self.readout(y[:, 0])
        return y[0] if token.ndim == 1 else y

    def reset(self, rows: Sequence[int] | Tensor | None = None) -> None:
        """Makes the given rows (indices, or a bool mask; None = all) forget everything.

        Raises:
            ValueError: a row that there is not.
        """
        if rows is None:
            self.state = self.model.initial_state(self.batch_size, dtype=self.dtype)
            self.steps = 0
        else:
            self.state = states.reset_rows(self.state, rows, self.model.initial_state(1, dtype=self.dtype))

    def select(self, rows: Sequence[int] | Tensor) -> None:
        """Keeps the given rows, in the given order; a row named twice goes on as two.

        Raises:
            ValueError: a row that there is not.
        """
        self.state = states.select(self.state, rows)

    def snapshot(self, path: str | Path, *, note: str = "") -> None:
        """Writes the state, and a note of the caller's, to a safetensors file, whole or not at all. Raises OSError."""
        metadata = {"model": self._fingerprint, "steps": str(self.steps), "note": note}
        write_tensors(path, KIND, dict(states.named_leaves(self.state)), metadata)

    def restore(self, path: str | Path) -> str:
        """Goes on where `snapshot` was taken, with its number of rows, and returns the note.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or of a stream of another model. The stream stays as it was.
        """
        tensors, metadata = read_tensors(path, KIND)
        _check_model(path, metadata, self._fingerprint)
        self.state = _own_dtypes(tensors, self.model.initial_state(1, dtype=self.dtype))
        self.steps = int(metadata["steps"])
        return metadata["note"]


class KeyedStream:
    """Any number of streams through one model, each named by a key; a push advances those it names in one batch.

    A key that is met for the first time begins with an empty state. All states lie in one batch, so a push is one call
    of the model and touches only the rows it names (with a growing state every row has the slots of the longest).
    Not to be pushed from several threads at once.

    Args: those of `Stream`.
    """

    def __init__(
        self,
        model: SequenceLayer,
        *,
        dtype: torch.dtype = torch.float64,
        readout: Callable[[Tensor], Tensor] | None = None,
    ):
        self.model, self._fingerprint = _deploy(model)
        self.dtype = dtype
        self.readout = readout
        self._row: dict[Hashable, int] = {}
        # A row for each stream, and the free ones; written in place, so it must be nobody else's memory.
        self._state = states.tree_map(torch.clone, self.model.initial_state(1, dtype=dtype))
        self._free = [0]

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._row

    @property
    def keys(self) -> list[Hashable]:
        """The streams met so far."""
        return list(self._row)

    @property
    def nbytes(self) -> int:
        """Bytes of all states, spare rows included."""
        return states.nbytes(self._state)

    @torch.inference_mode()
    def push(self, tokens: Mapping[Any, Any], *, elapsed: Mapping[Any, float] | None = None) -> dict[Any, Tensor]:
        """Consumes one token of every stream named.

        Args:
            tokens: key to token (width,).
            elapsed: key to time since that stream's previous token, for models with `uses_elapsed`.

        Returns:
            Key to output.

        Raises:
            ValueError: a token of another shape, or with NaN or infinity. No stream has advanced then.
        """
        if not isinstance(tokens, Mapping):
            raise ValueError(f"tokens must map keys to tokens, got {type(tokens).__name__}")
        if not tokens:
            return {}
        named = {key: _token(x, self.model, f"token of {key!r}") for key, x in tokens.items()}
        if len(shapes := {tuple(x.shape) for x in named.values()}) > 1:
            raise ValueError(f"tokens must all have one shape (width,), got {sorted(shapes)}")
        x = torch.stack(list(named.values()))
        if elapsed is not None and (without := [key for key in named if key not in elapsed]):
            raise ValueError(f"elapsed must have a time for every key pushed, got none for {without[0]!r}")
        aging = _aging(self.model, None if elapsed is None else [elapsed[key] for key in named], x)

        new = [key for key in named if key not in self._row]
        self._make_room(len(new))
        row_of = dict(zip(new, reversed(self._free), strict=False))
        rows = torch.tensor([row_of[key] if key in row_of else self._row[key] for key in named])
        y, state = self.model(x[:, None], states.select(self._state, rows), **aging)
        self._state = states.tree_map(lambda old, leaf: _put(old, rows, leaf), self._state, state)
        self._row.update(row_of)
        del self._free[len(self._free) - len(new) :]
        y = y[:, 0] if self.readout is None else self.readout(y[:, 0])
        return dict(zip(named, y, strict=True))

    def get(self, key: Hashable) -> states.State:
        """The state of a stream, a batch of one; a copy. Raises KeyError on a key that was never met."""
        return states.select(self._state, [self._row[key]])

    @torch.inference_mode()
    def put(self, key: Hashable, state: states.State) -> None:
        """Goes on with a stream from a state, a batch of one of the same model, such as `get` or `Stream.state`; what
        was known of this key is forgotten. Raises ValueError if it is of another model or of several rows."""
        state = _own_dtypes(dict(states.named_leaves(state)), self.model.initial_state(1, dtype=self.dtype))
        if states.batch_size(state) != 1:
            raise ValueError(f"state must be of one row, got {states.batch_size(state)}")
        if key not in self._row:
            self._make_room(1)
            self._row[key] = self._free.pop()
        rows = torch.tensor([self._row[key]])
        self._state = states.tree_map(lambda old, leaf: _put(old, rows, leaf.to(old)), self._state, state)

    def drop(self, keys: Iterable[Hashable]) -> None:
        """Forgets these streams (or the one of that name) and frees their rows.

        Raises:
            KeyError: a key that was never met; nothing is dropped then.
        """
        keys = list(dict.fromkeys([keys] if isinstance(keys, str) else keys))
        rows = [self._row[key] for key in keys]
        self._state = states.reset_rows(self._state, rows, self.model.initial_state(1, dtype=self.dtype))
        self._free.extend(rows)
        for key in keys:
            del self._row[key]

    def snapshot(self, path: str | Path, *, note: str = "") -> None:
        """Writes the states of all streams, and a note of the caller's, to a safetensors file, whole or not at all.

        Raises:
            OSError: a full or read-only folder.
            ValueError: a key that is neither a string nor a number.
        """
        if strange := [key for key in self._row if not isinstance(key, str | int | float)]:
            raise ValueError(f"keys must be strings or numbers to be saved, got {strange[0]!r}")
        metadata = {"model": self._fingerprint, "keys": json.dumps(list(self._row)), "note": note}
        state = states.select(self._state, torch.tensor(list(self._row.values()), dtype=torch.long))
        write_tensors(path, KEYED_KIND, dict(states.named_leaves(state)), metadata)

    def restore(self, path: str | Path) -> str:
        """Goes on with the streams of a snapshot, and those only, and returns the note.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or of streams of another model. Nothing has changed then.
        """
        tensors, metadata = read_tensors(path, KEYED_KIND)
        _check_model(path, metadata, self._fingerprint)
        empty = self.model.initial_state(1, dtype=self.dtype)
        self._state = states.concat([_own_dtypes(tensors, empty), empty])  # never without a row
        self._row = {key: row for row, key in enumerate(json.loads(metadata["keys"]))}
        self._free = [len(self._row)]
        return metadata["note"]

    def _make_room(self, count: int) -> None:
        """At least `count` free rows, by doubling."""
        capacity = states.batch_size(self._state)
        more = max(count - len(self._free), 0)
        if more:
            more = max(more, capacity)
            self._state = states.concat([self._state, self.model.initial_state(more, dtype=self.dtype)])
            self._free.extend(range(capacity, capacity + more))


def read_note(path: str | Path, kind: str) -> str:
    """The note in a snapshot of that kind (`KIND`, `KEYED_KIND`). Raises as `restore` does."""
    _, metadata = read_tensors(path, kind)
    return metadata.get("note", "")


def model_fingerprint(model: SequenceLayer) -> str:
    """SHA-256 of the model's weights and of how its parts are built: a state belongs to the model that made it."""
    if not isinstance(model, nn.Module):
        return fingerprint({}, {"model": type(model).__name__})
    parts = {name: f"{type(part).__name__}({part.extra_repr()})" for name, part in model.named_modules()}
    return fingerprint(model.state_dict(), parts)


def _deploy(model: SequenceLayer) -> tuple[SequenceLayer, str]:
    """What the stream runs, and the fingerprint of what it was given: folding may round differently elsewhere."""
    if not hasattr(model, "initial_state"):
        raise ValueError(f"model must follow the contract (see SequenceLayer), got {type(model).__name__}")
    return fold(model), model_fingerprint(model)


def _check_model(path: str | Path, metadata: Mapping[str, str], expected: str) -> None:
    if metadata["model"] != expected:
        raise ValueError(f"{str(path)!r} must be a snapshot of this model, got one of another model")


def _own_dtypes(tensors: dict[str, Tensor], initial: states.State) -> states.State:
    """A restored state in the precision of the stream that goes on with it."""
    return states.tree_map(lambda leaf, own: leaf.to(own.dtype), states.from_tensors(tensors, initial), initial)


def _token(x: Any, model: SequenceLayer, name: str = "x") -> Tensor:
    """x as a finite tensor in the model's dtype and on its device."""
    weight = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    try:
        token = torch.as_tensor(x)
    except (RuntimeError, TypeError, ValueError):  # PyTorch raises any of them
        raise ValueError(f"{name} must be numbers, got {str(x)[:60]!r}") from None
    token = token.to(
        token.device if weight is None else weight.device, torch.float32 if weight is None else weight.dtype
    )
    if not token.isfinite().all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return token


def _aging(model: SequenceLayer, elapsed: Any, x: Tensor) -> dict[str, Tensor]:
    """The keyword `elapsed` (batch, 1) for the model's call, if given."""
    if elapsed is None:
        return {}
    if not model.uses_elapsed:
        raise ValueError("elapsed must be None for a model whose layers do not age, got a time")
    try:
        times = torch.as_tensor(elapsed, dtype=x.dtype, device=x.device)
    except (RuntimeError, TypeError, ValueError):
        raise ValueError(f"elapsed must be numbers, got {str(elapsed)[:60]!r}") from None
    if times.ndim > 1 or times.numel() not in (1, len(x)) or not (times.isfinite() & (times >= 0)).all():
        raise ValueError(f"elapsed must be finite, >= 0 and one number or one for each row, got {elapsed}")
    return {"elapsed": times.expand(len(x))[:, None]}


def _put(old: Tensor, rows: Tensor, new: Tensor) -> Tensor:
    """`old` with rows overwritten: in place where the size allows, so that idle streams cost nothing."""
    if old.shape[1:] == new.shape[1:]:
        return old.index_copy_(0, rows.to(old.device), new)
    return states.replace_rows(old, rows, new)
