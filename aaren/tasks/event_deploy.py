"""An event model as it is exported: times and marks in, what may come next out."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aaren.data.events import NO_GAP
from aaren.export.one_token import Deployment, Port, check_exportable
from aaren.layers.fold import fold
from aaren.layers.protocol import State
from aaren.models.event_model import EventModel
from aaren.models.next_event import NextEvent

TAIL = (0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368,
        -1.26551223)  # fmt: skip
"""Of `_scaled_tail`, the highest power first."""

LONG = 500
"""Mean gaps of the pause in an example."""


class EventStep(nn.Module):
    """What `EventStream.push` does around the network, as operations on tensors.

    Args:
        model: the network; a folded copy in evaluation mode is kept.
        dtype: precision of accumulating sums.
    """

    def __init__(self, model: EventModel, dtype: torch.dtype):
        super().__init__()
        check_exportable(model)
        self.model, self.dtype = fold(model), dtype

    def initial_state(self, batch_size: int) -> dict[str, State]:
        time = torch.full((batch_size,), torch.nan, dtype=torch.float64)
        return {"model": self.model.initial_state(batch_size, dtype=self.dtype), "time": time}

    def forward(
        self, inputs: tuple[Tensor, ...], state: dict[str, State]
    ) -> tuple[tuple[Tensor, ...], dict[str, State]]:
        time, before = inputs[0], state["time"]
        # Times must not fall; where nobody can say so, as in C, one that does must not spoil the state for ever.
        gap = torch.where(torch.isnan(before), NO_GAP, (time - before).clamp(min=0))
        token = [gap, torch.zeros_like(gap)]
        if self.model.marks:
            known = (inputs[1] >= 0) & (inputs[1] < self.model.marks)
            token[1] = torch.where(known, inputs[1], self.model.marks).double()
        x = torch.stack([part.to(self.model.time_head.weight.dtype) for part in token], dim=-1)
        y, after = self.model(x[:, None], state["model"])
        coming = self.model.next_event(y[:, 0])
        outputs = _mean(coming), coming.log_weight.exp(), coming.location, coming.spread
        probabilities = (coming.mark_probabilities,) if self.model.marks else ()
        return (*outputs, *probabilities), {"model": after, "time": time}


def deploy_events(model: EventModel, marks: np.ndarray, dtype: torch.dtype) -> Deployment:
    """Events in, densities of the next one out.

    Args:
        model: the network.
        marks: its vocabulary.
        dtype: precision of accumulating sums.

    Raises:
        ValueError: the state of the model grows.
    """
    module, unit, mixture = EventStep(model, dtype), float(model.unit), (model.mixture,)
    inputs = [Port("time", (), torch.float64, "time of the event, in the unit of the training data")]
    if len(marks):
        about = "place of its mark in the list `marks`, from 0; any other number: another mark"
        inputs.append(Port("mark", (), torch.int64, about))
    real, spread = torch.float32, float(model.log_spread)
    of_log = "of the components of the density of its logarithm, normal ones"
    outputs = [
        Port("mean", (), real, "expected time from this event to the next", unit=unit),
        Port("weight", mixture, real, "of the components of the density of the time to the next event; the sum is 1"),
        Port("location", mixture, real, f"means {of_log}", unit=spread),
        Port("spread", mixture, real, f"standard deviations {of_log}", unit=spread),
    ]
    if len(marks):
        outputs.append(Port("probabilities", (len(marks),), real, "of the next mark to be each of `marks`"))

    def draw(random: np.random.Generator, rows: int, number: int) -> list[np.ndarray]:
        # Every tenth event at the time of the one before, and once a long pause.
        late = 0.0 if number % 10 in (8, 9) else random.uniform(0.0, 0.5)
        late += number - (number % 10 == 9) + (0.0 if number < LONG else LONG)
        arrays: list[np.ndarray] = [np.full(rows, unit * late), random.integers(-1, len(marks) + 1, rows)]
        return arrays[: len(inputs)]

    about_it: dict[str, Any] = {"marks": marks.tolist(), "resolution": model.resolution, "longest": model.longest}
    about_it["ties"] = True
    return Deployment(module, tuple(inputs), tuple(outputs), draw, "events", about_it)


def _mean(coming: NextEvent) -> Tensor:
    """`NextEvent.mean`, of functions that every format has in float32, and that lose no digits there."""
    weight = coming.log_weight.exp()
    longest = coming.longest + coming.resolution
    beyond = longest * weight * _above((math.log(longest) - coming.location) / coming.spread)
    within = (
        0.5 * coming.resolution * weight * (1 - _above((math.log(coming.resolution) - coming.location) / coming.spread))
    )
    between = weight * (_up_to(coming, longest) - _up_to(coming, coming.resolution))
    return (beyond + within + between).sum(dim=-1)


def _up_to(coming: NextEvent, time: float) -> Tensor:
    """Means of the components, counting times up to this one only: E[t; t <= time] <= time."""
    z = (math.log(time) - coming.location) / coming.spread
    u = coming.spread - z
    tail = _scaled_tail(u.abs())
    short = time * (-0.5 * z**2).exp() * tail
    whole = (coming.location + 0.5 * coming.spread**2).clamp(max=math.log(time)).exp()
    return torch.where(u > 0, short, whole * (1 - tail * (-0.5 * u**2).exp()))


def _above(z: Tensor) -> Tensor:
    """Probability that a standard normal number is above z, with all digits where it is small."""
    tail = _scaled_tail(z.abs()) * (-0.5 * z**2).exp()
    return torch.where(z > 0, tail, 1 - tail)


def _scaled_tail(z: Tensor) -> Tensor:
    """exp(z²/2) times the probability that a standard normal number is above z >= 0, to 1.2e-7 of it: a fit of
    Chebyshev's (Press et al., Numerical Recipes, 2nd edition, section 6.2)."""
    t = 1 / (1 + z * 0.5**1.5)
    power = torch.full_like(t, TAIL[0])
    for coefficient in TAIL[1:]:
        power = power * t + coefficient
    return 0.5 * t * power.exp()
