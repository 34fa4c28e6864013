"""The layer under test: random inputs, calls in pieces, gradients, comparisons."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from aaren.layers.protocol import State
from aaren.state import named_leaves, tree_map

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Rounding of the order of summation; relative to the largest number compared, where that is above 1."""

BATCH, TIME = 3, 23


@dataclass
class Inputs:
    """Keyword arguments of the contract, cut along time or batch together."""

    x: Tensor
    flags: dict[str, Tensor] = field(default_factory=dict)

    def at(self, index: Any) -> "Inputs":
        return Inputs(self.x[index], {name: flag[index] for name, flag in self.flags.items()})

    def pieces(self, lengths: Sequence[int]) -> list["Inputs"]:
        ends = torch.tensor(lengths).cumsum(0).tolist()
        return [self.at((slice(None), slice(end - length, end))) for end, length in zip(ends, lengths, strict=True)]


class Subject:
    """The layer under test, with its random inputs."""

    def __init__(self, layer: Any, dtype: torch.dtype):
        self.layer = copy.deepcopy(layer).to(dtype).eval()
        self.dtype, self.tolerance = dtype, TOLERANCE[dtype]
        self.random = torch.Generator().manual_seed(0)

    def inputs(self, batch: int = BATCH, time: int = TIME, flags: Sequence[str] = ("padding_mask", "reset")) -> Inputs:
        given = {}
        if "padding_mask" in flags:
            given["padding_mask"] = torch.rand(batch, time, generator=self.random) < 0.3
            given["padding_mask"][0, : time // 3] = True
        if "reset" in flags:
            given["reset"] = torch.rand(batch, time, generator=self.random) < 0.15
        if self.layer.uses_elapsed:
            given["elapsed"] = 3 * torch.rand(batch, time, generator=self.random, dtype=self.dtype)
        return Inputs(torch.randn(batch, time, self.layer.d_model, generator=self.random, dtype=self.dtype), given)

    def state(self, batch: int = BATCH) -> State:
        """A state that has seen some tokens, as a leaf of the graph."""
        with torch.no_grad():
            _, state = self(self.inputs(batch, 5, flags=()))
        return tree_map(lambda leaf: leaf.requires_grad_() if leaf.is_floating_point() else leaf, state)

    def __call__(self, inputs: Inputs, state: State = None) -> tuple[Tensor, State]:
        given = {"x": inputs.x, **inputs.flags} | ({} if state is None else dict(named_leaves(state)))
        versions = {name: tensor._version for name, tensor in given.items()}
        y, state = self.layer(inputs.x, state, **inputs.flags)
        for name, tensor in given.items():
            assert tensor._version == versions[name], f"{name} must not be changed in place by the call"
        return y, state

    def in_pieces(self, inputs: Inputs, lengths: Sequence[int], state: State) -> tuple[Tensor, State]:
        outputs = []
        for piece in inputs.pieces(lengths):
            y, state = self(piece, state)
            outputs.append(y)
        return torch.cat(outputs, dim=1), state

    def gradients(self, inputs: Inputs, y: Tensor, state: State, start: State) -> dict[str, Tensor]:
        """Into x, parameters and incoming state, for fixed random weights on live outputs and final state."""
        results = {"y": live(inputs, y)} | dict(named_leaves(state))
        random = torch.Generator().manual_seed(1)
        weights = [torch.randn(v.shape, generator=random, dtype=torch.float64).to(v.dtype) for v in results.values()]
        # Only now, since one form may know that a leaf depends on nothing where another does not.
        kept = [(v, weight) for v, weight in zip(results.values(), weights, strict=True) if v.requires_grad]
        targets = {"x": inputs.x} | dict(self.layer.named_parameters())
        if start is not None:
            targets |= {f"incoming {n}": v for n, v in named_leaves(start) if v.requires_grad}
        values, weights = zip(*kept, strict=True)
        grads = torch.autograd.grad(values, list(targets.values()), weights, allow_unused=True)
        return {n: torch.zeros_like(t) if g is None else g for (n, t), g in zip(targets.items(), grads, strict=True)}

    def assert_close(self, what: str, got: Tensor, expected: Tensor, tolerance: float | None = None) -> None:
        assert got.shape == expected.shape, f"{what} must have shape {tuple(expected.shape)}, got {tuple(got.shape)}"
        got, expected = got.detach().double(), expected.detach().double()
        finite = expected[expected.isfinite()].abs()
        scale = max(1.0, finite.max().item()) if finite.numel() else 1.0
        bound = (self.tolerance if tolerance is None else tolerance) * scale
        different = ~((got == expected) | ((got - expected).abs() <= bound))
        worst = (got - expected).abs()[different]
        assert not different.any(), f"{what} must agree within {bound:.1e}, got a difference of {worst.max():.1e}"

    def assert_same_state(self, what: str, got: State, expected: State) -> None:
        got_leaves, expected_leaves = dict(named_leaves(got)), dict(named_leaves(expected))
        assert got_leaves.keys() == expected_leaves.keys(), f"{what} must have the same leaves"
        for name, leaf in expected_leaves.items():
            self.assert_close(f"{what}, {name}", got_leaves[name], leaf)


def live(inputs: Inputs, y: Tensor) -> Tensor:
    mask = inputs.flags.get("padding_mask")
    return y if mask is None else y[~mask]
