"""Live streams of an exported model: one token in, one answer out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aaren_runtime.memory import Memory
from aaren_runtime.model import Leaf, Model, Port, State
from aaren_runtime.snapshots import read_arrays, write_arrays

KIND = "aaren session"


class Session:
    """A fixed number of parallel streams through one exported model.

    Args:
        path: file that `aaren export --format onnx` wrote.
        batch_size: rows, streams that advance together.
        threads: that one call may use; small models are fastest with one.

    One session must not be pushed from several threads at once.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no ONNX file, a truncated one, one of something else than aaren, or of another version.
    """

    def __init__(self, path: str | Path, batch_size: int = 1, *, threads: int = 1):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.model = Model(path, threads)
        self.steps = 0
        """Tokens pushed since the stream began or was restored to its beginning."""
        self.batch_size = batch_size
        self._memory = Memory(self.model, self.model.initial_state(batch_size))

    @property
    def task(self) -> str:
        return self.model.task

    @property
    def about(self) -> dict[str, Any]:
        """Such as the names of classes or channels."""
        return self.model.about

    @property
    def inputs(self) -> tuple[Port, ...]:
        return self.model.inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        return self.model.outputs

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Parts of the state."""
        return self.model.leaves

    @property
    def state(self) -> State:
        """The leaves (batch, ...) by name; a copy."""
        return self._memory.state

    @property
    def nbytes(self) -> int:
        """Bytes of the state."""
        return sum(leaf.nbytes for leaf in self.state.values())

    def push(self, x: Any, **others: Any) -> dict[str, np.ndarray]:
        """Consumes one token of every row.

        Args:
            x: the first of `inputs`, (batch, ...), or without the batch for a single row.
            others: the other inputs by name, likewise.

        Returns:
            The outputs by name, with or without the batch as x is.

        Raises:
            ValueError: an input that is missing, unknown, of another shape, or not finite. The state stays as it was.
        """
        first = self.inputs[0]
        single = np.ndim(x) == len(first.shape)
        if single and self.batch_size > 1:
            raise ValueError(f"{first.name} must have shape {(self.batch_size, *first.shape)}, got {np.shape(x)}")
        if first.name in others:
            raise ValueError(f"{first.name} must be given once, as the first argument, got it by name too")
        given = {first.name: x, **others}
        if single:
            given = {name: np.asarray(value)[None] for name, value in given.items() if value is not None}
        outputs = self._memory.push(self.model.accept(given, self.batch_size))
        self.steps += 1
        return {name: array[0] for name, array in outputs.items()} if single else outputs

    def reset(self, rows: Sequence[int] | np.ndarray | None = None) -> None:
        """Makes the given rows (indices, or a bool mask; None = all) forget everything.

        Raises:
            ValueError: a row that there is not.
        """
        if rows is None:
            self._memory, self.steps = Memory(self.model, self.model.initial_state(self.batch_size)), 0
            return
        index = np.asarray(rows)
        if index.dtype == bool and index.shape == (self.batch_size,):
            index = index.nonzero()[0]
        if index.ndim != 1 or (len(index) and (index.dtype.kind not in "iu" or not (-self.batch_size <= index.min()))):
            raise ValueError(f"rows must be indices or a mask of {self.batch_size}, got {rows}")
        if len(index) and index.max() >= self.batch_size:
            raise ValueError(f"rows must be below {self.batch_size}, got {rows}")
        index = index.astype(np.intp)
        state = self.state
        for name, leaf in self.model.initial_state(len(index)).items():
            state[name][index] = leaf
        self._memory = Memory(self.model, state)

    def snapshot(self, path: str | Path) -> None:
        """Writes the state to a file (.npz), whole or not at all. Raises OSError."""
        write_arrays(path, KIND, self.state, {"model": self.model.fingerprint, "steps": self.steps})

    def restore(self, path: str | Path) -> None:
        """Goes on where `snapshot` was taken, with its number of rows.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or of a stream of another model. The stream stays as it was.
        """
        arrays, metadata = read_arrays(path, KIND)
        state, steps = check_state(path, self.model, arrays, metadata), metadata.get("steps")
        if type(steps) is not int or not len(next(iter(state.values()))):
            raise ValueError(f"{str(path)!r} must hold rows and a number of steps, got {steps!r}")
        self._memory, self.steps = Memory(self.model, state), steps
        self.batch_size = len(next(iter(state.values())))


def check_state(path: str | Path, model: Model, arrays: State, metadata: Mapping[str, Any]) -> State:
    """The arrays, if they are a state of the model. Raises ValueError."""
    if metadata.get("model") != model.fingerprint:
        raise ValueError(f"{str(path)!r} must be a snapshot of this model, got one of another")
    rows = {array.shape[:1] for array in arrays.values()}
    fits = arrays.keys() == {leaf.name for leaf in model.leaves} and len(rows) == 1
    if not fits or any(arrays[x.name].shape[1:] != x.shape or arrays[x.name].dtype != x.dtype for x in model.leaves):
        raise ValueError(f"{str(path)!r} must hold a state of this model, got other arrays")
    return arrays
