"""Tools on the state of any layer or model: pick rows, reset them, join batches, move, measure, save.

A state is a pytree of tensors with the batch first: a tensor, or a tuple, NamedTuple or dict of states. No function
here changes its argument.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from aaren.tensor_files import read_tensors, write_tensors

State = Any


def tree_map(function: Callable[..., Any], state: State, *others: State) -> State:
    """`function` on each leaf of `state` and the leaves at its place in `others`."""
    if isinstance(state, Tensor):
        return function(state, *others)
    if isinstance(state, dict):
        return {key: tree_map(function, value, *(other[key] for other in others)) for key, value in state.items()}
    if isinstance(state, tuple):
        parts = [tree_map(function, *values) for values in zip(state, *others, strict=True)]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    raise TypeError(f"state must be a pytree of tensors, tuples and dicts, got {type(state).__name__}")


def named_leaves(state: State, prefix: str = "state") -> Iterator[tuple[str, Tensor]]:
    """The leaves with their places in the tree, such as `state.0.m`."""
    if isinstance(state, Tensor):
        yield prefix, state
        return
    if isinstance(state, dict):
        parts = state.items()
    elif isinstance(state, tuple):
        parts = zip(getattr(state, "_fields", range(len(state))), state, strict=True)
    else:
        raise TypeError(f"state must be a pytree of tensors, tuples and dicts, got {type(state).__name__}")
    for name, part in parts:
        yield from named_leaves(part, f"{prefix}.{name}")


def batch_size(state: State) -> int:
    """Rows of the state."""
    return next(leaf.shape[0] for _, leaf in named_leaves(state))


def nbytes(state: State) -> int:
    """Bytes of all leaves."""
    return sum(leaf.numel() * leaf.element_size() for _, leaf in named_leaves(state))


def detach(state: State) -> State:
    """The state cut off from the graph that computed it (truncated backpropagation through time)."""
    return tree_map(Tensor.detach, state)


def to(state: State, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> State:
    """The state on a device; its floating-point leaves in a dtype."""
    return tree_map(lambda leaf: leaf.to(device, dtype if leaf.is_floating_point() else None), state)


def select(state: State, rows: Sequence[int] | Tensor) -> State:
    """The given rows, in the given order (repeats allowed), or those where a bool tensor is True.

    Raises:
        ValueError: a row that there is not.
    """
    index = _index(rows, batch_size(state))
    return tree_map(lambda leaf: leaf[index.to(leaf.device)], state)


def concat(states: Sequence[State]) -> State:
    """Batches of states of one model as one batch."""
    return tree_map(lambda *leaves: torch.cat(_same_size(leaves)), *states)


def replace_rows(state: State, rows: Sequence[int] | Tensor, new: State) -> State:
    """The state with `new` (as many rows as `rows` names) put at the given places. Raises ValueError as `select`."""
    index = _index(rows, batch_size(state))

    def put(leaf: Tensor, value: Tensor) -> Tensor:
        leaf, value = _same_size((leaf, value))
        return leaf.index_copy(0, index.to(leaf.device), value)

    return tree_map(put, state, new)


def reset_rows(state: State, rows: Sequence[int] | Tensor, initial: State) -> State:
    """The state with the given rows (see `select`) as in `initial`, which is `layer.initial_state(1)`."""
    index = _index(rows, batch_size(state))
    fresh = tree_map(lambda leaf, old: leaf.to(old).expand(len(index), *leaf.shape[1:]), initial, state)
    return replace_rows(state, index, fresh)


def _index(rows: Sequence[int] | Tensor, size: int) -> Tensor:
    """Rows as indices from 0 to size - 1."""
    index = torch.as_tensor(rows)
    if index.dtype == torch.bool:
        if index.shape != (size,):
            raise ValueError(f"rows must be a mask of shape ({size},) or indices, got a mask of {tuple(index.shape)}")
        return index.nonzero()[:, 0]
    index = index.long().reshape(-1)
    if ((index < -size) | (index >= size)).any():
        raise ValueError(f"rows must be below {size}, got {index.tolist()}")
    return index % size if size else index


def _same_size(leaves: Sequence[Tensor]) -> list[Tensor]:
    """Leaves that differ in the length of an axis (caches) filled up with zeros in front, where unused slots stand."""
    sizes = [max(leaf.shape[axis] for leaf in leaves) for axis in range(1, leaves[0].ndim)]
    filled = []
    for leaf in leaves:
        short = [size - have for size, have in zip(sizes, leaf.shape[1:], strict=True)]
        filled.append(pad(leaf, [x for size in reversed(short) for x in (size, 0)]) if any(short) else leaf)
    return filled


def save(path: str | Path, state: State) -> None:
    """Writes the state to a safetensors file, whole or not at all. Raises OSError."""
    write_tensors(path, "aaren state", dict(named_leaves(state)), {})


def load(path: str | Path, like: State) -> State:
    """The state in a file that `save` wrote, on the device of `like`.

    Args:
        path: the file.
        like: a state of the same model with any number of rows, e.g. `layer.initial_state(1)`: gives the structure.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds the state of another model.
    """
    tensors, _ = read_tensors(path, "aaren state")
    return from_tensors(tensors, like)


def from_tensors(tensors: dict[str, Tensor], like: State) -> State:
    """The state with `named_leaves` `tensors`, in the structure of `like`. Raises ValueError if they do not fit."""
    expected = dict(named_leaves(like))
    if expected.keys() != tensors.keys():
        raise ValueError(f"state must have the leaves {', '.join(expected)}, got {', '.join(tensors)}")
    rows = {tensor.shape[:1] for tensor in tensors.values()}
    if len(rows) > 1:
        raise ValueError(f"state must have one number of rows, got {sorted(tuple(x) for x in rows)}")
    for name, leaf in expected.items():
        got = tensors[name]
        # An axis of length 0 in a fresh state is one that grows.
        fits = got.ndim == leaf.ndim and all(
            want in (0, have) for want, have in zip(leaf.shape[1:], got.shape[1:], strict=True)
        )
        if not fits or got.is_floating_point() != leaf.is_floating_point():
            raise ValueError(f"{name} must be like {_describe(leaf)}, got {_describe(got)}")
    names = iter(expected)
    return tree_map(lambda leaf: tensors[next(names)].to(leaf.device), like)


def _describe(leaf: Tensor) -> str:
    return f"{str(leaf.dtype).removeprefix('torch.')} (rows, {', '.join(str(n) for n in leaf.shape[1:])})"
