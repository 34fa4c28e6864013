"""Futures of sequences of events, drawn event by event."""

import numpy as np
import torch

from aaren import state as states
from aaren.models.event_model import EventModel
from aaren.tasks.event_training import coming_after

Future = tuple[np.ndarray, np.ndarray, float, float]
"""times, places of marks, start, end"""


@torch.no_grad()
def simulate(
    model: EventModel,
    state: states.State,
    latest: np.ndarray,
    now: np.ndarray,
    *,
    count: int,
    events: int | None,
    duration: float | None,
    most: int,
    seed: int,
) -> list[Future]:
    """`count` futures of each row of a state.

    Args:
        model: what is drawn from.
        state: after the latest event of each row.
        latest: times of these events.
        now: where the futures begin: up to there no further event has come.
        count: futures of each row; they stand side by side in the result.
        events: number of events of a future, or
        duration: its length.
        most: events, at most.
        seed: of what is drawn.

    Raises:
        ValueError: a future with more than `most` events.
    """
    model.eval()
    rows = np.repeat(np.arange(len(latest)), count)
    state = states.select(state, torch.from_numpy(rows))
    latest, now = latest[rows], now[rows]
    end = np.full(len(rows), np.inf) if duration is None else now + duration
    times: list[list[float]] = [[] for _ in rows]
    places: list[list[int]] = [[] for _ in rows]
    start, alive = now.copy(), np.arange(len(rows))
    weight = model.time_head.weight
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for number in range(most + 1):
            coming = coming_after(model, state["latest"])
            waiting, mark = coming.sample(torch.from_numpy(now[alive] - latest[alive]))
            time = latest[alive] + waiting.numpy()
            going = (time <= end[alive]) & (number < (most + 1 if events is None else events))
            if not going.any():
                return [
                    (np.array(t), np.array(p, dtype=np.int64), float(s), float(t[-1] if duration is None else e))
                    for t, p, s, e in zip(times, places, start, end, strict=True)
                ]
            kept = torch.from_numpy(np.flatnonzero(going))
            gap = (time - latest[alive])[going]
            alive, time, mark = alive[going], time[going], mark.numpy()[going]
            for row, when, place in zip(alive, time, mark, strict=True):
                times[row].append(float(when))
                places[row].append(int(place))
            latest[alive] = now[alive] = time
            x = torch.from_numpy(np.stack([gap, mark], axis=1)[:, None]).to(weight.device, weight.dtype)
            _, state = model.encode(x, states.select(state, kept))
    raise ValueError(f"futures must have at most {most:,} events, got more; ask for a shorter duration, or raise most")
