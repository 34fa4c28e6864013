"""Any number of live streams of one exported model, by key."""

from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aaren_runtime.model import Model, State
from aaren_runtime.session import check_state
from aaren_runtime.snapshots import read_arrays, write_arrays

KIND = "aaren keyed session"


class KeyedSession:
    """Any number of streams through one exported model, each named by a key; a push advances those it names in one
    batch. A key that is met for the first time begins with an empty state.

    Args: those of `Session`, without the batch.
    """

    def __init__(self, path: str | Path, *, threads: int = 1):
        self.model = Model(path, threads)
        self._row: dict[Hashable, int] = {}
        self._state: State = self.model.initial_state(1)  # a row for each stream, and the free ones
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
        return sum(leaf.nbytes for leaf in self._state.values())

    def push(self, tokens: Mapping[Any, Any], **others: Mapping[Any, Any]) -> dict[Any, dict[str, np.ndarray]]:
        """Consumes one token of every stream named.

        Args:
            tokens: key to the first of `inputs`.
            others: the other inputs by name, each a mapping of the same keys.

        Returns:
            Key to outputs by name.

        Raises:
            ValueError: an input that is missing, unknown, of another shape, or not finite. No stream has advanced then.
        """
        if not isinstance(tokens, Mapping):
            raise ValueError(f"tokens must map keys to tokens, got {type(tokens).__name__}")
        if not tokens:
            return {}
        first = self.model.inputs[0].name
        if first in others:
            raise ValueError(f"inputs must be given once, got {first} twice: it is that of the keys")
        for name, values in others.items():
            if not isinstance(values, Mapping):
                raise ValueError(f"{name} must map keys to values, got {type(values).__name__}")
            if without := [key for key in tokens if key not in values]:
                raise ValueError(f"{name} must have a value for every key pushed, got none for {without[0]!r}")
        columns = {name: [values[key] for key in tokens] for name, values in others.items()}
        inputs = self.model.accept({first: list(tokens.values()), **columns}, len(tokens))
        new = [key for key in tokens if key not in self._row]
        self._make_room(len(new))
        row_of = dict(zip(new, reversed(self._free), strict=False))
        rows = np.array([row_of[key] if key in row_of else self._row[key] for key in tokens])
        outputs, after = self.model(inputs, {name: leaf[rows] for name, leaf in self._state.items()})
        for name, leaf in after.items():
            self._state[name][rows] = leaf
        self._row.update(row_of)
        del self._free[len(self._free) - len(new) :]
        return {key: {name: array[i].copy() for name, array in outputs.items()} for i, key in enumerate(tokens)}

    def drop(self, keys: Iterable[Hashable]) -> None:
        """Forgets these streams (or the one of that name) and frees their rows.

        Raises:
            KeyError: a key that was never met; nothing is dropped then.
        """
        keys = list(dict.fromkeys([keys] if isinstance(keys, str) else keys))
        rows = [self._row[key] for key in keys]
        fresh = self.model.initial_state(len(rows))
        for name, leaf in fresh.items():
            self._state[name][rows] = leaf
        self._free.extend(rows)
        for key in keys:
            del self._row[key]

    def snapshot(self, path: str | Path) -> None:
        """Writes the states of all streams to a file (.npz), whole or not at all.

        Raises:
            OSError: a full or read-only folder.
            ValueError: a key that is neither a string nor a number.
        """
        if strange := [key for key in self._row if not isinstance(key, str | int | float)]:
            raise ValueError(f"keys must be strings or numbers to be saved, got {strange[0]!r}")
        rows = np.array(list(self._row.values()), dtype=np.intp)
        metadata = {"model": self.model.fingerprint, "keys": list(self._row)}
        write_arrays(path, KIND, {name: leaf[rows] for name, leaf in self._state.items()}, metadata)

    def restore(self, path: str | Path) -> None:
        """Goes on with the streams of a snapshot, and those only.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or of streams of another model. Nothing has changed then.
        """
        arrays, metadata = read_arrays(path, KIND)
        state = check_state(path, self.model, arrays, metadata)
        keys: Any = metadata.get("keys")
        plain = isinstance(keys, list) and all(isinstance(key, str | int | float) for key in keys)
        if not plain or not len(set(keys)) == len(keys) == len(next(iter(state.values()))):
            raise ValueError(f"{str(path)!r} must name each of its streams once, got the keys {keys!r}")
        empty = self.model.initial_state(1)
        self._state = {name: np.concatenate([leaf, empty[name]]) for name, leaf in state.items()}
        self._row, self._free = {key: row for row, key in enumerate(keys)}, [len(keys)]

    def _make_room(self, count: int) -> None:
        """At least `count` free rows, by doubling."""
        capacity = len(next(iter(self._state.values())))
        more = max(count - len(self._free), 0)
        if more:
            more = max(more, capacity)
            fresh = self.model.initial_state(more)
            self._state = {name: np.concatenate([leaf, fresh[name]]) for name, leaf in self._state.items()}
            self._free.extend(range(capacity, capacity + more))
