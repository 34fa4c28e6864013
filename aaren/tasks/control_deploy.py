"""A policy as it is exported."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aaren.export.one_token import Deployment, Port, check_exportable
from aaren.layers.fold import fold
from aaren.layers.protocol import State


class PolicyStep(nn.Module):
    """What `ActionStream.act` does around the network of one episode: it counts steps and remembers its last action.

    Args:
        model: the network; a folded copy in evaluation mode is kept.
        dtype: precision of accumulating sums.
    """

    def __init__(self, model: Any, dtype: torch.dtype):
        super().__init__()
        check_exportable(model)
        self.model, self.dtype = fold(model), dtype

    def initial_state(self, batch_size: int) -> dict[str, State]:
        return {
            "model": self.model.initial_state(batch_size, dtype=self.dtype),
            "before": torch.zeros(batch_size, self.model.action),
        }

    def forward(
        self, inputs: tuple[Tensor, ...], state: dict[str, State]
    ) -> tuple[tuple[Tensor, ...], dict[str, State]]:
        observation, to_go = inputs
        number = state["model"]["steps"].to(observation.dtype)
        x = torch.cat([number[:, None], to_go[:, None], observation, state["before"]], dim=-1)
        action, after = self.model(x[:, None], state["model"])
        return (action[:, 0],), {"model": after, "before": action[:, 0]}


def deploy_policy(model: Any, best: float, dtype: torch.dtype) -> Deployment:
    """Observations and returns-to-go in, actions out; a new episode begins with a reset.

    Args:
        model: the network.
        best: the greatest return of the training trajectories.
        dtype: precision of accumulating sums.

    Raises:
        ValueError: the state of the layer grows, or the model recomputes a window.
    """
    module, real = PolicyStep(model, dtype), torch.float32
    wanted = "return that is wanted from here on, in the units of the data: of the whole episode, less rewards so far"
    inputs = (
        Port("observation", (model.observation,), real, "what is seen, in the units of the data"),
        Port("return_to_go", (), real, wanted),
    )
    half = ((model.high - model.low) / 2).numpy(force=True)
    outputs = (Port("action", (model.action,), real, "what to do, within its bounds", unit=half),)
    mean, scale = model.mean.numpy(force=True), model.scale.numpy(force=True)

    def draw(random: np.random.Generator, rows: int, number: int) -> list[np.ndarray]:
        numbers = (mean + scale * random.normal(size=(rows, len(mean)))).astype(np.float32)
        return [numbers[:, 1:], numbers[:, 0]]

    low, high = model.low.tolist(), model.high.tolist()
    about = {"best_return": best, "low": low, "high": high}
    return Deployment(module, inputs, outputs, draw, "control", about)
