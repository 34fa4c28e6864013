"""How much agents earn in an environment of Gymnasium."""

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Protocol

import numpy as np

from aaren.data.environments import Environment, make_environment
from aaren.data.trajectories import Trajectory


class Acting(Protocol):
    """A live agent in some environments, such as `ActionStream`."""

    width: int
    """numbers in an observation"""
    parts: int
    """numbers in an action"""
    low: np.ndarray
    """least and"""
    high: np.ndarray
    """greatest action"""

    def act(self, observation: Any, reward: Any = None, done: Any = None) -> np.ndarray: ...
    def select(self, rows: Any) -> None: ...


def check_spaces(environment: Any, width: int, parts: int, low: Any = -np.inf, high: Any = np.inf) -> None:
    """Raises ValueError unless observations and actions of the environment have these sizes, and actions between low
    and high are allowed."""
    label = environment.spec.id if environment.spec else str(environment)
    for name, space, size in (
        ("observations", environment.observation_space, width),
        ("actions", environment.action_space, parts),
    ):
        if getattr(space, "shape", None) != (size,) or not np.issubdtype(space.dtype, np.floating):
            raise ValueError(f"environment must have {name} of {size} numbers as the agent has, got {space} in {label}")
    space = environment.action_space
    if np.isfinite(low).all() and not ((space.low <= low) & (space.high >= high)).all():
        raise ValueError(f"environment must allow the actions of the agent, {low} to {high}, got {space} in {label}")


def play(
    start: Callable[[int], Acting], environment: Environment, episodes: int = 10, *, seed: int = 0
) -> list[Trajectory]:
    """Some episodes side by side, each in an environment of its own, to their ends.

    Args:
        start: number of environments -> the live agent.
        environment: where it acts.
        episodes: how many; episode i begins as seed + i has it, whatever the others do.
        seed: of the environments.

    Raises:
        ImportError: an optional package is not installed.
        ValueError: an environment whose spaces do not match the agent; no episode.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    with ExitStack() as opened:
        copies = [make_environment(environment) for _ in range(episodes)]
        for copy in copies:
            opened.callback(copy.close)
        agent = start(episodes)
        check_spaces(copies[0], agent.width, agent.parts, agent.low, agent.high)
        records: list[tuple[list, list, list]] = [([], [], []) for _ in copies]
        playing = list(range(episodes))
        seen = np.stack([copy.reset(seed=seed + number)[0] for number, copy in enumerate(copies)])
        earned = None
        while playing:
            actions = agent.act(seen, earned)
            after, rewards, going = [], [], []
            for row, number in enumerate(playing):
                observation, reward, terminated, truncated, _ = copies[number].step(actions[row])
                for record, value in zip(records[number], (seen[row], actions[row], reward), strict=True):
                    record.append(value)
                if not (terminated or truncated):
                    going.append(row)
                    after.append(observation)
                    rewards.append(reward)
            if going and len(going) < len(playing):
                agent.select(going)
            playing = [playing[row] for row in going]
            seen, earned = np.array(after), np.array(rewards)
    return [Trajectory(*(np.array(part, dtype=np.float32) for part in record)) for record in records]


def strip(
    start: Callable[[int], Acting], environment: Environment, *, seed: int = 0, every: int = 25, most: int = 8
) -> np.ndarray:
    """Pictures of the first steps of an episode side by side, (height, width, 3) bytes: one in `every` steps, at half
    their size.

    Raises: as `play`; whatever error the renderer has where there is none.
    """
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo's way without a display
    copy = make_environment(environment, render_mode="rgb_array", **environment.picture)
    try:
        agent = start(1)
        check_spaces(copy, agent.width, agent.parts, agent.low, agent.high)
        seen, reward, frames = copy.reset(seed=seed)[0], None, []
        for step in range(every * (most - 1) + 1):
            if step % every == 0:
                frames.append(np.asarray(copy.render())[::2, ::2])
            seen, reward, terminated, truncated, _ = copy.step(agent.act(seen, reward))
            if terminated or truncated:
                break
    finally:
        copy.close()
    return np.concatenate(frames, axis=1)
