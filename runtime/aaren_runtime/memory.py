"""A state that stays where it is in memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from aaren_runtime.model import Model, State, check_outputs


class Memory:
    """A state in places of its own, where the calls of a model find it and leave it: nothing is copied but what comes
    in and what goes out.

    Args:
        model: whose state it is.
        state: what it begins with; copied.
    """

    def __init__(self, model: Model, state: State):
        self._model = model
        self._state, self._after = ({name: array.copy() for name, array in state.items()} for _ in range(2))
        rows = len(next(iter(state.values())))
        self._inputs, self._outputs = (
            {port.name: np.zeros((rows, *port.shape), port.dtype) for port in ports}
            for ports in (model.inputs, model.outputs)
        )
        self._call, self._next_call = self._bind(self._state, self._after), self._bind(self._after, self._state)

    def _bind(self, before: State, after: State) -> Any:
        """A call that reads one state and writes the other."""
        binding = self._model.runtime.io_binding()
        after = {leaf.next: after[leaf.name] for leaf in self._model.leaves}
        for name, array in {**self._inputs, **before}.items():
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
        for name, array in {**self._outputs, **after}.items():
            binding.bind_ortvalue_output(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
        return binding

    @property
    def state(self) -> State:
        """A copy."""
        return {name: array.copy() for name, array in self._state.items()}

    def push(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One token of every row. Raises what a call of the model does; the state stays as it was then."""
        self._model.check_time(inputs, self._state)
        for name, array in inputs.items():
            self._inputs[name][...] = array
        self._model.runtime.run_with_iobinding(self._call)
        check_outputs(inputs, self._outputs)
        self._state, self._after = self._after, self._state
        self._call, self._next_call = self._next_call, self._call
        return {name: array.copy() for name, array in self._outputs.items()}
