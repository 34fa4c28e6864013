"""The graph of one token without its axis of time: products of matrices, and less to insert and drop around them."""

from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten

TOKENWISE = {
    *(aten.linear.default, aten.layer_norm.default, aten.dropout.default, aten.to.dtype, aten.where.self),
    *(aten.add.Tensor, aten.sub.Tensor, aten.rsub.Scalar, aten.mul.Tensor, aten.div.Tensor, aten.neg.default),
    *(aten.addcmul.default, aten.exp.default, aten.tanh.default, aten.sigmoid.default, aten.log_sigmoid.default),
    *(aten.relu.default, aten.gelu.default, aten.silu.default, aten.softplus.default, aten.ge.Scalar),
    *(aten.clamp.default, aten.log.default, aten.sin.default, aten.cos.default, aten.embedding.default),
    *(aten.remainder.Tensor, aten.alias.default, aten.detach.default),
}
"""What treats each token alone."""

TABLES = {aten.linear.default, aten.embedding.default}
"""Of these, what also has tensors that do not belong to tokens."""

JOINS = {aten.cat.default, aten.stack.default}
"""What has a list of tensors, and then the number of an axis."""

AXES = {aten.unsqueeze.default, aten.select.int, aten.slice.Tensor, aten.unflatten.int, aten.flatten.using_ints}
"""What has the number of an axis as its second argument, and no other axis but the last."""


class WithoutTime(fx.Interpreter):
    """Runs a graph in which tokens are (batch, 1, ...) and keeps them as (batch, ...): from where a tensor gets its
    axis 1, by `unsqueeze` or as a slice, to where `select` takes it away. Nodes it does not know get their axis back.
    """

    def __init__(self, module: fx.GraphModule):
        super().__init__(module)
        self._flat: set[fx.Node] = set()
        """what is kept without the axis"""

    def run_node(self, n: fx.Node) -> Any:
        if n.target is aten._assert_tensor_metadata.default:
            return None
        tensors = {node: self.env[node] for node in n.all_input_nodes if isinstance(self.env[node], Tensor)}
        flat = {node: tensor for node, tensor in tensors.items() if node in self._flat}
        if not flat:
            return self._begin(n)
        others = {node: tensor for node, tensor in tensors.items() if node not in flat}
        if n.target in TABLES or (n.target in TOKENWISE and self._same_axes(n, flat)):
            spread = others if n.target in TABLES else _spread(others, n.meta["val"].ndim)
            if spread is not None:
                self._flat.add(n)
                return self._run_with(n, spread, others)
        if n.target in JOINS and not others and (result := self._joined(n)) is not None:
            return result
        if n.target is aten.cumsum.default and n.args[1] == 1:
            self._flat.add(n)
            return next(iter(flat.values())).to(n.meta["val"].dtype)
        if n.target in AXES and (result := self._at_axis(n)) is not None:
            return result
        return self._run_with(n, {node: tensor.unsqueeze(1) for node, tensor in flat.items()}, flat)

    def _run_with(self, n: fx.Node, changed: dict[fx.Node, Tensor], known: dict[fx.Node, Tensor]) -> Any:
        """The node, of some tensors in another form than they are known in."""
        self.env.update(changed)
        try:
            return super().run_node(n)
        finally:
            self.env.update(known)

    def _same_axes(self, n: fx.Node, flat: dict[fx.Node, Tensor]) -> bool:
        """Whether the axis of time of the result is that of what it is made of."""
        return all(tensor.ndim + 1 == n.meta["val"].ndim for tensor in flat.values())

    def _begin(self, n: fx.Node) -> Any:
        """A node of tensors that have all their axes."""
        arguments: Any = n.args
        if n.target is aten.unsqueeze.default and arguments[1] == 1:
            self._flat.add(n)
            return self.env[arguments[0]]
        if n.target is aten.slice.Tensor and arguments[1] == 1 and n.meta["val"].shape[1] == 1:
            self._flat.add(n)
            return self.env[arguments[0]].select(1, arguments[2])
        return super().run_node(n)

    def _joined(self, n: fx.Node) -> Tensor | None:
        """Tensors of tokens side by side; None if one after the other."""
        arguments: Any = n.args
        operator: Any = n.target
        axis = (arguments[1] if len(arguments) > 1 else 0) % n.meta["val"].ndim
        if axis <= 1:
            return None
        self._flat.add(n)
        return operator([self.env[one] for one in arguments[0]], axis - 1)

    def _at_axis(self, n: fx.Node) -> Tensor | None:
        """The node with the axis that its argument, without that of time, calls so; None if it is that or before."""
        arguments: Any = n.args
        operator: Any = n.target
        source, axis, *others = arguments
        x = self.env[source]
        axis %= x.ndim + 1 + (n.target is aten.unsqueeze.default)
        if axis == 1 and n.target is aten.select.int:
            return x
        if axis <= 1 or (n.target is aten.flatten.using_ints and others not in ([], [-1])):
            return None
        self._flat.add(n)
        return operator(x, axis - 1, *others)


def _spread(tensors: dict[fx.Node, Tensor], axes: int) -> dict[fx.Node, Tensor] | None:
    """The tensors without an axis 1, counted as in a result with that many axes; None if one is longer there."""
    without = {}
    for node, tensor in tensors.items():
        axis = tensor.ndim - axes + 1
        if axis >= 0 and tensor.shape[axis] != 1:
            return None
        without[node] = tensor.select(axis, 0) if axis >= 0 else tensor
    return without


class Flattened(torch.nn.Module):
    """A program of one token, run so."""

    def __init__(self, program: torch.export.ExportedProgram):
        super().__init__()
        self.program = program.module(check_guards=False)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return WithoutTime(self.program).run(*tensors)
