"""Offline reinforcement learning: the estimator `DecisionAgent`."""

from pathlib import Path
from typing import Any

from aaren.data.trajectories import Bounds
from aaren.models.decision import DecisionModel
from aaren.models.windowed import Windowed
from aaren.tasks.agent import Agent
from aaren.tasks.control_training import RECIPE, Cut
from aaren.train import Recipe

PRESETS: dict[str, dict[str, Any]] = {
    "small": {"d_model": 64, "nhead": 4, "dim_feedforward": 256, "num_layers": 2},
    "paper": {
        "d_model": 128,
        "nhead": 1,
        "dim_feedforward": 512,
        "num_layers": 3,
        "dropout": 0.1,
        "recipe": Recipe(
            updates=20_000,
            batch_size=64,
            learning_rate=1e-4,
            weight_decay=1e-4,
            warmup=5_000,
            clip=0.25,
            validate_every=1_000,
            keep="last",
        ),
    },
}
"""Sizes, the same for every layer. `paper` has those of Feng et al.'s base code."""


class DecisionAgent(Agent):
    """Learns from trajectories which actions earn a wanted return, and acts, with any layer, in one of two ways.

    *Windowed*, as published (Chen et al. 2021, with three tokens a step): an action is computed from the latest
    `context` steps, all anew in each step. *Streaming* (`context=None`): the network is trained on windows and on whole
    episodes, carrying its state from chunk to chunk, and acts with the state it carries from the first step on, in
    constant time and memory if the layer's state is constant.

    Args:
        layer: a name in `LAYERS`.
        d_model, nhead, dim_feedforward, num_layers, dropout: size of the model, see `DecisionModel`.
        tokens_per_step: 1, or 3 as published, see `DecisionModel`.
        context: steps that an action is computed from; None = all of the episode.
        chunk: longest stretch of steps that gradients go through if there is no `context`; memory reaches further back.
        whole_every: without a `context` one batch in so many is of whole episodes, or chunks of them; the others are
            of windows of 20 steps (or a chunk, if it is shorter) with nothing before them, many at a time, of which
            the same time teaches more. 1 = all are of whole episodes: for tasks that are about memory.
        bounds: least and greatest action: two numbers, or two lists of a number for each part of an action.
        recipe: how it is trained; None = `RECIPE`. Its `batch_size` counts windows; a batch of whole episodes has as
            many steps as they have, and at least a chunk.
        validation: share of the trajectories held out, to tell how well actions are known.
        seed: of the weights, the validation part, the batches and the dropout.
        checkpoint: a file in which training is kept at each validation, to go on from if it is interrupted.
        progress: show a progress bar on standard error.

    Attributes:
        best_return_, model_, training_, validation_error_: see `Agent`.

    X is a list of trajectories: `Trajectory`, triples (observations, actions, rewards), or episodes as Minari has them.
    """

    file_kind = "aaren decision agent"

    def __init__(
        self,
        layer: str = "aaren",
        *,
        d_model: int = 64,
        nhead: int = 4,
        dim_feedforward: int = 256,
        num_layers: int = 2,
        dropout: float = 0.0,
        tokens_per_step: int = 1,
        context: int | None = 20,
        chunk: int = 1000,
        whole_every: int = 8,
        bounds: Bounds = (-1.0, 1.0),
        recipe: Recipe | None = None,
        validation: float = 0.1,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        progress: bool = False,
    ):
        self.layer = layer
        self.d_model = d_model
        self.nhead = nhead
        self.dim_feedforward = dim_feedforward
        self.num_layers = num_layers
        self.dropout = dropout
        self.tokens_per_step = tokens_per_step
        self.context = context
        self.chunk = chunk
        self.whole_every = whole_every
        self.bounds = bounds
        self.recipe = recipe
        self.validation = validation
        self.seed = seed
        self.checkpoint = checkpoint
        self.progress = progress

    def _check_arguments(self) -> None:
        super()._check_arguments()
        self._check_layer()
        least = {"chunk": 2, "whole_every": 1} | ({} if self.context is None else {"context": 2})
        for name, bound in least.items():
            value = getattr(self, name)
            if value != int(value) or value < bound:
                raise ValueError(f"{name} must be a whole number of at least {bound}, got {value}")

    def _cut(self) -> Cut:
        return Cut(self.context, self.chunk, self.whole_every)

    def _recipe(self) -> Recipe:
        return RECIPE if self.recipe is None else self.recipe

    def _network(self, observation: int, action: int) -> Any:
        sizes = ("d_model", "nhead", "dim_feedforward", "num_layers", "layer", "dropout", "tokens_per_step")
        network = DecisionModel(observation, action, **{name: getattr(self, name) for name in sizes})
        return network if self.context is None else Windowed(network, self.context)
